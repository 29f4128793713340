"""What a pickle of torch may hold besides plain tensors: each is refused in one line, by name."""

import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from reefl_edge.checkpoints.foreign.pickles import read_state_dict
from reefl_edge.errors import InputError

Make = Callable[[], object]

STRANGE: dict[str, tuple[Make, str]] = {
    "sparse": (lambda: torch.eye(3).to_sparse(), "is sparse"),
    "sparse by rows": (lambda: torch.eye(3).to_sparse_csr(), "is sparse"),
    "sparse by blocks": (lambda: torch.eye(4).to_sparse_bsr((2, 2)), "is sparse"),
    "quantised": (
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "is quantised",
    ),
    "on the meta device": (lambda: torch.ones(3, device="meta"), "is on the meta device"),
    "complex": (lambda: torch.ones(3, dtype=torch.complex64), r"is of torch\.complex64"),
    "conjugate": (lambda: torch.ones(3, dtype=torch.complex64).conj(), r"is of torch\.complex64"),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "is nested"),
    "jagged": (
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        "is a NestedTensor",
    ),
    "of eight bits": (lambda: torch.ones(3).to(torch.float8_e4m3fn), "is of torch.float8_e4m3fn"),
    "expanded": (
        lambda: torch.zeros(1).expand(10**9, 10**3),
        "declares 1000000000000 numbers and holds 1",
    ),
    "a text": (lambda: "text", "are no tensors"),
    "a list": (lambda: [torch.ones(3)], "are no tensors"),
}


@pytest.mark.parametrize(("make", "message"), STRANGE.values(), ids=STRANGE.keys())
def test_what_is_no_plain_tensor_is_refused_by_name(
    make: Make, message: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls half of these prototypes
        torch.save({"fine": torch.ones(2), "odd": make()}, tmp_path / "model.pth")

    with pytest.raises(InputError, match=rf"model\.pth.* odd.* {message}") as caught:
        read_state_dict(tmp_path / "model.pth")

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (torch.nn.Parameter(torch.arange(3.0)), [0, 1, 2]),
        (torch.arange(3).bfloat16(), [0, 1, 2]),
        (torch._neg_view(torch.arange(3.0)), [0, -1, -2]),
        (torch.arange(6.0).reshape(2, 3).T[1], [1, 4]),
    ],
    ids=["parameter", "bfloat16", "negative view", "slice"],
)
@pytest.mark.parametrize("is_zip", [True, False])
def test_plain_tensors_of_every_kind_are_read(
    tensor: Tensor, expected: list[float], is_zip: bool, tmp_path: Path
) -> None:
    path = tmp_path / "model.pth"
    torch.save({"a": tensor}, path, _use_new_zipfile_serialization=is_zip)

    np.testing.assert_array_equal(read_state_dict(path)["a"], np.array(expected, np.float32))


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_file_that_is_cut_short_says_so_by_its_name(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"a": torch.ones(10_000)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])

    with pytest.raises(InputError, match=r"cut\.pth "):
        read_state_dict(path)


def test_a_mistyped_wrapper_is_told_where_a_state_dict_is_looked_for(tmp_path: Path) -> None:
    torch.save({"modle": {"a": torch.ones(3)}}, tmp_path / "model.pth")

    with pytest.raises(InputError, match=r"modle are no tensors; .* under model or state_dict"):
        read_state_dict(tmp_path / "model.pth")


def test_a_compressed_archive_is_not_taken_for_numbers(tmp_path: Path) -> None:
    whole, packed = tmp_path / "whole.pth", tmp_path / "packed.pth"
    torch.save({"a": torch.zeros(1000)}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(packed, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name), zipfile.ZIP_DEFLATED)

    with pytest.raises(InputError, match=r"packed\.pth is a compressed archive"):
        read_state_dict(packed)


@pytest.mark.parametrize("size", [2**40, 4000])
def test_a_storage_that_lies_is_refused(size: int, tmp_path: Path) -> None:
    """The record holds 1,000 numbers; the pickle says otherwise."""
    whole, lying = tmp_path / "whole.pth", tmp_path / "lying.pth"
    torch.save({"a": torch.zeros(1000)}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(lying, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                assert content.count(b"M\xe8\x03") == 2  # 1,000: of the storage, and of the tensor
                number = b"\x8a\x08" + size.to_bytes(8, "little")
                content = content.replace(b"M\xe8\x03", number)
            target.writestr(name, content)

    with pytest.raises(InputError, match=r"lying\.pth"):
        read_state_dict(lying)


@pytest.mark.parametrize("is_zip", [True, False])
def test_bytes_at_random_end_in_arrays_or_in_one_line(is_zip: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    state = {"model": {"a": torch.ones(3), "b": torch.ones(2, dtype=torch.int64)}}
    torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    content = path.read_bytes()
    generator = random.Random(0)
    messages = []
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(generator.choice((1, 2, 8))):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            read_state_dict(path)
        except InputError as error:
            messages.append(str(error))

    assert len(messages) > 100
    assert not any("\n" in message for message in messages)
