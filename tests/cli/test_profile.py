"""``reefl-edge profile``, and a report that decides what is exported."""

import json
import shlex
from pathlib import Path

import pytest

from reefl_edge import schema
from reefl_edge.devices.links import opening
from tests.cli.conftest import Type, Typed
from tests.fakes.jobs import counting_link
from tests.fakes.measurements import report, row
from tests.fakes.submodels import tiny_submodel

DOCUMENT = schema.to_dict(report(row(0, 1.0)))
CONTEXT, (ROW,) = DOCUMENT["context"], DOCUMENT["rows"]


def test_every_exit_is_measured_and_the_deepest_in_the_budget_exported(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"

    profiled = type_command(
        "profile", "--model", home / "bundle", "--budget-ms", 10_000, "--regime", "none",
        "--threads", 1, "--passes", 1, "--accept-noisy", "-o", report, "--json",
    )  # fmt: skip
    exported = type_command(
        "export", home / "model.safetensors", "--report", report, "--format", "onnx",
        "-o", tmp_path / "bundle", "--json",
    )  # fmt: skip

    assert profiled.exit_code == exported.exit_code == 0
    assert profiled.document == json.loads(report.read_text())
    rows = profiled.document["rows"]
    assert [(row["exit_index"], row["runtime"], row["kind"]) for row in rows] == [
        (0, "onnx", "inference"),
        (1, "onnx", "inference"),
    ]
    macs = [row["cost"]["macs"] for row in rows]
    assert 0 < macs[0] < macs[1]
    assert profiled.document["choice"]["exit_index"] == 1
    assert exported.document["submodel"]["max_exit"] == 1


def test_a_report_of_another_model_chooses_nothing(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    context = {**CONTEXT, "submodel": schema.to_dict(tiny_submodel(num_blocks=2))}
    written = {"context": context, "rows": [ROW], "choice": {"exit_index": 0, "reasons": []}}

    def export_with(**changes: object) -> Typed:
        report.write_text(json.dumps({**written, **changes}))
        return type_command(
            "export", home / "model.safetensors", "--report", report, "--format", "onnx",
            "-o", tmp_path / "bundle",
        )  # fmt: skip

    other_weights = export_with(context={**context, "weights": "0" * 64})
    other_sizes = export_with(context={**context, "submodel": schema.to_dict(tiny_submodel())})
    no_such_exit = export_with(choice={"exit_index": -1, "reasons": []})

    assert [typed.exit_code for typed in (other_weights, other_sizes, no_such_exit)] == [3, 3, 3]
    assert f"{report}: the report is of weights 000000000000, but" in other_weights.stderr
    assert f"{report}: the report is of another model, tiny: num_blocks 4, not 2" in (
        other_sizes.stderr
    )
    assert f"{report}: " in no_such_exit.stderr
    assert "the choice is exit -1, but the model has exits 0 to 1" in no_such_exit.stderr
    assert not (tmp_path / "bundle").exists()
    assert export_with().exit_code == 0  # random weights of the same architecture


def test_what_to_type_next_is_one_word_where_a_path_is(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    model, report = tmp_path / "my bundle", tmp_path / "it's a report.json"
    model.symlink_to(home / "bundle")

    typed = type_command(
        "profile", "--model", model, "--max-exit", 0, "--regime", "none", "--threads", 1,
        "--budget-ms", 10_000, "--passes", 1, "--accept-noisy", "-o", report,
    )  # fmt: skip

    assert "million MACs" in typed.stdout
    assert shlex.split(typed.stderr.split("next: ")[1]) == [
        "reefl-edge", "export", str(model), "--report", str(report), "--format", "onnx",
        "-o", "bundle",
    ]  # fmt: skip


def test_what_to_type_next_measures_the_same_there_as_before(
    type_command: Type, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = counting_link([])
    link.name, link.is_real_hardware = "ssh:pi@board", True
    monkeypatch.setattr(opening, "link_for", lambda _device: link)
    asked = (
        "--device", link.name, "--threads", "1", "--model", str(home / "bundle"),
        "--runtime", "onnx", "--precision", "fp32", "--regime", "none",
    )  # fmt: skip

    typed = type_command("profile", *asked, "--passes", 1)

    assert typed.exit_code == 0, typed.stderr
    words = shlex.split(typed.stderr.split("next: ")[1])
    assert words[:-4] == ["reefl-edge", "profile", *asked]
    assert words[-4] == "--budget-ms"


def test_a_budget_no_exit_meets_is_an_error_that_keeps_the_samples(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"

    typed = type_command(
        "profile", "--model", home / "bundle", "--budget-ms", 1e-6, "--regime", "none",
        "--threads", 1, "--passes", 1, "--accept-noisy", "-o", report,
    )  # fmt: skip
    exported = type_command(
        "export", home / "model.safetensors", "--report", report, "-o", tmp_path / "bundle"
    )

    assert typed.exit_code == 6
    assert "no exit runs within 1e-06 ms; exit 0 needs" in typed.stderr
    assert "verdict" in typed.stdout  # what was measured is shown all the same
    assert len(json.loads(report.read_text())["rows"]) == 2
    assert exported.exit_code == 3
    assert "holds no choice" in exported.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("--device", "iphone15"), 4, "there is no link to Apple iPhone 15"),
        (("--device", "jetson-nano"), 2, "did you mean jetson-orin-nano?"),
        (
            ("--budget-ms", "-1"),
            2,
            "'--budget-ms': inference_ms must be positive and at most",
        ),
        (("--budget-step-ms", "nan"), 2, "'--budget-step-ms': step_ms must be positive"),
        (("--budget-mib", "1e308"), 2, "'--budget-mib': memory_mib must be positive"),
        (
            ("--regime", "frosen"),
            2,
            "'--regime': no regime is called 'frosen'; did you mean frozen?",
        ),
        (
            ("--regime", "none", "--budget-step-ms", "5"),
            2,
            "'--budget-step-ms': --regime none measures no training step",
        ),
        (
            ("--regime", "none", "--budget-ms", "9", "--budget-step-ms", "5"),
            2,
            "'--budget-step-ms': --regime none measures no training step",
        ),
        (("--regime", "none", "--batch-size", "8"), 2, "'--batch-size': --regime none measures"),
        (("--regime", "none", "--step-runtime", "onnx"), 2, "'--step-runtime': --regime none"),
        (("--step-runtime", "onx"), 2, "'--step-runtime': no runtime is called 'onx'"),
        (
            ("--step-runtime", "onnx"),
            3,
            "has no onnx step that trains frozen, nor any other; compile it with 'reefl-edge "
            "export MODEL --training frozen --format onnx'",
        ),
        (
            ("--step-runtime", "onnx", "--estimate"),
            2,
            "'--estimate': PyTorch's step is predicted, not that of onnx",
        ),
        (("--batch-size", "1" + "0" * 20), 2, "'--batch-size'"),
        (("--seed", "-1"), 2, "'--seed'"),
        (("--runtime", "eager", "--precision", "int8-dynamic"), 2, "computes in fp32"),
        (("--runtime", "onx"), 2, "did you mean onnx?"),
        (("--threads", "1000"), 2, "'--threads': threads must be from 1 to"),
        (("--threads", "all"), 2, "'--threads': 'all' is neither a number of threads nor auto"),
        (("--threads", "0"), 2, "'--threads': threads must be from 1 to"),
        (("--passes", "0"), 2, "'--passes'"),
        (("--model", "deit_smal"), 2, "did you mean deit_small"),
    ],
)
def test_bad_options_are_refused(
    type_command: Type, home: Path, arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    typed = type_command("profile", "--model", home / "bundle", *arguments)

    assert typed.exit_code == exit_code
    assert message in " ".join(typed.stderr.replace("│", "").split())
