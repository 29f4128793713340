"""How does a fresh process train a client as a job says, and leave an update?"""

from typing import assert_never

from reefl_edge.array_files.npz import read_array_file
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import Checkpoint, read_checkpoint
from reefl_edge.checkpoints.update import read_update, write_update
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.errors import InputError
from reefl_edge.files import sha256_of_file
from reefl_edge.finetune.client import train_client
from reefl_edge.finetune.compiled import StepperName, step_for
from reefl_edge.jobs.job import FinetuneJob
from reefl_edge.jobs.outcome import Trained
from reefl_edge.jobs.progress import Telling
from reefl_edge.jobs.sources import (
    UPDATE,
    BundleFolder,
    CheckpointFile,
    Files,
    checked_file,
    located,
)
from reefl_edge.names import numbered_names
from reefl_edge.submodel import Submodel


def train(job: FinetuneJob, files: Files) -> Trained:
    """Train in this process, and leave the update where ``files`` has a place for it.

    A bundle is trained by its compiled ONNX step, a checkpoint by PyTorch.

    Raises:
        ReeflEdgeError: It cannot be done.
    """
    place = located(files, UPDATE)
    source, submodel, stepper = _opened(job, files)
    telling = Telling()
    start = None if job.start is None else read_update(located(files, job.start)).arrays
    try:
        result = train_client(
            source,
            job.regime,
            _dataset(job, files, submodel),
            job.training,
            start_arrays=start,
            stepper=stepper,
            threads=job.threads,
            order=job.order,
            on_step=lambda done, total, _: telling.tell(done, total),
        )
    except ValueError as error:  # of what came with the job
        raise InputError(str(error)) from error
    write_update(result.update, place)
    return Trained(
        update_sha256=sha256_of_file(place),
        num_examples=result.history.num_examples,
        losses=result.history.losses,
        teacher_counts=result.history.teacher_counts,
    )


def _opened(job: FinetuneJob, files: Files) -> tuple[Checkpoint | Bundle, Submodel, StepperName]:
    """Open what is trained, at the depth of the job."""
    match job.source:
        case BundleFolder():
            bundle = job.source.open(files)
            submodel = step_for(bundle, job.regime, "onnx").submodel
            if submodel.max_exit != job.max_exit:
                raise InputError(
                    f"the step was compiled for exits 0 to {submodel.max_exit}, the job asks for "
                    f"exit {job.max_exit}"
                )
            return bundle, submodel, "onnx"
        case CheckpointFile():
            checkpoint = read_checkpoint(job.source.path(files), is_verified=True)
            checkpoint = checkpoint.cut(job.max_exit)
            return checkpoint, checkpoint.submodel, "eager"
        case _:
            assert_never(job.source)


def _dataset(job: FinetuneJob, files: Files, submodel: Submodel) -> ArrayDataset:
    """Read the examples that came with a job.

    Raises:
        InputError: They are not the job's, or do not fit the network.
    """
    arrays = read_array_file(checked_file(files, job.dataset))
    architecture = submodel.architecture
    try:
        return ArrayDataset(
            arrays["images"],
            arrays["labels"],
            numbered_names(architecture.num_classes),
            architecture.image_size,
        )
    except KeyError as error:
        raise InputError(f"the examples that came with the job lack {error}") from error
    except ValueError as error:
        raise InputError(f"the examples that came with the job do not fit: {error}") from error
