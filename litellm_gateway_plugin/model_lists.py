"""`list_models`: what a gateway lists, for programs and for the command line."""

from __future__ import annotations

from .catalogue import Listing
from .doors import PROVIDER
from .errors import GatewayError, InvalidInput
from .installation import install
from .litellm_errors import to_litellm

WAIT_S = 10.0


def list_models(
    api_base: str | None = None, api_key: str | None = None, *, refresh: bool = False, timeout: float = WAIT_S
) -> Listing:
    """What a gateway lists: its models with price, window and capabilities, in its own order.

    A listing that is known is given at once; one older than `listing_ttl_s` is read anew in the background. What was
    read is known to litellm from then on: price, window, capabilities.

    Args:
        api_base: of the gateway; by default the first configured one.
        api_key: its key; by default the one that is configured for that origin.
        refresh: whether to read it now and wait for that.
        timeout: seconds to wait at most.

    Returns:
        A sequence of `Model`, with `ids`, `get(id)`, and `entry(id)` for all that the gateway says of one.

    Raises:
        litellm.AuthenticationError: the gateway refuses the key.
        litellm.NotFoundError: it has no listing at this base.
        litellm.BadRequestError: a base or key that cannot be sent, or none is configured.
        litellm.Timeout, litellm.APIConnectionError, litellm.RateLimitError: it cannot be read now.
    """
    try:
        gateway = install()
        return gateway.discovery.listing(gateway.listing_ask(_text(api_base), api_key), timeout, anew=refresh)
    except GatewayError as error:
        raise to_litellm(error, "", PROVIDER) from None


async def alist_models(
    api_base: str | None = None, api_key: str | None = None, *, refresh: bool = False, timeout: float = WAIT_S
) -> Listing:
    """The same from a coroutine."""
    try:
        gateway = install()
        return await gateway.discovery.alisting(gateway.listing_ask(_text(api_base), api_key), timeout, anew=refresh)
    except GatewayError as error:
        raise to_litellm(error, "", PROVIDER) from None


def _text(api_base: object) -> str | None:
    """Raises InvalidInput: it is no text."""
    if api_base is None or isinstance(api_base, str):
        return api_base
    raise InvalidInput(f"api_base must be a URL such as https://host/v1, not a {type(api_base).__name__}.")
