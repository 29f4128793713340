"""How is a model's cost on a device predicted, measuring nothing?"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from reefl_edge import schema
from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.devices.host import Host, describe_host
from reefl_edge.devices.processor import Processor
from reefl_edge.devices.profiles import LOCAL_DEVICE, DeviceProfile, load_profile, profile_named
from reefl_edge.profiling.cost_model import CostModel, Device, Question
from reefl_edge.profiling.measure import DEFAULT_BATCH_SIZE
from reefl_edge.profiling.prediction import Prediction
from reefl_edge.profiling.report import RANDOM_WEIGHTS, Context, Report, Row
from reefl_edge.submodel import Submodel
from reefl_edge.tasks.models import Model
from reefl_edge.tasks.profiling import ProfileRequest


def estimate_model(
    model: Model,
    request: ProfileRequest | None = None,
    *,
    device: str,
    memory_mib: int | None = None,
    reports: Sequence[Report] = (),
) -> Report:
    """Predict what every exit of a model takes on a device.

    Args:
        model: The model, cut at the deepest exit to predict.
        request: What to predict.
        device: ``local``, what ``load_profile`` takes, or the address of a device as one of
            ``reports`` has it, such as ``ssh:pi@board``, which then says what machine it is.
        memory_mib: The device's memory, where its profile does not say.
        reports: What to go by, beside what comes with this package. Rows of this model on this
            device stand in the result as measured.

    Returns:
        A report whose predictions fill what no report measured; without rows where nothing was.

    Raises:
        InputError: ``device`` is a path to a profile that is missing or damaged.
        ValueError: No device has this name, nothing says how much memory it has, it has not so
            many cores, no report measured anything alike, or another step than PyTorch's is asked
            for.
    """
    request = request or ProfileRequest()
    submodel = model.checkpoint.submodel
    profile, host, processor = _facts(device, memory_mib, reports)
    if request.threads == "auto":
        raise ValueError("a prediction takes a number of threads, not auto")
    if request.step_runtime not in (None, "eager"):
        raise ValueError(f"PyTorch's step is predicted, not that of {request.step_runtime}")
    threads = request.threads or (profile.num_fast_cores if profile else host.threads(None))
    here = Device(
        name=device if profile is None else profile.name,
        cpu_name=host.cpu_name,
        processor=processor,
    )
    questions = [*_questions(submodel, replace(request, threads=threads))]
    answering = [
        (report, row)
        for report in reports
        if here.is_of(report) and _is_alike(report, submodel)
        for row in report.rows
        if row.exit_index <= submodel.max_exit
        and any(question.is_answered_by(row) for question in questions)
    ]
    rows = tuple(_distinct(row for _, row in answering))
    known = CostModel([*shipped_reports(), *reports], _processor_of)
    predictions: list[Prediction] = []
    for question in questions:
        measured = {row.exit_index for row in rows if question.is_answered_by(row)}
        missing = [each for each in range(submodel.num_exits) if each not in measured]
        predictions += known.predict(here, question, missing)
    return Report(
        context=_context(
            model, device=here.name, host=host, measured=answering[0][0] if answering else None
        ),
        rows=rows,
        predictions=tuple(predictions),
    )


def _context(model: Model, *, device: str, host: Host, measured: Report | None) -> Context:
    """Return the circumstances: of this model, on the machine of a report that has rows of it."""
    weights = RANDOM_WEIGHTS
    if model.checkpoint.random != "everything":
        weights = weights_sha256(model.checkpoint.arrays)
    context = Context(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        device=device,
        is_real_hardware=False,
        host=host,
        model=model.name,
        weights=weights,
        submodel=model.checkpoint.submodel,
    )
    if measured is None:
        return context
    # Rows keep the day and the machine they are from; whatever it has learnt, a network takes as
    # long, so that those of other weights count.
    there = measured.context
    return replace(
        context,
        measured_at=there.measured_at,
        device=there.device,
        is_real_hardware=there.is_real_hardware,
        host=there.host,
    )


def assumptions_about(device: str, reports: Sequence[Report] = ()) -> tuple[str, ...]:
    """Say what predictions for a device take for lack of a fact; see ``estimate_model``."""
    told = _told(device, reports)
    if told is not None:
        return Processor.of_host(told).assumptions
    return Processor.of_profile(load_profile(device)).assumptions


@cache
def shipped_reports() -> tuple[Report, ...]:
    """Return what comes with this package to go by: one machine, four models."""
    folder = files("reefl_edge") / "profiling" / "measured"
    paths = sorted((each for each in folder.iterdir() if each.name.endswith(".json")), key=str)
    return tuple(
        schema.from_json(Report, path.read_text(encoding="utf-8"), source=path.name)
        for path in paths
    )


def _questions(submodel: Submodel, request: ProfileRequest) -> Iterator[Question]:
    assert isinstance(request.threads, int)
    yield Question(
        submodel=submodel.folded(),
        kind="inference",
        runtime=request.runtime,
        precision=request.precision,
        threads=request.threads,
        batch_size=1,
        regime=None,
    )
    if request.regime is not None:
        yield Question(
            submodel=submodel.with_regime(request.regime),
            kind="step",
            runtime="eager",
            precision="fp32",
            threads=request.threads,
            batch_size=request.batch_size or DEFAULT_BATCH_SIZE,
            regime=request.regime,
        )


def _facts(
    device: str, memory_mib: int | None, reports: Sequence[Report]
) -> tuple[DeviceProfile | None, Host, Processor]:
    """Return a device's profile, if it has one, and what is known of it."""
    told = _told(device, reports)
    if told is not None:
        return None, told, Processor.of_host(told)
    profile = load_profile(device)
    return profile, _described(profile, memory_mib), Processor.of_profile(profile)


def _told(device: str, reports: Sequence[Report]) -> Host | None:
    """Return what a device without a profile says of itself, here or in a report of it."""
    if device == LOCAL_DEVICE:
        return describe_host()
    if profile_named(device) is not None:
        return None
    contexts = (report.context for report in reports)
    return next(
        (each.host for each in contexts if each.is_real_hardware and each.device == device), None
    )


def _described(profile: DeviceProfile, memory_mib: int | None) -> Host:
    """Describe a device that nothing runs on, from its profile."""
    memory = memory_mib or profile.memory_mib
    if memory is None:
        raise ValueError(
            f"{profile.title} is sold with several sizes of memory, or nobody could look it up: "
            "say which with --memory-mib"
        )
    return Host(
        os=profile.os,
        arch="aarch64" if "neon" in profile.isa_features else "x86_64",
        cpu_name=profile.soc,
        cpu_features=profile.isa_features,
        num_cores=profile.num_cores,
        num_usable_cores=profile.num_cores,
        memory_total_mib=memory,
    )


def _processor_of(context: Context) -> Processor:
    """Return the processor of a report: by its device's profile, where that has one."""
    try:
        return Processor.of_profile(load_profile(context.device))
    except ValueError:
        return Processor.of_host(context.host)


def _is_alike(report: Report, submodel: Submodel) -> bool:
    """Tell whether a report is of the same network, whatever its weights."""
    measured = report.context.submodel
    return measured.architecture == submodel.architecture and measured.schedule == submodel.schedule


def _distinct(rows: Iterator[Row]) -> Iterator[Row]:
    """Yield rows of the same thing once, as the first report has them."""
    seen = set()
    for row in rows:
        if row.key not in seen:
            seen.add(row.key)
            yield row
