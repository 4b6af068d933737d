"""Imports the plugin, or installs it on top of litellm. Prints how many seconds of CPU that took.

python -m benchmarks.import_worker import|install
"""

from __future__ import annotations

import json
import sys
import time

HEAVY = ("litellm", "pydantic", "httpx", "aiohttp", "openai")


def seconds(begun: float) -> float:
    return time.process_time() - begun


def bare() -> dict[str, object]:
    begun = time.process_time()
    import litellm_gateway_plugin  # noqa: F401  # importing it is what is measured

    took = seconds(begun)
    return {"took": took, "heavy": [name for name in HEAVY if name in sys.modules]}


def installed() -> dict[str, object]:
    begun = time.process_time()
    import litellm  # noqa: F401  # as above

    stock = seconds(begun)
    begun = time.process_time()
    import litellm_gateway_plugin

    litellm_gateway_plugin.install()
    return {"litellm": stock, "took": seconds(begun)}


if __name__ == "__main__":
    print(json.dumps(bare() if sys.argv[1] == "import" else installed()), flush=True)
