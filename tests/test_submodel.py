"""Does the description alone know every array, exit and segment?"""

from dataclasses import replace
from itertools import pairwise
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reefl_edge import schema
from reefl_edge.architectures import named_submodel
from reefl_edge.errors import InputError
from reefl_edge.submodel import Architecture, ExitSchedule, Regime, Submodel, TensorSpec
from tests.fakes.submodels import TINY_ARCHITECTURE, tiny_submodel

SHARED = ("accumulator.", "classifier.")


def deit_small(*, num_classes: int = 100, **options: Any) -> Submodel:
    return named_submodel("deit_small", num_classes=num_classes, **options)


def num_trained(submodel: Submodel) -> int:
    return sum(spec.num_elements for spec in submodel.arrays() if spec.is_trained)


@st.composite
def submodels(draw: st.DrawFn) -> Submodel:
    """Any sub-model whose sizes fit together."""
    sizes = st.integers(1, 24)
    num_heads, patch_size, num_blocks = draw(sizes), draw(sizes), draw(sizes)
    channel = st.floats(0.01, 10)
    architecture = Architecture(
        width=num_heads * draw(sizes),
        num_heads=num_heads,
        num_blocks=num_blocks,
        patch_size=patch_size,
        image_size=patch_size * draw(sizes),
        num_classes=draw(sizes),
        mean=draw(st.tuples(channel, channel, channel)),
        std=draw(st.tuples(channel, channel, channel)),
        mlp_ratio=draw(st.floats(1, 10)),
    )
    blocks = draw(st.sets(st.integers(0, num_blocks - 1), min_size=1))
    schedule = ExitSchedule(tuple(sorted(blocks)))
    return Submodel(
        architecture=architecture,
        schedule=schedule,
        max_exit=draw(st.integers(0, schedule.num_exits - 1)),
        regime=draw(st.sampled_from(["full", "frozen"])),
    )


@pytest.mark.parametrize(
    ("num_classes", "expected"),
    [(100, 469_914), (62, 455_284), (35, 444_889), (12, 436_034), (10, 435_264)],
)
def test_accumulator_and_classifier_count_as_in_the_release(
    num_classes: int, expected: int
) -> None:
    arrays = deit_small(num_classes=num_classes).arrays()
    assert sum(spec.num_elements for spec in arrays if spec.name.startswith(SHARED)) == expected


def test_backbone_counts_as_deit_without_its_head_and_final_norm() -> None:
    arrays = deit_small().arrays()
    backbone = [spec for spec in arrays if not spec.name.startswith(SHARED)]
    assert sum(spec.num_elements for spec in backbone) == 21_664_896


@pytest.mark.parametrize(
    ("num_exits", "max_exit", "full"),
    [
        (4, 0, 6_164_634),
        (4, 1, 11_488_026),
        (4, 2, 16_811_418),
        (4, 3, 22_134_810),
        (12, 0, 2_615_706),
        (12, 5, 11_488_026),
        (12, 11, 22_134_810),
    ],
)
def test_trained_arrays_count_as_in_the_release(num_exits: int, max_exit: int, full: int) -> None:
    submodel = deit_small(num_exits=num_exits, max_exit=max_exit)

    assert num_trained(submodel) == full
    assert num_trained(replace(submodel, regime="frozen")) == 469_914


def test_exits_are_spread_as_in_the_paper() -> None:
    assert deit_small(num_exits=4).exit_blocks == (2, 5, 8, 11)
    assert deit_small(num_exits=12).exit_blocks == tuple(range(12))


def test_exits_that_do_not_spread_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot spread 5 exits over 12 blocks"):
        ExitSchedule.evenly_spaced(num_blocks=12, num_exits=5)
    with pytest.raises(ValueError, match="cannot spread 0 exits over 12 blocks"):
        ExitSchedule.evenly_spaced(num_blocks=12, num_exits=0)


@pytest.mark.parametrize("blocks", [(), (-1, 2), (2, 2), (3, 1)])
def test_exits_out_of_order_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="exit blocks must"):
        ExitSchedule(blocks)


def test_absurdly_many_exits_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="at most 1024 exits are supported, got 100000"):
        ExitSchedule(tuple(range(100_000)))
    with pytest.raises(ValueError, match="num_blocks must be from 1 to 1024, got 100000000"):
        ExitSchedule.evenly_spaced(num_blocks=10**8, num_exits=10**8)


def test_more_weights_than_a_device_has_memory_are_refused() -> None:
    architecture = replace(TINY_ARCHITECTURE, width=16_384, num_heads=256, num_classes=1_000_000)
    with pytest.raises(ValueError, match=r"\d+ weights are too many: at most 1073741824 \(4 GiB\)"):
        Submodel(architecture=architecture, schedule=ExitSchedule((0,)), max_exit=0)


def test_a_named_architecture_that_would_not_fit_into_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="image size 4096 in patches of 16 makes 65537 tokens"):
        named_submodel("deit_base", image_size=4096)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_blocks": 0}, "num_blocks must be from 1 to 1024, got 0"),
        ({"num_blocks": 10**8}, "num_blocks must be from 1 to 1024, got 100000000"),
        ({"image_size": 100_000}, "image_size must be from 1 to 4096, got 100000"),
        ({"num_classes": 10**11}, "num_classes must be from 1 to 1000000, got 100000000000"),
        ({"width": 10**6, "num_heads": 1}, "width must be from 1 to 16384, got 1000000"),
        ({"num_heads": -2}, "num_heads must be from 1 to 16384, got -2"),
        ({"patch_size": -8}, "patch_size must be from 1 to 4096, got -8"),
        ({"accumulator_heads": 0}, "accumulator_heads must be from 1 to 16384, got 0"),
        ({"accumulator_heads": -8}, "accumulator_heads must be from 1 to 16384, got -8"),
        ({"accumulator_width": 0}, "accumulator_width must be from 1 to 16384, got 0"),
        ({"mlp_ratio": nan}, "mlp_ratio must be from 0 to 64.0, got nan"),
        ({"mlp_ratio": inf}, "mlp_ratio must be from 0 to 64.0, got inf"),
        ({"mlp_ratio": -1.0}, "mlp_ratio must be from 0 to 64.0, got -1.0"),
        ({"mlp_ratio": 0.01}, "mlp_width must be from 1 to .*, got 0"),
        ({"accumulator_mlp_ratio": inf}, "accumulator_mlp_ratio must be from 0 to 64.0, got inf"),
        ({"accumulator_mlp_ratio": 0.0}, "accumulator_mlp_width must be from 1 to .*, got 0"),
        ({"mean": (0.5, nan, 0.5)}, "mean must be from -1000000.0 to 1000000.0, got nan"),
        ({"mean": (0.5, 0.5, -inf)}, "mean must be from .*, got -inf"),
        ({"std": (nan, 1.0, 1.0)}, "std must be from .*, got nan"),
        ({"std": (1.0, inf, 1.0)}, "std must be from .*, got inf"),
        ({"std": (1.0, 1e-46, 1.0)}, "std must be from 1e-06 to 1000000.0, got 1e-46"),
        ({"image_size": 4096, "patch_size": 1}, "makes 16777217 tokens: a block would compute"),
        ({"num_heads": 3}, "width 16 is not a multiple of 3 heads"),
        ({"accumulator_heads": 5}, "accumulator width 16 is not a multiple of 5 heads"),
        ({"patch_size": 7}, "image size 16 is not a multiple of patch size 7"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be from 1e-06 to 1000000.0, got 0.0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY_ARCHITECTURE, **change)


def test_exit_beyond_the_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="exit after block 4, but the backbone has 4 blocks"):
        Submodel(architecture=TINY_ARCHITECTURE, schedule=ExitSchedule((4,)), max_exit=0)


@pytest.mark.parametrize("max_exit", [-1, 2])
def test_exit_that_is_not_there_is_refused(max_exit: int) -> None:
    with pytest.raises(ValueError, match=f"no exit {max_exit}: choose one of 0 to 1"):
        tiny_submodel(max_exit=max_exit)


def test_cut_goes_shallower_only() -> None:
    submodel = tiny_submodel(num_exits=4, max_exit=2)

    assert submodel.cut(1) == tiny_submodel(num_exits=4, max_exit=1)
    assert submodel.cut(2) == submodel
    with pytest.raises(ValueError, match="no exit 3: choose one of 0 to 2"):
        submodel.cut(3)
    with pytest.raises(ValueError, match="no exit 1: the network has only exit 0"):
        submodel.cut(0).cut(1)


@pytest.mark.parametrize("regime", ["full", "frozen"])
def test_cut_has_a_part_of_the_arrays_with_their_shapes(regime: Regime) -> None:
    whole = replace(tiny_submodel(num_exits=4), regime=regime)
    for max_exit in range(4):
        kept = set(whole.cut(max_exit).arrays())
        assert kept <= set(whole.arrays())
        left_out = {spec.name for spec in set(whole.arrays()) - kept}
        assert {int(name.split(".")[1]) for name in left_out} == set(range(max_exit + 1, 4))


def test_only_the_depth_embedding_is_row_wise_and_has_all_rows_at_every_depth() -> None:
    for max_exit in range(4):
        submodel = tiny_submodel(num_exits=4, max_exit=max_exit)
        row_wise = [spec for spec in submodel.arrays() if spec.is_row_wise]
        assert [(spec.name, spec.shape) for spec in row_wise] == [
            ("accumulator.depth_embedding", (5, 16))
        ]


def test_segments_run_every_block_once_and_feed_each_other() -> None:
    segments = deit_small().segments()

    assert [segment.name for segment in segments] == [f"segment_{k}" for k in range(4)]
    assert [segment.blocks for segment in segments] == [
        range(3), range(3, 6), range(6, 9), range(9, 12)
    ]  # fmt: skip
    for segment, following in pairwise(segments):
        carried = [(spec.shape, spec.dtype) for spec in segment.outputs[:-1]]
        assert carried == [(spec.shape, spec.dtype) for spec in following.inputs]


def test_segments_take_pixels_and_give_logits() -> None:
    first, *_, last = deit_small().segments()

    (images,) = first.inputs
    assert (images.name, images.shape, images.dtype) == ("images", ("batch", 224, 224, 3), "uint8")
    assert [spec.shape for spec in first.outputs] == [
        ("batch", 197, 384),
        ("batch", 3, 16),
        ("batch", 3, 16),
        ("batch", 100),
    ]
    (logits,) = last.outputs
    assert (logits.name, logits.shape) == ("logits", ("batch", 100))


def test_segment_is_the_same_in_every_cut() -> None:
    whole = tiny_submodel(num_exits=4)
    for max_exit in range(4):
        assert whole.cut(max_exit).segments() == whole.segments()[: max_exit + 1]


@given(submodels())
def test_json_brings_back_the_same_submodel(submodel: Submodel) -> None:
    text = schema.to_json(submodel)
    assert schema.from_json(Submodel, text, source="test") == submodel


@given(submodels())
def test_any_submodel_has_arrays_of_its_own_names(submodel: Submodel) -> None:
    names = [spec.name for spec in submodel.arrays()]
    assert len(set(names)) == len(names)
    blocks = {int(name.split(".")[1]) for name in names if name.startswith("blocks.")}
    assert blocks == set(range(submodel.depth))


def test_json_of_a_submodel_that_cannot_be_is_an_input_error() -> None:
    text = schema.to_json(tiny_submodel()).replace('"max_exit":1', '"max_exit":7')
    with pytest.raises(InputError, match=r"m\.json: .*no exit 7: choose one of 0 to 1"):
        schema.from_json(Submodel, text, source="m.json")


def test_a_step_takes_what_a_segment_and_the_regime_say_and_gives_the_arrays_back() -> None:
    submodel = replace(tiny_submodel(num_exits=4, max_exit=2), regime="frozen")

    signature = submodel.step_signature()

    inputs = {spec.name: spec for spec in signature.inputs}
    outputs = {spec.name: spec for spec in signature.outputs}
    assert inputs["images"] == submodel.segments()[0].inputs[0]
    assert inputs["labels"] == TensorSpec("labels", ("batch",), "int64")
    assert inputs["teaches"].shape == (3, 3)
    trained = {spec.name: spec.shape for spec in submodel.trained_arrays()}
    assert {name: inputs[name].shape for name in trained} == trained
    assert {name: outputs[f"next_{name}"].shape for name in trained} == trained
    assert outputs["next_running_losses"].shape == inputs["running_losses"].shape == (3,)
    assert not inputs.keys() & outputs.keys()
    assert len(inputs) == len(signature.inputs) == 8 + len(trained)


def test_the_trained_arrays_are_those_the_regime_trains() -> None:
    full = tiny_submodel()
    frozen = replace(full, regime="frozen")

    assert full.trained_arrays() == full.arrays()
    names = {spec.name.split(".")[0] for spec in frozen.trained_arrays()}
    assert names == {"accumulator", "classifier"}
