"""onnxruntime behind the seam."""

from pathlib import Path

import pytest

from reefl_edge.errors import InputError
from reefl_edge.runtimes import onnx
from reefl_edge.runtimes.base import default_threads


def test_a_file_onnxruntime_cannot_read_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "segment_0.onnx"
    path.write_bytes(b"not a model")
    onnx._share_pool(default_threads())

    with pytest.raises(InputError, match="onnxruntime"):
        onnx._session(path)


def test_the_shared_pool_cannot_be_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "_pool_threads", 2)

    onnx._share_pool(2)
    with pytest.raises(ValueError, match="has 2 threads in this process and cannot be given 3"):
        onnx._share_pool(3)
