"""Is a safetensors file that lies about itself refused before memory is spent on it?"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save, save_file
from safetensors.torch import save_file as save_torch_file

from reefl_edge.array_files.safetensors import (
    data_ranges,
    not_finite,
    read_header,
    read_safetensors,
    write_safetensors,
)
from reefl_edge.errors import InputError

ARRAYS: dict[str, NDArray[Any]] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.ones(2, np.int64),
}


def _with_header(header: Any, data: bytes, *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def _tensor(dtype: str, shape: Any, first: int, last: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


LIES = {
    "a header longer than the file": _with_header({}, b"", length=10**6),
    "a header of exabytes": _with_header({}, b"", length=2**63),
    "no length": b"abc",
    "a header that is no JSON": _with_header(b"{{", b""),
    "a header that is a list": _with_header([1], b""),
    "a header nested without end": _with_header(b'{"a":' * 100_000, b""),
    "an array of exabytes": _with_header({"a": _tensor("F32", [2**60], 0, 2**62)}, bytes(8)),
    "an array of 20 GB": _with_header({"a": _tensor("F32", [5 * 10**9], 0, 2 * 10**10)}, bytes(8)),
    "a shape beyond 64 bits": _with_header({"a": _tensor("F32", [2**63, 2], 0, 8)}, bytes(8)),
    "a negative size": _with_header({"a": _tensor("F32", [-1], 0, 8)}, bytes(8)),
    "a shape of another size": _with_header({"a": _tensor("F32", [3], 0, 8)}, bytes(8)),
    "offsets backwards": _with_header({"a": _tensor("F32", [2], 8, 0)}, bytes(8)),
    "arrays that overlap": _with_header(
        {"a": _tensor("F32", [2], 0, 8), "b": _tensor("F32", [2], 4, 12)}, bytes(12)
    ),
    "bytes that no array has": _with_header({"a": _tensor("F32", [2], 0, 8)}, bytes(16)),
    "a type that there is not": _with_header({"a": _tensor("F1", [2], 0, 8)}, bytes(8)),
    "no shape": _with_header({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "metadata that is no text": _with_header({"__metadata__": {"a": 1}}, b""),
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES.keys())
def test_a_file_that_lies_about_itself_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)

    for read in (read_header, data_ranges, read_safetensors):
        with pytest.raises(InputError, match=r"a\.safetensors") as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [[0, 2**40, 2**40], [0] * 100], ids=["beyond 64 bits", "axes"])
def test_a_shape_that_numpy_does_not_take_is_refused(shape: list[int], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(_with_header({"a": _tensor("F32", shape, 0, 0)}, b""))

    with pytest.raises(InputError, match=r"a\.safetensors is not a readable safetensors file"):
        read_safetensors(path)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2", "F4", "C64"])
def test_a_type_that_numpy_lacks_is_refused_by_the_name_of_its_array(
    dtype: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(_with_header({"x": _tensor(dtype, [0], 0, 0)}, b""))

    with pytest.raises(InputError, match=rf"x is {dtype}, which numpy lacks: save it as"):
        read_safetensors(path)


def test_bfloat16_is_widened_where_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    values = torch.tensor([[1.0, -2.5, 3.0e38], [0.1, 0.0, -0.0]], dtype=torch.bfloat16)
    save_torch_file({"a": values, "b": torch.ones(2), "none": values[:0]}, path)

    arrays = read_safetensors(path, widens=True)

    assert arrays["a"].dtype == arrays["b"].dtype == np.float32
    assert np.array_equal(arrays["a"], values.float().numpy())
    assert np.signbit(arrays["a"][1, 2])
    assert arrays["none"].shape == (0, 3)
    assert [*read_safetensors(path, ["b"], widens=True)] == ["b"]


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "I64", "I8", "U16", "U8", "BOOL"])
def test_the_types_that_numpy_has_are_read(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(_with_header({"x": _tensor(dtype, [1, 0], 0, 0)}, b""))

    array = read_safetensors(path)["x"]

    assert array.shape == (1, 0)
    assert str(array.dtype) == read_header(path).entries["x"].dtype


def test_a_file_larger_than_any_model_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    header = _with_header({"a": _tensor("F32", [2**31], 0, 2**33)}, b"")
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 2**33)  # a hole: nothing is on the disk

    with pytest.raises(InputError, match="declares 2147483648 numbers; at most 1073741824"):
        read_safetensors(path)


def test_a_header_says_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(ARRAYS, path, metadata={"of": "somebody"})
    content = path.read_bytes()

    header = read_header(path)

    assert header.metadata == {"of": "somebody"}
    assert {name: (each.dtype, each.shape) for name, each in header.entries.items()} == {
        "a": ("float32", (2, 3)),
        "b": ("int64", (2,)),
    }
    for name, (offset, length) in data_ranges(path).items():
        assert content[offset : offset + length] == ARRAYS[name].tobytes()


def test_room_for_metadata_keeps_arrays_where_they_are(tmp_path: Path) -> None:
    texts = ["", "a", '"\\\n\t\x7f\u00e9\u2028' * 20, "x" * 400]
    ranges = []
    for index, text in enumerate(texts):
        path = tmp_path / f"{index}.safetensors"
        write_safetensors(ARRAYS, path, {"key": text or " "}, room=1024)
        ranges.append(data_ranges(path))
        assert read_header(path).metadata["key"].rstrip(" ") == text
    write_safetensors(ARRAYS, tmp_path / "longer.safetensors", {"key": "x" * 1025}, room=1024)

    assert all(each == ranges[0] for each in ranges)
    assert data_ranges(tmp_path / "longer.safetensors")["a"][0] == ranges[0]["a"][0] + 1024


def test_without_metadata_the_file_is_that_of_the_library(tmp_path: Path) -> None:
    write_safetensors(ARRAYS, tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == save(ARRAYS)


def test_the_first_array_that_is_not_finite_is_named() -> None:
    largest = np.full(1000, np.finfo(np.float32).max, np.float32)
    cancelling = np.array([np.inf, -np.inf], np.float32)

    assert not_finite({"a": largest, "b": np.ones(2, np.int64), "c": np.zeros(0)}) is None
    assert not_finite({"a": largest, "b": cancelling, "c": cancelling}) == "b"
    assert not_finite({"a": np.array([0, np.nan], np.float32)}) == "a"


# The library writes beside the file, under a name of its own, and renames at the end.
_KILLED_WHILE_THE_LIBRARY_WRITES = """
import os, sys
from pathlib import Path
import numpy as np
from reefl_edge.array_files import safetensors

def save_file(_arrays, path, metadata):
    Path(path).with_name(".tmpWPvqJS").write_bytes(b"half")
    os._exit(9)

safetensors.save_file = save_file
safetensors.write_safetensors({"a": np.zeros(1)}, Path(sys.argv[1]))
"""


def test_what_a_kill_leaves_beside_a_file_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_THE_LIBRARY_WRITES, str(path)])
    assert killed.returncode == 9

    write_safetensors(ARRAYS, path)

    assert [*tmp_path.iterdir()] == [path]
