"""What a call costs, beside litellm's own providers. Run with `python -m benchmarks`; `docs/benchmarks.md` explains it."""
