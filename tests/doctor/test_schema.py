"""The JSON of a report, and the schema of it that is published."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from litellm_gateway_plugin.doctor.report import SCHEMA_VERSION, DoctorReport
from tests.support.doctor_reports import REPORTS

ROOT = Path(__file__).resolve().parents[2]
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "doctor.schema.json").read_text("utf-8"))


def fields(schema: Any, path: str = "") -> list[tuple[str, bool]]:
    """Every field of ours in a schema, and whether it is explained."""
    named = schema.get("properties", {}).items()
    found = [(f"{path}.{name}", "description" in each) for name, each in named]
    return [*found, *(one for name, each in schema.get("$defs", {}).items() for one in fields(each, name))]


def test_the_published_schema_is_what_the_script_writes() -> None:
    script = ROOT / "scripts" / "doctor_schema"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_a_report_is_what_the_schema_says(report: DoctorReport) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(report.model_dump_json()))


@pytest.mark.parametrize(
    ("field", "value"),
    [("exit_status", 4), ("exit_status", "0"), ("gateways", None), ("requests_announced", -1)],
)
def test_what_is_no_report_is_refused(field: str, value: object) -> None:
    wrong = {**json.loads(REPORTS["good"].model_dump_json()), field: value}
    with pytest.raises(ValidationError):
        DoctorReport.model_validate(wrong, strict=field == "exit_status")
    jsonschema = pytest.importorskip("jsonschema")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(wrong)


def test_a_field_of_a_later_version_is_no_reason_to_refuse_a_report() -> None:
    later = {**json.loads(REPORTS["good"].model_dump_json()), "surprise": 1}
    assert DoctorReport.model_validate(later) == REPORTS["good"]
    pytest.importorskip("jsonschema").Draft202012Validator(SCHEMA).validate(later)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_a_report_survives_its_json(report: DoctorReport) -> None:
    assert DoctorReport.model_validate_json(report.model_dump_json(indent=2)) == report


def test_the_json_has_names_and_numbers_that_a_script_can_read() -> None:
    read = json.loads(REPORTS["chutes"].model_dump_json())
    assert (read["schema_version"], read["exit_status"]) == (SCHEMA_VERSION, 0)
    cell = next(each for each in read["gateways"][0]["matrix"] if each["style"] == "raw" and each["status"] == 429)
    assert (cell["surface"], cell["outcome"], cell["retry_after_s"]) == ("chat/completions", "CAPACITY", 1)


def test_most_fields_are_explained() -> None:
    """Those that are not say it by their name."""
    silent = {name for name, explained in fields(SCHEMA) if not explained}
    assert silent <= {
        ".plugin_version", ".python_version", ".schema_version", ".seconds", ".gateways", ".exit_status",
        "Cell.surface",
        "GatewayReport.vlm_model", "GatewayReport.tools_model", "GatewayReport.embedding_model",
        "GatewayReport.matrix", "GatewayReport.checks", "GatewayReport.diagnoses",
        "Snippets.python", "Check.outcome",
    }  # fmt: skip
