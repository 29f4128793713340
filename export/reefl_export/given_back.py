"""How does memory that nobody uses any more go back to the system while an export runs on?

Converters and runtimes take memory in many small pieces. glibc keeps what was freed for the next
who asks, in the middle of its heap too, and whoever comes next asks for other sizes.
"""

import ctypes
import sys


def give_back() -> None:
    """Return freed memory to the system, where its C library can be asked to."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # musl has none, and keeps less
        trim(0)
