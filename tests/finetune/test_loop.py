"""Does the loop hand every example to whatever stepper, and need no framework itself?"""

import subprocess
import sys

import numpy as np
import pytest

from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.finetune.loop import train
from reefl_edge.finetune.rounds import distill_weight, learning_rate
from reefl_edge.finetune.training import LocalTraining
from tests.fakes.steppers import FakeStepper
from tests.fakes.submodels import tiny_submodel


def test_every_example_is_stepped_on_once_an_epoch_with_its_label(
    tiny_dataset: ArrayDataset,
) -> None:
    stepper = FakeStepper(tiny_submodel())

    history = train(stepper, tiny_dataset, LocalTraining(epochs=2, batch_size=4))

    assert [len(labels) for _, labels in stepper.batches] == [4, 4, 2, 4, 4, 2]
    label_of = {
        image.tobytes(): label
        for image, label in zip(tiny_dataset.pixels, tiny_dataset.labels, strict=True)
    }
    for batches in (stepper.batches[:3], stepper.batches[3:]):
        images = np.concatenate([images for images, _ in batches])
        labels = np.concatenate([labels for _, labels in batches])
        assert {image.tobytes() for image in images} == label_of.keys()
        assert [label_of[image.tobytes()] for image in images] == labels.tolist()
    assert history.losses == (1, 2, 3, 4, 5, 6)
    assert history.teacher_counts == (6, 0)
    assert history.num_examples == 10


def test_a_step_is_told_the_rate_and_the_weight_of_its_round(tiny_dataset: ArrayDataset) -> None:
    stepper = FakeStepper(tiny_submodel())

    train(stepper, tiny_dataset, LocalTraining(server_round=120, distill="forward"))

    (settings,) = stepper.settings
    assert settings["learning_rate"] == learning_rate(120)
    assert settings["distill_weight"] == distill_weight(120)
    assert settings["teaches"].tolist() == [[0, 0], [1, 0]]


def test_a_dataset_of_another_network_is_refused(tiny_dataset: ArrayDataset) -> None:
    with pytest.raises(ValueError, match="the dataset is empty"):
        train(
            FakeStepper(tiny_submodel()),
            tiny_dataset.subset(np.array([], np.int64)),
            LocalTraining(),
        )


def test_the_loop_and_its_settings_need_no_torch() -> None:
    script = (
        "import sys\n"
        "import reefl_edge.finetune.client, reefl_edge.finetune.loop\n"
        "import reefl_edge.finetune.evaluate\n"
        "assert 'torch' not in sys.modules\n"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr
