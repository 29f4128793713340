"""Documents that travel: what every reader reads, what it refuses, and the JSON Schema of each.

``tests/golden/DOCUMENT/valid`` is read and written again to the same value, ``older`` is read, and
``invalid`` is refused, by readers in other languages, too.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from reefl_edge import schema
from reefl_edge.devices.host import Host
from reefl_edge.documents import DOCUMENTS, schema_text
from reefl_edge.errors import InputError
from reefl_edge.federation.report import read_federation_report
from reefl_edge.jobs.job import read_job
from reefl_edge.jobs.outcome import FailureCode, read_outcome
from reefl_edge.profiling.assignment import read_assignment
from reefl_edge.profiling.report import Report, read_report, report_json

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"

READERS: dict[str, Callable[[Path], Any]] = {
    "assignment": read_assignment,
    "federation": read_federation_report,
    "host": lambda path: schema.read_json(Host, path),
    "job": lambda path: read_job(path.read_bytes(), source=str(path)),
    "outcome": lambda path: read_outcome(path.read_bytes(), source=str(path)),
    "report": read_report,
}


def golden(kind: str) -> list[Any]:
    """Return every document of a kind, as parameters of a test."""
    return [
        pytest.param(document, path, id=f"{document}-{path.stem}")
        for document in READERS
        for path in sorted((GOLDEN / document / kind).glob("*.json"))
    ]


def written(value: Any) -> str:
    return report_json(value) if isinstance(value, Report) else schema.to_json(value)


@pytest.mark.parametrize(("document", "path"), golden("valid"))
def test_what_is_read_is_written_again_the_same(document: str, path: Path) -> None:
    assert json.loads(written(READERS[document](path))) == json.loads(path.read_text())


@pytest.mark.parametrize(("document", "path"), golden("older"))
def test_documents_of_before_are_still_read(document: str, path: Path) -> None:
    assert READERS[document](path) is not None


@pytest.mark.parametrize(("document", "path"), golden("invalid"))
def test_what_is_no_document_is_refused_in_one_line(document: str, path: Path) -> None:
    with pytest.raises(InputError) as caught:
        READERS[document](path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_schemas_in_the_tree_are_those_of_the_code(document: str) -> None:
    path = ROOT / "schemas" / f"{document}.schema.json"

    assert path.read_text() == schema_text(document)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_document_has_good_and_bad_examples(document: str) -> None:
    for kind in ("valid", "invalid"):
        assert len(list((GOLDEN / document / kind).glob("*.json"))) > 1


def test_every_kind_of_job_and_every_failure_has_an_example() -> None:
    jobs = [READERS["job"](path).kind for path in (GOLDEN / "job" / "valid").glob("*.json")]
    outcomes = {path.stem for path in (GOLDEN / "outcome" / "valid").glob("*.json")}

    assert set(jobs) == {"inference", "step", "infer", "finetune"}
    assert outcomes == {
        "measurement",
        "training",
        "answers",
        *(f"failure-{code}" for code in get_args(FailureCode)),
    }


def test_nothing_is_taken_for_random_weights_that_does_not_say_so() -> None:
    schemas = json.loads(schema_text("job"))["$defs"]

    assert "kind" in schemas["RandomWeights"]["required"]


@pytest.mark.parametrize(
    ("document", "name", "reason"),
    [
        ("job", "empty", "the kind of a job is inference, step, infer or finetune"),
        ("job", "source-without-kind", "the kind of a source is bundle, checkpoint or random"),
        ("job", "no-version", "states no schema_version"),
        ("job", "newer-version", "newer than 1, the newest this reefl-edge reads; upgrade"),
        (
            "job",
            "source-by-path",
            "source.checkpoint.path: Unexpected keyword argument (and 1 more)",
        ),
        ("job", "batch-size-as-text", "batch_size: Input should be a valid integer"),
        ("job", "order-below-zero", "one before the first"),
        ("outcome", "empty", "an outcome is a measurement, a training, answers or a failure"),
        ("outcome", "both", "measurement.code: Unexpected keyword argument (and 1 more)"),
        ("host", "more-usable-than-cores", "lets 5 of its 4 cores be used"),
        ("report", "host-of-no-version", "no host has schema version 0"),
        ("report", "inference-with-regime", "inference trains nothing, but a row of it has"),
    ],
)
def test_a_refusal_says_why(document: str, name: str, reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)):
        READERS[document](GOLDEN / document / "invalid" / f"{name}.json")


def by_schema(document: str) -> Draft202012Validator:
    """Return what holds a document to its schema alone, as a reader in another language does."""
    text = json.loads((ROOT / "schemas" / f"{document}.schema.json").read_text())
    Draft202012Validator.check_schema(text)
    return Draft202012Validator(text)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_schema_takes_what_is_valid(document: str) -> None:
    for path in (GOLDEN / document / "valid").glob("*.json"):
        if path.name != "version-2.json":  # converted when it is opened
            by_schema(document).validate(json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("document", "name"),
    [
        *((document, "empty") for document in DOCUMENTS),
        ("host", "cores-in-words"),
        ("job", "source-by-path"),
        ("job", "unknown-kind"),
        ("manifest", "unknown-target"),
        ("outcome", "both"),
        ("outcome", "unknown-code"),
        ("report", "unknown-kind"),
    ],
)
def test_the_schema_refuses_what_has_another_shape(document: str, name: str) -> None:
    path = GOLDEN / document / "invalid" / f"{name}.json"

    assert not by_schema(document).is_valid(json.loads(path.read_text()))
