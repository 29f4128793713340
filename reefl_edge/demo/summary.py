"""What did the demo find, as one document?"""

import json
from pathlib import Path
from typing import Any

from reefl_edge import schema
from reefl_edge.demo.run import VALIDATION_NAME, DemoResult
from reefl_edge.files import write_text
from reefl_edge.profiling.report import report_json

REPORT_NAME = "demo.json"
# What the demo writes, and what it is.
SAVED = {
    "model.safetensors": "the pretrained network",
    "report.json": "what each exit costs on this machine",
    "update.safetensors": "what the client sends back",
    "bundle": "ExecuTorch, ONNX and Core ML",
    VALIDATION_NAME: "digits for calibrate",
    "test_digits.npz": "digits for evaluate and infer",
    "accuracy_latency.png": "the picture",
    REPORT_NAME: "everything above as one document",
}


def save_report(result: DemoResult, output: Path) -> dict[str, Any]:
    """Write everything the demo found to one JSON file, and return it."""
    tuned = result.personalisation
    document = {
        "schema_version": 1,
        "pretrained_accuracy": list(result.pretrained_accuracy),
        "profile": json.loads(report_json(result.report)),
        "finetune": {
            "own_classes": list(tuned.own_classes),
            "losses": list(tuned.result.history.losses),
            "teacher_counts": list(tuned.result.history.teacher_counts),
            "own_classes_accuracy": {"before": tuned.own_before, "after": tuned.own_after},
            "all_classes_accuracy": {"before": tuned.all_before, "after": tuned.all_after},
        },
        "bundle": {"path": str(result.bundle.directory), **schema.to_dict(result.bundle.manifest)},
        "adaptive": [schema.to_dict(curve) for curve in result.curves],
    }
    write_text(output / REPORT_NAME, json.dumps(document, indent=2))
    return document
