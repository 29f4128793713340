"""Compile a ReeFL sub-model to ExecuTorch, ONNX and Core ML, and prove that it is the same."""

from typing import Any

__all__ = ["export_bundle"]


def __getattr__(name: str) -> Any:
    """Import the exporter when it is first used."""
    if name != "export_bundle":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reefl_export.bundle import export_bundle

    return export_bundle
