"""What does it take to import a package that not every install has, and what if it does not load?

Absent, or there and broken: a user does something else about each.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from reefl_edge.errors import MissingToolchainError

_OURS = ("reefl_edge", "reefl_export")
# Packages that are imported under a name of their own.
_IMPORTED_AS = {"scikit-learn": "sklearn"}


@contextmanager
def needs_extra(purpose: str, packages: str | tuple[str, ...], extra: str) -> Iterator[None]:
    """Import something in the block; say which extra brings it, or why it does not load.

    Args:
        purpose: What needs the packages, such as ``fine-tuning``.
        packages: One or several, as they are installed.
        extra: The extra of reefl-edge that brings them.

    Raises:
        MissingToolchainError: A package is not installed, or does not load.
    """
    wanted = (packages,) if isinstance(packages, str) else packages
    try:
        yield
    except ImportError as error:
        at_fault = (error.name or "").partition(".")[0]
        if at_fault in _OURS:  # a bug
            raise
        named = [name for name in wanted if _import_name(name) == at_fault]
        if named and isinstance(error, ModuleNotFoundError) and error.name == at_fault:
            raise MissingToolchainError.for_extra(purpose, named[0], extra) from error
        raise _does_not_load(purpose, named or wanted, error) from error
    except OSError as error:
        if error.errno is not None:  # of the system, not of the linker
            raise
        raise _does_not_load(purpose, wanted, error) from error


def _does_not_load(
    purpose: str, packages: list[str] | tuple[str, ...], error: Exception
) -> MissingToolchainError:
    reason = " ".join(str(error).split())
    return MissingToolchainError(
        f"{purpose} needs {' and '.join(packages)}, installed here but not loading: {reason}"
    )


def _import_name(package: str) -> str:
    return _IMPORTED_AS.get(package, package.replace("-", "_"))
