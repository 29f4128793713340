"""What does an export leave that is killed, and does the next one work and tidy up? A real one."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reefl_edge.bundles.bundle import Bundle
from tests.workplaces import Workplace

_LONGEST_S = 120


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_export_that_is_killed_leaves_nothing_for_long(
    number: signal.Signals, home: Path, tmp_path: Path
) -> None:
    workplace = Workplace.made_in(tmp_path)
    bundle = workplace.out / "bundle"
    command = [
        sys.executable, "-m", "reefl_edge", "export", str(home / "model.safetensors"),
        "--format", "onnx", "-o", str(bundle),
    ]  # fmt: skip
    environment = workplace.environment()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + _LONGEST_S
    while not (list(workplace.out.iterdir()) and list(workplace.temporary.iterdir())):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(number)
    process.wait()

    assert bool(workplace.unfinished()) == (number == signal.SIGKILL)
    assert not bundle.exists()
    assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert list(workplace.out.iterdir()) == [bundle]
    assert workplace.unfinished() == []
    assert Bundle.open(bundle).manifest.artifacts


def test_what_was_finished_before_an_interrupt_is_not_made_again(
    home: Path, tmp_path: Path
) -> None:
    workplace = Workplace.made_in(tmp_path)
    command = [
        sys.executable, "-m", "reefl_edge", "export", str(home / "model.safetensors"),
        "--format", "onnx,executorch", "-o", str(workplace.out / "bundle"),
    ]  # fmt: skip
    environment = workplace.environment()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr as lines:
        assert any("ExecuTorch fp32:" in line for line in lines), "the second was never begun"
        process.send_signal(signal.SIGINT)
        lines.read()
    process.wait(_LONGEST_S)

    assert process.returncode == 130
    assert cache_entries(workplace) == 1
    again = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert "ONNX fp32: unchanged, taken from the cache" in again.stderr
    assert workplace.unfinished() == []
    assert cache_entries(workplace) == 2


def cache_entries(workplace: Workplace) -> int:
    """Count the artifacts in the cache; fail where it holds anything else."""
    found = [path for path in (workplace.home / "artifacts").iterdir() if path.name != ".lock"]
    assert all((path / "artifact.json").is_file() for path in found)
    return len(found)
