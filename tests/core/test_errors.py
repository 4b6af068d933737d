from __future__ import annotations

import inspect

from litellm_gateway_plugin import errors


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = {word for line in (errors.__doc__ or "").splitlines() for word in line.split()[:4]}
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert classes <= drawn


def test_what_the_errors_carry() -> None:
    full = errors.Full("full", api_base="https://h", status=429, headers={"a": "b"}, body="x", retry_after=3.0)
    assert (full.message, str(full), full.api_base) == ("full", "full", "https://h")
    assert (full.status, full.headers, full.body, full.retry_after) == (429, {"a": "b"}, "x", 3.0)
    assert errors.Answered("x", status=400).headers == {}
    assert errors.NotAGateway("x").status == 200
