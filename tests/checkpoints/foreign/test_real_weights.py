"""DeiT-tiny's ImageNet weights, where they are at hand."""

import os
from pathlib import Path

import pytest
import torch

from reefl_edge.files import sha256_of_file
from reefl_edge.models import load_checkpoint

# Origin: the README of the pack; timm's names, layer norms rounded to 8 bits.
SHA256 = "6c321117db14f7786cc66950406e9eea3a852f365e0cec84dd4f27a89da60563"


@pytest.fixture
def deit_tiny() -> Path:
    folder = os.environ.get("REEFL_EDGE_DATA")
    path = Path(folder or "", "deit_tiny", "deit_tiny_patch16_224.safetensors")
    if folder is None or not path.is_file():
        pytest.skip("set REEFL_EDGE_DATA to the folder that holds deit_tiny/")
    return path


@pytest.mark.data
def test_deit_tiny_loads_at_any_image_size(deit_tiny: Path) -> None:
    assert sha256_of_file(deit_tiny) == SHA256

    network = load_checkpoint(deit_tiny, num_classes=100, num_exits=12, max_exit=1, image_size=96)

    architecture = network.submodel.architecture
    assert (architecture.width, architecture.num_heads, architecture.num_blocks) == (192, 3, 12)
    assert network(torch.zeros(1, 3, 96, 96)).shape == (2, 1, 100)
