"""The fixtures that our users get too."""

pytest_plugins = ["litellm_gateway_plugin.testing.fixtures"]
