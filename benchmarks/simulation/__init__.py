"""Many processes and one upstream, simulated: the package's own gate under a clock that is only a number."""
