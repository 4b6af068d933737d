"""Code and configuration to paste, for a gateway that works. Pure. Keys are read from the environment."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..credentials import BASIC, NONE
from .next_lines import holds_secret, key_variable
from .report import Snippets
from .targets import Examined

PYTHON = """\
{imports}import litellm
import litellm_gateway_plugin

litellm_gateway_plugin.install()

response = litellm.completion(
    model={model},
    messages=[{{"role": "user", "content": "hello"}}],
    api_base={base},
{key})
print(response.choices[0].message.content)
"""

MODEL_LIST = """\
{imports}import litellm
import litellm_gateway_plugin

litellm_gateway_plugin.install()

model_list = [
{entries}]
router = litellm.Router(model_list=model_list)
"""

DEPLOYMENT = """\
    {{
        "model_name": {group},
        "litellm_params": {{
            "model": {model},
            "api_base": {base},
{key}        }},
    }},
"""

CONFIG = """\
litellm_settings: {{callbacks: ["litellm_gateway_plugin.callback"]}}

model_list:
{entries}"""


def snippets_of(examined: Examined) -> Snippets | None:
    """The snippets, for the form of the base and the models that work; None when chat works with no style."""
    if not examined.works_style:
        return None
    model, base, key = _quoted(f"gateway/{examined.models.text}"), _base_in_python(examined), _key_in_python(examined)
    imports = "import os\n\n" if "os.environ" in base + key else ""
    line = f"    api_key={key},\n" if key else ""
    return Snippets(
        python=PYTHON.format(imports=imports, model=model, base=base, key=line),
        model_list=MODEL_LIST.format(imports=imports, entries="".join(_deployments(examined, base, key))),
        config=CONFIG.format(entries="\n".join(_proxy_models(examined))),
    )


def _deployments(examined: Examined, base: str, key: str) -> Iterator[str]:
    line = f'            "api_key": {key},\n' if key else ""
    for group, model in _groups(examined).items():
        yield DEPLOYMENT.format(group=_quoted(group), model=_quoted(f"gateway/{model}"), base=base, key=line)


def _proxy_models(examined: Examined) -> Iterator[str]:
    """The proxy offers each model under the id that the gateway gives it."""
    target = examined.target
    base = f"os.environ/{target.base_name}" if holds_secret(target) else examined.works_base
    key = f"      api_key: os.environ/{key_variable(target)}\n" if _has_key(examined) else ""
    for model in dict.fromkeys(_groups(examined).values()):
        yield (
            f"  - model_name: {_quoted(model)}\n    litellm_params:\n      model: {_quoted(f'gateway/{model}')}\n"
            f"      api_base: {_quoted(base)}\n{key}"
        )


def _groups(examined: Examined) -> dict[str, str]:
    """The known models by the name of the Router's group for them."""
    models = examined.models
    known = {"text": models.text, "vlm": models.vlm, "tools": models.tools, "embedding": models.embedding}
    return {group: model for group, model in known.items() if model}


def _base_in_python(examined: Examined) -> str:
    target = examined.target
    return f'os.environ["{target.base_name}"]' if holds_secret(target) else _quoted(examined.works_base)


def _key_in_python(examined: Examined) -> str:
    return f'os.environ["{key_variable(examined.target)}"]' if _has_key(examined) else ""


def _has_key(examined: Examined) -> bool:
    """Whether a key is passed: there is one, it is wanted, and the base does not hold it."""
    target = examined.target
    return target.key is not None and examined.works_style != NONE and target.named != BASIC


def _quoted(text: str) -> str:
    """A text in quotes that Python and YAML both read; ids and bases hold nothing that cannot be printed."""
    return json.dumps(text, ensure_ascii=False)
