"""Compile a ReeFL sub-model to ExecuTorch, ONNX and Core ML, and prove that it is the same."""

from importlib import import_module
from typing import Any

_HOMES = {"export_bundle": "reefl_export.bundle", "verify": "reefl_export.verification"}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
