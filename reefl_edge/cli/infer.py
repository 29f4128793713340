"""``reefl-edge infer``: classify images with a bundle, stopping at the first confident exit."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reefl_edge.cli import options, render
from reefl_edge.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reefl_edge.adaptive import AdaptiveSession, ConfidencePolicy
    from reefl_edge.bundles.bundle import Bundle


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
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime", help="onnx, executorch or eager.  [default: onnx where the bundle has it]"
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="Of the artifact.  [default: the bundle's preferred one]"),
    ] = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Classify images, stopping at the first exit that is confident enough.

    Example:  reefl-edge infer bundle photo.png folder/ digits.npz --threshold 0.8
    """
    from reefl_edge.adaptive import AdaptiveSession
    from reefl_edge.bundles.artifacts import PRECISIONS
    from reefl_edge.bundles.bundle import Bundle
    from reefl_edge.runtimes.base import RUNTIMES
    from reefl_edge.runtimes.opening import check_precision, runtime_for

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
    session = AdaptiveSession.open(
        opened, runtime=chosen, precision=wanted, policy=policy, threads=threads
    )
    if opened.manifest.has_random_weights:
        render.warn("the bundle's weights are random: its answers mean nothing")
    rows, failures = _classify(session, opened, inputs)
    _show(rows, failures, session.policy, json=json)
    if failures:
        raise InputError(f"{len(failures)} of {len(failures) + len(rows)} inputs could not be read")


def _policy(threshold: str | None) -> "ConfidencePolicy | None":
    from reefl_edge.adaptive import ConfidencePolicy

    if threshold is None:
        return None
    with options.usage_errors("--threshold"):
        return ConfidencePolicy(tuple(float(part) for part in threshold.split(",")))


def _classify(
    session: "AdaptiveSession", bundle: "Bundle", inputs: list[Path]
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Classify every image; an unreadable one is noted, and the rest go on."""
    edge = session.submodel.architecture.image_size
    failures: list[dict[str, str]] = []
    rows = [
        {"input": name, **_predict(session, bundle, image)}
        for given in inputs
        for path in _files(given, failures)
        for name, image in _readable(path, edge, failures)
    ]
    return rows, failures


def _readable(
    path: Path, edge: int, failures: list[dict[str, str]]
) -> "Iterator[tuple[str, NDArray[np.uint8]]]":
    """Give the images of a file up to what cannot be read, which is noted."""
    with _noted(path, failures):
        yield from _read(path, edge)


@contextmanager
def _noted(path: Path, failures: list[dict[str, str]]) -> Iterator[None]:
    """Note the block's failure to read a path, and go on."""
    try:
        yield
    except InputError as error:
        failures.append({"input": str(path), "error": str(error)})
    except OSError as error:
        failures.append({"input": str(path), "error": f"{path}: {str(error.strerror).lower()}"})


def _files(given: Path, failures: list[dict[str, str]]) -> list[Path]:
    """Return the images of a folder, or the file itself."""
    from reefl_edge.data.formats.folder import images_in

    if not given.is_dir():
        return [given]
    images: list[Path] = []
    with _noted(given, failures):
        images = images_in(given)
        if not images:
            raise InputError(f"no images in {given}")
    return images


def _read(path: Path, edge: int) -> "Iterator[tuple[str, NDArray[np.uint8]]]":
    """Give the images of a file, each (1, edge, edge, 3), with a name for it."""
    from reefl_edge.data.formats.arrays import read_images
    from reefl_edge.data.images import read_image, resize

    if path.suffix.lower() in (".npy", ".npz"):
        for index, image in enumerate(read_images(path)):
            yield f"{path}[{index}]", resize(image[None], edge)
    else:
        yield str(path), read_image(path, image_size=edge)


def _predict(
    session: "AdaptiveSession", bundle: "Bundle", image: "NDArray[np.uint8]"
) -> dict[str, Any]:
    start = time.perf_counter()
    prediction = session.predict(image)
    latency_ms = (time.perf_counter() - start) * 1e3
    return {
        "label": bundle.manifest.class_names[prediction.labels[0]],
        "confidence": float(prediction.confidences[0]),
        "exit_index": int(prediction.exit_indices[0]),
        "latency_ms": latency_ms,
    }


def _show(
    rows: list[dict[str, Any]],
    failures: list[dict[str, str]],
    policy: "ConfidencePolicy",
    *,
    json: bool,
) -> None:
    for failure in failures:
        render.warn(failure["error"])
    if json:
        document = {
            "thresholds": list(policy.thresholds),
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
    columns = ("input", "label", "confidence", "exit", "latency ms")
    render.out().print(render.table(title, columns, cells))
