"""Where does a Core ML package keep its parts, and what reads them?"""

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from reefl_edge.extras import needs_extra
from reefl_export.quiet import quiet

# Where a package keeps its description and its weights.
SPEC_PATH = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS_PATH = "Data/com.apple.CoreML/weights/weight.bin"

# coremltools imports torchao where it is installed, of which torch warns.
quiet_coremltools = partial(quiet, "coremltools", "torch.utils._pytree")


def load_coremltools() -> Any:
    """Return coremltools, without what it says on import.

    Raises:
        MissingToolchainError: It is not installed.
    """
    # Keeping quiet takes a moment, and it speaks when first imported only.
    with (
        nullcontext() if "coremltools" in sys.modules else quiet_coremltools(),
        needs_extra("exporting to Core ML", "coremltools", "coreml"),
    ):
        import coremltools
        import coremltools.optimize.coreml
    return coremltools


def load_spec(path: Path) -> Any:
    """Return a package's description: the ``Model`` message of Apple's Model.proto.

    Raises:
        MissingToolchainError: coremltools is not installed.
    """
    return load_coremltools().models.utils.load_spec(str(path))
