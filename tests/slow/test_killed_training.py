"""Does training give what it would have given, killed at moments drawn from a seed?"""

from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest

from tests.bare import needs_bare
from tests.trainings import STEPPERS, Training, killed_again_and_again, write_inputs
from tests.workplaces import Workplace

pytestmark = pytest.mark.slow

needs_executorch = pytest.mark.skipif(
    find_spec("executorch") is None, reason="executorch makes the program"
)

# Mostly without torch, which takes long to start.
NUM_TRAININGS = {"eager": 2, "onnx": 10, "executorch": 1}
NUM_KILLS = 5


@pytest.mark.parametrize(
    "stepper",
    [
        "eager",
        pytest.param("onnx", marks=needs_bare),
        pytest.param("executorch", marks=needs_executorch),
    ],
)
def test_training_killed_at_any_moment_goes_on_to_the_same_update(
    stepper: str, tmp_path: Path
) -> None:
    write_inputs(tmp_path, target="executorch" if stepper == "executorch" else "onnx")
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
