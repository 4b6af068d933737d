from __future__ import annotations

import json
import math
import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_gateway_plugin.capacity import is_account_limit, is_capacity, is_spent, retry_after

NOW = 1_700_000_000.0  # Tuesday, 14 November 2023, 22:13:20 UTC


def error(message: str, **more: Any) -> str:
    """An error body in OpenAI's dialect."""
    return json.dumps({"error": {"message": message, **more}}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("status", "headers", "text", "full"),
    [
        (429, {}, "", True),
        (503, {}, "", True),
        (529, {}, "", True),
        (502, {"x-envoy-overloaded": "true"}, "", True),
        (502, {"x-envoy-ratelimited": "true"}, "", True),
        (500, {"grpc-status": "8"}, "", True),
        (500, {"grpc-status": "13"}, "", False),
        (500, {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/"}, "{}", True),
        (402, {}, "capacity", False),
        (400, {}, "at capacity", False),
        (400, {}, error("Too many requests", code="rate_limit_exceeded"), False),
        (413, {}, error("Rate limit reached", code="rate_limit_exceeded"), False),
        (500, {}, "", False),
    ],
)
def test_what_is_full(status: int, headers: dict[str, str], text: str, full: bool) -> None:
    assert is_capacity(status, headers, text) is full


FULL_WORDS = [
    "exhausted all available targets",
    "There is not enough capacity for this request",
    '{"detail":"model at capacity"}',
    '{"detail":"Infrastructure is at maximum capacity, try again later"}',
    '{"detail":"No instances available (yet) for chute_id=\'x\'"}',
    '{"error":"Model is overloaded","error_type":"overloaded"}',
    '{"error":"Model too busy, unable to get response in less than 60 second(s)"}',
    '{"error":"server busy, please try again.  maximum pending requests exceeded"}',
    '{"error":"Exceeds maximum queue size"}',
    '{"object":"error","message":"The request queue is full."}',
    "No available workers (all circuits open or unhealthy)",
    "Request dropped due to backpressure (num_queued_requests=1, max_queued_requests=1).",
    "upstream connect error or disconnect/reset before headers. reset reason: overflow",
    "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.</body></html>",
    "<html><head><title>429 Too Many Requests</title></head></html>",
    '{"message":"API rate limit exceeded"}',
    '{"statusCode":500,"message":"Rate limit is exceeded. Try again in 55 seconds."}',
    error("The system is currently experiencing high demand and cannot process your request.", code="NoCapacity"),
    '{"__type":"ThrottlingException","message":"Rate exceeded"}',
    '{"message":"Too many tokens, please wait before trying again."}',
    error("Resource has been exhausted (e.g. check quota).", status="RESOURCE_EXHAUSTED"),
    "error code: 1015. You are being rate limited",
    "Worker exceeded resource limits",
    error("Capacity temporarily exceeded, please try again."),
    '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    '{"type":"error","error":{"type":"overloaded_error","message":"Internal"}}',
    error("Provider returned error", code=502, metadata={"raw": '{"error":{"code":429}}'}),
    error("Provider returned error", code=429),
    error("failed", code="rate_limit_exceeded"),
    error("failed", code="429"),
    error("failed", type="TooManyRequestsException"),
    error("failed", type="engine_overloaded_error"),
    error("failed", code="server_is_overloaded"),
    error("failed", code="slow_down"),
    "litellm.APIError: Error code: 429 - {'error': {'message': 'failed'}}",
    error("当前分组上游负载已饱和\uff0c请稍后再试 (request id: 2025)"),
    error("请求过于频繁\uff0c请稍后再试"),
    json.dumps({"error": {"message": "当前分组上游负载已饱和"}}),
    error("当前分组 default 下对于模型 x 无可用渠道"),
    error("该模型当前访问量过大\uff0c请您稍后再试"),
    error("您当前使用该API的并发数过高\uff0c请降低并发"),
    error("Model is currently loading, please wait"),
    error("System is too busy now. Please try again later."),
    error("no slot available"),
]


@pytest.mark.parametrize("text", FULL_WORDS)
def test_words_that_say_full_under_a_5xx(text: str) -> None:
    assert is_capacity(500, {}, text)
    assert not is_capacity(400, {}, text)
    assert not is_capacity(402, {}, text)


@pytest.mark.parametrize(
    "text",
    [
        "division by zero",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: No CUDA GPUs are available",
        "thread 'main' panicked: capacity overflow",
        "Prompt exceeds the KV cache capacity",
        'File "/srv/rate_limit/at_capacity/overloaded.py", line 3, in run\nKeyError',
        'File "rate_limit.py", line 429',
        "KeyError: 'rate_limit'",
        "Failed to load the rate limit configuration",
        "rate limiter unreachable",
        "The model overloaded-7b crashed",
        "The model capacity-7b failed to start",
        "acme/overloaded crashed",
        "https://status.example.com/overloaded",
        "call of overloaded function is ambiguous",
        "This is typically caused by an overloaded background task, database or application",
        "RESOURCE_EXHAUSTED: Received message larger than max (5 vs. 4)",
        "too many open files",
        "You exceeded your current quota",
        error("failed", code=500, request="429 tokens", id="code4291"),
        error("服务器内部错误\uff0c请稍后重试"),
        "<html><title>502 Bad Gateway</title></html>",
    ],
)
def test_words_that_only_look_so(text: str) -> None:
    assert not is_capacity(500, {}, text)


@pytest.mark.parametrize(
    ("status", "headers", "text", "full"),
    [
        (498, {}, error("Flex tier capacity exceeded", code="capacity_exceeded"), True),
        (498, {}, error("Invalid token."), False),
        (420, {}, "Enhance your calm", True),
        (420, {}, "", False),
        (420, {"retry-after": "5"}, "", True),
        (430, {}, "Too many requests", True),
        (430, {}, "Request Header Fields Too Large", False),
        (509, {}, "Bandwidth Limit Exceeded", False),
        (509, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9"}, "", True),
        (500, {"retry-after": "5"}, "", False),
    ],
)
def test_numbers_without_a_standard_have_to_say_so(status: int, headers: dict[str, str], text: str, full: bool) -> None:
    assert is_capacity(status, headers, text) is full


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "99999"}, 3600.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": ' "7" '}, 7.0),
        ({"retry-after": "2s"}, 2.0),
        ({"retry-after": "500ms"}, 0.5),
        ({"retry-after": "1m"}, 60.0),
        ({"retry-after": "2 Seconds"}, 2.0),
        ({"retry-after": "PT1M30S"}, 90.0),
        ({"retry-after": "2, 5"}, 5.0),
        ({"retry-after": "5s, -1, nan, soon"}, 5.0),
        ({"retry-after": str(int(NOW + 10))}, 10.0),
        ({"retry-after": str(int(NOW - 10))}, 0.0),
        ({"retry-after": "999999999999"}, 3600.0),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": f"{formatdate(NOW + 30, usegmt=True)}, {formatdate(NOW + 40, usegmt=True)}, 5"}, 40.0),
        ({"retry-after": formatdate(NOW + 30).replace("-0000", "")}, 30.0),
        ({"retry-after": formatdate(NOW - 30)}, 0.0),
        ({"retry-after": "Tuesday, 14-Nov-23 22:13:50 GMT"}, 30.0),
        ({"retry-after": "Tue Nov 14 22:13:50 2023"}, 30.0),
        ({"retry-after": "2023-11-14T22:13:50Z"}, 30.0),
        ({"retry-after": "2023-11-14 22:13:50.25"}, 30.25),
        ({"retry-after": "2023-11-15T00:13:50+0200"}, 30.0),
        ({"retry-after": "2023-13-99T00:13:50Z"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"x-retry-after": "3"}, 3.0),
        ({"x-ms-retry-after-ms": "250"}, 0.25),
        ({"x-ms-retry-after": "3"}, 3.0),
        ({"x-rate-limit-retry-after-seconds": "8"}, 8.0),
        ({"llm_provider-retry-after": "4"}, 4.0),
        ({"llm_provider-retry-after": "4", "retry-after": "6"}, 6.0),
        ({"reset_at": "2023-11-14 22:13:50 UTC"}, 30.0),
    ],
)
def test_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0.5s"}, 360.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "120ms"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOW + 10)}, 10.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int((NOW + 10) * 1000))}, 10.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "20"}, 20.0),
        ({"x-ratelimit-remaining": "0.0", "x-ratelimit-reset": "20"}, 20.0),
        ({"x-ratelimit-remaining": "-1", "x-ratelimit-reset": "20"}, 20.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "tomorrow"}, None),
        ({"x-ratelimit-remaining": "0"}, None),
        ({"x-ratelimit-reset": "20"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset-after": "1.5"}, 1.5),
        ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": "20"}, 20.0),
        ({"x-acme-ratelimit-remaining": "0", "x-acme-ratelimit-reset": "20"}, 20.0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "20"}, 20.0),
        ({"x-ratelimit-remaining-minute": "0", "ratelimit-reset": "47"}, 47.0),
        ({"x-ratelimit-remaining-requests-day": "0", "x-ratelimit-reset-requests-day": "33011.4"}, 3600.0),
        (
            {
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2023-11-14T22:13:50Z",
                "anthropic-ratelimit-requests-remaining": "9",
                "anthropic-ratelimit-requests-reset": "2023-11-14T22:53:50Z",
            },
            30.0,
        ),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "7s",
            },
            7.0,
        ),
        ({"ratelimit": '"default";r=0;t=30'}, 30.0),
        ({"ratelimit": '"burst";r=5;t=3, "hour";r=0;t=90'}, 90.0),
        ({"ratelimit": '"default";r=5;t=30'}, None),
        ({"ratelimit": "limit=9, remaining=0, reset=5"}, 5.0),
        ({"retry-after": "3", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "20"}, 3.0),
    ],
)
def test_the_reset_of_a_window_that_is_used_up(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


GOOGLE = {
    "error": {"code": 429, "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}]}
}
OPENROUTER = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW + 12) * 1000)}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (json.dumps(GOOGLE), 17.0),
        (json.dumps(GOOGLE, indent=2), 17.0),
        (json.dumps({"error": {"message": "VertexAIException - " + json.dumps(GOOGLE)}}), 17.0),
        (json.dumps(GOOGLE)[:-3], 17.0),
        ('{"retry_after": 3}', 3.0),
        ('{"retryAfter": "3"}', 3.0),
        ('{"retry_after_ms": 250}', 0.25),
        ('{"retryAfterMs": 250}', 0.25),
        ('{"error":{"retry_after_seconds":2.5}}', 2.5),
        ('{"estimated_time": 20.0, "error": "Model x is currently loading"}', 20.0),
        ('{"retry_after": null}', None),
        ('{"retry_after": -3}', None),
        ('{"resets_in_seconds": 120}', 120.0),
        (json.dumps({"error": {"code": 429, "metadata": {"headers": OPENROUTER}}}), 12.0),
        (json.dumps({"error": {"metadata": {"headers": {"Retry-After": ["5"]}}}}), 5.0),
        ("Rate limit reached. Please try again in 6m0.5s. Visit https://x", 360.5),
        ("Please try again in 20ms.", 0.02),
        ("Please retry after 3 seconds", 3.0),
        ("Please retry after 3.", 3.0),
        ("gave up: retry after 35 attempts", None),
        ("try again in 1 minute", 60.0),
        ("Please retry in 17.567s.", 17.567),
        ("Try again in 1 minute and 30 seconds", 90.0),
        ("Request was throttled. Expected available in 32 seconds.", 32.0),
        ("please try again after 1 seconds", 1.0),
        ("Please wait 5 seconds", 5.0),
        ("Limit type: requests. Limit resets at: 2023-11-14 22:13:50 UTC", 30.0),
        ("请在 5 秒后重试", 5.0),
        ("请1分钟之后再试", 60.0),
        ("Please try again later", None),
        ("try again in 999999999 hours", 3600.0),
    ],
)
def test_the_body_says_when(text: str, seconds: float | None) -> None:
    assert retry_after({}, NOW, text) == (None if seconds is None else pytest.approx(seconds))
    assert retry_after({"retry-after": "9"}, NOW, text) == 9.0


OF_ORG = (
    "Rate limit reached for gpt-4o in organization org-1 on requests per min (RPM): Limit 3. Please try again in 20s."
)
OF_MODEL = "This request would exceed your organization's rate limit of 9 tokens per minute (org: 1, model: claude-x)."


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("Rate limit exceeded for key", True),
        ("Rate limit exceeded for api_key: 12ab. Limit type: requests. Current limit: 5, Remaining: 0.", True),
        ("Rate limit exceeded for model_per_key: 12ab:gpt-4o. Limit type: requests.", True),
        ("Max parallel request limit reached for key", True),
        ("LiteLLM Rate Limit Handler for rate limit type = team. Crossed TPM / RPM / Max Parallel Request Limit", True),
        ("Limit exceeded, limit type: user", True),
        ("You have exceeded your rate limit", True),
        ("You exceeded 60 requests per minute for your subscription", True),
        ("You are being rate limited", True),
        (error("You exceeded your current quota, check your plan.", code="insufficient_quota"), True),
        ("This request would exceed your organization's rate limit of 50 requests per minute", True),
        ("Your account org-1 request reached max organization concurrency: 1", True),
        (error("failed", code="userRateLimitExceeded"), True),
        (error("failed", code="AccountRateLimitExceeded"), True),
        ("您已达到请求数限制\uff1a1分钟内最多请求60次", True),
        (error("用户额度不足"), True),
        (OF_ORG, True),
        (error(OF_ORG, type="requests", code="rate_limit_exceeded"), True),
        ("Rate limit reached for model `llama-3` in organization `org_1` on tokens per minute (TPM)", True),
        (OF_MODEL, True),
        (
            '{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "message": "exceeded your quota"}',
            True,
        ),
        ("You have exceeded the rate limit for this model", True),
        ("No deployments available for selected model, Try again in 60 seconds. Passed model=x", False),
        ('{"detail":"Infrastructure is at maximum capacity, try again later"}', False),
        ('{"detail":"Instance is at maximum capacity, try again later"}', False),
        ('{"error":"Model is overloaded"}', False),
        ("Model is overloaded. Upgrade your plan for higher limits.", False),
        ("No instances available (yet) for chute_id='x'", False),
        ("x is temporarily rate-limited upstream. Please retry, or add your own key to raise your rate limits", False),
        ("当前分组负载已饱和\uff0c请稍后再试\uff0c或升级账户以提升服务质量", False),
        ("Too many requests", False),
        ("API rate limit exceeded", False),
        ("exceeded 30000 tokens per minute", False),
        ("", False),
    ],
)
def test_whom_the_limit_concerns(text: str, whole: bool) -> None:
    assert is_account_limit({}, text) is whole


@pytest.mark.parametrize(
    ("headers", "text", "whole"),
    [
        ({"x-ratelimit-remaining-requests": "0"}, "", True),
        ({"x-ratelimit-remaining-requests": "3"}, "", False),
        ({"x-ratelimit-remaining": "0.0"}, "", True),
        ({"x-ratelimit-remaining": "-1"}, "", False),
        ({"x-ratelimit-remaining": "-1", "x-ratelimit-reset": "9"}, "", True),
        ({"anthropic-ratelimit-requests-remaining": "0"}, "", True),
        ({"ratelimit": '"default";r=0;t=30'}, "", True),
        ({"x-rate-limit-remaining": "0"}, "", True),
        ({"x-ratelimit-remaining-requests": "0"}, OF_ORG, True),
        ({"x-ratelimit-api_key-remaining-requests": "0"}, OF_ORG, True),
        ({"x-ratelimit-model_per_key-remaining-requests": "0"}, "", False),
        ({"llm_provider-x-ratelimit-remaining-requests": "0"}, "", False),
        ({}, json.dumps({"error": {"code": 429, "metadata": {"headers": OPENROUTER}}}), True),
        ({}, error("rate-limited upstream", metadata={"headers": OPENROUTER}), False),
    ],
)
def test_what_the_windows_say_of_it(headers: dict[str, str], text: str, whole: bool) -> None:
    assert is_account_limit(headers, text) is whole


NAMES = [
    *("retry-after", "retry-after-ms", "x-ms-retry-after-ms", "llm_provider-retry-after", "ratelimit"),
    *("x-ratelimit-reset", "x-ratelimit-reset-tokens", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
]
DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "x"]),
    st.integers(0, 40),
    st.sampled_from(["Jan", "Dec", "Foo"]),
    st.integers(-1, 10**6),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
    st.sampled_from(["GMT", "+2359", "-9999", "+999999999", ""]),
)
ISO_DATES = st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([+-][0-9]{4}|Z)?")
NUMBERS = st.floats().map(str) | st.integers().map(str) | st.from_regex(r"-?[0-9]{1,30}(ms|s|m|h)?", fullmatch=True)
HINTS = st.text(max_size=40) | DATES | ISO_DATES | NUMBERS | st.builds('"a";r={};t={}'.format, NUMBERS, NUMBERS)
HEADERS = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=30), HINTS | st.lists(HINTS).map(", ".join))
SAID = st.builds(
    "{}{}{}".format,
    st.sampled_from(['{"retry_after": "', '{"retryDelay":', "try again in ", "resets at ", "retry after "]),
    HINTS,
    st.sampled_from(["", '"}', " seconds", "后"]),
)


@given(HEADERS, st.text() | SAID)
def test_any_hint_is_a_wait_of_at_most_an_hour_or_none(headers: dict[str, str], text: str) -> None:
    zero = {"x-ratelimit-remaining": "0", "x-ratelimit-remaining-tokens": "0"}
    seconds = retry_after(headers | zero, NOW, text)
    assert seconds is None or 0 <= seconds <= 3600


@given(st.integers(100, 700), HEADERS, st.text() | st.sampled_from(FULL_WORDS) | SAID)
def test_nothing_that_is_read_raises(status: int, headers: dict[str, str], text: str) -> None:
    assert isinstance(is_capacity(status, headers, text), bool)
    assert isinstance(is_account_limit(headers, text), bool)


@given(st.sampled_from(["retry-after", "x-ratelimit-reset", "retry-after-ms"]), HINTS)
def test_names_are_lower_case_and_the_body_may_write_them_as_it_likes(name: str, value: str) -> None:
    zero = {"x-ratelimit-remaining": "0"}
    assert retry_after({name: value} | zero, NOW) == retry_after({name.replace("-", "_"): value} | zero, NOW)
    body = json.dumps({"X-RateLimit-Remaining": 0, name.title(): 7})
    assert retry_after({}, NOW, body) == (0.007 if name.endswith("ms") else 7.0)


@pytest.mark.parametrize(
    "text",
    [
        *("no " * 3000, "at a " * 2000, "a" * 9000, "1" * 9000, "1m" * 5000, '"' * 9000, '"retry_after": [' * 600),
        *(
            "for x " * 1500,
            "your a " * 1500,
            "a-/" * 3000,
            "try again in " * 700,
            "\\" * 9000,
            "A" * 10**6,
            ", " * 4500,
        ),
        *("\\u0041" * 2000, "retry after 1" * 700, "'a" * 4500, "capacity is " * 800, "1 s and " * 1100),
    ],
)
def test_a_hostile_text_costs_little(text: str) -> None:
    begin = time.process_time()
    is_capacity(500, {"retry-after": text}, text)
    is_account_limit({"x-ratelimit-remaining": text}, text)
    retry_after({"retry-after": text, text: text}, NOW, text)
    assert time.process_time() - begin < 1


# Used up --------------------------------------------------------------------------------------------------------------

OPENAI = "You exceeded your current quota, please check your plan and billing details."


@pytest.mark.parametrize(
    ("headers", "text", "spent"),
    [
        ({}, error(OPENAI, code="insufficient_quota"), True),
        ({}, error(OPENAI), True),
        ({}, error("You have run out.", type="insufficient_quota"), True),
        ({"retry-after": "1"}, error("You have run out.", code="insufficient_quota"), True),
        ({}, error("no", code="insufficient_user_quota"), True),
        ({}, error("Insufficient Balance"), True),
        ({}, error("Subscription usage cap exceeded"), True),
        ({}, error("Budget has been exceeded! Current cost: 2, max budget: 1"), True),
        ({}, error("账户余额不足"), True),
        ({}, error("Your credits are gone"), True),
        ({}, error("Insufficient capacity"), False),
        ({}, error("Quota exceeded for requests per minute"), False),
        # Google's free tier, by the minute; Groq, whose words end in an address; a crowded service that advertises
        ({}, error(f"{OPENAI} Please retry in 32.1s."), False),
        ({"retry-after": "32"}, error(OPENAI), False),
        ({}, error("Rate limit reached. Upgrade at https://console.example.com/settings/billing"), False),
        ({}, error("The server is overloaded. Credits give priority."), False),
    ],
)
def test_what_is_used_up_is_told_from_what_is_full(headers: dict[str, str], text: str, spent: bool) -> None:
    assert is_spent(headers, text) is spent
    assert is_capacity(429, headers, text)


def test_whoever_only_tells_a_wait_gets_it_whole() -> None:
    assert retry_after({"retry-after": "36000"}, 0.0) == 3600.0
    assert retry_after({"retry-after": "36000"}, 0.0, longest=math.inf) == 36000.0
