"""Does training give what it would have given, killed sixty times at moments drawn from a seed?"""

from pathlib import Path
from random import Random

import pytest

from tests.bare import needs_bare
from tests.trainings import STEPPERS, Training, killed_again_and_again, write_inputs
from tests.workplaces import Workplace

pytestmark = pytest.mark.slow

# Mostly without torch, which takes long to start.
NUM_TRAININGS = {"eager": 2, "onnx": 10}
NUM_KILLS = 5


@pytest.mark.parametrize("stepper", ["eager", pytest.param("onnx", marks=needs_bare)])
def test_training_killed_at_any_moment_goes_on_to_the_same_update(
    stepper: str, tmp_path: Path
) -> None:
    write_inputs(tmp_path)
    (tmp_path / "undisturbed").mkdir()
    workplace = Workplace.made_in(tmp_path / "undisturbed")
    right = Training(STEPPERS[stepper], tmp_path, workplace)
    update = right.finish()

    for seed in range(NUM_TRAININGS[stepper]):
        (tmp_path / str(seed)).mkdir()
        training = Training(right.case, tmp_path, Workplace.made_in(tmp_path / str(seed)))
        killed_again_and_again(training, Random(seed), num_kills=NUM_KILLS)

        assert training.finish() == update, f"seed {seed}"
        training.assert_tidy()
