"""What a call costs, beside litellm's own providers. See `docs/benchmarks.md`."""
