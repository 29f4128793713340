"""Does training give what it would have given, killed sixty times at moments drawn from a seed?"""

from pathlib import Path
from random import Random

import pytest

from tests.trainings import STEPPERS, Training, killed_again_and_again, write_inputs
from tests.workplaces import Workplace

pytestmark = pytest.mark.slow

NUM_TRAININGS, NUM_KILLS = 12, 5


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


@pytest.mark.parametrize("seed", range(NUM_TRAININGS))
def test_training_killed_at_any_moment_goes_on_to_the_same_update(
    seed: int, undisturbed: tuple[Training, bytes], tmp_path: Path
) -> None:
    right, update = undisturbed
    training = Training(right.case, right.inputs, Workplace.made_in(tmp_path))

    killed_again_and_again(training, Random(seed), num_kills=NUM_KILLS)

    assert training.finish() == update
    training.assert_tidy()
