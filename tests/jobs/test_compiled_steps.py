"""A job that measures a compiled step runs that one, and no other."""

from dataclasses import replace
from pathlib import Path

import pytest

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.errors import InputError
from reefl_edge.finetune.compiled import step_for
from reefl_edge.jobs.job import STEP_PLAN, StepJob
from reefl_edge.jobs.sources import BundleFolder, RandomWeights
from reefl_edge.jobs.workloads import import_workload
from reefl_edge.runtimes.base import default_threads
from tests.trainings import trainable_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return trainable_bundle(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def job(bundle: Bundle) -> StepJob:
    step = step_for(bundle, "frozen", "onnx")
    return StepJob(
        submodel=step.submodel,
        source=BundleFolder.of(bundle.directory),
        runtime="onnx",
        precision="fp32",
        threads=default_threads(),  # onnxruntime has one pool here, which exporting has made
        batch_size=step.batch_size,
        plan=STEP_PLAN,
    )


def prepare(job: StepJob, path: Path) -> None:
    assert isinstance(job.source, BundleFolder)
    run = import_workload(job, {job.source.sha256: path})()
    run()
    run()


def test_it_runs_again_and_again(bundle: Bundle, job: StepJob) -> None:
    prepare(job, bundle.directory)


def test_a_step_that_is_not_there_is_refused(bundle: Bundle, job: StepJob) -> None:
    other = replace(job, submodel=job.submodel.with_regime("ssf"))

    with pytest.raises(InputError, match="has no onnx step that trains ssf, only frozen"):
        prepare(other, bundle.directory)
    with pytest.raises(InputError, match="has no executorch step that trains frozen, nor any"):
        prepare(replace(job, runtime="executorch"), bundle.directory)


def test_a_step_of_another_batch_or_depth_is_refused(bundle: Bundle, job: StepJob) -> None:
    with pytest.raises(InputError, match=r"compiled for exits 0 to 1 and \d+ images, the job asks"):
        prepare(replace(job, batch_size=job.batch_size + 1), bundle.directory)
    with pytest.raises(InputError, match="the job asks for exits 0 to 0 and"):
        prepare(replace(job, submodel=job.submodel.cut(0)), bundle.directory)


def test_a_compiled_step_comes_in_a_bundle(job: StepJob) -> None:
    with pytest.raises(ValueError, match=r"compiled into a bundle; got onnx and RandomWeights"):
        replace(job, source=RandomWeights())
    with pytest.raises(ValueError, match=r"got eager and BundleFolder"):
        replace(job, runtime="eager")
