"""What the benchmarks' gateway says. Small, because a large answer costs every contender the same."""

from __future__ import annotations

from typing import Any

MODEL = "test-model"
STREAM_CHUNKS = 200

_USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
_ENVELOPE = {"id": "chatcmpl-1", "created": 1700000000, "model": MODEL}

ANSWER: dict[str, Any] = {
    **_ENVELOPE,
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "A short answer, as a model would give it."},
            "finish_reason": "stop",
        }
    ],
    "usage": _USAGE,
}


def _chunk(number: int) -> dict[str, Any]:
    last = number == STREAM_CHUNKS - 1
    choice = {
        "index": 0,
        "delta": {} if last else {"content": f" word {number}"},
        "finish_reason": "stop" if last else None,
    }
    return {**_ENVELOPE, "object": "chat.completion.chunk", "choices": [choice]}


CHUNKS = [_chunk(number) for number in range(STREAM_CHUNKS)]
