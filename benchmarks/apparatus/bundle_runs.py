"""How is a bundle loaded and run in a benchmark: one image, on one thread, as a profile does it?"""

from pathlib import Path

from benchmarks.apparatus.measured import Runnable
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.jobs.job import INFERENCE_PLAN, InferenceJob
from reefl_edge.jobs.sources import BundleFolder
from reefl_edge.jobs.workloads import Load, import_workload


def importing(runtime: Runnable, folder: Path) -> Load:
    """Import what runs the float32 artifact of a bundle; return what loads it."""
    source = BundleFolder.of(folder)
    job = InferenceJob(
        runtime=runtime,
        precision="fp32",
        threads=1,
        batch_size=1,
        submodel=Bundle.open(folder).manifest.submodel,
        source=source,
        plan=INFERENCE_PLAN,
    )
    return import_workload(job, {source.sha256: folder})
