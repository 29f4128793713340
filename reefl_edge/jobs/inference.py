"""How does a fresh process classify images as a job says?"""

from typing import assert_never

import numpy as np

from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy, policy_in_force
from reefl_edge.answers import ImageAnswer, answers_to
from reefl_edge.array_files.npz import Array, read_array_file
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.checkpoints.checkpoint import read_checkpoint
from reefl_edge.errors import InputError
from reefl_edge.extras import needs_extra
from reefl_edge.jobs.job import InferJob
from reefl_edge.jobs.outcome import Answered
from reefl_edge.jobs.progress import Telling
from reefl_edge.jobs.sources import BundleFolder, CheckpointFile, Files, checked_file
from reefl_edge.runtimes.opening import artifact_for, open_runtime


def infer(job: InferJob, files: Files) -> Answered:
    """Classify the images in this process, each up to the first exit that is sure enough.

    Raises:
        InputError: The images or the exits do not fit the model, or something is not there.
        ReeflEdgeError: It cannot be done.
    """
    images = _images(job, files)
    try:
        session = _session(job, files)
        telling = Telling()
        answers: list[ImageAnswer] = []
        for start in range(0, len(images), job.batch_size):
            batch = images[start : start + job.batch_size]
            answers += answers_to(session, batch, wants_logits=job.wants_logits)
            telling.tell(len(answers), len(images))
        return Answered(answers=tuple(answers))
    except ValueError as error:  # of what came with the job
        raise InputError(str(error)) from error


def _session(job: InferJob, files: Files) -> AdaptiveSession:
    policy = ConfidencePolicy() if job.thresholds is None else ConfidencePolicy(job.thresholds)
    match job.source:
        case BundleFolder():
            bundle = job.source.open(files)
            if job.thresholds is None:
                policy = _own_policy(bundle, job)
            runtime = open_runtime(
                job.runtime,
                bundle,
                precision=job.precision,
                threads=job.threads,
                max_exit=job.max_exit,
            )
            return AdaptiveSession(runtime, bundle.manifest.submodel.cut(job.max_exit), policy)
        case CheckpointFile():
            with needs_extra("the eager runtime", "torch", "train"):
                from reefl_edge.models.arrays import network_from
                from reefl_edge.runtimes.eager import EagerRuntime
            checkpoint = read_checkpoint(job.source.path(files), is_verified=True)
            checkpoint = checkpoint.cut(job.max_exit)
            network = network_from(checkpoint.submodel, checkpoint.arrays)
            runtime = EagerRuntime(network, threads=job.threads)
            return AdaptiveSession(runtime, checkpoint.submodel, policy)
        case _:
            assert_never(job.source)


def _own_policy(bundle: Bundle, job: InferJob) -> ConfidencePolicy:
    artifact = artifact_for(job.runtime, bundle, job.precision)
    policy, _ = policy_in_force(bundle, artifact, runtime=job.runtime)
    return policy.cut(job.max_exit)


def _images(job: InferJob, files: Files) -> Array:
    """Read the images that came with a job; whether they fit is for the model to say.

    Raises:
        InputError: They are not the job's, or are no array.
    """
    arrays = read_array_file(checked_file(files, job.images), lone="images")
    images = arrays.get("images")
    if images is None or images.ndim == 0:
        raise InputError("the images that came with the job are no .npy file of a batch")
    return np.ascontiguousarray(images)
