"""``reefl-edge doctor``: what is installed, and what works here?"""

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from reefl_edge.cli import options, render


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Something reefl-edge can do when certain packages are there.

    Attributes:
        what: What it can do.
        packages: As they are installed.
        extra: The extra, or several with commas, that brings them; None where each install does.
    """

    what: str
    packages: tuple[str, ...]
    extra: str | None


CAPABILITIES = (
    Capability(what="run ONNX bundles", packages=("onnxruntime", "numpy", "pillow"), extra=None),
    Capability(what="fine-tune, run eager", packages=("torch",), extra="train"),
    Capability(what="export to ONNX", packages=("torch", "onnx", "onnxscript"), extra="onnx"),
    Capability(
        what="export to and run ExecuTorch",
        packages=("torch", "executorch", "torchao"),
        extra="executorch",
    ),
    Capability(
        what="export to Core ML",
        packages=("torch", "coremltools"),
        extra="coreml",
    ),
    Capability(what="take models from the hub", packages=("huggingface_hub",), extra="hub"),
    Capability(
        what="federate: server, simulations",
        packages=("torch", "flwr", "ray", "dp-accounting", "tensorboard"),
        extra="federated,train",
    ),
    Capability(what="federate: a node", packages=("flwr",), extra="node"),
    Capability(
        what="run the demo",
        packages=("torch", "executorch", "onnxscript", "coremltools", "scikit-learn", "matplotlib"),
        extra="all",
    ),
)
# executorch is built for one torch release.
_TORCH_OF_EXECUTORCH = {"1.4": "2.13"}


def doctor(json: options.Json = False) -> None:
    """Show versions, and what can be done with what is installed.

    Example:  reefl-edge doctor
    """
    capabilities = [_examine(capability) for capability in CAPABILITIES]
    problem = _pair_problem()
    document: dict[str, Any] = {
        "reefl_edge": version("reefl-edge"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "capabilities": capabilities,
        "tools": {tool: shutil.which(tool) for tool in ("adb", "ssh")},
        "problems": [problem] if problem else [],
    }
    if json:
        render.print_json(document)
        return
    title = (
        f"reefl-edge {document['reefl_edge']}, Python {document['python']}, {document['system']}"
    )
    rows = [
        (
            entry["what"],
            "yes" if entry["works"] else f"no: install '{_install_name(entry['extra'])}'",
            ", ".join(f"{name} {found or 'missing'}" for name, found in entry["packages"].items()),
        )
        for entry in capabilities
    ]
    render.out().print(render.table(title, ("what", "works", "with"), rows))
    if problem:
        render.warn(problem)
    render.next_command("reefl-edge", "devices")


def _examine(capability: Capability) -> dict[str, Any]:
    packages = {name: _installed(name) for name in capability.packages}
    return {
        "what": capability.what,
        "works": all(packages.values()),
        "packages": packages,
        "extra": capability.extra,
    }


def _install_name(extra: str | None) -> str:
    """Return what to install, with the extra that brings what is missing."""
    return "reefl-edge" if extra is None else f"reefl-edge[{extra}]"


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _pair_problem() -> str | None:
    """Return what is wrong with the pair of torch and executorch, if anything."""
    executorch, torch = _installed("executorch"), _installed("torch")
    if executorch is None or torch is None:
        return None
    wanted = _TORCH_OF_EXECUTORCH.get(".".join(executorch.split(".")[:2]))
    if wanted is None or torch.startswith(f"{wanted}."):
        return None
    return f"executorch {executorch} is built for torch {wanted}, but torch is {torch}"
