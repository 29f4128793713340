"""A twin of a small device kills the exit that would not fit there, and measures the one that does.

The reference is what the shallow exit takes without a limit: the device has as much. Libraries that
other processes have loaded count there, but not in a group: the deeper exit needs far more.
"""

from dataclasses import replace

import pytest

from reefl_edge.devices.links.emulated import EmulatedLink
from reefl_edge.devices.links.local import LocalLink
from reefl_edge.devices.links.memory_group import memory_group
from reefl_edge.devices.profiles import load_profile
from reefl_edge.errors import DeviceError, MeasurementError
from reefl_edge.jobs.job import InferenceJob, Plan
from reefl_edge.jobs.running import run_job
from reefl_edge.jobs.sources import RandomWeights
from reefl_edge.submodel import ExitSchedule, Submodel
from tests.fakes.submodels import TINY_ARCHITECTURE

ONCE = Plan(warmup_runs=0, min_samples=1, min_seconds=0, max_seconds=1)
# The second exit would hold some 650 MiB more than the first.
DEEP = Submodel(
    architecture=replace(TINY_ARCHITECTURE, width=768, num_heads=8, num_blocks=24),
    schedule=ExitSchedule((0, 23)),
    max_exit=1,
)


def job(exit_index: int) -> InferenceJob:
    return InferenceJob(
        submodel=DEEP.cut(exit_index),
        source=RandomWeights(seed=0),
        runtime="eager",
        precision="fp32",
        threads=1,
        batch_size=1,
        plan=ONCE,
    )


def test_the_assigned_exit_fits_where_a_deeper_one_is_killed() -> None:
    try:
        with memory_group(2**30):
            pass
    except DeviceError as error:
        pytest.skip(str(error))
    needed_mib = run_job(LocalLink(), job(0), {}).peak_mib
    board = replace(load_profile("rpi4"), memory_mib=int(needed_mib))

    assert run_job(EmulatedLink(board), job(0), {}).latency_ms_samples

    with pytest.raises(MeasurementError, match=r"does not fit: .* of emu:rpi4"):
        run_job(EmulatedLink(board), job(1), {})
