"""What does an export leave that is killed, and does the next one work and tidy up? A real one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reefl_edge.bundles.bundle import Bundle

_LONGEST_S = 120


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_export_that_is_killed_leaves_nothing_for_long(
    number: signal.Signals, home: Path, tmp_path: Path
) -> None:
    for name in ("out", "tmp", "cache"):
        (tmp_path / name).mkdir()
    command = [
        sys.executable, "-m", "reefl_edge", "export", str(home / "model.safetensors"),
        "--format", "onnx", "-o", str(tmp_path / "out" / "bundle"),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path / "tmp"),
        "REEFL_EDGE_HOME": str(tmp_path / "cache"),
    }
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + _LONGEST_S
    while not (list((tmp_path / "out").iterdir()) and list((tmp_path / "tmp").iterdir())):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(number)
    process.wait()

    left = [*(tmp_path / "out").iterdir(), *(tmp_path / "tmp").iterdir()]
    assert bool(left) == (number == signal.SIGKILL)
    assert not (tmp_path / "out" / "bundle").exists()
    assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bundle"]
    assert list((tmp_path / "tmp").iterdir()) == []
    assert Bundle.open(tmp_path / "out" / "bundle").manifest.artifacts
