"""The checks of a gateway, in their order, and what people call them. No import: `--help` reads it."""

CHECKS = {
    "direct_json": "JSON",
    "stream": "stream",
    "tools": "tools",
    "picture": "picture",
    "embeddings": "embeddings",
    "router": "Router",
    "parallel": "parallel",
    "model_list": "model list",
}
