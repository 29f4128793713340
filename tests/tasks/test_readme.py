"""Does the Python of the README do the main job, word for word?"""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reefl_edge.bundles.bundle import Bundle
from tests.fakes.images import random_images

README = Path(__file__).parents[2] / "README.md"


def test_the_python_of_the_readme_runs(
    checkpoint_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    images = random_images(9)
    (tmp_path / "model.safetensors").write_bytes(checkpoint_path.read_bytes())
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(9) % 3)
    Image.fromarray(images[0]).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)

    exec(compile(block, README, "exec"), {})

    assert capsys.readouterr().out.splitlines()[0] in {"0", "1", "2"}
    assert [each.name for each in Bundle.open(Path("bundle")).manifest.artifacts] == ["onnx-fp32"]
