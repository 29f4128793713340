"""``reefl-edge infer``: classify images with a bundle, stopping at the first confident exit."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reefl_edge.cli import linking, options, render
from reefl_edge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reefl_edge.adaptive import ConfidencePolicy
    from reefl_edge.bundles.artifacts import Precision
    from reefl_edge.bundles.bundle import Bundle
    from reefl_edge.bundles.thresholds import Certificate
    from reefl_edge.devices.links.base import Link
    from reefl_edge.runtimes.base import RuntimeName
    from reefl_edge.tasks.inference import Answer
    from reefl_edge.tasks.inputs import Unreadable


def infer(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="Image files, folders of them, .npy or .npz."),
    ],
    threshold: Annotated[
        str | None,
        typer.Option(
            "--threshold",
            help="Stop at the first exit this confident: one number in (0, 1], or one per exit "
            "but the last, separated by commas.  [default: the bundle's own, else 1, never early]",
        ),
    ] = None,
    runtime: options.ArtifactRuntime = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="Of the artifact.  [default: the bundle's preferred one]"),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size", min=1, max=1024, help="Images at once: quicker where there are many."
        ),
    ] = 1,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="Where to classify, with the bundle's ONNX artifact: local, ssh:USER@HOST, "
            "adb:SERIAL or a device profile.",
        ),
    ] = "local",
    device_python: linking.DevicePython = False,
    threads: options.DeviceThreads = None,
    json: options.Json = False,
) -> None:
    """Classify images, stopping at the first exit that is confident enough.

    Example:  reefl-edge infer bundle photo.png folder/ digits.npz --threshold 0.8
    """
    from reefl_edge.bundles.artifacts import PRECISIONS
    from reefl_edge.bundles.bundle import Bundle
    from reefl_edge.runtimes.base import RUNTIMES
    from reefl_edge.runtimes.opening import check_precision, runtime_for
    from reefl_edge.tasks.inputs import files_in

    asked = options.parse_optional(runtime, RUNTIMES, "--runtime", kind="runtime")
    wanted = options.parse_optional(precision, PRECISIONS, "--precision", kind="precision")
    policy = _policy(threshold)
    opened = Bundle.open(bundle)
    with options.usage_errors("--threshold"):
        if policy is not None:
            policy.check(opened.manifest.submodel.num_exits)
    chosen = asked or runtime_for(opened, wanted)
    with options.usage_errors("--precision"):
        check_precision(chosen, wanted)
    linking.check_device_python(device, is_wanted=device_python)
    link = _link(device, chosen, device_python=device_python)
    files = files_in(inputs)
    if link is None:
        options.fitting_threads(threads)
        classifying = _here(opened, files, policy, chosen, wanted, threads, batch_size)
    else:
        classifying = _there(link, opened, files, policy, wanted, threads, batch_size)
    if opened.manifest.has_random_weights:
        render.warn("the bundle's weights are random: its answers mean nothing")
    with options.usage_errors("--threads"):
        rows, failures = _classified(classifying.classify)
    _show(rows, failures, classifying, json=json)
    if failures:
        raise InputError(f"{len(failures)} of {len(failures) + len(rows)} inputs could not be read")


@dataclass(frozen=True, slots=True)
class _Classifying:
    """What is going to classify, and by what it stops.

    Attributes:
        classify: Starts it.
        policy: Where it stops.
        certificate: What that is certified to keep; None for nothing.
    """

    classify: "Callable[..., Iterable[Answer | Unreadable]]"
    policy: "ConfidencePolicy"
    certificate: "Certificate | None"


def _here(
    bundle: "Bundle",
    files: "Sequence[Path | Unreadable]",
    policy: "ConfidencePolicy | None",
    runtime: "RuntimeName",
    precision: "Precision | None",
    threads: int | None,
    batch_size: int,
) -> _Classifying:
    """Load a bundle in this process."""
    from reefl_edge.adaptive import AdaptiveSession
    from reefl_edge.runtimes.opening import threads_for
    from reefl_edge.tasks.inference import are_many, classify_files, pays_side_by_side

    threads = threads or threads_for(bundle)
    side_by_side = pays_side_by_side(runtime, len(files), batch_size=batch_size, threads=threads)
    session = AdaptiveSession.open(
        bundle,
        runtime=runtime,
        precision=precision,
        policy=policy,
        threads=1 if side_by_side else threads,
        is_short_lived=not are_many(files),
    )
    classify = partial(
        classify_files,
        session,
        bundle.manifest.class_names,
        files,
        batch_size=batch_size,
        workers=threads,
        side_by_side=side_by_side,
    )
    return _Classifying(classify, session.policy, session.certificate)


def _there(
    link: "Link",
    bundle: "Bundle",
    files: "Sequence[Path | Unreadable]",
    policy: "ConfidencePolicy | None",
    precision: "Precision | None",
    threads: int | None,
    batch_size: int,
) -> _Classifying:
    """Prepare to send images to a device; what is wrong there shows with the first ones."""
    from reefl_edge.adaptive import policy_in_force
    from reefl_edge.tasks.device_inference import classify_files_on

    certificate = None
    thresholds = None if policy is None else policy.thresholds
    if policy is None:
        artifact = bundle.artifact("onnx", precision)
        policy, certificate = policy_in_force(bundle, artifact, runtime="onnx")
    classify = partial(
        classify_files_on,
        link,
        bundle,
        files,
        thresholds=thresholds,
        precision=precision,
        threads=threads,
        batch_size=batch_size,
    )
    return _Classifying(classify, policy, certificate)


def _link(device: str, runtime: "RuntimeName", *, device_python: bool) -> "Link | None":
    """Return the link to where images are to be classified; None for this process.

    Raises:
        BadParameter: What is asked for happens in this process only.
        DeviceError: The device is not connected.
    """
    from reefl_edge.devices.profiles import LOCAL_DEVICE

    if device == LOCAL_DEVICE:
        return None
    if runtime != "onnx":
        options.refuse(
            "--device",
            f"a device classifies with onnxruntime, not {runtime}; export the bundle with "
            "--format onnx too",
        )
    return linking.link_to(device, device_python=device_python)


def _policy(threshold: str | None) -> "ConfidencePolicy | None":
    from reefl_edge.adaptive import ConfidencePolicy

    if threshold is None:
        return None
    with options.usage_errors("--threshold"):
        return ConfidencePolicy(tuple(float(part) for part in threshold.split(",")))


def _classified(
    classify: "Callable[..., Iterable[Answer | Unreadable]]",
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Classify every image, with a bar where there are several files."""
    from reefl_edge import schema
    from reefl_edge.tasks.inputs import Unreadable

    bar: render.Bar | None = None
    with ExitStack() as shown:

        def on_file(done: int, total: int) -> None:
            nonlocal bar
            if total > 1:
                bar = bar or shown.enter_context(render.progress_bar("infer", total))
                bar.step(done, total)

        answers = list(classify(on_file=on_file))
    rows = [schema.to_dict(each) for each in answers if not isinstance(each, Unreadable)]
    failures = [schema.to_dict(each) for each in answers if isinstance(each, Unreadable)]
    return rows, failures


def _show(
    rows: list[dict[str, Any]],
    failures: list[dict[str, str]],
    classifying: _Classifying,
    *,
    json: bool,
) -> None:
    from reefl_edge import schema

    policy, certificate = classifying.policy, classifying.certificate
    for failure in failures:
        render.warn(failure["error"])
    if json:
        document = {
            "thresholds": list(policy.thresholds),
            "measure": policy.measure,
            "temperatures": list(policy.temperatures),
            "promise": None if certificate is None else schema.to_dict(certificate.promise),
            "predictions": rows,
            "failures": failures,
        }
        render.print_json(document)
        return
    cells = [
        (
            row["input"],
            row["label"],
            f"{row['confidence']:.3f}",
            str(row["exit_index"]),
            f"{row['latency_ms']:.2f}",
        )
        for row in rows
    ]
    title = f"threshold {', '.join(f'{threshold:g}' for threshold in policy.thresholds)}"
    if certificate is not None:
        title += f", promised on images like those that certified it: {certificate.promise}"
    columns = ("input", "label", "confidence", "exit", "latency ms")
    render.out().print(render.table(title, columns, cells))
