"""The program that ``litserve_server.py`` starts: LitServe with an answer that is always the same.

It stands alone, and its class at the top: LitServe's workers are spawned and import it again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import litserve
from fastapi import HTTPException


class Hello(litserve.LitAPI):  # type: ignore[misc] # not installed where the types are checked
    """Greets, and is full when it is told to be."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def predict(self, request: Any) -> Iterator[str]:
        if request.messages[-1].content == "full":
            raise HTTPException(429, "model at capacity")
        yield from ("Hello", " from", " LitServe.")


if __name__ == "__main__":
    server = litserve.LitServer(Hello(spec=litserve.OpenAISpec()), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
