"""Does training that was killed or stopped give what it would have given? Real processes."""

import signal
from pathlib import Path
from random import Random

import pytest

from tests.trainings import (
    STEPPERS,
    Training,
    killed_again_and_again,
    stopped,
    write_inputs,
)
from tests.workplaces import Workplace


@pytest.fixture(scope="module", params=STEPPERS)
def undisturbed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Training, bytes]:
    """A training that nobody stops, and its update."""
    inputs = tmp_path_factory.mktemp("inputs")
    write_inputs(inputs)
    workplace = Workplace.made_in(tmp_path_factory.mktemp("undisturbed"))
    training = Training(STEPPERS[request.param], inputs, workplace)
    return training, training.finish()


def test_training_killed_at_any_moment_goes_on_to_the_same_update(
    undisturbed: tuple[Training, bytes], tmp_path: Path
) -> None:
    right, update = undisturbed
    training = Training(right.case, right.inputs, Workplace.made_in(tmp_path))

    killed_again_and_again(training, Random("quick"), num_kills=5)

    assert training.finish() == update
    training.assert_tidy()


def test_training_that_is_stopped_keeps_its_last_step_and_says_how_to_go_on(
    undisturbed: tuple[Training, bytes], tmp_path: Path
) -> None:
    right, update = undisturbed
    training = Training(right.case, right.inputs, Workplace.made_in(tmp_path))
    random, words = Random(0), ["interrupted", "terminated"]

    for number, word in zip((signal.SIGINT, signal.SIGTERM), words, strict=True):
        code, told = stopped(training, random, number)

        assert code == 128 + number
        *_, keeps, following, error = told.splitlines()
        assert keeps == f"{training.checkpoints} keeps step {training.num_kept()}"
        assert following.startswith("next: reefl-edge finetune ")
        assert following.endswith("--resume")
        assert error == f"error: {word}; nothing was left half-written"
    assert training.finish() == update
    training.assert_tidy()
