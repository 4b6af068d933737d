"""Is the gateway full, whom does that concern, and when is it worth asking again? Pure: standard library only.

No clock of its own. The manners of servers stand in the tables at the top; a new one is a new row. Everything read here
is hostile: every text is cut before it is searched, every repetition in a pattern is bounded, and nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

FULL_STATUSES = frozenset({429, 503, 529})

OWN_STATUSES = frozenset({420, 430, 498, 509})
"""Numbers that no standard gives a meaning: "too fast" or "full" at some (Twitter 420, Shopify 430, Groq's flex tier
498), something else at others (ArcGIS 498 is a bad token, cPanel 509 a spent quota). So the answer has to say so: in
words, in a code, or by a time to come back."""

FULL_HEADERS = {"x-envoy-overloaded": "", "x-envoy-ratelimited": "", "grpc-status": "8"}
"""Headers that say it themselves; "" for any value. 8 is gRPC's RESOURCE_EXHAUSTED."""

LONGEST_WAIT = 3600.0
TEXT_LIMIT = 8000
NAME_LIMIT = 100
VALUE_LIMIT = 200
YEAR = 366 * 86400.0

PLACES = (
    r"(?:channel|server|instance|worker|backend|replica|node|slot|provider|deployment|endpoint|target|upstream"
    r"|resource)s?"
)

CROWDED = (
    # LitServe, Chutes, Groq ("capacity_exceeded"), Workers AI, Azure ("NoCapacity"), Bedrock, Apache
    r"(?:at|over|exceed(?:s|ed|ing)?|reached|no|out of|insufficient|enough|lack of)(?:[ -]\w{1,20}){0,2}[ -]capacity",
    r"capacity(?: is| has been| was| temporarily| currently){0,3} (?:exceeded|reached|exhausted|full)",
    r"capacity(?: is| temporarily| currently){0,3} (?:not |un)available",
    r"capacity (?:problem|issue|constraint|limit|error)s?",
    # TGI, vLLM, Anthropic, OpenAI, Moonshot, Fireworks; Bedrock's and Volcengine's "ServerOverloaded"
    r"overloaded",
    # Ollama, BentoML, SiliconFlow, Hugging Face ("Model too busy")
    r"(?:server|service|system|model|engine|backend|worker|gateway)s?(?: is| are)?(?: currently| too| very){0,2} busy",
    r"too busy",
    # Triton, SGLang, TorchServe; Ollama's "maximum pending requests exceeded"
    r"queue(?: size| length)?(?: limit)?(?: is| has been| was)? (?:full|exceeded|reached|overflow)",
    r"(?:exceed(?:s|ed|ing)?|reached)(?: \w{1,20}){0,2} queue(?: size| length| limit)",
    r"max(?:imum)? pending requests exceeded",
    # Chutes, one-api, SGLang's and LiteLLM's routers, HAProxy, Envoy, llama.cpp
    r"exhausted all available",
    rf"no(?: available| healthy| free| idle| ready){{1,2}} {PLACES}",
    rf"no {PLACES}(?: is| are)?(?: currently)? available",
    rf"all(?: \w{{1,20}}){{0,2}} {PLACES}(?: are)?(?: currently)? (?:busy|in use|unavailable)",
    # Azure, OpenAI, Google; Ray Serve, Envoy, Cloudflare 1102
    r"(?:high|heavy|peak) (?:demand|load|traffic|volume)",
    r"back[ -]?pressure|load[ -]shed(?:ding)?|reset reason: overflow|worker exceeded resource limits",
    # what llama.cpp says under a 503, LM Studio and Hugging Face under others
    r"model is (?:still |currently )?loading|is currently loading",
)
"""The service is full, whoever asks."""

TOO_FAST = (
    # a limiter that is itself broken ("rate limiter unreachable", "rate limit config") refuses nobody
    r"rate[ -]?limit(?:s|ed|ing)?(?! (?:config|rule|setting|polic|service|store|backend|middleware|plugin))",
    r"too many (?:\w{1,20} ){0,2}(?:requests|connections)",
    # Bedrock, with or without a code
    r"too many tokens,? please wait",
    r"throttl(?:ed|ing)",
    r"(?:rpm|tpm|qps|concurrency|concurrent requests?|parallel requests?)(?: \w{1,20}){0,1} limit",
    r"(?:exceed(?:s|ed|ing)?|reached)(?: \w{1,20}){0,3} concurrency",
    r"request rate(?: is)? too (?:large|high)|reduce (?:your|the) request rate|rate exceeded|slow ?down",
    r"enhance your calm",
    # Google and gRPC; the same code is given to a message that is too large, which no waiting makes smaller
    r"resources?(?: has been| have been)? exhausted(?!.{0,60}(?:larger than|out of memory))",
)
"""The caller asks too much, or too often."""

CHINESE = (
    r"负载(?:已饱和|过高|较高)|请求(?:过于|太)频繁|请求数?过多|访问量过大|频率(?:过高|限制|超限)|并发数?(?:过高|超限)"
    r"|无可用的?渠道|(?:没有|暂无)可用|限流|限速|过载|(?:服务器?|系统|模型)正?繁?忙|请求数限制|速率限制"
)
"""one-api, new-api, Zhipu, MiniMax and those who speak like them. "稍后重试" alone is every error's last sentence."""

UPSTREAM_CODE = r"(?:code|status|http|returned|responded with|received)\W{1,12}(?:429|503|529)(?![\w.])"
"""A code in the body, however deep and however often quoted: `"code": 429`, `Error code: 429`, `status_code=529`."""


def _any_of(*patterns: str) -> re.Pattern[str]:
    """Any of the patterns as whole words, but not as the beginning of a model's name ("overloaded-7b")."""
    return re.compile(rf"(?<![\w-])(?:{'|'.join(patterns)})(?!\w|-\w{{0,20}}[0-9])", re.IGNORECASE)


CROWDED_WORDS = _any_of(*CROWDED)
CAPACITY_WORDS = re.compile(
    f"{CROWDED_WORDS.pattern}|{_any_of(*TOO_FAST, UPSTREAM_CODE).pattern}|{CHINESE}", re.IGNORECASE
)

# Taken out before words are looked for: addresses, paths and ids with a slash, names of files, names in quotes; then
# other capacities than the service's, and what Cloudflare guesses on its 524 page ("an overloaded background task").
NOISE = re.compile(
    r"(?:(?<![\w.-])[\w.-]{1,80}:?)?/[\w./-]{1,300}"
    r"|(?<![\w-])[\w-]{1,80}\.(?:py|go|rs|js|ts|c|cc|cpp|cu|h|java|ya?ml|json|toml)\b"
    r"|'[\w.:-]{1,80}'(?!\s?:)|`[^`]{1,80}`"
    r"|\b(?:context|cache|buffer|disk|storage|token|string|vector|list)[ _]capacity|capacity overflow"
    r"|\ban overloaded|overloaded (?:function|method|operator|constructor)",
    re.IGNORECASE,
)
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

SUBJECT = (
    r"(?:api[ -]?key|key|account|organi[sz]ation|org|user|consumer|customer|tenant|project|team|workspace"
    r"|subscription|plan|tier|ip)(?:'s)?"
)
ACCOUNT_WORDS = re.compile(
    # the LiteLLM proxy says "for api_key: …" and "rate limit type = team", others "for your organization"
    rf"(?<!\w)(?:your|for|in|per|of|by|from|this|type)\W{{1,3}}(?:[\w-]{{1,20}}\W{{1,2}}){{0,2}}(?:{SUBJECT}|token)(?!\w)"
    # "userRateLimitExceeded", "Key limit exceeded", "max organization concurrency"
    rf"|(?<!\w){SUBJECT} (?:\w{{1,20}} ){{0,2}}(?:limit|quota|concurrency|budget)"
    r"|(?<!\w)your (?:[\w-]{1,20} ){0,2}(?:limit|quota|usage|balance|budget|concurrency)"
    r"|(?<!\w)you(?:'ve|'re| are| have| were)(?: \w{1,12}){0,3} (?:rate[ -]limited|exceeded|reached|sent|hit)"
    # the LiteLLM proxy, whose limits are the key's, the user's or the team's
    r"|max parallel request limit|crossed tpm|insufficient quota|budget has been exceeded"
    r"|您(?:的账[户号]|已达到)|(?:用户|令牌|账[户号]).{0,6}(?:限制|频率|并发|额度|请求)|(?:额度|余额)不足",
    re.IGNORECASE,
)
LIMIT_WORDS = re.compile(
    r"limit|quota|exceed|reached|too many|throttl|budget|concurrency|限|过多|频繁|频率|并发|不足", re.IGNORECASE
)

USED_UP = re.compile(
    # OpenAI's code, new-api's "insufficient_user_quota", DeepSeek's "Insufficient Balance"; Chutes; the LiteLLM proxy
    r"insufficient (?:\w{1,20} ){0,2}(?:quota|balance|credits?|funds)|usage cap|budget (?:has been )?exceeded"
    r"|billing (?:hard limit|not active)|(?:额度|余额)(?:已用尽|不足)",
    re.IGNORECASE,
)
OF_MONEY = re.compile(r"\b(?:billing|balance|credits?|payment)\b|额度|余额", re.IGNORECASE)
"""Said of what is used up, but of limits by the minute as well: Google names a time to come back then."""

UPSTREAM = re.compile(r"(?<!\w)upstream(?!\w)|上游", re.IGNORECASE)

UNIT_SECONDS = {
    **dict.fromkeys(("ns", "nanoseconds"), 1e-9),
    **dict.fromkeys(("us", "µs", "μs", "microseconds"), 1e-6),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds", "毫秒"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "second(s)", "秒", "秒钟"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "minute(s)", "分钟"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "hour(s)", "小时"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
UNIT = "|".join(re.escape(name) for name in sorted(UNIT_SECONDS, key=len, reverse=True))
AMOUNT = r"[0-9]{1,12}(?:\.[0-9]{1,12})?"
PART = re.compile(rf"({AMOUNT}) ?({UNIT})(?![a-z])", re.IGNORECASE)
SPAN = rf"(?:{AMOUNT} ?(?:{UNIT})(?![a-z])(?: and)? ?){{1,6}}"
DURATION = re.compile(rf"(?:pt?)?{SPAN}", re.IGNORECASE)
ISO = (
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,12})? ?(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})?"
)
ISO_DATE = re.compile(ISO, re.IGNORECASE)

# Names of headers and of JSON members, in their `_canonical` spelling, that say when to come back.
WAIT_NAME = re.compile(
    rf"(?:^|-)(?P<name>retry-?(?:after|delay|in))(?:-(?P<unit>{UNIT}))?\Z"
    rf"|^(?:resets?-(?:in|at|after)|estimated-time)(?:-(?P<other>{UNIT}))?\Z"
)
PLAIN_RESETS = ("x-rate-limit-reset", "rate-limit-reset")
STRUCTURED = frozenset({"rate-limit", "x-rate-limit"})
LEFT = re.compile(r"(?:^|[;,\s])(?:r|remaining)=(-?[0-9]{1,15})")
UNTIL = re.compile(r"(?:^|[;,\s])(?:t|reset)=([0-9]{1,15})")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "day")
COMMA = re.compile("".join(f"(?<!{end})" for end in WEEKDAYS) + ",", re.IGNORECASE)  # the comma of a date is not one

MEMBER = re.compile(
    r"""["']([A-Za-z0-9_-]{1,80})\\{0,8}["']\s{0,9}:\s{0,9}(?:\[\s{0,9})?"""
    r"""(?:\\{0,8}["']([^"'\\]{1,60})|(-?[0-9][0-9.eE+-]{0,30}))"""
)
"""A member of JSON, cut off, quoted in a string or printed by Python as it may be."""

ASKS = r"(?:try(?:ing)? again|retry(?:ing)?|wait(?:ing)?|available|resets?)(?: (?:your|the|this) request)?"
SAID = (
    # OpenAI, Groq, Azure, Google, Django: "Please try again in 6m0.5s", "retry after 3 seconds", "available in 5 s"
    re.compile(rf"(?<!\w){ASKS}(?:[ -](?:in|after|for|at least|about|another)){{0,3}}\W{{1,3}}({SPAN})", re.IGNORECASE),
    # the LiteLLM proxy: "Limit resets at: 2025-11-01 12:00:00 UTC"
    re.compile(rf"(?<!\w){ASKS}(?: at| on| after)?\W{{1,3}}({ISO})", re.IGNORECASE),
    re.compile(rf"(?<!\w)retry[ -]after\W{{1,3}}({AMOUNT})(?![0-9]|\.[0-9]|\s?[a-z])", re.IGNORECASE),
    re.compile(rf"({SPAN})(?:之|以)?后"),
)


def is_capacity(status: int, headers: Mapping[str, str], text: str) -> bool:
    """Whether an answer says that the gateway is full or the caller too fast.

    429, 503 and 529 do; another 5xx when its words, a code in its body or a header say so (Chutes answers 500
    "exhausted all available targets"), and so do the numbers of `OWN_STATUSES`. 402 is a quota, and a 4xx that merely
    holds the word is not meant. "Out of memory" is no such word: it is a crash or a request that is too large, and
    waiting cures neither; nor is "quota", which no hour brings back.

    Args:
        status: HTTP status code.
        headers: names in lower case.
        text: the beginning of the body.
    """
    if status in FULL_STATUSES:
        return True
    if status < 500 and status not in OWN_STATUSES:
        return False
    if any(value in ("", headers.get(name)) for name, value in FULL_HEADERS.items() if name in headers):
        return True
    said = f"{_beginning(text)} {headers.get('x-amzn-errortype', '')[:VALUE_LIMIT]}"
    if CAPACITY_WORDS.search(_plain(said)):
        return True
    return status in OWN_STATUSES and retry_after(headers, 0.0) is not None


def is_spent(headers: Mapping[str, str], text: str) -> bool:
    """Whether a refusal for capacity is really about a quota or a balance that is used up: waiting does not help.

    Codes and words that can mean nothing else decide; words about money do when no time to come back is named and
    nothing is said to be crowded.

    Args:
        headers: of the refusal, names in lower case.
        text: the beginning of its body.
    """
    plain = _plain(_beginning(text))
    if USED_UP.search(plain):
        return True
    about_money = OF_MONEY.search(plain) and not CROWDED_WORDS.search(plain)
    return bool(about_money) and retry_after(headers, 0.0, text) is None


def is_account_limit(headers: Mapping[str, str], text: str) -> bool:
    """Whether a refusal is about the caller's key or account as a whole, and so holds for each of its models.

    In this order. A used up window says yes. Words about a crowded service or an upstream say no, whatever plan they
    advertise. A limit that names the caller says yes, also when it is that of one model ("for gpt-4o in organization"):
    another key has a limit of its own, and must not wait for this one. A limit that names nobody ("Too many requests")
    says no: the model is full for all.

    Args:
        headers: of the refusal, names in lower case.
        text: the beginning of its body.
    """
    said = _beginning(text)
    plain = _words(said)
    fields = _named(headers.items())
    if _windows_of_caller(fields) or (not UPSTREAM.search(plain) and _windows_of_caller(_named(_members(said)))):
        return True
    if CROWDED_WORDS.search(_plain(said)) or UPSTREAM.search(plain):
        return False
    return bool(LIMIT_WORDS.search(plain) and ACCOUNT_WORDS.search(plain))


def _windows_of_caller(fields: Mapping[str, str]) -> list[str]:
    """The windows used up, without those of a model and those that a proxy passes on from its own provider."""
    return [name for name, _ in _used_up(fields, 0.0) if "model" not in name and not name.startswith("llm-provider-")]


def retry_after(headers: Mapping[str, str], now: float, text: str = "", longest: float = LONGEST_WAIT) -> float | None:
    """Seconds until it is worth asking again, clamped to an hour, or None without a hint.

    Args:
        headers: of the refusal, names in lower case.
        now: seconds since the epoch, for dates.
        text: the beginning of the body, which is asked when the headers give no hint.
        longest: what it is clamped to, for those who only tell it.

    Sources, in this order: any `retry-after` (RFC 9110, section 10.2.3: seconds or a date; fractions, units and `-ms`
    are seen, and prefixes: Azure's `x-ms-`, the LiteLLM proxy's `llm_provider-`); the reset of a rate limit of which
    nothing remains, in every spelling (draft-ietf-httpapi-ratelimit-headers, OpenAI, Anthropic, Kong), the longest of
    several; the same names as members of the body (Google's `retryDelay`, OpenRouter's `metadata.headers`); its words.
    """
    said = _beginning(text)
    for wait in _hints(headers, said, now):
        if wait is not None:
            return min(wait, longest)
    return None


def _hints(headers: Mapping[str, str], text: str, now: float) -> Iterator[float | None]:
    yield _asked(_named(headers.items()), now)
    yield _asked(_named(_members(text)), now)
    for pattern in SAID:
        found = pattern.search(text)
        yield _seconds(found.group(1), now) if found else None


def _asked(fields: Mapping[str, str], now: float) -> float | None:
    """The first wait that is named, the shortest name and the finest unit before others; else the longest reset."""
    for name in sorted(filter(WAIT_NAME.search, fields), key=_rank):
        wait = _longest(fields[name], now, _scale(name))
        if wait is not None:
            return wait
    return max((wait for _, wait in _used_up(fields, now) if wait is not None), default=None)


def _rank(name: str) -> tuple[int, float]:
    unit = _unit(name)
    return len(name.removesuffix(f"-{unit}")), _scale(name)


def _scale(name: str) -> float:
    return UNIT_SECONDS.get(_unit(name), 1.0)


def _unit(name: str) -> str:
    found = WAIT_NAME.search(name)
    return (found.group("unit") or found.group("other") or "") if found else ""


def _used_up(fields: Mapping[str, str], now: float) -> Iterator[tuple[str, float | None]]:
    """The windows of rate limits of which nothing remains, each with the seconds until it is filled again.

    Less than nothing counts only beside a reset: some count below zero, and others say "unlimited" with -1.
    """
    for name, value in fields.items():
        if name in STRUCTURED:
            yield from ((name, wait) for wait in _structured(value, now))
        elif "rate-limit" in name and "remaining" in name:
            left, wait = _least(value), _reset(fields, name, now)
            if left is not None and (left == 0 or (left < 0 and wait is not None)):
                yield name, wait


def _reset(fields: Mapping[str, str], name: str, now: float) -> float | None:
    """The reset that belongs to a `remaining`: of its own name, else the one without a kind (Kong)."""
    own = name.replace("remaining", "reset")
    waits = (_longest(fields.get(each, ""), now) for each in (own, f"{own}-after", *PLAIN_RESETS))
    return next((wait for wait in waits if wait is not None), None)


def _structured(value: str, now: float) -> Iterator[float | None]:
    """The used up windows of `RateLimit: "default";r=0;t=30` (draft 8 on) or `limit=9, remaining=0, reset=5` (7)."""
    for item in [value] if "remaining=" in value else value.split(","):
        left, until = LEFT.search(item), UNTIL.search(item)
        if left and int(left.group(1)) <= 0:
            yield _seconds(until.group(1), now) if until else None


def _least(value: str) -> float | None:
    """The smallest number of a list ("0", "0.0", "0;w=60", "3, 0")."""
    parts = (part.partition(";")[0].strip(" \t\"'") for part in value.split(","))
    return min((float(part) for part in parts if re.fullmatch(rf"-?{AMOUNT}", part)), default=None)


def _named(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names in one spelling, the first of several; values cut."""
    found: dict[str, str] = {}
    for name, value in fields:
        found.setdefault(_canonical(name[:NAME_LIMIT]), value[:VALUE_LIMIT])
    return found


def _canonical(name: str) -> str:
    """`retryAfterMs`, `retry_after_ms` and `Retry-After-Ms` are one name, and so are `RateLimit` and `Rate-Limit`."""
    return CAMEL.sub("-", name).lower().replace("_", "-").replace("ratelimit", "rate-limit")


def _members(text: str) -> Iterator[tuple[str, str]]:
    return ((found.group(1), found.group(2) or found.group(3)) for found in MEMBER.finditer(text))


def _longest(value: str, now: float, scale: float = 1.0) -> float | None:
    """The longest wait of a header that may have been given more than once (repeats are joined with commas)."""
    waits = (_seconds(part, now, scale) for part in COMMA.split(value))
    return max((wait for wait in waits if wait is not None), default=None)


def _seconds(value: str, now: float, scale: float = 1.0) -> float | None:
    """A number of some unit or a moment in epoch time, a duration ("6m0s", "PT5S", "2 seconds"), or a date."""
    text = value.partition(";")[0].strip(" \t\r\n\"'")
    number = _number(text)
    if number is not None:
        return _until(number, now) if scale == 1.0 else number * scale
    if DURATION.fullmatch(text):
        return sum(float(amount) * UNIT_SECONDS[unit.lower()] for amount, unit in PART.findall(text))
    moment = _moment(text)
    return None if moment is None else max(0.0, moment - now)


def _until(number: float, now: float) -> float:
    """What no wait can be, but a moment near now in epoch seconds or milliseconds, is that moment."""
    moments = (number, number / 1000) if number > 1e8 else ()
    return next((max(0.0, moment - now) for moment in moments if abs(moment - now) < YEAR), number)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < 1e15 else None


def _moment(text: str) -> float | None:
    """Epoch seconds of a date as RFC 9110, RFC 850, asctime, RFC 3339 and ISO 8601 write it; without a zone, in UTC."""
    found = ISO_DATE.fullmatch(text)
    try:
        when = _iso(found) if found else parsedate_to_datetime(text)
        return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _iso(found: re.Match[str]) -> datetime:
    """Python 3.10 reads neither "Z" nor fractions of any length."""
    day, time, fraction, zone = found.groups(default="")
    offset = f"{zone[:3]}:{zone[-2:]}" if zone[:1] in ("+", "-") else "+00:00"
    return datetime.fromisoformat(f"{day}T{time}{offset}") + timedelta(seconds=float(fraction or 0))


def _beginning(text: str) -> str:
    """What is looked at of a body, with the escapes that most servers write for everything but ASCII read."""
    return ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), text[:TEXT_LIMIT])


def _plain(text: str) -> str:
    """A text whose codes read as words ("RateLimitError", "rate_limit_error"), without what only looks like words."""
    return _words(NOISE.sub(" ", text))


def _words(text: str) -> str:
    return CAMEL.sub(" ", text).replace("_", " ")
