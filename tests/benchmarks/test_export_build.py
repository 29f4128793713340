"""What of a program is delegated is counted in the program itself."""

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.export_build import calls
from reefl_export.quiet import quiet


class Interrupted(nn.Module):
    """Two linear layers that XNNPACK takes, around an operation that it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, rows: Tensor) -> Tensor:
        """Transform rows (N, 4)."""
        transformed: Tensor = self.second(self.first(rows).cumsum(dim=1))
        return transformed


@quiet("torch.utils._pytree")
def lower(module: nn.Module, path: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(module.eval(), (torch.zeros(2, 4),))
    lowered = to_edge_transform_and_lower({"rows": program}, partitioner=[XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)


def test_an_operator_between_two_delegated_subgraphs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    lower(Interrupted(), path)

    assert calls(path) == {
        "rows": {"delegated_subgraphs": 2, "undelegated_operators": {"aten::cumsum": 1}}
    }
