"""Proofs that an artifact agrees with its network: which are believed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reefl_edge import schema
from reefl_edge.bundles.artifacts import BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.manifest import PARITY_NAME
from reefl_edge.errors import InputError, ParityError
from reefl_export import cache
from reefl_export.parity.comparison import ParityReport, ParityRow, check_parity, problems
from reefl_export.parity.gate import Gate
from reefl_export.parity.recheck import gates_of
from reefl_export.recipe import recipe_for
from tests.fakes.bundles import listed_artifact, tiny_manifest

ROW = ParityRow(
    target="onnx",
    precision="fp32",
    exit_index=0,
    max_abs_error=0.25,
    mean_abs_error=0.1,
    logit_std=1.0,
    top1_agreement=0.5,
    exit_agreement=None,
)
OWN_GATE = Gate(max_abs_error=1e-3)
STOCK_GATE = recipe_for("onnx").gate


def rows_file() -> Path:
    return cache.cache_home() / "artifact" / "parity-comparison.json"


def edit(path: Path, *keys: str | int, value: object) -> None:
    document: Any = json.loads(path.read_text())
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(document))


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ParityRow, ...]:
    """Rows in a cache of the test's own."""
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path))
    (cache.cache_home() / "artifact").mkdir(parents=True)
    rows = (ROW, replace(ROW, exit_index=1))
    cache.store_rows("artifact", "comparison", rows)
    return rows


def test_a_stored_comparison_is_found_again(stored: tuple[ParityRow, ...]) -> None:
    assert cache.fetch_rows("artifact", "comparison") == stored


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("rows", 0, "max_abs_error"), 0.0),
        (("rows", 1, "exit_index"), 2),
        (("rows", 0, "exit_agreement"), 1.0),
        (("rows",), []),
        (("sha256",), "0" * 64),
    ],
)
@pytest.mark.usefixtures("stored")
def test_an_edited_comparison_counts_for_nothing(
    keys: tuple[str | int, ...], value: object
) -> None:
    edit(rows_file(), *keys, value=value)

    assert cache.fetch_rows("artifact", "comparison") is None


@pytest.mark.usefixtures("stored")
def test_a_comparison_of_before_hashes_counts_for_nothing() -> None:
    rows = json.loads(rows_file().read_text())["rows"]
    rows_file().write_text(json.dumps({"rows": rows}))

    assert cache.fetch_rows("artifact", "comparison") is None


@pytest.mark.usefixtures("stored")
def test_errors_that_are_no_numbers_are_kept_and_fail_again() -> None:
    broken = replace(ROW, max_abs_error=np.nan, mean_abs_error=np.inf)
    cache.store_rows("artifact", "broken", (broken,))

    (fetched,) = cache.fetch_rows("artifact", "broken") or ()

    assert np.isnan(fetched.max_abs_error)
    assert fetched.mean_abs_error == np.inf
    with pytest.raises(ParityError, match=r"by nan: .* no finite numbers"):
        check_parity((fetched,), Gate(), is_trained=True)


@pytest.mark.parametrize("share", ["top1_agreement", "exit_agreement"])
def test_a_share_that_is_no_number_fails(share: str) -> None:
    row = replace(ROW, **{share: np.nan})  # type: ignore[arg-type]
    gate = Gate(min_top1_agreement=0.1, min_exit_agreement=0.1)

    assert list(problems(row, gate, is_trained=True))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle with a parity report of its own gates, whose artifacts are not there."""
    report = ParityReport(
        images="noise", num_images=1, threshold=None, gates={"onnx-fp32": OWN_GATE}, rows=(ROW,)
    )
    path = tmp_path / PARITY_NAME
    path.write_text(schema.to_json(report))
    manifest = tiny_manifest(listed_artifact("onnx"))
    return Bundle(tmp_path, replace(manifest, parity=BundleFile.of(tmp_path, path)))


def test_the_gates_of_a_listed_report_are_believed(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    assert gates_of(bundle) == {"onnx-fp32": OWN_GATE}
    assert not caplog.records


def test_the_gates_of_an_edited_report_are_refused(bundle: Bundle) -> None:
    edit(bundle.directory / PARITY_NAME, "gates", "onnx-fp32", value={})

    with pytest.raises(InputError, match=r"parity\.json is not the file that was exported"):
        gates_of(bundle)


def test_gates_that_the_manifest_does_not_list_do_not_count(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    edit(bundle.directory / PARITY_NAME, "gates", "onnx-fp32", value={})
    before = Bundle(bundle.directory, replace(bundle.manifest, parity=None))

    assert gates_of(before) == {"onnx-fp32": STOCK_GATE}
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "reefl_export.parity.recheck")
    assert "parity.json is not listed in the manifest" in record.message


def test_a_bundle_that_never_had_a_report_is_held_to_the_stock_recipes(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    (bundle.directory / PARITY_NAME).unlink()
    never = Bundle(bundle.directory, replace(bundle.manifest, parity=None))

    assert gates_of(never) == {"onnx-fp32": STOCK_GATE}
    assert not caplog.records


def test_a_listed_report_that_is_missing_is_refused(bundle: Bundle) -> None:
    (bundle.directory / PARITY_NAME).unlink()

    with pytest.raises(InputError, match=r"is incomplete: parity\.json is missing"):
        gates_of(bundle)
