"""What of Python and of the wheels does a worker never load?

Patterns of paths (``fnmatch``, where ``*`` crosses folders), a folder standing for all in it. What
weighs most is named first. Never stripped: libraries in wheels were patched after they were linked,
and do not load any more once stripped.
"""

from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

_PYTHON = (
    "config-*", "pydoc_data", "lib2to3", "ensurepip", "idlelib", "unittest", "asyncio", "test",
    "distutils", "tkinter", "turtledemo", "sqlite3", "xml", "xmlrpc", "wsgiref", "http", "html",
    "curses", "dbm", "venv", "__phello__", "__pycache__", "*/__pycache__",
    "turtle.py", "pydoc.py", "doctest.py", "mailbox.py", "_pydecimal.py", "_pyio.py",
    "sitecustomize.py", "EXTERNALLY-MANAGED", "*.txt",
    # Extension modules without their libraries, or whose modules are left out.
    *(
        f"lib-dynload/{name}.*"
        for name in (
            "_codecs_*", "_testcapi*", "_test*", "_ctypes_test*", "_ssl*", "_hashlib*", "_sqlite3*",
            "_curses*", "_asyncio*", "_bz2*", "_lzma*", "_crypt*", "_dbm*", "_gdbm*", "_lsprof*",
            "_multibytecodec*", "_tkinter*", "_uuid*", "_xx*", "audioop*", "nis*", "ossaudiodev*",
            "readline*", "xx*",
        )
    ),
)  # fmt: skip

_WHEELS = (
    # A second copy of the runtime, for programs in C; Python's module holds its own.
    "onnxruntime/capi/libonnxruntime.so*",
    "onnxruntime/transformers", "onnxruntime/quantization", "onnxruntime/tools",
    "onnxruntime/datasets", "onnxruntime/backend", "onnxruntime/ThirdPartyNotices.txt",
    "numpy/f2py", "numpy/_core/include", "numpy/_core/lib", "numpy/random/lib", "numpy/testing",
    "numpy/random/_examples", "numpy/distutils", "numpy/doc", "numpy/_pyinstaller",
    # Images come as arrays: of Pillow only what resizes them, and what that is linked to.
    *(
        f"PIL/{name}.*"
        for name in ("_avif", "_imagingcms", "_imagingft", "_imagingmath", "_imagingmorph",
                     "_imagingtk", "_webp")
    ),
    *(
        f"pillow.libs/lib{name}*"
        for name in ("avif", "brotli", "freetype", "harfbuzz", "lcms2", "png16", "sharpyuv", "webp")
    ),
    "bin", "share", ".lock", "__pycache__", "*/__pycache__", "*/tests", "*/_tests",
    "*.pyi", "*.pxd", "*.pyx", "*.a", "*.h", "*.c", "*/py.typed",
)  # fmt: skip


def is_needed_of_python(place: PurePosixPath) -> bool:
    """Tell whether a worker may load a file of the standard library, named from its folder."""
    return not _matches(place, _PYTHON)


def prune_wheels(site: Path) -> None:
    """Remove from a folder of packages what a worker does not load."""
    for path in sorted(site.rglob("*")):
        place = PurePosixPath(path.relative_to(site).as_posix())
        if path.is_file() and (_matches(place, _WHEELS) or _is_unread_metadata(place)):
            path.unlink()
    for folder in sorted(site.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _matches(place: PurePosixPath, patterns: tuple[str, ...]) -> bool:
    names = [place.as_posix(), *(each.as_posix() for each in place.parents)]
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _is_unread_metadata(place: PurePosixPath) -> bool:
    """Tell whether a file says how a package was installed; only versions are asked for."""
    return place.parts[0].endswith(".dist-info") and place.name != "METADATA"
