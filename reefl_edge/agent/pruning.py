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
    "curses", "dbm", "venv", "__phello__", "__pycache__", "*/__pycache__", "*.txt", "*.rst",
    "sitecustomize.py", "EXTERNALLY-MANAGED",
    # Text is UTF-8; the names of old tables are not even asked for.
    "encodings/cp[!4]*.py", "encodings/iso8859_*.py", "encodings/mac_*.py",
    # Modules that speak to servers, and watch or write programs.
    *(
        f"{name}.py"
        for name in (
            "aifc", "antigravity", "asynchat", "asyncore", "bdb", "cProfile", "cgi", "cgitb",
            "chunk", "colorsys", "configparser", "doctest", "ftplib", "imaplib", "mailbox",
            "mailcap", "modulefinder", "nntplib", "optparse", "pdb", "plistlib",
            "poplib", "profile", "pstats", "pyclbr", "pydoc", "smtpd", "smtplib", "sndhdr",
            "socketserver", "ssl", "sunau", "tabnanny", "telnetlib", "this", "trace", "turtle",
            "webbrowser", "xdrlib", "zipapp", "_pydecimal", "_pyio",
        )
    ),
    # Extension modules without their libraries, or whose modules are left out.
    *(
        f"lib-dynload/{name}.*"
        for name in (
            "_asyncio", "_bz2", "_codecs_*", "_crypt", "_ctypes_test", "_curses*", "_dbm", "_gdbm",
            "_hashlib", "_lsprof", "_lzma", "_multibytecodec", "_sqlite3", "_ssl", "_test*",
            "_tkinter", "_uuid", "_xx*", "audioop", "nis", "ossaudiodev", "readline", "xx*",
        )
    ),
)  # fmt: skip

_WHEELS = (
    # A second copy of the runtime, for programs in C; Python's module holds its own.
    "onnxruntime/capi/libonnxruntime.so*",
    "onnxruntime/transformers", "onnxruntime/quantization", "onnxruntime/tools",
    "onnxruntime/datasets", "onnxruntime/backend", "onnxruntime/*.txt", "onnxruntime/*.md",
    "numpy/f2py", "numpy/distutils", "numpy/testing", "numpy/fft", "numpy/polynomial",
    "numpy/_core/include", "numpy/_core/lib", "numpy/_core/*tests.*.so", "numpy/_core/_simd.*.so",
    "numpy/random/lib", "numpy/random/_examples", "numpy/ma/*.rst", "numpy/ma/*.txt",
    "numpy/_pyinstaller", "numpy/conftest.py",
    "pydantic/v1", "pydantic/mypy.py", "pydantic/experimental",
    # Images come as arrays: of Pillow only what resizes them, and what that is linked to.
    *(f"PIL/{name}Plugin.py" for name in ("[A-S]*Image", "[U-Z]*Image", "*Stub")),
    *(f"PIL/{name}.py" for name in ("Pdf*", "*FontFile", "ImageFont", "ImageCms", "ImageText")),
    *(
        f"PIL/{name}.*"
        for name in ("_avif", "_imagingcms", "_imagingft", "_imagingmath", "_imagingmorph",
                     "_imagingtk", "_webp")
    ),
    *(
        f"pillow.libs/lib{name}*"
        for name in ("avif", "brotli", "freetype", "harfbuzz", "lcms2", "png16", "sharpyuv", "webp")
    ),
    "psutil/_psaix.py", "psutil/_psbsd.py", "psutil/_psosx.py", "psutil/_pssunos.py",
    "psutil/_pswindows.py",
    "bin", "share", ".lock", "__pycache__", "*/__pycache__", "*/tests", "*/_tests",
    "*.pyi", "*.pxd", "*.pyx", "*.a", "*.h", "*.c", "*/py.typed",
)  # fmt: skip


_METADATA = ("Metadata-Version:", "Name:", "Version:")


def is_needed_of_python(place: PurePosixPath) -> bool:
    """Tell whether a worker may load a file of the standard library, named from its folder."""
    return not _matches(place, _PYTHON)


def prune_wheels(site: Path) -> None:
    """Remove from a folder of packages what a worker does not load.

    Of what says how a package was installed its version stays, which ``importlib.metadata`` reads.
    """
    for path in sorted(site.rglob("*")):
        place = PurePosixPath(path.relative_to(site).as_posix())
        if path.is_file() and (_matches(place, _WHEELS) or _is_unread_metadata(place)):
            path.unlink()
    for metadata in site.glob("*.dist-info/METADATA"):
        header, _, _ = metadata.read_text(encoding="utf-8").partition("\n\n")
        kept = [line for line in header.splitlines() if line.startswith(_METADATA)]
        metadata.write_text("\n".join(kept) + "\n")
    for folder in sorted(site.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _matches(place: PurePosixPath, patterns: tuple[str, ...]) -> bool:
    names = [place.as_posix(), *(each.as_posix() for each in place.parents)]
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _is_unread_metadata(place: PurePosixPath) -> bool:
    """Tell whether a file says how a package was installed, and nothing else."""
    return place.parts[0].endswith(".dist-info") and place.name != "METADATA"
