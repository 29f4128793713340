"""Where does a Core ML package keep its parts, and what reads them?"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Any

from reefl_edge.bundles.artifacts import Artifact
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.facts import METADATA_KEY, hold_to_artifact
from reefl_edge.extras import needs_extra
from reefl_edge.runtimes.base import refusal
from reefl_export.garbage import own_garbage
from reefl_export.quiet import quiet

# Where a package keeps the list of its parts, its description and its weights.
LIST_PATH = "Manifest.json"
SPEC_PATH = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS_PATH = "Data/com.apple.CoreML/weights/weight.bin"

# What coremltools lets through of a damaged list: it quotes bytes that are no text, finds no model,
# or one whose file is not there.
_DAMAGED = (AttributeError, OSError, RuntimeError, UnicodeDecodeError)


@contextmanager
def quiet_coremltools() -> Iterator[None]:
    """Drop what coremltools warns of while the block runs, and of what it leaves behind."""
    # coremltools imports torchao where it is installed, of which torch warns. Found by the
    # collector later, its temporary folders would warn, too.
    with quiet("coremltools", "torch.utils._pytree"), own_garbage():
        yield


def load_coremltools() -> Any:
    """Return coremltools, without what it says on import.

    Raises:
        MissingToolchainError: It is not installed.
    """
    # Keeping quiet takes a moment, and it speaks when first imported only.
    with (
        nullcontext() if "coremltools" in sys.modules else quiet_coremltools(),
        needs_extra("a Core ML package", "coremltools", "coreml"),
    ):
        import coremltools
        import coremltools.optimize.coreml
    return coremltools


def load_spec(path: Path) -> Any:
    """Return a package's description: the ``Model`` message of Apple's Model.proto.

    Raises:
        InputError: It is damaged.
        MissingToolchainError: coremltools is not installed.
    """
    ct = load_coremltools()
    # coremltools brings it.
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return ct.models.utils.load_spec(str(path))
    except (DecodeError, *_DAMAGED) as error:
        raise refusal("coremltools", f"read {path}", error) from error


def verified_package(bundle: Bundle, artifact: Artifact) -> Path:
    """Return the package of a Core ML artifact, held to its hashes and the manifest to its facts.

    Raises:
        InputError: A file is missing or changed, or the manifest does not list it, or says
            otherwise than the package.
        MissingToolchainError: coremltools is not installed.
    """
    parts = (LIST_PATH, SPEC_PATH, WEIGHTS_PATH)
    path, *_ = (bundle.file(artifact, PurePosixPath(part).name).parent for part in parts)
    stated = load_spec(path).description.metadata.userDefined
    hold_to_artifact(bundle, stated.get(METADATA_KEY), path)
    return path
