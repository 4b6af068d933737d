"""The proxy's guide shows the configurations that lie in `examples/proxy`, and those are the ones that are tested."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["config.yaml", "several.yaml"])
def test_the_guide_shows_the_example(name: str) -> None:
    text = (ROOT / "examples" / "proxy" / name).read_text("utf-8")
    config = text[text.index("model_list:") :]
    assert f"```yaml\n{config}```\n" in (ROOT / "docs" / "proxy.md").read_text("utf-8")


def test_a_link_in_the_guide_leads_somewhere() -> None:
    guide = (ROOT / "docs" / "proxy.md").read_text("utf-8")
    links = [part.split(")")[0].partition("#") for part in guide.split("](")[1:]]
    assert len(links) > 4
    assert [file for file, _, _ in links if file and not (ROOT / "docs" / file).exists()] == []
