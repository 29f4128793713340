"""The classes of transformers, imported without the warnings of what it imports in turn.

It loads torchao where that is installed, whose files warn of escape sequences when they are
compiled, and of deprecations.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from transformers import (
        DeiTConfig,
        DeiTForImageClassification,
        DeiTModel,
        ViTConfig,
        ViTForImageClassification,
        ViTModel,
    )

__all__ = [
    "DeiTConfig",
    "DeiTForImageClassification",
    "DeiTModel",
    "ViTConfig",
    "ViTForImageClassification",
    "ViTModel",
]
