"""Clipped sums here can be followed by hand; noise is drawn often enough to be measured."""

import math

import numpy as np
import pytest

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.update import Update
from reefl_edge.federation.movement import movements, norm
from reefl_edge.federation.privacy import Privacy, PrivateAverage, clipped, draw, epsilon
from tests.fakes.submodels import deep_submodel
from tests.fakes.updates import drawn_arrays, filled_arrays, update_of

WHOLE = deep_submodel(num_exits=4, max_exit=3, regime="lora")
START = filled_arrays(WHOLE, 1.0)
DEPTH_EMBEDDING = "accumulator.depth_embedding"
# Six clients of the shallowest depth, four of the second, none deeper; every second one is taken.
NUM_CLIENTS = {0: 6, 1: 4}


def private(*, noise: float, clip_norm: float = 5.0, seed: int = 0) -> PrivateAverage:
    return PrivateAverage(
        WHOLE,
        start=START,
        privacy=Privacy(clip_norm=clip_norm, noise_multiplier=noise, sampling_rate=0.5),
        num_clients=NUM_CLIENTS,
        generator=np.random.default_rng(seed),
    )


def moved(max_exit: int, **distances: float) -> Update:
    """Return an update that moves one element of some arrays, from 1."""
    submodel = WHOLE.cut(max_exit)
    arrays = filled_arrays(submodel, 1.0)
    for name, distance in distances.items():
        arrays[name.replace("__", ".")].flat[0] += distance
    return update_of(submodel, arrays)


def at(arrays: Arrays, name: str) -> float:
    return float(arrays[name].flat[0])


def test_clipping_is_over_the_whole_update() -> None:
    update = moved(0, accumulator__meta_token=3.0, classifier__norm__bias=4.0)  # length 5

    short = clipped(update, START, 2.5)

    assert at(short.arrays, "accumulator.meta_token") == 1 + 1.5
    assert at(short.arrays, "classifier.norm.bias") == 1 + 2.0
    assert clipped(update, START, 5.0) is update


def test_a_clipped_update_has_the_norm_it_was_clipped_to() -> None:
    update = update_of(WHOLE, drawn_arrays(WHOLE, np.random.default_rng(0)))

    short = clipped(update, START, 0.5)

    assert norm(each for _, each in movements(short.arrays, START)) == pytest.approx(0.5, rel=1e-5)


def test_without_noise_movements_are_summed_and_divided_by_the_holders_to_be_expected() -> None:
    average = private(noise=0.0)
    average.add(moved(0, accumulator__meta_token=10.0), 1.0)  # clipped to 5
    average.add(moved(1, accumulator__meta_token=3.0, blocks__5__attn__lora_q__a=4.0), 900.0)

    result = average.average(START)

    # Half of ten clients have the meta token, half of four have block 5.
    assert at(result, "accumulator.meta_token") == pytest.approx(1 + (5 + 3) / 5)
    assert at(result, "blocks.5.attn.lora_q.a") == pytest.approx(1 + 4 / 2)
    np.testing.assert_array_equal(result["blocks.6.attn.lora_q.a"], 1.0)  # nobody is so deep


def test_rows_are_divided_by_the_holders_of_the_row() -> None:
    average = private(noise=0.0)
    arrays = filled_arrays(WHOLE.cut(1), 1.0)
    arrays[DEPTH_EMBEDDING][[3, 4], 0] += 1.0  # of block 2, and of block 3
    average.add(update_of(WHOLE.cut(1), arrays), 1.0)

    rows = average.average(START)[DEPTH_EMBEDDING][:, 0]

    assert rows[3] == pytest.approx(1 + 1 / 5)
    assert rows[4] == pytest.approx(1 + 1 / 2)
    assert rows[7] == 1.0


def test_noise_has_its_scale_everywhere_that_a_client_could_be() -> None:
    noise, clip_norm = 2.0, 5.0
    result = private(noise=noise, clip_norm=clip_norm).average(START)  # nobody came

    on_all = result["accumulator.mlp.fc1.weight"] - 1
    on_second = np.stack([result[f"blocks.{block}.attn.lora_q.a"] for block in (3, 4, 5)]) - 1
    # 10 of standard deviation on the sums, over 5 holders and over 2; a deviation estimated from n
    # draws is itself within 5 / sqrt(2 n) of the truth, but once in two million times.
    for array, deviation in ((on_all, 10 / 5), (on_second, 10 / 2)):
        assert array.std() == pytest.approx(deviation, rel=5 / math.sqrt(2 * array.size))
        assert abs(array.mean()) < 5 * deviation / math.sqrt(array.size)
    np.testing.assert_array_equal(result["blocks.6.attn.lora_q.a"], 1.0)
    np.testing.assert_array_equal(result[DEPTH_EMBEDDING][7:], 1.0)
    assert (result[DEPTH_EMBEDDING][:7] != 1.0).all()


def test_noise_comes_from_its_seed_alone() -> None:
    one, same, other = (private(noise=1.0, seed=seed).average(START) for seed in (1, 1, 2))

    assert np.array_equal(one["accumulator.meta_token"], same["accumulator.meta_token"])
    assert not np.array_equal(one["accumulator.meta_token"], other["accumulator.meta_token"])


def test_what_is_held_does_not_tell_who_came() -> None:
    empty, full = private(noise=1.0), private(noise=1.0)
    full.add(moved(1), 1.0)

    held = empty.held()

    assert all(np.array_equal(rows, full.held()[name]) for name, rows in held.items())
    assert held[DEPTH_EMBEDDING].ravel().tolist() == [True] * 7 + [False] * 6


def test_clients_are_drawn_independently() -> None:
    generator = np.random.default_rng(0)

    counts = [len(draw(50, 0.2, generator)) for _ in range(400)]

    # Binomial: mean 10, variance 8; a fixed number would have none.
    assert np.mean(counts) == pytest.approx(10, abs=5 * math.sqrt(8 / 400))
    assert np.var(counts) == pytest.approx(8, rel=0.4)


def test_epsilon_of_one_round_with_everybody_is_near_the_gaussian_mechanism_s() -> None:
    everybody = Privacy(clip_norm=1.0, noise_multiplier=4.0, sampling_rate=1.0)

    found = epsilon(everybody, num_rounds=1, delta=1e-5)

    # By the mechanism's exact delta (Balle and Wang 2018, theorem 8) it holds, and is not idle.
    assert _gaussian_delta(found, deviation=4.0) <= 1e-5
    assert _gaussian_delta(0.8 * found, deviation=4.0) > 1e-5


def _gaussian_delta(epsilon: float, *, deviation: float) -> float:
    def below(value: float) -> float:
        return 0.5 * math.erfc(-value / math.sqrt(2))

    half, turned = 1 / (2 * deviation), epsilon * deviation
    return below(half - turned) - math.exp(epsilon) * below(-half - turned)


def test_epsilon_grows_with_rounds_and_with_the_share_taken_and_falls_with_noise() -> None:
    def of(noise: float, rate: float, num_rounds: int) -> float:
        privacy = Privacy(clip_norm=1.0, noise_multiplier=noise, sampling_rate=rate)
        return epsilon(privacy, num_rounds=num_rounds, delta=1e-5)

    usual = of(1.0, 0.1, 100)

    assert usual == pytest.approx(7.97, abs=0.02)
    assert of(1.0, 0.1, 200) > usual
    assert of(1.0, 0.2, 100) > usual
    assert of(2.0, 0.1, 100) < usual
    assert of(0.0, 0.1, 100) == math.inf


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"clip_norm": 0.0}, "norm to clip to must be positive, got 0"),
        ({"noise_multiplier": -1.0}, "noise multiplier must not be negative: -1"),
        ({"sampling_rate": 1.5}, "above 0 and at most 1, got 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], problem: str) -> None:
    usual = {"clip_norm": 1.0, "noise_multiplier": 1.0, "sampling_rate": 0.1}

    with pytest.raises(ValueError, match=problem):
        Privacy(**usual | settings)
