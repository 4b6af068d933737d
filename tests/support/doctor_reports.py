"""Made-up reports of the doctor, for the tests of what is printed: each looks like a run against a real gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from litellm_gateway_plugin.doctor.report import (
    Cell,
    Check,
    Diagnosis,
    DoctorReport,
    Exit,
    GatewayReport,
    Outcome,
    Snippets,
)

PASS, FAIL, CAPACITY, SKIPPED = Outcome.PASS, Outcome.FAIL, Outcome.CAPACITY, Outcome.SKIPPED
LISTING: Literal["models"] = "models"
CHAT: Literal["chat/completions"] = "chat/completions"
TEXT, VLM = "Qwen/Qwen3-235B-A22B-Instruct-2507", "Qwen/Qwen3-VL-235B-A22B-Instruct"


@dataclass(frozen=True)
class Forms:
    """Makes the cells of one gateway, whose base was given with or without `/v1`."""

    given: str
    other: str

    def cell(
        self,
        surface: Literal["models", "chat/completions"],
        style: str,
        status: int | None,
        outcome: Outcome,
        *,
        other: bool = False,
        **more: Any,
    ) -> Cell:
        base = self.other if other else self.given
        return Cell(
            surface=surface,
            style=style,
            api_base=base,
            toggled=other,
            outcome=outcome,
            status=status,
            **{"seconds": 0.08, **more},
        )


def snippets(base: str, key_name: str | None, model: str) -> Snippets:
    key = f'os.environ["{key_name}"]' if key_name else '"none"'
    return Snippets(
        python=f"""\
import os

import litellm
import litellm_gateway_plugin

litellm_gateway_plugin.install()

response = litellm.completion(
    model={model!r},
    messages=[{{"role": "user", "content": 'Return only {{"ok":true}} as JSON.'}}],
    response_format={{"type": "json_object"}},
    api_base="{base}",
    api_key={key},
)
print(response.choices[0].message.content)
""",
        model_list=f"""\
model_list = [
    {{
        "model_name": "text",
        "litellm_params": {{"model": {"gateway/" + model!r}, "api_base": "{base}", "api_key": {key}}},
    }},
]
""",
        config=f"""\
model_list:
  - model_name: text
    litellm_params:
      model: "gateway/{model}"
      api_base: "{base}"
      api_key: "os.environ/{key_name}"
litellm_settings:
  callbacks: ["litellm_gateway_plugin.callback"]
""",
    )


INSTALLATION = (
    Check(name="litellm_version", outcome=PASS, words="1.106.2"),
    Check(name="provider", outcome=PASS, words="gateway/ is known to litellm", seconds=0.31),
    Check(name="loopback_call", outcome=PASS, words="served after 2 refusals", seconds=0.12, requests=3),
)


def checks(**replaced: Check) -> tuple[Check, ...]:
    """Eight checks that went well, but for those named."""
    usual = {
        "direct_json": Check(
            name="direct_json", outcome=PASS, model=TEXT, words='{"ok":true}', seconds=0.21, requests=1
        ),
        "stream": Check(name="stream", outcome=PASS, model=TEXT, words="14 chunks", seconds=0.4, first_token_s=0.12),
        "tools": Check(name="tools", outcome=PASS, model=TEXT, words="called get_weather", seconds=0.35, requests=1),
        "picture": Check(name="picture", outcome=PASS, model=VLM, words="red", seconds=1.42, requests=1),
        "embeddings": Check(
            name="embeddings",
            outcome=SKIPPED,
            words="no embedding model is listed",
            hint="name one with --embedding-model",
        ),
        "router": Check(name="router", outcome=PASS, model=TEXT, words='{"ok":true}', seconds=0.22, requests=1),
        "parallel": Check(name="parallel", outcome=PASS, model=TEXT, served="2/2", seconds=0.29, requests=2),
        "model_list": Check(name="model_list", outcome=PASS, model=TEXT, words='{"ok":true}', seconds=0.2, requests=1),
    }
    return tuple({**usual, **replaced}.values())


def skipped_checks(words: str) -> tuple[Check, ...]:
    """Eight checks that were not made, all for one reason."""
    return tuple(Check(name=check.name, outcome=SKIPPED, words=words) for check in checks())


def report(*gateways: GatewayReport, status: Exit, installation: tuple[Check, ...] = INSTALLATION) -> DoctorReport:
    return DoctorReport(
        plugin_version="0.5.0",
        litellm_version="1.106.2",
        python_version="3.11.9",
        started_at="2026-03-14T09:26:53Z",
        seconds=3.21,
        requests_announced=20 * max(1, len(gateways)),
        exit_status=status,
        gateways=gateways,
        installation=installation,
    )


def good_gateway(host: str = "llm.example.com", number: int = 0) -> GatewayReport:
    """All is well; only the other form of the base is not there."""
    base = f"https://{host}/v1"
    at = Forms(base, f"https://{host}")
    key = f"LITELLM_GATEWAY_API_KEY_{number}" if number else "LITELLM_GATEWAY_API_KEY"
    return GatewayReport(
        label=base,
        api_base=base,
        key_name=key,
        model=TEXT,
        vlm_model=VLM,
        tools_model=TEXT,
        listed=31,
        works_base=base,
        works_style="bearer",
        outcome=PASS,
        matrix=(
            at.cell(LISTING, "bearer", 200, PASS, verdict="proven"),
            at.cell(LISTING, "x-api-key", 200, PASS, verdict="proven"),
            at.cell(LISTING, "none", 401, FAIL, verdict="style", words="No API key was given."),
            at.cell(CHAT, "bearer", 200, PASS, verdict="proven", seconds=0.19),
            at.cell(CHAT, "x-api-key", 200, PASS, verdict="proven", seconds=0.2),
            at.cell(LISTING, "bearer", 404, FAIL, other=True, verdict="base", words="Not Found"),
            at.cell(CHAT, "bearer", 404, FAIL, other=True, verdict="base", words="Not Found"),
        ),
        checks=checks(),
        snippets=snippets(base, key, TEXT),
    )


def chutes_gateway() -> GatewayReport:
    """Chat takes Bearer and refuses x-api-key, and a raw key is let in and told to wait; no picture model is named."""
    base = "https://llm.chutes.example/v1"
    at = Forms(base, "https://llm.chutes.example")
    refused = "Invalid or missing credentials"
    return GatewayReport(
        label=base,
        api_base=base,
        key_name="CHUTES_API_KEY",
        model=TEXT,
        listed=58,
        works_base=base,
        works_style="bearer",
        outcome=PASS,
        matrix=(
            at.cell(LISTING, "bearer", 200, PASS, verdict="proven"),
            at.cell(LISTING, "x-api-key", 200, PASS, verdict="proven"),
            at.cell(LISTING, "raw", 200, PASS, verdict="proven"),
            at.cell(CHAT, "bearer", 200, PASS, verdict="proven", seconds=0.41),
            at.cell(CHAT, "x-api-key", 401, FAIL, verdict="style", words=refused),
            at.cell(
                CHAT,
                "raw",
                429,
                CAPACITY,
                verdict="full",
                words="Infrastructure is at maximum capacity",
                retry_after_s=1,
            ),
            at.cell(LISTING, "bearer", 404, FAIL, other=True, verdict="base", words="Not Found"),
            at.cell(CHAT, "bearer", 404, FAIL, other=True, verdict="base", words="Not Found"),
        ),
        checks=checks(
            picture=Check(name="picture", outcome=SKIPPED, words="no model is named", hint="set CHUTES_VLM_MODEL"),
        ),
        diagnoses=(
            Diagnosis(
                code="style-per-surface",
                serious=False,
                title="Listing and chat differ.",
                words="The listing takes every style; chat refuses x-api-key.",
            ),
        ),
        snippets=snippets(base, "CHUTES_API_KEY", TEXT),
    )


def wrong_key_gateway() -> GatewayReport:
    """Every style is refused."""
    base = "https://llm.example.com/v1"
    at = Forms(base, "https://llm.example.com")
    words = "Incorrect API key provided: [key]."
    return GatewayReport(
        label=base,
        api_base=base,
        key_name="LITELLM_GATEWAY_API_KEY",
        model=TEXT,
        outcome=FAIL,
        matrix=(
            *(
                at.cell(LISTING, style, 401, FAIL, verdict="style", words=words)
                for style in ("bearer", "x-api-key", "raw")
            ),
            *(
                at.cell(CHAT, style, 401, FAIL, verdict="style", words=words)
                for style in ("bearer", "x-api-key", "raw")
            ),
            at.cell(CHAT, "bearer", 404, FAIL, other=True, verdict="base", words="Not Found"),
        ),
        checks=(
            Check(
                name="direct_json",
                outcome=FAIL,
                model=TEXT,
                words="AuthenticationError: every style was refused",
                seconds=0.21,
                requests=3,
            ),
            *(Check(name=check.name, outcome=SKIPPED, words="chat does not work") for check in checks()[1:]),
        ),
        diagnoses=(
            Diagnosis(
                code="wrong-key",
                serious=True,
                title="The key is wrong",
                words="The gateway refused it in every style: bearer, x-api-key, raw. It said: " + words,
                next_line='export LITELLM_GATEWAY_API_KEY="the key from your account page" && litellm-gateway doctor',
            ),
        ),
    )


def full_gateway() -> GatewayReport:
    """It is reachable, and full."""
    base = "https://eu.llm.example.com/v1"
    at = Forms(base, "https://eu.llm.example.com")
    words = "All instances are busy; try again later."
    return GatewayReport(
        label=base,
        api_base=base,
        key_name="LITELLM_GATEWAY_API_KEY_1",
        model=TEXT,
        listed=4,
        works_base=base,
        works_style="bearer",
        outcome=CAPACITY,
        matrix=(
            at.cell(LISTING, "bearer", 200, PASS, verdict="proven"),
            at.cell(CHAT, "bearer", 503, CAPACITY, verdict="full", words=words, retry_after_s=2.5),
            at.cell(CHAT, "x-api-key", 503, CAPACITY, verdict="full", words=words),
        ),
        checks=(
            Check(
                name="direct_json",
                outcome=CAPACITY,
                model=TEXT,
                words=words,
                seconds=0.1,
                requests=1,
                retry_after_s=2.5,
            ),
            *(Check(name=check.name, outcome=SKIPPED, words="the gateway is full") for check in checks()[1:]),
        ),
        diagnoses=(
            Diagnosis(
                code="full",
                serious=True,
                title="The gateway is full",
                words="It let the key in and asks to come back in 2.5 s. Nothing is wrong with your setup.",
                next_line="sleep 3; litellm-gateway doctor https://eu.llm.example.com/v1",
            ),
        ),
        snippets=snippets(base, "LITELLM_GATEWAY_API_KEY_1", TEXT),
    )


def console_gateway() -> GatewayReport:
    """The base is that of the web console, and every answer is a page."""
    base = "https://console.example.com"
    at = Forms(base, "https://console.example.com/v1")
    page: dict[str, Any] = {"verdict": "base", "words": "Example Console — Sign in", "html": True}
    return GatewayReport(
        label=base,
        api_base=base,
        key_name=None,
        outcome=FAIL,
        matrix=(
            at.cell(LISTING, "none", 200, FAIL, **page),
            at.cell(CHAT, "none", 405, FAIL, **page),
            at.cell(LISTING, "none", 200, FAIL, other=True, **page),
            at.cell(
                CHAT,
                "none",
                None,
                FAIL,
                other=True,
                verdict="broken-off",
                words="the connection was closed",
                seconds=0.0,
            ),
        ),
        checks=skipped_checks("chat does not work"),
        diagnoses=(
            Diagnosis(
                code="html-console",
                serious=True,
                title="This is a web page and no API",
                words="Both forms of the base answer with a page: “Example Console — Sign in”. The API "
                "usually lives on another host.",
                next_line="litellm-gateway doctor https://api.example.com/v1",
            ),
            Diagnosis(code="no-key", serious=False, title="No key is set", words="None is in LITELLM_GATEWAY_API_KEY."),
        ),
    )


LONG_ID = "acme-research/" + "-".join(["mixture-of-a-great-many-experts"] * 6) + "-Instruct-FP8-dynamic"
LONG_WORD = "0123456789abcdef" * 16


def long_gateway() -> GatewayReport:
    """Ids, hosts, header names and words that are longer than a terminal is wide."""
    host = ".".join(["a-rather-long-subdomain"] * 5) + ".example.com"
    base, other = f"https://{host}/gateway/tenants/4711/openai/v1", f"https://{host}/gateway/tenants/4711/openai"
    at = Forms(base, other)
    return GatewayReport(
        label=base,
        api_base=base,
        key_name="LITELLM_GATEWAY_API_KEY_17",
        model=LONG_ID,
        listed=12345,
        works_base=base,
        works_style="x-acme-corporation-subscription-token",
        outcome=FAIL,
        matrix=(
            at.cell(LISTING, "bearer", 200, PASS, verdict="proven"),
            at.cell(CHAT, "bearer", 401, FAIL, verdict="style", words="Refused. " + "Please read the manual. " * 12),
            at.cell(CHAT, "x-acme-corporation-subscription-token", 200, PASS, verdict="proven", seconds=59.9),
            at.cell(CHAT, "bearer", 500, FAIL, other=True, verdict="failed", words=LONG_WORD),
            at.cell(CHAT, "raw", 429, CAPACITY, other=True, verdict="full", retry_after_s=86400),
        ),
        checks=checks(
            direct_json=Check(
                name="direct_json", outcome=PASS, model=LONG_ID, words=LONG_WORD, seconds=123.456, requests=4
            ),
            stream=Check(
                name="stream", outcome=FAIL, model=LONG_ID, words=LONG_WORD, seconds=600.0, first_token_s=599.9
            ),
        ),
        diagnoses=(
            Diagnosis(
                code="slow",
                serious=True,
                title="It is slow",
                words="A call took 123 s. " * 10 + LONG_WORD,
                next_line=f"litellm-gateway doctor {base} --model {LONG_ID} --timeout 900",
            ),
        ),
        snippets=snippets(base, "LITELLM_GATEWAY_API_KEY_17", LONG_ID),
    )


HOSTILE = (
    "[bold red]owned[/] [/] [link=https://evil.example]x[/link] :smile: \x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J "
    "</script></pre></td></table><script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)> "
    "\" onmouseover='x' &lt; &amp; <!-- ]]> {{7*7}} \r\nRESULT PASS exit=0\x00\x08\u202e\u2028 额度不足 😀"
)
"""What a hostile gateway may say: markup of rich and of HTML, control characters, new lines, right-to-left marks."""


def hostile_gateway() -> GatewayReport:
    """Everything that a gateway or its operator can name is hostile."""
    base = "https://evil.example/<b>'\"&"
    at = Forms(base, base + "/v1")
    return GatewayReport(
        label=base,
        api_base=base,
        key_name="LITELLM_GATEWAY_API_KEY",
        model=HOSTILE,
        vlm_model=HOSTILE,
        listed=1,
        works_base=base,
        works_style="x-[bold]<i>",
        outcome=FAIL,
        matrix=(
            at.cell(LISTING, "bearer", 200, PASS, verdict="proven"),
            at.cell(CHAT, "bearer", 401, FAIL, verdict="style", words=HOSTILE),
            at.cell(CHAT, "x-[bold]<i>", 200, PASS, verdict="proven"),
            at.cell(CHAT, "raw", None, SKIPPED, other=True, words=HOSTILE),
        ),
        checks=(
            Check(name="direct_json", outcome=PASS, model=HOSTILE, words=HOSTILE, seconds=0.2, requests=1),
            Check(name="picture", outcome=FAIL, model=HOSTILE, words=HOSTILE, hint=HOSTILE, seconds=0.2),
            Check(name="[bold]<i>\x1b[1m\nRESULT", outcome=SKIPPED, words=HOSTILE, hint=HOSTILE),
        ),
        diagnoses=(
            Diagnosis(
                code="hostile",
                serious=True,
                title=HOSTILE,
                words=HOSTILE,
                next_line="litellm-gateway doctor " + HOSTILE,
            ),
        ),
        snippets=Snippets(python=f"print({HOSTILE!r})\n# {HOSTILE}\n", model_list=HOSTILE, config=HOSTILE),
    )


def many() -> DoctorReport:
    """Twenty gateways of every sort."""
    sorts = (good_gateway, full_gateway, wrong_key_gateway, console_gateway, chutes_gateway)
    gateways = [sorts[number % len(sorts)]() for number in range(20)]
    named = [each.model_copy(update={"label": f"{each.label} ({number})"}) for number, each in enumerate(gateways, 1)]
    return report(*named, status=Exit.FAILED)


FAILED_INSTALLATION = (
    Check(
        name="litellm_version", outcome=FAIL, words="1.89.0 is older than 1.90.0", hint='pip install "litellm>=1.90.0"'
    ),
    *INSTALLATION[1:],
)

REPORTS: dict[str, DoctorReport] = {
    "good": report(good_gateway(), status=Exit.GOOD),
    "chutes": report(chutes_gateway(), status=Exit.GOOD),
    "wrong-key": report(wrong_key_gateway(), status=Exit.FAILED),
    "full": report(full_gateway(), status=Exit.FULL),
    "console": report(console_gateway(), status=Exit.FAILED, installation=FAILED_INSTALLATION),
    "three": report(good_gateway("eu.llm.example.com", 1), chutes_gateway(), wrong_key_gateway(), status=Exit.FAILED),
    "many": many(),
    "long": report(long_gateway(), status=Exit.FAILED),
    "hostile": report(hostile_gateway(), status=Exit.FAILED),
    "nothing": report(status=Exit.GOOD, installation=()).model_copy(update={"litellm_version": None}),
}
