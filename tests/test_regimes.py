"""Which arrays each regime adds, trains and sends."""

from typing import get_args

import pytest

from reefl_edge.architectures import named_submodel
from reefl_edge.regimes import REGIMES, Regime, has_adapters, is_adapter
from tests.fakes.submodels import tiny_submodel


def sent(regime: Regime, *, num_exits: int) -> list[int]:
    """Count the numbers that a client of each tier trains and sends, on DeiT-S with 100 classes."""
    deepest = named_submodel("deit_small", num_classes=100, num_exits=num_exits, regime=regime)
    return [
        sum(spec.num_elements for spec in deepest.cut(tier).arrays() if spec.is_trained)
        for tier in range(num_exits)
    ]


# Counted in royson/reefl 61b18c1: four exits, a column for each tier.
FOUR_EXITS: dict[Regime, list[int]] = {
    "full": [6_164_634, 11_488_026, 16_811_418, 22_134_810],
    "frozen": [469_914] * 4,
    "lora": [617_370, 764_826, 912_282, 1_059_738],
    "parallel-adapter": [619_866, 769_818, 919_770, 1_069_722],
    "serial-adapter": [619_866, 769_818, 919_770, 1_069_722],
    "ssf": [496_794, 522_138, 547_482, 572_826],
}
# The same for twelve exits: the first, the sixth and the last tier.
TWELVE_EXITS: dict[Regime, list[int]] = {
    "full": [2_615_706, 11_488_026, 22_134_810],
    "lora": [519_066, 764_826, 1_059_738],
    "ssf": [479_898, 522_138, 572_826],
}


@pytest.mark.parametrize("regime", REGIMES)
def test_four_exits_send_what_the_released_code_sends(regime: Regime) -> None:
    assert sent(regime, num_exits=4) == FOUR_EXITS[regime]


@pytest.mark.parametrize("regime", TWELVE_EXITS)
def test_twelve_exits_send_what_the_released_code_sends(regime: Regime) -> None:
    tiers = sent(regime, num_exits=12)

    assert [tiers[0], tiers[5], tiers[11]] == TWELVE_EXITS[regime]


def test_there_are_six_regimes() -> None:
    assert get_args(Regime) == REGIMES == tuple(FOUR_EXITS)


ADAPTERS: dict[Regime, set[str]] = {
    "full": set(),
    "frozen": set(),
    "lora": {f"attn.lora_{part}.{factor}" for part in "qv" for factor in "ab"},
    "parallel-adapter": {
        f"{sublayer}_adapter.{layer}.{part}"
        for sublayer in ("attn", "mlp")
        for layer in ("down", "up")
        for part in ("weight", "bias")
    },
    "ssf": {
        f"{site}.{part}"
        for site in (
            "ssf_norm1",
            "attn.ssf_q",
            "attn.ssf_k",
            "attn.ssf_v",
            "attn.ssf_proj",
            "ssf_norm2",
            "mlp.ssf_fc1",
            "mlp.ssf_fc2",
        )
        for part in ("scale", "shift")
    },
}
ADAPTERS["serial-adapter"] = ADAPTERS["parallel-adapter"]


@pytest.mark.parametrize("regime", REGIMES)
def test_a_regime_adds_its_adapters_to_every_block_and_trains_them(regime: Regime) -> None:
    submodel = tiny_submodel().with_regime(regime)
    plain = {spec.name for spec in tiny_submodel().arrays()}

    added = [spec for spec in submodel.arrays() if spec.name not in plain]

    in_blocks = {f"blocks.{block}.{name}" for block in range(4) for name in ADAPTERS[regime]}
    stem = {
        f"{site}.ssf.{part}"
        for site in ("patch_embed", "classifier")
        for part in ("scale", "shift")
    }
    assert {spec.name for spec in added} == in_blocks | (stem if regime == "ssf" else set())
    assert all(spec.is_trained and is_adapter(spec.name) for spec in added)
    assert not any(is_adapter(name) for name in plain)
    assert has_adapters(regime) == bool(added)


@pytest.mark.parametrize("regime", REGIMES)
def test_only_the_full_regime_trains_the_backbone(regime: Regime) -> None:
    submodel = tiny_submodel().with_regime(regime)

    trained = {spec.name for spec in submodel.arrays() if spec.is_trained}

    shared = {name for name in trained if name.startswith(("accumulator.", "classifier."))}
    backbone = {name for name in trained - shared if not is_adapter(name)}
    assert len(shared) == 18 + 2 * (regime == "ssf")
    assert bool(backbone) == (regime == "full")


@pytest.mark.parametrize("other", ["full", "frozen", "lora", "serial-adapter", "ssf"])
def test_bottleneck_adapters_cannot_be_left_behind(other: Regime) -> None:
    submodel = tiny_submodel().with_regime("parallel-adapter")

    with pytest.raises(ValueError, match=f"do not fold .* cannot be trained as '{other}'"):
        submodel.with_regime(other)

    assert submodel.with_regime("parallel-adapter") == submodel
