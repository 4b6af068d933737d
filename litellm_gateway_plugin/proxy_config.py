"""A `config.yaml` for the LiteLLM proxy, made of ranked candidates. Keys are named by their variables, never written.

It is written as text: the comments say why, and strings of JSON are strings of YAML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from .errors import InvalidInput
from .ranking import Candidate, why
from .settings import GatewayBase
from .urls import parse_base

HEAD = """\
# Written by `litellm-gateway router --yaml`, for `litellm --config config.yaml` with litellm-gateway-plugin beside it.
# The Router asks the lowest `order` that has room, and goes on to the next for the same call. The remarks say why they
# stand in this order; it is that of the moment when the file was written.
"""
TAIL = """
router_settings:
  num_retries: 0                # whatever fails goes on to the next one at once
  retry_policy: {{RateLimitErrorRetries: {retries}}}

litellm_settings:
  callbacks: ["litellm_gateway_plugin.callback"]
"""


def proxy_config(group: str, ranked: Sequence[Candidate], bases: Mapping[str, GatewayBase], retries: int) -> str:
    """The file.

    Args:
        group: the name of the model group, which clients of the proxy ask for.
        ranked: the candidates in their order.
        bases: the configured gateways, by label.
        retries: how often the Router asks again when all are full.

    Raises:
        InvalidInput: a base or a key that would have to be written in the clear.
    """
    entries = [_entry(group, order, each, bases[each.base]) for order, each in enumerate(ranked, start=1)]
    return HEAD + "\nmodel_list:\n" + "".join(entries) + TAIL.format(retries=retries)


def _entry(group: str, order: int, candidate: Candidate, base: GatewayBase) -> str:
    lines = [
        f"  - model_name: {_quoted(group)}",
        "    litellm_params:",
        f"      model: {_quoted(f'gateway/{candidate.model}')}",
        f"      api_base: {_quoted(_written_base(candidate.base, base))}",
        *([f"      api_key: {_quoted(f'os.environ/{_key_name(candidate.base, base)}')}"] if base.key else []),
        f"      order: {order}                # {why(candidate) or 'first in the listing'}",
    ]
    return "\n".join(lines) + "\n"


def _key_name(label: str, base: GatewayBase) -> str:
    if base.key_name is None:
        raise InvalidInput(
            f"The key of {label} cannot be written into a file: it is in no variable of its own. Name this gateway "
            "with LITELLM_GATEWAY_API_BASE_1 and LITELLM_GATEWAY_API_KEY_1 (or another number)."
        )
    return base.key_name


def _written_base(label: str, base: GatewayBase) -> str:
    known = parse_base(base.api_base)
    if known.userinfo or known.query:
        raise InvalidInput(
            f"The base of {label} cannot be written into a file: it holds a user and password, or a query. Give the "
            "key in LITELLM_GATEWAY_API_KEY_1 (or another number), beside a base without them."
        )
    return str(known)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
