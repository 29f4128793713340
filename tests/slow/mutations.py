"""How does a good file become a bad one, the same way every time?

A *mutation* is a pure function of what is in a file and of a seeded generator of random numbers.
Those of bytes know nothing of formats; those of documents take JSON values and put in something of
another type, huge, not finite, or a path that leaves its folder; those of archives rewrite what a
member declares.
"""

import copy
import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

# More than any machine has, in bytes or in numbers.
TERABYTES = 5 * 2**40

LEAVING_PATHS = (
    "/etc/passwd", "../../outside", "onnx/../../outside", "\x00", "a\nb", "C:\\outside", "",
)  # fmt: skip
HUGE: tuple[Any, ...] = (2**63, -(2**63) - 1, 10**400, 1e308, TERABYTES, "x" * 2**17, [0] * 2**14)
OTHER_TYPES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    0.5,
    "text",
    "\ud800",
    [],
    {},
    [[]],
    {"a": {}},
    [1, "2"],
)
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))
_DEEP = 300


def flipped(content: bytes, random: Random) -> bytes:
    """Flip one to three bits."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 3)):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(content: bytes, random: Random) -> bytes:
    """Keep the beginning alone."""
    return content[: random.randrange(len(content))]


def beheaded(content: bytes, random: Random) -> bytes:
    """Drop the beginning."""
    return content[random.randint(1, min(len(content), 64)) :]


def swapped(content: bytes, random: Random) -> bytes:
    """Let two runs of bytes change places."""
    length = random.randint(1, max(1, min(64, len(content) // 4)))
    first = random.randrange(len(content) // 2 - length + 1)
    second = random.randrange(len(content) // 2, len(content) - length + 1)
    parts = (
        content[:first],
        content[second : second + length],
        content[first + length : second],
        content[first : first + length],
        content[second + length :],
    )
    return b"".join(parts)


def overwritten(content: bytes, random: Random) -> bytes:
    """Fill a run of bytes with one value."""
    start = random.randrange(len(content))
    length = min(random.choice((1, 4, 8, 512)), len(content) - start)
    return (
        content[:start]
        + random.choice((b"\x00", b"\xff", b"9")) * length
        + content[start:][length:]
    )


def grown(content: bytes, random: Random) -> bytes:
    """Put random bytes in somewhere."""
    start = random.randint(0, len(content))
    return content[:start] + random.randbytes(random.choice((1, 7, 4096))) + content[start:]


BYTES: dict[str, Callable[[bytes, Random], bytes]] = {
    "flipped": flipped,
    "cut": cut,
    "beheaded": beheaded,
    "swapped": swapped,
    "overwritten": overwritten,
    "grown": grown,
}


def nested(content: bytes, random: Random) -> bytes:
    """Put more opening brackets into a text than any reader can count."""
    start = random.randint(0, len(content))
    return content[:start] + random.choice((b"[", b'{"a":')) * 100_000 + content[start:]


Place = tuple[Any, Any]  # a container, and the key or index in it


def _places(document: Any) -> list[Place]:
    found: list[Place] = []
    keys = document if isinstance(document, dict) else range(len(document))
    for key in keys:
        found.append((document, key))
        if isinstance(document[key], dict | list) and document[key]:
            found += _places(document[key])
    return found


def _replacing(values: tuple[Any, ...]) -> Callable[[Any, Random], Any]:
    def replace(document: Any, random: Random) -> Any:
        changed = copy.deepcopy(document)
        container, key = random.choice(_places(changed))
        container[key] = copy.deepcopy(random.choice(values))
        return changed

    return replace


def removed(document: Any, random: Random) -> Any:
    """Take a value out, with its key."""
    changed = copy.deepcopy(document)
    container, key = random.choice(_places(changed))
    del container[key]
    return changed


def added(document: Any, random: Random) -> Any:
    """Put a key in that nobody knows, or a value twice."""
    changed = copy.deepcopy(document)
    container, key = random.choice(_places(changed))
    if isinstance(container, dict):
        container["nobody knows"] = random.choice(OTHER_TYPES)
    else:
        container.insert(key, copy.deepcopy(container[key]))
    return changed


def exchanged(document: Any, random: Random) -> Any:
    """Let two values change places, neither of which holds the other."""
    changed = copy.deepcopy(document)
    leaves = [
        (container, key)
        for container, key in _places(changed)
        if not isinstance(container[key], dict | list)
    ]
    (one, first), (other, second) = random.sample(leaves, 2)
    one[first], other[second] = other[second], one[first]
    return changed


def deepened(document: Any, random: Random) -> Any:
    """Nest a value deeper than any document of ours."""
    changed = copy.deepcopy(document)
    container, key = random.choice(_places(changed))
    for _ in range(_DEEP):
        container[key] = [container[key]]
    return changed


DOCUMENTS: dict[str, Callable[[Any, Random], Any]] = {
    "another-type": _replacing(OTHER_TYPES),
    "huge": _replacing(HUGE),
    "not-finite": _replacing(NOT_FINITE),
    "leaving-path": _replacing(LEAVING_PATHS),
    "removed": removed,
    "added": added,
    "exchanged": exchanged,
    "deepened": deepened,
}


def json_bytes(document: Any) -> bytes:
    """Write JSON, and what Python adds to it: NaN and Infinity."""
    return json.dumps(document).encode()


def toml_bytes(document: dict[str, Any]) -> bytes:
    """Write TOML with tables in one line; what TOML has no word for is left out."""
    lines = (
        f"{_toml(key)} = {_toml(value)}" for key, value in document.items() if value is not None
    )
    return "\n".join(lines).encode(errors="surrogatepass")


def _toml(value: Any) -> str:
    match value:
        case dict():
            pairs = (f"{_toml(key)} = {_toml(each)}" for key, each in value.items())
            return "{" + ", ".join(pairs) + "}"
        case list():
            return "[" + ", ".join(_toml(each) for each in value if each is not None) + "]"
        case float():
            return repr(value)  # nan and inf are TOML's words, too
        case None:
            return '""'
    return json.dumps(value, ensure_ascii=True)


def changed_json(content: bytes, random: Random, mutation: str) -> bytes:
    """Mutate a JSON text by the name of a mutation: of documents, of bytes, or ``nested``."""
    if mutation in DOCUMENTS:
        return json_bytes(DOCUMENTS[mutation](json.loads(content), random))
    return nested(content, random) if mutation == "nested" else BYTES[mutation](content, random)


def changed_header(content: bytes, random: Random, mutation: str) -> bytes:
    """Mutate the header of a safetensors file, whose arrays stay where they are."""
    length = int.from_bytes(content[:8], "little")
    header = changed_json(content[8 : 8 + length], random, mutation)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def changed_metadata(content: bytes, random: Random, mutation: str) -> bytes:
    """Mutate the text in the metadata of a safetensors file, itself a JSON document.

    The arrays stay where they are, unless it becomes longer than the room it has.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    ((key, text),) = header["__metadata__"].items()
    changed = changed_json(text.strip().encode(), random, mutation)
    header["__metadata__"][key] = changed.decode(errors="replace")
    written = json_bytes(header).ljust(length)
    return len(written).to_bytes(8, "little") + written + content[8 + length :]


def changed_zip(content: bytes, random: Random, mutation: str) -> bytes:
    """Mutate a zip archive: one of ``ZIPS``, or one of bytes inside a member."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice(sorted(members))
    match mutation:
        case "terabytes":
            members[name] = _declaring(members[name], random)
        case "leaving-path":
            members[random.choice(("../../outside.npy", "/outside.npy"))] = members.pop(name)
        case "removed":
            del members[name]
        case "exchanged":
            other = random.choice(sorted(members))
            members[name], members[other] = members[other], members[name]
        case "sizes":
            return _lying_sizes(content, random)
        case _:
            members[name] = BYTES[mutation](members[name], random)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for each, member in members.items():
            archive.writestr(each, member)
    return stream.getvalue()


ZIPS = ("terabytes", "leaving-path", "removed", "exchanged", "sizes")


def _declaring(npy: bytes, random: Random) -> bytes:
    """Let an .npy file declare another shape or type, on as many bytes as before."""
    start = npy.index(b"\n") + 1
    shape = random.choice((f"({TERABYTES},)", "(-1,)", f"({2**40}, {2**40})", "(0, 1)", "(nan,)"))
    descr = random.choice(("|u1", "<i8", "<f8", "|O", "<U9999999", "|V3", "<M8[s]"))
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + npy[start:]


def _lying_sizes(content: bytes, random: Random) -> bytes:
    """Let the directory of a zip archive tell other sizes of a member."""
    changed = bytearray(content)
    entry = changed.rindex(b"PK\x01\x02")
    compressed, uncompressed = 20, 24  # APPNOTE.TXT 4.3.12
    field = entry + random.choice((compressed, uncompressed))
    changed[field : field + 4] = random.choice((0, 1, 2**31, 2**32 - 2)).to_bytes(4, "little")
    return bytes(changed)


def changed_tar(files: dict[str, bytes], random: Random, mutation: str) -> bytes:
    """Write a .tar.gz of files of which one was mutated: one of ``TARS``, or one of bytes."""
    chosen = random.choice(sorted(files))
    blocks: list[bytes] = []
    for name, content in files.items():
        if name == chosen and mutation in BYTES:
            blocks += _member(tarfile.TarInfo(name), BYTES[mutation](content, random))
        elif name == chosen and mutation in TARS:
            blocks += _misdescribed(name, content, random, mutation)
        else:
            blocks += _member(tarfile.TarInfo(name), content)
    return gzip.compress(b"".join(blocks) + bytes(2 * tarfile.BLOCKSIZE))


TARS = ("terabytes", "leaving-path", "link", "removed")


def _member(member: tarfile.TarInfo, content: bytes, *, size: int | None = None) -> list[bytes]:
    member.size = len(content) if size is None else size
    return [member.tobuf(), content, bytes(-len(content) % tarfile.BLOCKSIZE)]


def _misdescribed(name: str, content: bytes, random: Random, mutation: str) -> list[bytes]:
    member = tarfile.TarInfo(name)
    match mutation:
        case "terabytes":
            return _member(member, content, size=TERABYTES)
        case "leaving-path":
            member.name = random.choice(("../../outside", "/outside"))
        case "link":
            member.type = random.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE))
            member.linkname = "/etc/passwd"
            return _member(member, b"")
        case "removed":
            return []
    return _member(member, content)
