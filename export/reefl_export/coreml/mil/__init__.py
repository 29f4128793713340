"""What does an exported Core ML package compute, found out without a Mac?

Core ML runs on Apple's systems only. This package runs the ML programs made here with PyTorch,
so that their logits are compared with the network's wherever they are exported:

- ``package``: where a package keeps its parts, and how they are opened;
- ``constants``: arrays out of the program and its weights file;
- ``operators``: what each operator computes, one function each; ``compressed`` for weights;
- ``function``: one function of a program, checked and prepared at load, and run;
- ``runtime``: all of them as a ``Runtime``.

It says what the program means, not what a device makes of it: Core ML on a device may compute
float32 parts in half precision or fuse what is rounded in between here.
"""

from reefl_export.coreml.mil.runtime import MilRuntime

__all__ = ["MilRuntime"]
