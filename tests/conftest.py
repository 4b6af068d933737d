"""The fixtures that our users get too."""

import signal

pytest_plugins = ["litellm_gateway_plugin.testing.fixtures"]

# A shell without job control has its background jobs ignore Ctrl-C, and they pass that on: tests that send it hang.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
