"""Does the comparison with another commit call worse what is worse?"""

from benchmarks.against import compare, samples_in


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
