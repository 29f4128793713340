"""Does the comparison with another commit call worse what is worse?"""

from benchmarks.against import compare, samples_in
from benchmarks.sections import against
from reefl_edge import schema
from tests.fakes.devices import HOST


def test_a_figure_is_worse_only_if_its_whole_interval_is() -> None:
    base = {"same": [10.0, 11.0, 10.5], "slower": [10.0, 10.1, 10.2], "gone": [1.0]}
    here = {"same": [10.4, 10.6, 10.9], "slower": [12.0, 12.2, 12.1], "new": [1.0]}

    rows = {row["what"]: row for row in compare("step", {"base": base, "here": here})}

    assert rows.keys() == {"step: same", "step: slower"}  # what both measured
    assert rows["step: same"]["is_no_worse"]
    assert not rows["step: slower"]["is_no_worse"]
    assert rows["step: slower"]["low"] > 1.1


def test_samples_are_found_wherever_they_stand() -> None:
    document = {
        "1": {"onnx": {"wall_ms": [1.0], "cpu_ms": [2.0]}, "note": "x"},
        "2": {"onnx": {"wall_ms": [3.0]}},
    }

    assert dict(samples_in(document)) == {"1 onnx": [1.0], "2 onnx": [3.0]}


def test_the_page_says_what_is_worse() -> None:
    figure = {"ratio": 1.2, "low": 1.1, "high": 1.3}
    document = {
        "host": schema.to_dict(HOST),
        "settings": {"base": "0123abc", "rounds": 3},
        "measured_at": "2026-01-31T12:00:00+00:00",
        "compared": [
            {"what": "step: full", **figure, "is_no_worse": False},
            {"what": "step: frozen", **figure, "low": 0.9, "is_no_worse": True},
        ],
    }

    page = against.section(document)

    assert "| step: full | 1.200 | [1.100, 1.300] | **no** |" in page
    assert "| step: frozen | 1.200 | [0.900, 1.300] | yes |" in page
    assert "base 0123abc" in page
