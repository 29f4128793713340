"""Is the learning rate that of the released code?"""

import pytest

from reefl_edge.finetune.rounds import learning_rate


@pytest.mark.parametrize(
    ("server_round", "expected"),
    [(1, 0.05), (250, 0.0427), (500, 0.025), (750, 0.0073), (910, 0.001), (1000, 0.001)],
)
def test_rate_falls_as_half_a_cosine_to_a_floor(server_round: int, expected: float) -> None:
    assert learning_rate(server_round) == pytest.approx(expected, abs=5e-5)


def test_rate_is_at_its_floor_from_round_910() -> None:
    assert learning_rate(909) > 0.001
    assert learning_rate(910) == 0.001


def test_rate_stays_at_its_floor_after_the_last_round() -> None:
    assert learning_rate(2000) == 0.001


def test_round_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="rounds are counted from 1, got 0"):
        learning_rate(0)
