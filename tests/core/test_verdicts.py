"""What answers mean: the refusals of real gateways, one row each."""

from __future__ import annotations

from typing import Any

import pytest

from litellm_gateway_plugin.capacity import is_capacity
from litellm_gateway_plugin.verdicts import TABLE, Verdict, read_verdict, unwrapped
from tests.support.core import answer, ok

MODEL = "Qwen/Qwen3-32B"
NGINX_403 = "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body><center>nginx</center></body>\r\n</html>"

CASES: list[tuple[str, int, Any, Verdict]] = [
    # the credential
    ("vLLM", 401, {"error": "Unauthorized"}, Verdict.STYLE),
    ("llama.cpp", 401, {"error": {"message": "Invalid API Key", "type": "authentication_error"}}, Verdict.STYLE),
    ("LitServe", 401, {"detail": "Not authenticated"}, Verdict.STYLE),
    ("LiteLLM, raw", 401, {"error": {"message": "Malformed API Key passed in", "type": "auth_error"}}, Verdict.STYLE),
    (
        "LiteLLM, no database",
        400,
        {"error": {"message": "No connected db.", "type": "no_db_connection"}},
        Verdict.STYLE,
    ),
    ("Chutes", 401, {"detail": "Authentication required."}, Verdict.STYLE),
    ("Kong", 401, {"message": "No API key found in request"}, Verdict.STYLE),
    ("Kong, wrong", 401, {"message": "Invalid authentication credentials"}, Verdict.STYLE),
    (
        "Azure API Management",
        401,
        {"statusCode": 401, "message": "Access denied due to missing subscription key. Make sure to include it."},
        Verdict.STYLE,
    ),
    (
        "Azure OpenAI",
        401,
        {"error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint."}},
        Verdict.STYLE,
    ),
    ("AWS", 403, {"message": "Forbidden"}, Verdict.STYLE),
    ("nginx", 403, NGINX_403, Verdict.STYLE),
    ("Cloudflare", 403, "<!DOCTYPE html><title>Just a moment...</title> models", Verdict.STYLE),
    (
        "one-api",
        401,
        {"error": {"message": "Invalid token (request id: 20261122)", "type": "one_api_error"}},
        Verdict.STYLE,
    ),
    ("new-api", 401, {"error": {"message": "无效的令牌", "type": "new_api_error"}}, Verdict.STYLE),
    ("OpenRouter", 401, {"error": {"message": "No auth credentials found", "code": 401}}, Verdict.STYLE),
    ("Together", 401, {"error": {"message": "Invalid API key provided.", "code": "invalid_api_key"}}, Verdict.STYLE),
    ("Groq", 401, {"error": {"message": "Invalid API Key", "code": "invalid_api_key"}}, Verdict.STYLE),
    (
        "Google",
        400,
        {"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}},
        Verdict.STYLE,
    ),
    ("Google, in a list", 400, [{"error": {"code": 400, "message": "API key not valid."}}], Verdict.STYLE),
    ("FastAPI", 403, {"detail": "Not authenticated"}, Verdict.STYLE),
    ("Spring", 401, {"timestamp": "2026-11-22", "status": 401, "error": "Unauthorized", "path": "/v1"}, Verdict.STYLE),
    ("Envoy, JWT", 401, "Jwt is missing", Verdict.STYLE),
    ("Envoy, RBAC", 403, "RBAC: access denied", Verdict.STYLE),
    ("Tyk", 401, {"error": "Authorization field missing"}, Verdict.STYLE),
    ("Tyk, wrong", 403, {"error": "Access to this API has been disallowed"}, Verdict.STYLE),
    ("Apigee", 401, {"fault": {"faultstring": "Failed to resolve API Key variable"}}, Verdict.STYLE),
    ("KrakenD", 401, "", Verdict.STYLE),
    ("Traefik", 401, "401 Unauthorized\n", Verdict.STYLE),
    ("the words of a model beside a bad key", 401, {"error": "Invalid API key for this model"}, Verdict.STYLE),
    ("wrapped in a 200", 200, {"error": {"code": 401, "message": "who are you"}}, Verdict.STYLE),
    # not the credential
    ("a format", 401, {"error": {"message": "Model X not supported for this format"}}, Verdict.FORBIDDEN),
    ("a plan", 403, {"error": "Upgrade your plan to use this"}, Verdict.FORBIDDEN),
    ("a country", 403, {"error": {"message": "Country, region, or territory not supported"}}, Verdict.FORBIDDEN),
    ("the id", 403, {"detail": f"{MODEL} is gated"}, Verdict.FORBIDDEN),
    ("one-api, group", 403, {"error": {"message": f"This token has no access to model {MODEL}"}}, Verdict.FORBIDDEN),
    # the route
    ("FastAPI, route", 404, {"detail": "Not Found"}, Verdict.BASE),
    ("llama.cpp, route", 404, {"error": {"message": "File Not Found", "type": "not_found_error"}}, Verdict.BASE),
    ("Chutes, route", 404, {"detail": "No matching cord found!"}, Verdict.BASE),
    ("Go", 404, "404 page not found", Verdict.BASE),
    ("nginx, route", 404, "<html><title>404 Not Found</title></html>", Verdict.BASE),
    ("Kong, route", 404, {"message": "no Route matched with those values"}, Verdict.BASE),
    ("Azure, route", 404, {"statusCode": 404, "message": "Resource not found"}, Verdict.BASE),
    ("Azure OpenAI, route", 404, {"error": {"code": "404", "message": "Resource not found"}}, Verdict.BASE),
    ("Spring, route", 404, {"status": 404, "error": "Not Found", "path": "/chat/completions"}, Verdict.BASE),
    ("Express", 404, "<pre>Cannot POST /chat/completions</pre>", Verdict.BASE),
    ("one-api, route", 404, {"error": {"message": "Invalid URL (POST /chat/completions)"}}, Verdict.BASE),
    ("AWS, route", 403, {"message": "Missing Authentication Token"}, Verdict.BASE),
    ("empty", 404, "", Verdict.BASE),
    ("a static site", 405, NGINX_403, Verdict.BASE),
    ("a redirect", 302, "", Verdict.BASE),
    ("a console", 200, "<html>console</html>", Verdict.BASE),
    ("nothing", 204, "", Verdict.BASE),
    ("null", 200, "null", Verdict.BASE),
    # the model
    ("vLLM, model", 404, {"error": {"message": "The model `X` does not exist.", "param": "model"}}, Verdict.MODEL),
    (
        "LiteLLM, model",
        400,
        {"error": {"message": f"/chat: Invalid model name passed in model={MODEL}."}},
        Verdict.MODEL,
    ),
    ("Chutes, model", 404, {"detail": f"model not found: {MODEL}"}, Verdict.MODEL),
    ("OpenAI, model", 404, {"error": {"message": "gone", "code": "model_not_found"}}, Verdict.MODEL),
    ("OpenRouter, model", 400, {"error": {"message": f"{MODEL} is not a valid model ID", "code": 400}}, Verdict.MODEL),
    ("another case", 404, {"error": f"unknown model {MODEL.lower()}"}, Verdict.MODEL),
    ("FastAPI, model", 422, {"detail": [{"loc": ["body"], "msg": f"model {MODEL} not found"}]}, Verdict.MODEL),
    # full
    ("Chutes, full", 429, {"detail": "Infrastructure is at maximum capacity, try again later"}, Verdict.FULL),
    ("Chutes, instances", 503, {"detail": "No instances available (yet) for chute_id='x'"}, Verdict.FULL),
    ("Chutes, targets", 500, {"detail": "exhausted all available targets to no avail"}, Verdict.FULL),
    ("one-api, channel", 503, {"error": {"message": f"No available channel for model {MODEL}"}}, Verdict.FULL),
    ("OpenRouter, full", 200, {"error": {"code": 429, "message": "rate-limited upstream"}}, Verdict.FULL),
    ("nginx, full", 503, "<html><title>503 Service Temporarily Unavailable</title></html>", Verdict.FULL),
    ("Anthropic-like", 529, {"error": {"type": "overloaded_error", "message": "Overloaded"}}, Verdict.FULL),
    # a rate limit for the caller, that no waiting ends
    ("OpenAI, quota", 429, {"error": {"message": "You have run out", "code": "insufficient_quota"}}, Verdict.SPENT),
    ("OpenAI, minute", 429, {"error": {"message": "Rate limit reached", "code": "rate_limit"}}, Verdict.FULL),
    # the rest
    ("a wrong parameter", 400, {"error": {"message": "max_tokens must be positive"}}, Verdict.REJECTED),
    ("quota", 402, {"detail": {"message": "Quota exceeded", "quota_reset_timestamp": 1}}, Verdict.REJECTED),
    ("a 4xx with the word", 400, {"error": "context capacity exceeded"}, Verdict.REJECTED),
    ("too long", 413, "<html>413</html>", Verdict.REJECTED),
    ("bad gateway", 502, "<html><title>502 Bad Gateway</title></html>", Verdict.FAILED),
    ("Cloudflare 520", 520, "error code: 520", Verdict.FAILED),
    ("an error without a code", 200, {"error": {"message": "boom"}}, Verdict.FAILED),
    ("an empty completion", 200, {"object": "chat.completion", "choices": []}, Verdict.BROKEN),
    ("events", 200, "data: {}\n\n", Verdict.BROKEN),
]


@pytest.mark.parametrize(("status", "body", "verdict"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_the_refusals_of_real_gateways(status: int, body: Any, verdict: Verdict) -> None:
    assert read_verdict(unwrapped(answer(status, body)), MODEL, is_capacity) is verdict


def test_a_success_is_proof() -> None:
    assert read_verdict(unwrapped(ok()), MODEL, is_capacity) is Verdict.PROVEN


def test_a_short_id_inside_a_path_or_a_longer_word_is_no_name() -> None:
    for words in ("Not found: /v1/chat/completions", "prechat not found", "chat-2 not found"):
        assert read_verdict(answer(404, {"detail": words}), "chat", is_capacity) is Verdict.BASE
    assert read_verdict(answer(404, {"detail": "models/chat is not found"}), "chat", is_capacity) is Verdict.MODEL


def test_a_request_without_a_model_cannot_have_an_unknown_one() -> None:
    body = {"error": {"code": "model_not_found", "param": "model"}}
    assert read_verdict(answer(404, body), "", is_capacity) is Verdict.BASE


def test_a_hook_decides_about_capacity_of_errors_alone() -> None:
    assert read_verdict(answer(418, "teapot"), MODEL, lambda status, headers, body: True) is Verdict.FULL
    assert read_verdict(ok(), MODEL, lambda status, headers, body: True) is Verdict.PROVEN


def test_the_table_is_total() -> None:
    assert TABLE[-1][0](answer(599, ""), "")


@pytest.mark.parametrize("code", ["NaN", "Infinity", "1e999", '"²"', f'"{"9" * 5000}"', "true", "null", "[]"])
def test_hostile_codes_are_failures(code: str) -> None:
    odd = unwrapped(answer(200, f'{{"error": {{"message": "x", "code": {code}}}}}'))
    assert odd.status == 500
