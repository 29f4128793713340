"""Is a mutated report, recipe or device profile valid all the same, or refused in one line?"""

import tomllib
from pathlib import Path

import pytest

from reefl_edge import schema
from reefl_edge.devices.profiles import DeviceProfile, load_profile
from reefl_edge.profiling.budget import Budget
from reefl_edge.profiling.choose import choose_exit
from reefl_edge.profiling.report import Report, read_report, report_json
from reefl_export.recipe import ExportRecipe, read_recipe
from tests.slow import mutations
from tests.slow.cases import Case, Refused, answer, cases

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REPORTS = sorted((ROOT / "tests" / "golden" / "report" / "valid").glob("*.json"))
RECIPES = sorted((ROOT / "export" / "reefl_export" / "recipes").glob("*.toml"))
PROFILES = sorted((ROOT / "device_profiles").glob("*.toml"))
MUTATIONS = (*mutations.DOCUMENTS, *mutations.BYTES, "nested")


@cases("report", MUTATIONS)
def test_a_mutated_report_is_valid_or_refused_in_one_line(case: Case, tmp_path: Path) -> None:
    random, path = case.random(), tmp_path / "report.json"
    written = random.choice(REPORTS).read_bytes()
    path.write_bytes(mutations.changed_json(written, random, case.mutation))

    read = answer(lambda: read_report(path))

    if not isinstance(read, Refused):
        assert_report_holds(read, path)


def assert_report_holds(report: Report, path: Path) -> None:
    """Write a report again, and let it be used."""
    path.write_text(report_json(report))
    assert read_report(path) == report
    samples = [row.measurement.latency_ms_samples for row in report.rows]
    assert all(0 < each < 1e12 for row in samples for each in row)
    exits = range(report.context.submodel.num_exits)
    choice = answer(lambda: choose_exit(report, Budget(inference_ms=1e9)), may_raise=ValueError)
    assert isinstance(choice, Refused) or choice.exit_index in exits


@cases("recipe", MUTATIONS)
def test_a_mutated_recipe_is_valid_or_refused_in_one_line(case: Case, tmp_path: Path) -> None:
    path = mutated_toml(case, RECIPES, tmp_path / "recipe.toml")

    read = answer(lambda: read_recipe(str(path)))

    if not isinstance(read, Refused):
        assert schema.from_json(ExportRecipe, schema.to_json(read), source="again") == read
        assert all(1 <= size <= 2**16 for size in read.batch_sizes)


@cases("profile", MUTATIONS)
def test_a_mutated_profile_is_valid_or_refused_in_one_line(case: Case, tmp_path: Path) -> None:
    path = mutated_toml(case, PROFILES, tmp_path / "device.toml")

    read = answer(lambda: load_profile(str(path)))

    if not isinstance(read, Refused):
        assert schema.from_json(DeviceProfile, schema.to_json(read), source="again") == read
        assert 1 <= read.num_cores <= 2**20
        assert read.memory_mib is None or 1 <= read.memory_mib <= 2**30


def mutated_toml(case: Case, originals: list[Path], path: Path) -> Path:
    """Write a mutated TOML file, as a document or as bytes."""
    random = case.random()
    content = random.choice(originals).read_bytes()
    if case.mutation in mutations.DOCUMENTS:
        document = mutations.DOCUMENTS[case.mutation](tomllib.loads(content.decode()), random)
        path.write_bytes(mutations.toml_bytes(document))
    else:
        path.write_bytes(mutations.changed_json(content, random, case.mutation))
    return path
