"""The network that the tests of the ONNX precisions export."""

import pytest

from reefl_edge.models.reefl import ReeFL
from tests.export.onnx.artifacts import small_network


@pytest.fixture(scope="module")
def network() -> ReeFL:
    """Random weights, two exits behind a block each."""
    return small_network()
