"""What the bars of the ExecuTorch step are made of, and how they are shown."""

from benchmarks.executorch_step import bars
from benchmarks.sections.executorch_step import section


def found(compiled_ms: float, eager_ms: float, extension_ms: float) -> dict[str, object]:
    time = {"compiled": compiled_ms, "eager": eager_ms, "extension": extension_ms}
    return {
        "time": {name: {"wall_ms": [ms], "cpu_ms": [ms]} for name, ms in time.items()},
        "peak_above_imports_mib": {"compiled": 10.0, "eager": 20.0},
    }


def test_the_bars_hold_the_compiled_step_to_both_others() -> None:
    held = list(bars({"lora, 2": found(140.0, 100.0, 2000.0)}))

    assert [(bar["what"], bar["figure"], bar["holds"]) for bar in held] == [
        ("lora: compiled step to training extension, 2 threads", 0.07, True),
        ("lora: compiled step to eager, 2 threads", 1.4, False),
    ]


def test_the_section_shows_a_row_per_regime_and_number_of_threads() -> None:
    document = {
        "host": {
            "cpu_name": "a processor",
            "cpu_features": [],
            "num_usable_cores": 2,
            "load_average": 0.0,
            "packages": {},
        },
        "settings": {},
        "measured_at": "today",
        "bars": list(bars({"lora, 2": found(140.0, 100.0, 2000.0)})),
        "time": {
            "lora, 2": {
                "compiled": {"median": 140.0},
                "eager": {"median": 100.0},
                "extension": {"median": 2000.0},
            }
        },
        "samples": {"lora, 2": found(140.0, 100.0, 2000.0)},
        "program_mib": {"lora": 23.0},
    }

    assert "| lora | 2 | 140 | 100 | 2000 | 10 | 20 | 23 |" in section(document)
