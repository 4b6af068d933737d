"""Whether the process grows with the number of calls."""

from __future__ import annotations

from .figures import Figure, Findings
from .processes import Server, outcome

CALLS, THROUGH_LITELLM = 100_000, 3_000
FLAT_MB = 2.0


def memory(server: Server) -> Findings:
    """100,000 calls over 1,000 bases through the handle, and fewer through litellm, beside the floor."""
    ours = outcome("memory_worker", "handle", str(CALLS), server.origin)
    figures = [
        Figure(f"{CALLS:,} calls over 1,000 bases: growth after the first tenth", ours["grown_mb"], "MB", FLAT_MB),
        Figure(f"{CALLS:,} calls over 1,000 bases: objects more", ours["grown_blocks"] / 1000, "thousand"),
        Figure(f"{CALLS:,} calls over 1,000 bases: resident at the end", ours["resident_mb"], "MB"),
        Figure("CPU of each of these calls", ours["cpu_ms"], "ms"),
    ]
    for name, label in (("gateway", "gateway/…"), ("floor", "a provider without HTTP")):
        took = outcome("memory_worker", name, str(THROUGH_LITELLM), server.origin)
        figures.append(Figure(f"{THROUGH_LITELLM:,} calls through litellm, {label}: growth", took["grown_mb"], "MB"))
    return Findings("Memory", figures)
