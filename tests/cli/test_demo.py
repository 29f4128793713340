"""The demo's own parts; its stages are the commands, which have tests of their own."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.thresholds import same_threshold
from reefl_edge.data.dataset import ArrayDataset
from reefl_edge.demo import measure
from reefl_edge.demo.digits import load_digits, split_digits
from reefl_edge.demo.measure import CURVE_THRESHOLDS, measure_curve
from reefl_edge.demo.narrator import Progress
from reefl_edge.demo.picture import draw
from reefl_edge.demo.run import keep_promise
from reefl_edge.tasks.exporting import ExportRequest, export_model
from reefl_edge.tasks.models import open_model
from reefl_export.plan import ExportPlan
from tests.fakes.images import random_images


@pytest.fixture
def test_set() -> ArrayDataset:
    return ArrayDataset(random_images(6), np.array([0, 1, 2, 0, 1, 2]), ("a", "b", "c"), 16)


def stopping_at(threshold: float, path: Path) -> Bundle:
    """Return a bundle whose manifest has another threshold."""
    manifest = Bundle.open(path).manifest
    entries = same_threshold(manifest.artifacts, threshold)
    return Bundle(path, replace(manifest, thresholds=entries))


def test_a_curve_has_a_point_for_every_threshold_and_shares_that_add_up(
    home: Path, test_set: ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "RUNTIMES", ("onnx",))
    steps: list[tuple[int, int]] = []

    (curve,) = measure_curve(
        stopping_at(0.42, home / "bundle"),
        test_set,
        threads=2,
        on_step=lambda done, total: steps.append((done, total)),
    )

    assert [point.threshold for point in curve.points] == sorted({0.42, *CURVE_THRESHOLDS})
    assert curve.chosen.threshold == 0.42
    assert curve.deepest.exit_shares == (0, 1)
    for point in curve.points:
        assert sum(point.exit_shares) == pytest.approx(1)
        assert point.mean_latency_ms > 0
        assert point.accuracy_change == pytest.approx(point.accuracy - curve.deepest.accuracy)
        low, high = point.accuracy_change_interval
        assert low <= point.accuracy_change <= high
    assert steps[-1] == (6, 6)


def test_the_picture_is_a_png(
    home: Path, test_set: ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "RUNTIMES", ("onnx",))
    curves = measure_curve(
        stopping_at(0.9, home / "bundle"), test_set, threads=2, on_step=lambda *_: None
    )

    draw(curves, tmp_path / "picture.png")

    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


class _Lines:
    """Keeps what the demo explains."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, title: str) -> AbstractContextManager[Progress]:
        raise AssertionError(f"{title} was begun")

    def explain(self, text: str) -> None:
        self.lines.append(text)


def test_the_demo_goes_on_where_one_exit_alone_fits_the_budget(
    home: Path, test_set: ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "RUNTIMES", ("onnx",))
    plan = ExportPlan.stock(["onnx"])
    model = open_model(home / "model.safetensors").cut(0)
    exported = export_model(model, tmp_path / "bundle", ExportRequest(plan=plan))
    told = _Lines()

    bundle = keep_promise(exported, tmp_path / "missing.npz", told, threads=2)
    (curve,) = measure_curve(bundle, test_set, threads=2, on_step=lambda *_: None)
    draw((curve,), tmp_path / "picture.png")

    assert bundle is exported
    assert told.lines == ["6/7 calibrate: one exit fits the budget, there is nothing to stop early"]
    assert curve.chosen is curve.deepest
    assert curve.deepest.exit_shares == (1,)


def test_the_digits_are_split_without_overlap() -> None:
    digits = load_digits(image_size=32)
    split = split_digits(digits, seed=0)
    parts = (split.public, split.private, split.validation, split.test)

    assert [len(part.labels) for part in parts] == [900, 300, 197, 400]
    assert digits.images(np.array([0])).shape == (1, 32, 32, 3)
    counts = sum(np.bincount(part.labels, minlength=10) for part in parts)
    np.testing.assert_array_equal(counts, np.bincount(digits.labels))
