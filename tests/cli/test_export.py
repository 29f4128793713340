"""``reefl-edge export``."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reefl_edge.cli.recipes import plan_of
from tests.cli.conftest import Type


def test_a_bundle_can_be_cut_at_an_exit(type_command: Type, home: Path, tmp_path: Path) -> None:
    typed = type_command(
        "export", home / "bundle", "--max-exit", 0, "--format", "onnx", "--threshold", 0.7,
        "--adaptive-graph", "-o", tmp_path / "cut", "--json",
    )  # fmt: skip

    assert typed.exit_code == 0
    assert typed.document["submodel"]["max_exit"] == 0
    (entry,) = typed.document["thresholds"]
    assert (entry["target"], entry["precision"]) == ("onnx", "fp32")
    assert (entry["thresholds"], entry.get("promise")) == ([0.7], None)
    assert typed.document["class_names"] == ["ant", "bee", "cat"]
    assert sorted(path.name for path in (tmp_path / "cut" / "onnx").iterdir()) == [
        "adaptive.onnx", "segment_0.onnx", "weights.safetensors",
    ]  # fmt: skip


def test_an_export_replaces_a_bundle_but_no_other_folder(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    arguments = ("export", home / "model.safetensors", "--format", "onnx", "-o")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")

    first = type_command(*arguments, tmp_path / "bundle")
    second = type_command(*arguments, tmp_path / "bundle")
    refused = type_command(*arguments, tmp_path / "mine")

    assert (first.exit_code, second.exit_code, refused.exit_code) == (0, 0, 3)
    assert "holds thesis.txt, which is no file of a bundle of ours" in refused.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_device_chooses_what_is_not_given_and_is_remembered(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    typed = type_command(
        "export", home / "model.safetensors", "--device", "rpi5", "--precision", "fp32",
        "--data", home / "data.npz", "-o", tmp_path / "bundle", "--json",
    )  # fmt: skip

    assert typed.exit_code == 0
    assert [artifact["target"] for artifact in typed.document["artifacts"]] == ["onnx"]
    assert typed.document["deployment"] == {"device": "rpi5", "threads": 4}


def test_this_machine_chooses_for_itself_and_the_bundle_names_no_device(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    typed = type_command(
        "export", home / "model.safetensors", "--device", "local", "--precision", "fp32",
        "-o", tmp_path / "bundle",
    )  # fmt: skip
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())

    assert typed.exit_code == 0
    assert "onnx: what this machine runs best" in typed.stdout
    assert [artifact["target"] for artifact in manifest["artifacts"]] == ["onnx"]
    assert manifest["deployment"] is None


def test_an_export_computes_with_the_threads_it_is_given(home: Path, tmp_path: Path) -> None:
    script = (
        "import torch, reefl_edge.runtimes.onnx as onnx\n"
        "from reefl_edge.cli import app\n"
        "app(standalone_mode=False)\n"
        "print(torch.get_num_threads(), onnx._pool_threads)\n"
    )
    arguments = ("export", home / "model.safetensors", "--format", "onnx", "-o", tmp_path / "b")

    shown = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments), "--threads", "1"],
        env={**os.environ, "REEFL_EDGE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.splitlines()[-1] == "1 1"


def test_batch_sizes_are_those_of_executorch_and_hold_one() -> None:
    plan = plan_of(
        formats="executorch,onnx",
        precisions=None,
        recipes=[],
        device=None,
        batch_sizes="16, 4",
        adaptive_graph=False,
    )

    assert [recipe.batch_sizes for recipe in plan.recipes] == [(1, 4, 16), ()]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("--precision", "int9"), 2, "no precision is called"),
        (("--format", "onnx", "--precision", "palette4"), 2, "onnx does not come in palette4"),
        (("--format", "onnx", "--precision", "int8-static"), 2, "needs images"),
        (("--recipe", "onnx-fp23"), 2, "did you mean onnx-fp32"),
        (("--recipe", "missing.toml"), 3, "missing.toml: no such file"),
        (("--recipe", "onnx-fp32", "--format", "onnx"), 2, "give it alone"),
        (("--device", "pixel0"), 2, "no device is called"),
        (("--format", "onnx,coremll"), 2, "did you mean coreml?"),
        (("--format", "onnx", "--batch-sizes", "4"), 2, "only for --format executorch"),
        (("--format", "executorch", "--batch-sizes", "0"), 2, "batch sizes must be at least 1"),
        (("--format", ""), 2, "'' names nothing, or has a comma too many"),
        (("--format", ","), 2, "',' names nothing"),
        (("--format", "onnx, "), 2, "has a comma too many"),
        (("--precision", ""), 2, "'--precision': '' names nothing"),
        (("--format", "executorch", "--batch-sizes", ""), 2, "'--batch-sizes': '' names nothing"),
        (("--format", "executorch", "--batch-sizes", "4,x"), 2, "'x' is no whole number"),
        (("--format", "executorch", "--batch-sizes", "9" * 30), 2, "is no whole number"),
        (("--exit-blocks", ""), 2, "'--exit-blocks': '' names nothing"),
        (("--recipe", ""), 2, "no recipe is called ''"),
        (("--recipe", "onnx-fp32", "--format", ""), 2, "give it alone"),
        (("--device", ""), 2, "no device is called ''"),
        (("--format", "onnx", "--calibration", "data.npz"), 2, "only for int8-static"),
        (("--num-images", "9"), 2, "it counts images of --data and --calibration"),
        (("--data", "data.npz", "--num-images", "1" + "0" * 20), 2, "'--num-images'"),
        (("--seed", "-1"), 2, "'--seed'"),
        (("--seed", str(2**32)), 2, "'--seed'"),
        (("--format", "tflite"), 2, "choose one of executorch, onnx, coreml"),
        (("--threshold", "2"), 2, "above 0 and at most 1"),
        (("--adaptive-graph", "--format", "coreml"), 2, "only for --format onnx"),
        (("--max-exit", "2"), 2, "no exit 2"),
        (("--max-exit", "0", "--report", "r.json"), 2, "give --max-exit or --report, not both"),
        (("--report", "missing.json"), 3, "missing.json: no such file"),
        (("--update", "missing.safetensors"), 3, "missing.safetensors: no such file"),
    ],
)
def test_bad_options_are_refused(
    type_command: Type,
    home: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    exit_code: int,
    message: str,
) -> None:
    typed = type_command(
        "export", home / "model.safetensors", "-o", tmp_path / "bundle", *arguments
    )

    assert typed.exit_code == exit_code
    assert message in " ".join(typed.stderr.replace("│", "").split())
    assert not (tmp_path / "bundle").exists()


def export_process(
    home: Path, output: Path, before: Callable[[], None] | None = None
) -> "subprocess.Popen[str]":
    script = "from reefl_edge.__main__ import main; main()"
    command = [sys.executable, "-c", script, "export", str(home / "model.safetensors")]
    return subprocess.Popen(
        [*command, "--format", "onnx", "-o", str(output)],
        env={**os.environ, "COLUMNS": "200"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )


def test_a_full_disk_leaves_nothing_behind(home: Path, tmp_path: Path) -> None:
    def fill() -> None:  # no file may grow beyond 4 KiB: the system's "file too large"
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    process = export_process(home, tmp_path / "bundle", before=fill)
    _, stderr = process.communicate(timeout=120)

    assert process.returncode == 3
    assert os.strerror(errno.EFBIG).lower() in stderr
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")

    typed = type_command(
        "export", home / "model.safetensors", "--format", "onnx", "-o", tmp_path / "file" / "b"
    )

    assert typed.exit_code == 3
    assert "file" in typed.stderr


def test_an_interrupt_leaves_nothing_behind(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "cache"))  # empty: the export takes long
    output = tmp_path / "out" / "bundle"
    process = export_process(home, output)
    while not output.parent.is_dir():  # the export has begun to write aside
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)

    assert process.returncode == 130
    assert "interrupted" in stderr
    assert list(output.parent.iterdir()) == []
