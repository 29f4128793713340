"""Does a file of arrays give exactly what it holds, or one clear line?"""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reefl_edge.array_files.npz import read_array_file
from reefl_edge.errors import InputError
from tests.fakes.images import random_images

PLAIN = {
    "images": random_images(2, edge=4),
    "labels": np.array([0, 1]),
    "class_names": np.array(["ant", "b\xe9e"]),
}


def npy(array: Any) -> bytes:
    """Return the content of an .npy file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_of(header: str, content: bytes = b"", *, version: int = 1) -> bytes:
    """Return an .npy file with a header of one's own."""
    encoded = header.encode("latin1")
    size = struct.pack("<H" if version == 1 else "<I", len(encoded))
    return b"\x93NUMPY" + bytes([version, 0]) + size + encoded + content


def declaring(shape: str, descr: str = "'|u1'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_plain_arrays_are_read_as_they_were_written(path: Path, save: Any) -> None:
    arrays = {
        **PLAIN,
        "turned": np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)),
        "none": np.zeros((0, 3), np.float16),
        "number": np.array(16_000),
        "flags": np.array([True, False]),
        "bytes": np.array([b"a", b"bc"]),
    }
    save(path, **arrays)

    read = read_array_file(path)

    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array)


def test_an_array_alone_gets_the_name_that_it_is_asked_under(tmp_path: Path) -> None:
    path = write(tmp_path / "lone.npy", npy(PLAIN["labels"]))

    assert read_array_file(path, lone="x")["x"].tolist() == [0, 1]
    with pytest.raises(InputError, match=r"is one array, not an \.npz file of several"):
        read_array_file(path)


def test_what_python_2_wrote_is_read_without_a_word(tmp_path: Path) -> None:
    path = write(tmp_path / "old.npy", npy_of(declaring("(2L, 1L)"), b"ab"))

    assert read_array_file(path, lone="x")["x"].tolist() == [[97], [98]]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("(20_000_000_000,)", "is 20000000000 bytes, it holds 3"),
        (f"({2**62}, {2**62})", "it holds 3"),
        ("(2,)", "is 2 bytes, it holds 3"),
        ("(-3, -1)", "it holds 3"),
        (f"({10**12}, 0)", "is 0 bytes, it holds 3"),
        ("(True, 3)", r"\(True, 3\) is no shape"),
        ("(3.0,)", "not a readable"),
        ("(" + "10," * 4000 + ")", "not a readable"),
    ],
)
def test_an_array_that_declares_what_it_does_not_hold_is_refused(
    tmp_path: Path, shape: str, message: str
) -> None:
    content = npy_of(declaring(shape), b"abc")

    for file in (
        write(tmp_path / "a.npy", content),
        write(tmp_path / "a.npz", zipped({"a": content})),
    ):
        with pytest.raises(InputError, match=message) as caught:
            read_array_file(file, lone="x")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "descr",
    ["'O'", "[('a', '<i4'), ('b', 'O')]", "('<i4', (2,))", "'<U0'", "'|V3'", "'<M8[s]'", "'<c8'"],
)
def test_arrays_of_other_things_than_numbers_and_text_are_refused(
    tmp_path: Path, descr: str
) -> None:
    with pytest.raises(InputError, match="none of numbers, booleans or text"):
        read_array_file(write(tmp_path / "a.npy", npy_of(declaring("(1,)", descr))), lone="x")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{",
        "'''",
        "{'descr': '<i4'}",
        "{[]: 1}",
        "  x\n y",
        "(" * 5000,
        "-" * 9000 + "1",
        declaring("(1,)", "('<i4',)"),
        declaring("(1,)", "7"),
        declaring("(1,)", "'nothing'"),
        declaring("(1.5,)"),
        declaring("(" + "9" * 5000 + ",)"),
        declaring("(1,)") + " " * 20_000,
        "\x00",
    ],
)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_header_that_does_not_parse_is_refused_in_one_line(
    tmp_path: Path, header: str, version: int
) -> None:
    path = write(tmp_path / "a.npy", npy_of(header, b"a", version=version))

    with pytest.raises(InputError, match=r"a\.npy: not a readable") as caught:
        read_array_file(path, lone="x")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


def overlapping() -> bytes:
    """Return a zip file whose directory shows one member under many names."""
    content = bytearray(zipped({"aa": npy(np.zeros(100, np.uint8))}, zipfile.ZIP_STORED))
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry = bytes(content[start:end])
    entries = b"".join(entry.replace(b"aa", b"a%d" % number) for number in range(3))
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 3, 3, len(entries), start, 0)
    return bytes(content[:start]) + entries + tail


def twice() -> bytes:
    return zipped({"aa.npy": npy(1), "ab.npy": npy(2)}).replace(b"ab.npy", b"aa.npy")


def changed(content: bytes, **fields: int) -> bytes:
    """Return a zip file of one member whose central directory says something else of it."""
    places = {"flags": ("<H", 8), "method": ("<H", 10), "crc": ("<I", 16), "size": ("<I", 24)}
    edited = bytearray(content)
    start = content.index(b"PK\x01\x02")
    for name, value in fields.items():
        form, offset = places[name]
        struct.pack_into(form, edited, start + offset, value)
    return bytes(edited)


ONE = zipped({"a.npy": npy(np.arange(1000))})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({"notes.txt": b"no array"}), "its 'notes.txt': the magic string is not correct"),
        (zipped({"folder/": b""}), "its 'folder/'"),
        (zipped({"a.npy": npy(PLAIN["labels"]) + b"more"}), "is 16 bytes, it holds 20"),
        (zipped({"a.npy": npy(1)}, zipfile.ZIP_BZIP2), "packed as numpy does not pack"),
        (zipped({"a\nb.npy": npy(1)}), r"its 'a\\nb.npy' is no name of an array"),
        (twice(), "2 of its arrays are called 'aa'"),
        (zipped({"a": npy(1), "a.npy": npy(2)}), "2 of its arrays are called 'a'"),
        (overlapping(), "its members overlap"),
        (changed(ONE, flags=1), "is encrypted"),
        (changed(ONE, size=2**32 - 2), "declares 4294967294 bytes, but holds"),
        (changed(ONE, crc=7), "Bad CRC-32"),
        (b"\x80\x04]\x94.", "not a readable .npy or .npz file"),
        (b"", "not a readable .npy or .npz file"),
    ],
)
def test_a_zip_file_that_numpy_would_not_write_is_refused(
    path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_array_file(write(path, content))


@pytest.mark.parametrize("code", [0x110000, 0xD800, 0xFFFFFFFF])
def test_text_that_no_string_can_hold_is_refused(tmp_path: Path, code: int) -> None:
    content = npy_of(declaring("(1,)", "'<U1'"), struct.pack("<I", code))

    with pytest.raises(InputError, match="no Unicode"):
        read_array_file(write(tmp_path / "a.npy", content), lone="x")


WHOLE = {"npy": npy(PLAIN["images"]), "npz": zipped({f"{k}.npy": npy(v) for k, v in PLAIN.items()})}


def read_or_refused(path: Path) -> dict[str, Any]:
    """Return the arrays of a file, none where it is refused."""
    try:
        return read_array_file(path, lone="images")
    except InputError:
        return {}


@given(
    kind=st.sampled_from(sorted(WHOLE)),
    edits=st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=3)), max_size=4),
    kept=st.integers(0, 2000),
)
def test_changed_bytes_give_arrays_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    edits: list[tuple[int, bytes]],
    kept: int,
) -> None:
    content = bytearray(WHOLE[kind])
    for position, replacement in edits:
        start = position % len(content)
        content[start : start + len(replacement)] = replacement
    path = write(tmp_path_factory.getbasetemp() / "fuzzed.npz", bytes(content[: kept or None]))

    assert all(isinstance(array, np.ndarray) for array in read_or_refused(path).values())


TOKENS = (
    "{", "}", "(", ")", "[", ",", ":", "'descr'", "'fortran_order'", "'shape'", "'<f4'", "'|O'",
    "True", "-", "1", "2L", "1e9", "'", "lambda", "\n", " ", "\\", "#", "0x",
)  # fmt: skip


@given(
    header=st.lists(st.sampled_from(TOKENS), max_size=20).map("".join)
    | st.text(st.characters(codec="latin1"), max_size=60),
    version=st.integers(1, 3),
)
def test_any_header_gives_an_array_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, header: str, version: int
) -> None:
    content = npy_of(header, b"abcd", version=version)
    path = write(tmp_path_factory.getbasetemp() / "fuzzed.npy", content)

    assert all(array.nbytes == 4 for array in read_or_refused(path).values())


def test_a_changed_byte_never_gives_other_values(tmp_path: Path) -> None:
    content = WHOLE["npz"]
    for position in range(len(content)):
        flipped = bytes([content[position] ^ 0x10])
        path = write(tmp_path / "a.npz", content[:position] + flipped + content[position + 1 :])
        arrays = read_or_refused(path)
        for name in arrays.keys() & PLAIN.keys():
            assert np.array_equal(arrays[name], PLAIN[name])
