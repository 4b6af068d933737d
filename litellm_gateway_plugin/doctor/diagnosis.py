"""What is wrong with a gateway, in words, and the line to type next. Pure: from what was seen, nothing is asked.

When chat works with no style, one cause is named: that of the answer that got furthest. `CAUSES` maps its verdict to
the words. `NOTES` are looked at besides, and each adds what it has to say. A new symptom is a new row.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from ..bodies import CHAT, LISTING
from ..catalogue import VISION, Listing, Model, nearest_ids
from ..credentials import BASIC, NONE
from . import next_lines
from .probes import FIREWALL, NO_CONNECTION, WANTS_PASSWORD
from .report import Cell, Check, Diagnosis, Outcome
from .targets import Examined, Target

CODES = (
    *("no-key", "wrong-key", "wrong-base", "html-console", "model-unknown", "name-a-model", "plan-or-quota"),
    *("forbidden", "rejected", "full", "upstream-failed", "timeout", "dns", "refused-connection", "tls"),
    *("check-failed", "not-asked"),
    *("plain-http", "clock-skew", "other-form", "one-style", "public-listing", "no-listing"),
)
"""Every code; the last row's are good to know, the others serious. The troubleshooting page has a section for each."""

SKEWED_S = 300.0
"""Seconds from which two clocks are said to differ: what signed requests usually allow."""

MINUTE_S = 60
UNITS = (("days", 24 * 60 * MINUTE_S), ("hours", 60 * MINUTE_S), ("minutes", MINUTE_S))

FURTHEST = (
    *("proven", "full", "spent", "model", "forbidden", "rejected", "broken", "failed"),
    *("broken-off", "timeout", "style", "base", "tls", "connect"),
)
"""Verdicts by how far into the gateway their request came; what is not here came nowhere. A request that is not
answered where others are refused was let in, and the model behind is slow or breaks down."""

QUOTA = re.compile(
    r"quota|billing|usage cap|\bbalance\b|\bcredits?\b|\bpayment\b|\bplans?\b|\bsubscription\b(?! key)|\btier\b"
    r"|\bupgrade\b|\bsuspended\b|额度|余额",
    re.IGNORECASE,
)
SPENT = re.compile(r"billing|usage cap|insufficient|\bbalance\b|\bcredits?\b|\bpayment\b|额度|余额", re.IGNORECASE)
"""The same for a 4xx that may be about anything."""

LONGEST_SLEEP_S = 300.0
"""Nobody types a longer one."""

WANTS_TLS = re.compile(r"plain http|http request to an https", re.IGNORECASE)
"""How nginx and Go answer http on a port for https."""

ABOUT = 0.1
"""A share of a name: ids in which so much more or less of it is missing are about as near to it."""

LOOKED_AT = re.compile(r"invalid|incorrect|expired|revoked|disabled|unknown", re.IGNORECASE)
"""What refusals say of a key that they have read; to a style that they do not take they say that there is none."""

EXPIRED = re.compile(r"expired|not yet valid", re.IGNORECASE)
ANOTHER_NAME = re.compile(r"hostname|ip address|mismatch|not valid for", re.IGNORECASE)
WANTS_OURS = re.compile(r"alert.{0,40}certificate|certificate required", re.IGNORECASE)
UNKNOWN_ISSUER = re.compile(r"certificate", re.IGNORECASE)
ANYTHING = re.compile("")
PAYMENT_REQUIRED = 402
UNKNOWN_YET = "It says so to every style, so whether the key is right is not known yet."
NO_NAME = "does not resolve"
SIGN_IN = re.compile(r"\bsign(?:ing)?[ -]?(?:in|on)\b|\blog(?:ging)?[ -]?(?:in|on)\b|\bSSO\b", re.IGNORECASE)
OF_A_SERVER = re.compile(
    r"a web page(?:$|: (?:error )?(?:\d{3}\b|unauthori[sz]ed|forbidden|not authori[sz]ed|auth\w+ required))",
    re.IGNORECASE,
)
"""The page with which a web server in front of a gateway refuses a key."""
NO_CONSOLE = frozenset({401, 403})
"""Statuses of pages that may be such a refusal as well."""
NOT_IMPLEMENTED = 501

PLACEHOLDER = (
    r"(?:sk-)?(?:\.{2,}|x{3,}|\*{3,}|(?:your|my)[-_ ]?(?:api[-_ ]?)?(?:key|token)(?:[-_ ]here)?)|<.*>|\[.*\]|\{.*\}"
    r"|(?:api[-_]?)?key|token|secret|change[-_]?me|replace[-_]?me|todo|none|null|undefined"
)
MISTAKES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[\"'`].*|.*[\"'`]"), "It stands in quotation marks, and they are sent with it."),
    (re.compile(r"bearer\s.*", re.IGNORECASE), "It begins with Bearer, which is put before it again: leave that out."),
    (re.compile(r"\$.*"), "It begins with $: that is the name of a variable, and not what the variable holds."),
    (re.compile(PLACEHOLDER, re.IGNORECASE), "It is a placeholder: put the key in its place."),
    (re.compile(r".*\s.*"), "There is a blank inside it."),
)
"""What can be seen of a whole key without asking anybody; the first that fits is told."""

ELSEWHERE = re.compile(r"^a redirect to (https?://[^\s,]+), not followed$")
INTO_THE_BASE = " User and password go into the base, as in https://user:password@host/v1."
BY_PROXY = "the proxy"

OTHER_BASES = ("/v1", "/api/v1", "/openai/v1", "/api/openai/v1")
"""Where gateways commonly live, the commonest first."""

CHECK_KINDS: Mapping[str, str] = {"picture": "vlm", "tools": "tools"}
"""The checks that want a model of their own, and the kind by which its variable is named."""

WITHOUT_A_WORD = "(model_list=...) gave None"
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
TOO_LATE = re.compile(r"no complete answer within|timed out|raise --timeout", re.IGNORECASE)
ADVICE: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"enable-auto-tool-choice"),
        "these are flags of vLLM, `--enable-auto-tool-choice --tool-call-parser ...`, for whoever runs it to set",
    ),
)
"""What to do about words of a server that a check has met."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known of one gateway."""

    examined: Examined
    checks: Sequence[Check]

    @property
    def target(self) -> Target:
        return self.examined.target

    @property
    def base(self) -> str:
        return str(self.target.base)

    @property
    def works(self) -> bool:
        """Whether some style is let in to chat."""
        return bool(self.examined.works_style)

    @property
    def sent(self) -> list[Cell]:
        return [cell for cell in self.examined.cells if cell.outcome is not Outcome.SKIPPED]

    def on(self, surface: str) -> list[Cell]:
        """The cells of a surface for which something was sent."""
        return [cell for cell in self.sent if cell.surface == surface]

    def passing(self, surface: str) -> list[Cell]:
        return [cell for cell in self.on(surface) if cell.outcome is Outcome.PASS]

    @property
    def furthest(self) -> Cell | None:
        """The answer that says most about chat; when no chat was sent, about the listing."""
        asked = self.on(CHAT) or self.on(LISTING)
        return min(asked, key=_tells, default=None)

    @property
    def public_listing(self) -> bool:
        return any(cell.style == NONE for cell in self.passing(LISTING))


def _tells(cell: Cell) -> tuple[int, bool, bool]:
    """How little an answer tells; of several refusals, the one of whoever has looked at the key tells most."""
    return _distance(cell.verdict), cell.toggled, not LOOKED_AT.search(cell.words)


def _distance(verdict: str) -> int:
    return FURTHEST.index(verdict) if verdict in FURTHEST else len(FURTHEST)


def _to_all(case: Case, cell: Cell) -> bool:
    """Whether every style was told the same: then perhaps nobody has looked at the key."""
    told = [each.verdict for each in case.on(CHAT)]
    return len(told) > 1 and set(told) == {cell.verdict}


Cause = Callable[[Case, Cell], Diagnosis]
Note = Callable[[Case], Iterable[Diagnosis]]


def diagnose(examined: Examined, checks: Sequence[Check] = ()) -> tuple[Diagnosis, ...]:
    """What is wrong with a gateway and what is good to know about it, the serious first.

    Args:
        examined: what the matrix has shown.
        checks: what the calls through litellm have shown, if any were made.

    Returns:
        At least one serious diagnosis when chat works with no style; none at all when all is plain.
    """
    case = Case(examined, checks)
    found = [] if case.works else [_cause(case)]
    for note in NOTES:
        found.extend(note(case))
    return tuple(sorted(found, key=lambda each: not each.serious))


def _cause(case: Case) -> Diagnosis:
    """Why chat works with no style."""
    cell = case.furthest
    if cell is None:
        return _unclear(case)
    return _console(case, cell) if _is_page(case, cell) else CAUSES.get(cell.verdict, _rejected)(case, cell)


def _is_page(case: Case, cell: Cell) -> bool:
    """Whether all that came were web pages, and this one is no refusal or failure of a gateway behind a web server."""
    if not all(each.html for each in case.sent if each.status is not None):
        return False
    if cell.status in NO_CONSOLE:
        is_refusal = OF_A_SERVER.match(cell.words) or WANTS_PASSWORD in cell.words
        return not is_refusal
    return cell.status == NOT_IMPLEMENTED or (cell.html and bool(FIREWALL.search(cell.words)))


def _said(cell: Cell) -> str:
    """The status and the gateway's own words, or what failed."""
    status = "" if cell.status is None else f"{cell.status}: "
    return status + (cell.words.rstrip(". ") or "no explanation")


def _serious(code: str, title: str, words: str, next_line: str) -> Diagnosis:
    return Diagnosis(code=code, serious=True, title=title, words=words, next_line=next_line)


def _note(code: str, title: str, words: str, next_line: str = "") -> Diagnosis:
    return Diagnosis(code=code, serious=False, title=title, words=words, next_line=next_line)


# Why chat does not work -----------------------------------------------------------------------------------------------


def _unclear(case: Case) -> Diagnosis:
    words = f"Nothing was sent to {case.base}, so nothing is known about it."
    return _serious("not-asked", "Nothing was asked", words, next_lines.doctor(case.target))


def _key(case: Case, cell: Cell) -> Diagnosis:
    refused = {each.api_base for each in case.on(CHAT) if each.verdict == "style"}
    taken = [each for each in case.on(CHAT) if each.verdict == "base" and each.api_base in refused]
    if case.target.key is not None and taken:
        return _not_this_api(case, taken[0])
    return _no_key(case, cell) if case.target.key is None else _wrong_key(case, cell)


def _not_this_api(case: Case, cell: Cell) -> Diagnosis:
    """The guard refuses other styles and lets this one through; what is behind it is something else."""
    words = (
        f"{cell.api_base} takes the key ({cell.style}), and its answer to chat is none of this API ({_said(cell)}). "
        "The base is the part of the URL before /chat/completions; the gateway's documentation names it."
    )
    return _serious("wrong-base", "It takes the key, and is not this API", words, _another_base(case))


def _no_key(case: Case, cell: Cell) -> Diagnosis:
    words = (
        f"{case.base} wants a key ({_said(cell)}), and none is known for it. "
        "A key goes to the base that it was set for, and to no other."
    )
    words += INTO_THE_BASE if WANTS_PASSWORD in cell.words else ""
    return _serious("no-key", "A key is missing", words, next_lines.export_key(case.target))


def _wrong_key(case: Case, cell: Cell) -> Diagnosis:
    target, refused = case.target, [each for each in case.on(CHAT) if each.verdict == "style"]
    styles = _listed(_styles(refused)) or "the one that was sent"
    owner = f"the key in {target.key_name}" if target.key_name else "the key"
    words = f"{case.base} refuses {owner} in every style that was tried: {styles} ({_said(cell)}). "
    if case.passing(LISTING) and not case.public_listing:
        words += "The listing takes it, so the gateway knows the key: perhaps it may not chat."
    else:
        words += _mistake(target) or "Check that it is complete, still valid, and a key of this gateway."
    words += INTO_THE_BASE if WANTS_PASSWORD in cell.words and not target.base.userinfo else ""
    if not target.base.guarded:
        words += " Over plain http to a public address it was offered in one style only."
    variable = target.base_name if target.base.userinfo and not target.key_name else next_lines.key_variable(target)
    return _serious("wrong-key", "The key is refused", words, next_lines.export(variable))


def _mistake(target: Target) -> str:
    """What is plainly wrong with a key, without a letter of it; user and password may be anything."""
    key = "" if target.named == BASIC else target.key or ""
    return next((words for pattern, words in MISTAKES if pattern.fullmatch(key)), "")


def _no_route(case: Case, cell: Cell) -> Diagnosis:
    moved = [each for each in case.on(CHAT) if each.verdict == "base" and ELSEWHERE.match(each.words)]
    if moved:
        return _moved(case, moved[0])
    pages = [each for each in case.sent if each.html and each.verdict == "base" and (each.status or 0) < 400]
    return _console(case, pages[0]) if pages else _wrong_base(case, cell)


def _moved(case: Case, cell: Cell) -> Diagnosis:
    """A redirect to another origin; the key is named in the next line only for the same host."""
    target, found = case.target, ELSEWHERE.match(cell.words)
    origin = found.group(1) if found else ""
    same = urlsplit(origin).hostname == urlsplit(target.base.origin).hostname
    words = (
        f"{cell.api_base} answers with {cell.words}, because a key goes to no other origin. If that is the gateway's "
        "own address, make it the base."
    )
    line = next_lines.doctor(target if same else replace(target, key_name=None), origin + target.base.path)
    return _serious("wrong-base", "It is at another address", words, line)


def _console(case: Case, page: Cell) -> Diagnosis:
    kind = next(kind for pattern, kind in PAGES if pattern.search(page.words))
    words = (
        f"{page.api_base} answers with {page.words or 'a web page'}{_status(page)}. {kind} The base of the API is "
        "another one, often the same host with /api/v1 or a host that begins with api; its documentation names it, as "
        "the part of the URL before /chat/completions."
    )
    return _serious("html-console", "A web page instead of an API", words, _another_base(case))


def _status(cell: Cell) -> str:
    return f" ({cell.status})" if (cell.status or 0) >= 400 else ""


PAGES: tuple[tuple[re.Pattern[str], str], ...] = (
    (FIREWALL, "A firewall's page stands in front and lets no program through: ask whoever runs the gateway."),
    (SIGN_IN, "That is a sign-in page for people, which no key opens."),
    (ANYTHING, "That is an address for people, such as a console, and no API."),
)
"""What kind of page it is, by its words."""


def _wrong_base(case: Case, cell: Cell) -> Diagnosis:
    forms = dict.fromkeys(each.api_base for each in case.on(CHAT))
    words = f"There is no chat at {_either(forms)} ({_said(cell)}). "
    listed = dict.fromkeys(each.api_base for each in case.passing(LISTING))
    if listed:
        words += f"A listing is at {_either(listed)}, so the host is right: perhaps it serves no chat, or elsewhere"
        words += (
            "." if case.target.models.text else f", or {case.examined.models.text!r} is no model for chat: name one."
        )
    else:
        words += "The base is the part of the URL before /chat/completions; the gateway's documentation names it."
    line = next_lines.models(case.target) if listed else _another_base(case)
    return _serious("wrong-base", "No such API at this base", words, line)


def _another_base(case: Case) -> str:
    """The doctor's own line for the commonest base that was not asked yet."""
    base = case.target.base
    asked = {base.form(False), base.form(True)}
    others = (base.origin + path for path in OTHER_BASES)
    return next_lines.doctor(case.target, next(each for each in others if each not in asked))


def _model(case: Case, cell: Cell) -> Diagnosis:
    if not case.examined.models.text:
        return _name_a_model(case, cell)
    model, listing = case.examined.models.text, case.examined.listing
    ids = () if listing is None else listing.ids
    chat = [] if listing is None else [each.id for each in listing if each.may_chat and each.id != model]
    nearest = [] if listing is None else _nearest(model, listing)
    words = f"{case.base} lets the credential in ({cell.style}) and does not know the model {model!r} ({_said(cell)}). "
    if model in ids:
        words += "It lists this id all the same: the model may be down for now."
    elif nearest:
        words += f"Did you mean {_either(map(repr, nearest))}?"
    elif chat:
        words += f"Nothing like it is listed; the first of {len(ids)} ids: {', '.join(map(repr, chat[:3]))}."
    else:
        words += "It has no listing to compare with: look the id up in its documentation."
    other = (nearest or chat or [""])[0]
    title = "The model is unknown"
    return _serious("model-unknown", title, words, next_lines.name_model(case.target, model=other))


def _nearest(model: str, listing: Listing) -> list[str]:
    """The listed ids for chat that look most like a model for text; of those about as near, one that sees is last."""
    found = [listing[name] for name in nearest_ids(model, listing.ids) if listing[name].may_chat and name != model]

    def missing(each: Model) -> float:
        """How much of what was asked for is not in its name; an id may go on where people stop."""
        one, other = (name.rpartition("/")[2].lower() for name in (model, each.id))
        same = sum(block.size for block in difflib.SequenceMatcher(None, one, other).get_matching_blocks())
        return 1 - same / max(1, len(one)) + ABOUT * (each.can(VISION) is True)

    return [each.id for each in sorted(found, key=missing)]


def _name_a_model(case: Case, cell: Cell) -> Diagnosis:
    words = (
        f"{case.base} lets the credential in ({cell.style}) and wants the id of a model. None is named, and none for "
        f"chat is listed. Look an id up in the gateway's documentation."
    )
    return _serious("name-a-model", "Name a model", words, next_lines.name_model(case.target))


def _forbidden(case: Case, cell: Cell) -> Diagnosis:
    if QUOTA.search(cell.words):
        return _plan(case, cell)
    words = (
        f"{cell.api_base} refuses the request ({_said(cell)}), and not because of the credential: another style would "
        "not help. Ask whoever runs it what this key may do, or name another model."
    )
    return _by_hand("forbidden", "The request is forbidden", words, case, cell)


def _plan(case: Case, cell: Cell) -> Diagnosis:
    unknown = _to_all(case, cell) or cell.style == NONE
    seen = "says" if unknown else f"lets the credential in ({cell.style}), and says"
    words = (
        f"{cell.api_base} {seen} that the account may not go on ({_said(cell)}). Its quota, plan or balance has to be "
        "looked at in the gateway's console; waiting a moment does not help."
    )
    words += f" {UNKNOWN_YET}" if unknown and cell.style != NONE else ""
    return _serious("plan-or-quota", "The plan or the quota does not allow it", words, "")


def _rejected(case: Case, cell: Cell) -> Diagnosis:
    if cell.status == PAYMENT_REQUIRED or SPENT.search(cell.words):
        return _plan(case, cell)
    if WANTS_TLS.search(cell.words):
        words = f"{case.base} is a port for https ({_said(cell)}). Write https:// in the base."
        return _serious("tls", "It speaks https", words, next_lines.doctor(case.target, _with_tls(case.base)))
    words = (
        f"{cell.api_base} rejects a plain chat request of one word ({_said(cell)}). Perhaps this model wants other "
        "parameters, or is not one for chat: name another one."
    )
    return _by_hand("rejected", "The request is rejected", words, case, cell)


def _failed(case: Case, cell: Cell) -> Diagnosis:
    if all(each.verdict == "broken-off" for each in case.sent):
        return _no_http(case, cell)
    what = "broke the connection off" if cell.status is None else "failed"
    words = (
        f"{cell.api_base} {what} ({_said(cell)}). The fault is there and not in your settings: try again in a minute, "
        "try another model, or tell whoever runs it."
    )
    return _by_hand("upstream-failed", "The gateway failed", words, case, cell)


def _no_http(case: Case, cell: Cell) -> Diagnosis:
    """Nothing was ever answered: what listens there is perhaps no gateway, or speaks TLS."""
    words = (
        f"{case.base} broke the connection off each time ({_said(cell)}). Check scheme, host and port: perhaps it "
        "speaks https, perhaps it is something else that listens there, or a proxy or a firewall stands between."
    )
    target = case.target
    is_secure = case.base.startswith("https://")
    line = next_lines.certificate(target) if is_secure else next_lines.doctor(target, _with_tls(case.base))
    return _serious("upstream-failed", "No answer in HTTP", words, line)


def _with_tls(base: str) -> str:
    return base.replace("http://", "https://", 1)


def _full(case: Case, cell: Cell) -> Diagnosis:
    return _is_full(case, _said(cell), cell.retry_after_s, f"{UNKNOWN_YET} " if _to_all(case, cell) else "")


def _is_full(case: Case, said: str, wait: float | None, more: str = "") -> Diagnosis:
    when = "It does not say for how long." if wait is None else f"It asks to wait {math.ceil(wait)} s."
    text = f"{case.base} is full ({said}). {when} {more}Calls through the plugin wait by themselves."
    before = "" if wait is None or wait > LONGEST_SLEEP_S else f"sleep {math.ceil(wait)} && "
    return _serious("full", "The gateway is full", text, before + next_lines.doctor(case.target))


def _timeout(case: Case, cell: Cell) -> Diagnosis:
    seen = cell.words.rstrip(". ")
    plain = ", or it speaks plain http" if case.base.startswith("https://") and case.target.base.private else ""
    words = f"{seen}. It is slow, or a firewall or a proxy swallows the request{plain}. "
    words += "The next line gives it a minute."
    return _serious("timeout", "No answer in time", words, next_lines.doctor(case.target, "", "--timeout", "60"))


def _connect(case: Case, cell: Cell) -> Diagnosis:
    host = urlsplit(case.target.base.origin).hostname or ""
    if NO_NAME in cell.words:
        words = (
            f"The name {host} is not known to this machine. Check its spelling; inside a company, check VPN and DNS."
        )
        return _serious("dns", "The name does not resolve", words, next_lines.resolve(host))
    if NO_CONNECTION in cell.words:
        words = (
            f"{cell.words.rstrip('. ')}. Nothing answers at this address: check host and port; perhaps a firewall "
            "swallows what is sent, or a VPN is missing. The next line gives it longer."
        )
        return _serious(
            "timeout", "No connection in time", words, next_lines.doctor(case.target, "", "--timeout", "60")
        )
    if BY_PROXY in cell.words:
        words = f"{cell.words.rstrip('. ')}. Check HTTPS_PROXY and HTTP_PROXY; the next line goes past the proxy."
        return _serious("refused-connection", "The proxy does not connect", words, next_lines.past_proxy(host))
    words = f"{cell.words.rstrip('. ')}. Check host and port, and that the gateway runs."
    return _serious("refused-connection", "Nothing listens there", words, "")


def _tls(case: Case, cell: Cell) -> Diagnosis:
    advice, next_line = next(
        (advice, line(case.target)) for pattern, advice, line in CERTIFICATES if pattern.search(cell.words)
    )
    return _serious("tls", "TLS fails", f"{cell.words.rstrip('. ')}. {advice}", next_line)


def _plain_form(target: Target) -> str:
    plain = str(target.base).replace("https://", "http://", 1)
    return next_lines.doctor(target, plain) if target.base.private else next_lines.certificate(target)


OUT_OF_DATE = """Its dates do not fit: the gateway has to renew the certificate, or the clock here is wrong. \
The next line shows the time here, in UTC."""
OTHER_NAME = "The certificate is for another name: use the name that it holds. The next line shows it."
NOT_KNOWN = """Whoever signed it is not known here. If it is your own authority, name its file: SSL_CERT_FILE is read \
by litellm and by the plugin."""
YOURS = "The gateway wants a certificate of yours: SSL_CERTIFICATE names a PEM file with certificate and key."
PERHAPS_PLAIN = """Perhaps this port speaks plain http, or a proxy stands between. The next line asks without TLS if \
the address is a private one, and else shows what the port presents."""

CERTIFICATES: tuple[tuple[re.Pattern[str], str, Callable[[Target], str]], ...] = (
    (EXPIRED, OUT_OF_DATE, lambda target: "date -u"),
    (ANOTHER_NAME, OTHER_NAME, next_lines.certificate),
    (WANTS_OURS, YOURS, lambda target: next_lines.export("SSL_CERTIFICATE", "/path/to/your-client.pem")),
    (UNKNOWN_ISSUER, NOT_KNOWN, lambda target: next_lines.export("SSL_CERT_FILE", "/path/to/your-ca.pem")),
    (ANYTHING, PERHAPS_PLAIN, _plain_form),
)
"""What a failure of TLS says, the advice, the next line; the last row is for all others."""

CAUSES: Mapping[str, Cause] = {
    "full": _full,
    "spent": _plan,
    "model": _model,
    "forbidden": _forbidden,
    "rejected": _rejected,
    "broken": _failed,
    "failed": _failed,
    "broken-off": _failed,
    "style": _key,
    "base": _no_route,
    "timeout": _timeout,
    "tls": _tls,
    "connect": _connect,
}
"""By the verdict that got furthest. A chat that is full counts as working, and `_full` is a note then."""


# What is to be known besides ------------------------------------------------------------------------------------------


def _chat_is_full(case: Case) -> Iterator[Diagnosis]:
    """Every style that was let in was told to come back; or a later call was."""
    cell = case.furthest
    if case.works and cell is not None and cell.verdict == "full":
        yield _full(case, cell)
        return
    full = [check for check in case.checks if check.outcome is Outcome.CAPACITY]
    if full:
        waits = [check.retry_after_s for check in full if check.retry_after_s is not None]
        said = f"seen by {_listed(check.name for check in full)}"
        yield _is_full(case, said, max(waits, default=None))


def _checks_failed(case: Case) -> Iterator[Diagnosis]:
    failed = [check for check in case.checks if check.outcome is Outcome.FAIL] if case.works else []
    groups: dict[str, list[Check]] = {}
    for check in failed:
        groups.setdefault(_reason(check, failed), []).append(check)
    for check, *others in groups.values():
        model = f" with {check.model}" if check.model else ""
        reason = check.words.rstrip(". ") or "no reason was given"
        hint = next((f" What to do: {say}." for say in (_advice(check), check.hint.rstrip(". ")) if say), "")
        names = [check.name, *(each.name for each in others)]
        if others:
            words, title = f"{_listed(names)}{model} fail for the same reason", f"{len(names)} checks fail"
        else:
            words, title = f"the check {check.name!r}{model} fails", f"The check {check.name!r} fails"
        yield _serious("check-failed", title, f"Chat works, and {words}: {reason}.{hint}", _after_check(case, check))


def _reason(check: Check, failed: Sequence[Check]) -> str:
    """By what checks are told to fail alike: their words, but for what a model says, which differs each time.

    A list of models fails without a word of why: then it is as its plain call, when that has failed too.
    """
    plain = next((each for each in failed if each.name == "direct_json"), check)
    return QUOTED.sub("", (plain if WITHOUT_A_WORD in check.words else check).words)


def _advice(check: Check) -> str:
    return next((advice for pattern, advice in ADVICE if pattern.search(check.words)), "")


def _after_check(case: Case, check: Check) -> str:
    target, examined = case.target, case.examined
    if check.name == "stream" and not next_lines.holds_secret(target):
        return next_lines.curl_chat(examined, examined.works_style, examined.works_base, stream=True)
    if TOO_LATE.search(f"{check.words} {check.hint}"):
        return next_lines.doctor(target, "", "--timeout", "60")
    kind = CHECK_KINDS.get(check.name)
    unlisted = case.on(LISTING) and case.examined.listing is None
    if kind or unlisted:
        return next_lines.name_model(case.target, kind or "text")
    return next_lines.models(case.target)


def _clock(case: Case) -> Iterator[Diagnosis]:
    skews = sorted(cell.skew_s for cell in case.sent if cell.skew_s is not None)
    skew = skews[len(skews) // 2] if skews else 0.0
    if abs(skew) > SKEWED_S:
        gap = f"{_span(abs(skew))} {'ahead of' if skew > 0 else 'behind'}"
        words = (
            f"The gateway's clock is {gap} that of this machine, so one of them is wrong. Certificates, signed "
            "requests and times to come back depend on it. The next line shows the time here, in UTC."
        )
        yield _note("clock-skew", "The clocks differ", words, "date -u")


def _span(seconds: float) -> str:
    """A time in the unit in which people say it."""
    name, unit = next((name, unit) for name, unit in UNITS if seconds >= 2 * unit or unit == MINUTE_S)
    return f"{seconds / unit:.0f} {name}"


def _style_of_its_own(case: Case) -> Iterator[Diagnosis]:
    """Which styles chat takes, when it refuses some; a listing that takes another one misleads people.

    A gateway that serves nothing just now may say that it is full before it looks at the key: that shows no style.
    """
    taken = _styles(cell for cell in case.on(CHAT) if cell.outcome in (Outcome.PASS, Outcome.CAPACITY))
    refused = [name for name in _styles(case.on(CHAT), "style") if name not in (*taken, NONE)]
    if not case.passing(CHAT) or not refused:
        return
    misleading = [name for name in refused if name in _styles(case.passing(LISTING))]
    plain = [name for name in refused if name not in misleading]
    parts = [f"chat takes {_listed(taken)}"]
    if misleading:
        verb, is_refused = ("works", "is refused") if len(misleading) == 1 else ("work", "are refused")
        parts.append(f"{_listed(misleading)} {verb} for the listing but {is_refused} on chat")
    if plain:
        parts.append(f"{_listed(plain)} {'is' if len(plain) == 1 else 'are'} refused")
    words = f"Seen here: {'; '.join(parts)}. The plugin finds that out by itself."
    yield _note("one-style", "Not every style is taken", words)


def _listing_is_public(case: Case) -> Iterator[Diagnosis]:
    if case.public_listing and case.target.key is not None and case.works and case.examined.works_style != NONE:
        words = "The listing is given to everybody, without a key. That it is readable says nothing about yours."
        yield _note("public-listing", "The listing is public", words)


def _nothing_listed(case: Case) -> Iterator[Diagnosis]:
    if case.works and case.on(LISTING) and case.examined.listing is None:
        reason = min(case.on(LISTING), key=lambda cell: _distance(cell.verdict))
        if reason.verdict == "full":  # there may be one later
            return
        words = (
            f"There is no listing that can be read ({_said(reason)}). Chat works with the id "
            f"{case.examined.models.text!r}; each call has to name one, and nothing can be chosen for you."
        )
        yield _note("no-listing", "No listing", words, _name_what_works(case))


def _lists_nothing(case: Case) -> Iterator[Diagnosis]:
    listing, model = case.examined.listing, case.examined.models.text
    if case.works and listing is not None and not listing:
        words = f"It has a listing, and no model is in it. Chat works with the id {model!r}; each call has to name one."
        yield _note("no-listing", "It lists no models", words, _name_what_works(case))


def _name_what_works(case: Case) -> str:
    """Names the id with which chat works, where the operator has named none."""
    return "" if case.target.models.text else next_lines.name_model(case.target, model=case.examined.models.text)


def _without_tls(case: Case) -> Iterator[Diagnosis]:
    target = case.target
    if target.key is not None and not target.base.guarded:
        words = (
            "The key travels over plain http to a public address, where anybody on the way can read it. It was sent "
            f"to {case.base} in one style only. Use https if the gateway has it."
        )
        host = urlsplit(target.base.origin).hostname or ""
        secure = f"https://{f'[{host}]' if ':' in host else host}{target.base.path}"
        yield _note("plain-http", "The key is not encrypted", words, next_lines.doctor(target, secure))


def _on_the_other_form(case: Case) -> Iterator[Diagnosis]:
    works = case.examined.works_base
    if case.works and works != case.base:
        words = (
            f"Chat is at {works} and not at {case.base}. The plugin finds it by itself; with the base below it has "
            "nothing to find."
        )
        line = "" if next_lines.holds_secret(case.target) else _at(case.target, works)
        yield _note("other-form", "It lives at the other form of the base", words, line)


def _at(target: Target, base: str) -> str:
    """Names this base from now on: where it is named, in the environment or on the command line."""
    return next_lines.export(target.base_name, base) if target.configured else next_lines.doctor(target, base)


NOTES: tuple[Note, ...] = (
    _chat_is_full,
    _checks_failed,
    _without_tls,
    _clock,
    _on_the_other_form,
    _style_of_its_own,
    _listing_is_public,
    _nothing_listed,
    _lists_nothing,
)


def _by_hand(code: str, title: str, words: str, case: Case, cell: Cell) -> Diagnosis:
    """With the call by hand. Not of a base that holds a secret: none may be in it, and its variable ends in it."""
    if next_lines.holds_secret(case.target):
        return _serious(code, title, words, next_lines.doctor(case.target))
    words += " The next line is the same request without the plugin, to send to whoever runs it."
    return _serious(code, title, words, next_lines.curl_chat(case.examined, cell.style, cell.api_base))


def _styles(cells: Iterable[Cell], verdict: str = "") -> list[str]:
    """The styles of cells, each once; of those with a verdict, when one is given."""
    return list(dict.fromkeys(cell.style for cell in cells if verdict in ("", cell.verdict)))


def _listed(names: Iterable[str]) -> str:
    *first, last = [*names] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)
