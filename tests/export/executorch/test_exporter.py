"""Exporting to ExecuTorch: what the program holds, and what it computes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from psutil import Process
from torch import nn
from torch._subclasses import FakeTensorMode

from reefl_edge.models.build import build
from reefl_edge.models.preprocess import normalise
from reefl_edge.models.reefl import ReeFL
from reefl_edge.runtimes.executorch import ExecuTorchRuntime, method_name, quiet_engine
from reefl_edge.submodel import Submodel
from reefl_export.executorch.absorb_norms import absorb_norms, can_absorb
from reefl_export.executorch.xnnpack import for_batches, written_for_xnnpack
from reefl_export.recipe import ExportRecipe, recipe_for
from tests.fakes.exports import FACTS, conversion_of
from tests.fakes.images import random_images
from tests.fakes.submodels import tiny_submodel

pytestmark = pytest.mark.skipif(
    find_spec("executorch") is None, reason="executorch makes the program"
)

SUBMODEL = tiny_submodel(num_blocks=2)


def network_of(submodel: Submodel) -> ReeFL:
    """A network with no two arrays alike, and norms that scale and shift."""
    torch.manual_seed(0)
    network = build(submodel).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def logits_of(network: ReeFL, images: Any) -> Any:
    architecture = network.submodel.architecture
    with torch.inference_mode():
        return network(normalise(torch.from_numpy(images), architecture.mean, architecture.std))


@dataclass(frozen=True)
class Export:
    """A program, and the network it was made of."""

    network: ReeFL
    program: Any
    lowered: Any
    size_bytes: int

    def logits(self, images: Any, batch_size: int) -> list[Any]:
        """Run the chain of segments on one batch."""
        logits = []
        carried = [torch.from_numpy(images)]
        for segment in self.network.submodel.segments():
            method = self.program.load_method(method_name(segment, batch_size))
            *carried, last = (out.clone() for out in method.execute(carried))
            logits.append(last.numpy())
        return logits


def export(folder: Path, recipe: ExportRecipe, submodel: Submodel) -> Export:
    with quiet_engine():
        from executorch.runtime import Runtime as Engine

        from reefl_export.executorch.exporter import lower, trace_methods

        network = network_of(submodel)
        conversion = conversion_of(network, folder, recipe=recipe)
        lowered = lower(conversion, trace_methods(conversion))
        path = folder / "model.pte"
        path.write_bytes(lowered.to_executorch().buffer)
        program = Engine.get().load_program(path)
    return Export(network, program, lowered, path.stat().st_size)


def num_delegates(export: Export) -> dict[str, int]:
    with quiet_engine():
        from executorch.devtools.backend_debug import get_delegation_info

    return {
        name: get_delegation_info(
            export.lowered.exported_program(name).graph_module
        ).num_delegated_subgraphs
        for name in export.lowered.methods
    }


@pytest.fixture(scope="module")
def float_export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """The network in float32, for one image and for three at once."""
    recipe = replace(recipe_for("executorch"), batch_sizes=(1, 3))
    return export(tmp_path_factory.mktemp("fp32"), recipe, SUBMODEL)


@pytest.fixture(scope="module", params=["int8-dynamic", "int8-static"])
def int8_export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """One block of the network in int8."""
    recipe = recipe_for("executorch", request.param)
    return export(tmp_path_factory.mktemp(request.param), recipe, SUBMODEL.cut(0))


def test_the_program_says_what_it_is(float_export: Export) -> None:
    assert list(float_export.program.load_method("reefl_edge").execute([])) == [FACTS]


def test_every_method_is_one_delegated_subgraph(float_export: Export) -> None:
    assert num_delegates(float_export) == {
        "segment_0": 1,
        "segment_1": 1,
        "segment_0_batch_3": 1,
        "segment_1_batch_3": 1,
    }


def test_the_same_network_gives_the_same_bytes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    from reefl_export.executorch.exporter import export_executorch

    for name in ("first", "again"):
        (tmp_path / name).mkdir()
        network = network_of(SUBMODEL.cut(0))
        export_executorch(conversion_of(network, tmp_path / name, recipe=recipe_for("executorch")))

    first, again = (tmp_path / name / "model.pte" for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    assert not FakeTensorMode.cache  # which would hold the programs


def test_a_program_holds_no_weight_that_nothing_reads(int8_export: Export) -> None:
    for name in int8_export.lowered.methods:
        program = int8_export.lowered.exported_program(name)
        read = {node.name for node in program.graph.nodes if node.users}
        assert set(program.graph_signature.inputs_to_parameters) <= read


@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_batch_size_gives_the_logits_of_the_network(
    float_export: Export, batch_size: int
) -> None:
    images = random_images(batch_size)

    logits = float_export.logits(images, batch_size)

    np.testing.assert_allclose(logits, logits_of(float_export.network, images), atol=1e-5)


def test_the_runtime_takes_batches_of_any_size(float_export: Export) -> None:
    images = random_images(5)
    segments = float_export.network.submodel.segments()

    runtime = ExecuTorchRuntime(float_export.program, segments, (1, 3))

    expected = logits_of(float_export.network, images)[0]
    np.testing.assert_allclose(runtime.run(0, (images,))[-1], expected, atol=1e-5)


def test_what_a_run_gave_stays_when_it_runs_again(float_export: Export) -> None:
    first, second = random_images(1, seed=1), random_images(1, seed=2)
    segments = float_export.network.submodel.segments()
    runtime = ExecuTorchRuntime(float_export.program, segments, (1,))

    kept = runtime.run(0, (first,))
    expected = [array.copy() for array in kept]
    runtime.run(0, (second,))

    for array, before in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(array, before)


def test_a_run_wakes_no_threads_of_pytorch(float_export: Export, tmp_path: Path) -> None:
    array = np.ones((1, 200, 500), dtype=np.float32)  # PyTorch copies that on several threads
    program = program_of(_Same(), torch.from_numpy(array), tmp_path)
    runtime = ExecuTorchRuntime(program, float_export.network.submodel.segments(), (1,))
    runtime.run(0, (array,))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 5)
    before = Process().num_threads()

    runtime.run(0, (array,))

    torch.set_num_threads(threads)
    assert Process().num_threads() == before


class _Same(nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows + 0.0


def program_of(module: nn.Module, example: torch.Tensor, folder: Path) -> Any:
    with quiet_engine():
        from executorch.exir import to_edge
        from executorch.runtime import Runtime as Engine

        edge = to_edge({"segment_0": torch.export.export(module, (example,))})
        path = folder / "model.pte"
        path.write_bytes(edge.to_executorch().buffer)
        return Engine.get().load_program(path)


def test_int8_is_one_delegated_subgraph_near_the_network(int8_export: Export) -> None:
    images = random_images(1)
    expected = logits_of(int8_export.network, images).numpy()

    error = np.abs(int8_export.logits(images, 1) - expected)

    assert num_delegates(int8_export) == {"segment_0": 1}
    assert 1e-5 < error.mean() < 0.1 * expected.std()


def test_all_precisions_are_made_of_one_trace_that_stays_as_it_is(tmp_path: Path) -> None:
    with quiet_engine():
        from reefl_export.executorch.exporter import export_executorch

    network = network_of(SUBMODEL.cut(0))
    alone = conversion_of(network, tmp_path / "alone", recipe=recipe_for("executorch"))
    stages: list[str] = []
    first = replace(
        conversion_of(network, tmp_path / "first", stages.append),
        recipe=recipe_for("executorch", "int8-dynamic"),
    )
    second = replace(first, recipe=alone.recipe, folder=tmp_path / "second")

    for conversion in (alone, first, second):
        conversion.folder.mkdir()
        export_executorch(conversion)

    assert sum(stage.endswith("trace") for stage in stages) == 1
    assert (second.folder / "model.pte").read_bytes() == (alone.folder / "model.pte").read_bytes()


def test_layers_kept_in_float_keep_their_weights(tmp_path: Path) -> None:
    with quiet_engine():
        from reefl_export.executorch.exporter import trace_methods
        from reefl_export.executorch.lowering import to_edge_dialect
        from reefl_export.executorch.quantised import quantised

        recipe = recipe_for("executorch")
        conversion = conversion_of(network_of(SUBMODEL.cut(0)), tmp_path, recipe=recipe)
        (program,) = to_edge_dialect(trace_methods(conversion)).values()
        narrowed = quantised(program, ("accumulator.*", "blocks.*.qkv"), {})

    dtypes = {name: array.dtype for name, array in narrowed.state_dict.items()}
    assert dtypes["network.blocks.0.mlp.fc1.weight"] == torch.int8
    assert dtypes["network.classifier.linear.weight"] == torch.int8
    assert dtypes["network.blocks.0.attn.query.weight"] == torch.float32
    assert dtypes["network.accumulator.proj.weight"] == torch.float32
    assert {array.dtype for array in program.state_dict.values()} == {torch.float32}


def test_passes_left_out_would_have_changed_nothing(tmp_path: Path) -> None:
    with quiet_engine():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
        from executorch.runtime import Runtime as Engine

        from reefl_export.executorch.exporter import lower, trace_methods

        # It has activations to fuse, too.
        submodel = SUBMODEL.cut(0).with_regime("serial-adapter")
        conversion = conversion_of(network_of(submodel), tmp_path, recipe=recipe_for("executorch"))
        traced = trace_methods(conversion)
        lowerings = {
            "ours": lower(conversion, traced),
            "stock": to_edge_transform_and_lower(dict(traced), partitioner=[XnnpackPartitioner()]),
        }
        images = torch.from_numpy(random_images(1))
        sizes, outputs = [], []
        for name, lowered in lowerings.items():
            delegate = lowered.exported_program("segment_0").graph_module.lowered_module_0
            sizes.append(len(delegate.processed_bytes))
            path = tmp_path / f"{name}.pte"
            path.write_bytes(lowered.to_executorch().buffer)
            program = Engine.get().load_program(path)
            outputs.append(
                [out.clone() for out in program.load_method("segment_0").execute([images])]
            )

    assert sizes[0] == sizes[1]
    for ours, stock in zip(*outputs, strict=True):
        assert torch.equal(ours, stock)


def test_a_segment_hands_on_more_keys_than_xnnpack_puts_side_by_side_at_once(
    tmp_path: Path,
) -> None:
    long = export(tmp_path, recipe_for("executorch"), tiny_submodel(num_blocks=12, max_exit=0))
    images = random_images(1)

    assert num_delegates(long) == {"segment_0": 1}
    np.testing.assert_allclose(long.logits(images, 1), logits_of(long.network, images), atol=1e-5)


def test_methods_share_their_weights(float_export: Export) -> None:
    array_bytes = sum(4 * spec.num_elements for spec in SUBMODEL.arrays())
    assert float_export.size_bytes < 2 * array_bytes + 100_000


def test_folded_norms_leave_the_logits_and_centre_the_stream() -> None:
    network = network_of(SUBMODEL)
    images = random_images(2)
    before = logits_of(network, images)

    absorb_norms(network)

    np.testing.assert_allclose(logits_of(network, images), before, atol=1e-5)
    tokens = network.embed(torch.randn(1, 3, 16, 16))
    tokens, _, _ = network.run_segment(0, tokens, None)
    np.testing.assert_allclose(tokens.mean(-1).detach(), 0, atol=1e-6)
    norms = [module for module in network.modules() if isinstance(module, nn.LayerNorm)]
    assert all(bool((norm.weight == 1).all() and (norm.bias == 0).all()) for norm in norms)


@pytest.mark.parametrize("regime", ["full", "parallel-adapter", "serial-adapter"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_network_written_for_xnnpack_computes_the_same(regime: Any, batch_size: int) -> None:
    network = network_of(tiny_submodel(num_exits=2).with_regime(regime))
    images = random_images(batch_size)
    before = logits_of(network, images)

    written = for_batches(written_for_xnnpack(network), batch_size)

    assert can_absorb(network) == (regime == "full")
    np.testing.assert_allclose(logits_of(written, images), before, atol=1e-5)
    np.testing.assert_array_equal(logits_of(network, images), before)


def test_networks_for_batches_of_several_sizes_share_their_arrays() -> None:
    written = written_for_xnnpack(network_of(tiny_submodel(num_exits=2)))
    images = random_images(1)
    before = logits_of(written, images)

    several = for_batches(written, 3)

    own = {name for name, array in several.state_dict().items() if not is_in(array, written)}
    assert own == {f"accumulator.meta{rest}" for rest in ("", "_query", "_key", "_value")}
    np.testing.assert_array_equal(logits_of(written, images), before)


def is_in(array: torch.Tensor, network: nn.Module) -> bool:
    return any(array.data_ptr() == each.data_ptr() for each in network.state_dict().values())


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [((), False), (("blocks.*.mlp.fc2",), False), (("accumulator.*", "blocks.*.qkv"), True)],
)
def test_patterns_of_layers_kept_in_float_are_names_of_arrays(
    patterns: Sequence[str], kept: bool
) -> None:
    with quiet_engine():
        from reefl_export.executorch.int8 import array_name, matches

    assert array_name("blocks.3.attn.query") == "blocks.3.attn.qkv"
    assert array_name("blocks.3.mlp.fc1") == "blocks.3.mlp.fc1"
    assert matches(array_name("blocks.3.attn.query"), patterns) == kept
