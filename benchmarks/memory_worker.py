"""Many calls over many bases. Prints what the process holds after the first tenth of them, and at the end.

python -m benchmarks.memory_worker handle|CONTENDER COUNT ORIGIN
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .answers import MODEL
from .contenders import CONTENDERS, KEY, MESSAGES, Litellm

BASES = 1_000
STATM = Path("/proc/self/statm")


def resident_mb() -> float:
    """Resident memory now; its peak where the system does not tell."""
    if STATM.exists():
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def through_the_handle() -> Callable[[str], object]:
    """The plugin without litellm around it: so many calls would take minutes with it."""
    import litellm_gateway_plugin
    from litellm_gateway_plugin.exchange import Job

    gateway = litellm_gateway_plugin.install()

    def call(base: str) -> object:
        ask, _ = gateway.ask(surface="chat/completions", model=MODEL, api_base=base, api_key=KEY, headers={})
        return gateway.send(Job(ask, {"model": MODEL, "messages": MESSAGES}, timeout=60))

    return call


def through_litellm(name: str) -> Callable[[str], object]:
    contender = CONTENDERS[name]("")
    assert isinstance(contender, Litellm)
    return contender.call_base


def main() -> None:
    kind, count, origin = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    call = through_the_handle() if kind == "handle" else through_litellm(kind)
    bases = [f"{origin}/{number}/v1" for number in range(BASES)]
    held: list[tuple[float, int]] = []
    begun = 0.0
    for number in range(count):
        if number in (count // 10, count - 1):
            gc.collect()
            held.append((resident_mb(), sys.getallocatedblocks()))
            begun = begun or time.process_time()
        call(bases[number % BASES])
    (first_mb, first_blocks), (last_mb, last_blocks) = held
    cpu_ms = (time.process_time() - begun) / (count - count // 10) * 1000
    report = {"grown_mb": last_mb - first_mb, "grown_blocks": last_blocks - first_blocks, "resident_mb": last_mb}
    print(json.dumps({**report, "cpu_ms": cpu_ms}), flush=True)


if __name__ == "__main__":
    main()
