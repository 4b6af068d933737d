"""Thousands of connections need as many open files; many systems start a program with 1,024."""

from __future__ import annotations

ENOUGH = 8192


def allow_many() -> None:
    """Raise this process's limit as far as it may; nothing where there is none."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(ENOUGH, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
