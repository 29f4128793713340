"""What the repeated tests share: a watch over hangs, and a limit on what a reader may take."""

import resource
from collections.abc import Iterator

import psutil
import pytest

from tests.slow.cases import watched

# More than any reader of a tiny file needs, less than what such a file can declare.
_ROOM_BYTES = 8 * 2**30


@pytest.fixture(autouse=True)
def _limits() -> Iterator[None]:
    """Let a test that hangs end, and one that asks for terabytes fail, on any machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + _ROOM_BYTES, hard))
    try:
        with watched():
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
