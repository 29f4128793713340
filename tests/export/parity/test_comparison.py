"""Comparing an artifact's logits with the network's: two exits, four images, three classes."""

from dataclasses import replace

import numpy as np
import pytest

from reefl_edge.bundles.artifacts import Artifact
from reefl_edge.errors import ParityError
from reefl_edge.runtimes.base import Tensors
from reefl_edge.runtimes.chain import Logits
from reefl_export.parity.comparison import ParityRow, chain_logits, check_parity, compare, worst_row
from reefl_export.parity.gate import Gate
from tests.fakes.bundles import listed_file
from tests.fakes.runtimes import confident_logits, numbered_images

ARTIFACT = Artifact(
    target="onnx",
    delegate=None,
    precision="int8-dynamic",
    batch_sizes=(),
    toolchain={},
    files=(listed_file(),),
)
# Probability of class 0 by exit and image; at 0.8, images 0 and 1 stop at exit 0.
EXPECTED = list(confident_logits([[0.9, 0.85, 0.5, 0.6], [0.9, 0.9, 0.9, 0.9]]))


def rows_of(actual: list[Logits], threshold: float | None = 0.8) -> list[ParityRow]:
    return list(compare(ARTIFACT, EXPECTED, actual, threshold=threshold))


def test_equal_logits_agree_in_everything() -> None:
    rows = rows_of(EXPECTED)

    assert [row.max_abs_error for row in rows] == [0, 0]
    assert [row.top1_agreement for row in rows] == [1, 1]
    assert [row.exit_agreement for row in rows] == [1, 1]


def test_errors_are_the_largest_and_the_mean_difference_of_a_logit() -> None:
    off = EXPECTED[0].copy()
    off[1, 2] += 0.6

    row = rows_of([off, EXPECTED[1]])[0]

    assert row.max_abs_error == pytest.approx(0.6)
    assert row.mean_abs_error == pytest.approx(0.6 / 12)
    assert row.logit_std == pytest.approx(EXPECTED[0].std())
    assert row.mean_error_share == pytest.approx(0.05 / EXPECTED[0].std())


def test_the_decision_where_to_stop_is_compared_in_the_chain_up_to_each_exit() -> None:
    # Image 1 is no longer sure enough at exit 0, image 2 now is.
    doubtful = list(confident_logits([[0.9, 0.7, 0.95, 0.6], [0.9, 0.9, 0.9, 0.9]]))

    rows = rows_of(doubtful)

    # A chain cut after exit 0 has nowhere else to stop; the whole chain differs on two of four.
    assert [row.exit_agreement for row in rows] == [1.0, 0.5]
    assert [row.exit_agreement for row in rows_of(doubtful, threshold=None)] == [None, None]


@pytest.mark.parametrize(
    ("gate", "problem"),
    [
        (Gate(max_abs_error=0.5), "by 0.6, more than 0.5"),
        (Gate(max_mean_error=0.001), "of the logits' spread, more than 0.001"),
        (Gate(min_top1_agreement=0.9), r"in the class of 25\.0% of images, more than 10\.0%"),
        (Gate(min_exit_agreement=0.9), r"in the decision where to stop of 25\.0% of images"),
    ],
)
def test_a_gate_refuses_what_is_off_by_more(gate: Gate, problem: str) -> None:
    row = ParityRow(
        target="onnx",
        precision="fp32",
        exit_index=1,
        max_abs_error=0.6,
        mean_abs_error=0.01,
        logit_std=2.0,
        top1_agreement=0.75,
        exit_agreement=0.75,
    )

    with pytest.raises(
        ParityError, match=rf"onnx fp32 differs from the network at exit 1 .*{problem}"
    ):
        check_parity((row,), gate, is_trained=True)
    check_parity((row,), Gate(), is_trained=True)


class OneAfterTheOther:
    """A chain of one segment, whose logit is the image's first pixel and the batch's size."""

    def run(self, exit_index: int, inputs: Tensors) -> Tensors:
        """Answer for a batch of any size."""
        assert exit_index == 0
        first = inputs[0][:, 0, 0, 0].astype(np.float32)
        return (np.stack([first, np.full(len(first), len(first), np.float32)], axis=1),)


def test_a_chain_is_run_in_whole_batches_and_what_fills_the_last_is_left_out() -> None:
    images = numbered_images([0, 1, 2, 3, 4])

    (logits,) = chain_logits(OneAfterTheOther(), images, num_exits=1, batch_size=3)

    assert logits.tolist() == [[0, 3], [1, 3], [2, 3], [3, 3], [4, 3]]


def test_of_several_batch_sizes_the_worst_row_counts() -> None:
    small, large, broken = (
        rows_of([EXPECTED[0] + error, EXPECTED[1]])[0] for error in (0.1, 0.2, np.nan)
    )

    assert worst_row([small, large]) == large
    assert np.isnan(worst_row([broken, large]).max_abs_error)


def test_of_several_batch_sizes_every_figure_is_the_worst() -> None:
    row, _ = rows_of(EXPECTED)
    row = replace(row, exit_agreement=None)
    far = replace(row, max_abs_error=0.3, mean_abs_error=0.01, top1_agreement=0.95)
    often = replace(row, max_abs_error=0.2, mean_abs_error=0.02, top1_agreement=0.8)

    worst = worst_row([far, often])

    assert (worst.max_abs_error, worst.mean_abs_error, worst.top1_agreement) == (0.3, 0.02, 0.8)
    assert worst.exit_agreement is None
    some = replace(far, exit_agreement=0.9), replace(often, exit_agreement=0.7)
    assert worst_row(some).exit_agreement == 0.7


def test_agreement_is_not_held_against_random_weights() -> None:
    other_class = [logits[:, ::-1] for logits in EXPECTED]
    rows = tuple(rows_of(other_class))

    check_parity(rows, Gate(min_top1_agreement=0.9), is_trained=False)
    with pytest.raises(ParityError):
        check_parity(rows, Gate(min_top1_agreement=0.9), is_trained=True)


def test_a_logit_that_is_no_number_fails() -> None:
    broken = EXPECTED[0].copy()
    broken[0, 0] = np.nan
    rows = tuple(rows_of([broken, EXPECTED[1]]))

    for gate in (Gate(max_abs_error=1e9), Gate(max_mean_error=1e9)):
        with pytest.raises(ParityError, match="by nan"):
            check_parity(rows, gate, is_trained=True)
