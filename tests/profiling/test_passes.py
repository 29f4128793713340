"""From several processes to one row."""

from dataclasses import replace

from reefl_edge.jobs.disturbances import Disturbances
from reefl_edge.jobs.job import MEMORY_PLAN, InferenceJob, Job
from reefl_edge.jobs.outcome import Measurement, Sitting
from reefl_edge.jobs.sources import RandomWeights
from reefl_edge.profiling.measure import inference_jobs
from reefl_edge.profiling.passes import Meter, num_processes, pooled
from tests.fakes.jobs import counting_link
from tests.fakes.measurements import measurement
from tests.fakes.submodels import tiny_submodel


def taken(*samples: float, load_ms: float, memory_mib: float = 10.0) -> Measurement:
    """Return what one process measured."""
    sitting = Sitting(
        num_samples=len(samples), load_ms=load_ms, first_run_ms=9.0, disturbances=Disturbances()
    )
    return replace(
        measurement(samples, memory_mib=memory_mib),
        load_ms=load_ms,
        wait_ms_samples=(0.5,) * len(samples),
        sittings=(sitting,),
    )


def test_every_pass_measures_every_exit_once_after_memory_was_measured() -> None:
    asked, done = list[Job](), list[int]()
    jobs = inference_jobs(
        tiny_submodel(num_exits=2), RandomWeights(), runtime="eager", threads=1, cores=(1,)
    )
    meter = Meter(link=counting_link(asked), files={}, on_process=lambda: done.append(len(asked)))

    rows = meter.rows(jobs, num_passes=2)

    plans = [job.plan for job in asked if isinstance(job, InferenceJob)]
    exits = [job.submodel.max_exit for job in asked if isinstance(job, InferenceJob)]
    assert exits == [0, 1] * 3
    assert [plan == MEMORY_PLAN for plan in plans] == [True] * 2 + [False] * 4
    assert done == [1, 2, 3, 4, 5, 6]
    assert num_processes(2, 2) == 6
    assert [row.exit_index for row in rows] == [0, 1]
    assert [row.summary.num_samples for row in rows] == [20, 20]


def test_samples_keep_their_order_and_say_which_process_took_them() -> None:
    first, second, third = (
        taken(1.0, 2.0, load_ms=30.0, memory_mib=99),
        taken(3.0, load_ms=10.0, memory_mib=98),
        taken(4.0, 5.0, load_ms=20.0, memory_mib=97),
    )

    whole = pooled([first, second, third], taken(50.0, load_ms=70.0, memory_mib=12))

    assert whole.latency_ms_samples == (1, 2, 3, 4, 5)
    assert whole.wait_ms_samples == (0.5,) * 5
    assert [sitting.num_samples for sitting in whole.sittings] == [2, 1, 2]
    assert [sitting.load_ms for sitting in whole.sittings] == [30, 10, 20]
    assert (whole.load_ms, whole.first_run_ms) == (20, 7)
    assert whole.peak_mib - whole.baseline_mib == 12


def test_waiting_is_left_out_where_one_process_could_not_count_it() -> None:
    silent = replace(taken(3.0, load_ms=10.0), wait_ms_samples=None)

    assert pooled([taken(1.0, load_ms=1.0), silent], silent).wait_ms_samples is None
