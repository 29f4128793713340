"""Does ``finetune`` train on the part it is told to, and refuse what does not fit in one line?"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Type
from tests.fakes.images import random_images


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    """A file with two splits: 24 and 12 images of 3 classes by 4 writers, and what is broken."""
    arrays: dict[str, Any] = {}
    for split, count in (("train", 24), ("test", 12)):
        arrays[f"{split}_images"] = random_images(count)
        arrays[f"{split}_labels"] = np.arange(count) % 3
        arrays[f"{split}_writer"] = np.array(list("aabbbbcd") * 3)[:count]
    arrays["odd_images"], arrays["odd_labels"] = random_images(2), np.array([0, 1])
    arrays["odd_writer"] = np.array(["a", "a"])
    np.savez(tmp_path / "pack.npz", **arrays)
    return tmp_path


def typed_on(type_command: Type, home: Path, packs: Path, *arguments: str) -> Any:
    return type_command(
        "finetune",
        home / "model.safetensors",
        "--data",
        packs / "pack.npz#train",
        "-o",
        packs / "update.safetensors",
        "--json",
        *(argument.replace("PACK", str(packs / "pack.npz")) for argument in arguments),
    )


@pytest.mark.parametrize(
    ("arguments", "num_examples"),
    [
        ("", 24),
        ("--client 2 --num-clients 5 --alpha 0.5", 4),
        ("--client 1 --natural", 12),
        ("--client 0 --natural --num-clients 1", 12),  # the writer with the most examples
        ("--client 1 --natural --eval-data PACK#test --eval-own", 12),
        ("--client 2 --num-clients 3 --alpha 9 --eval-data PACK#test --eval-own", 8),
        ("--client 1 --natural --eval-share 0.25", 9),
        ("--distill dynamic --augment crop", 19),
        ("--distill none --augment crop-flip", 24),
    ],
)
def test_a_client_trains_on_its_part(
    type_command: Type, home: Path, packs: Path, arguments: str, num_examples: int
) -> None:
    typed = typed_on(type_command, home, packs, *arguments.split())

    assert typed.exit_code == 0, typed.stderr
    assert typed.document["num_examples"] == num_examples
    assert ("accuracy_after" in typed.document) == ("--eval" in arguments)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        ("--client 1", 2, "say how clients share the data"),
        ("--client 1 --natural --num-clients 2 --alpha 1", 2, "say how clients share the data"),
        ("--natural", 2, "say which client with --client"),
        ("--eval-own --client 0 --natural", 2, "it needs --eval-data"),
        ("--client 1 --alpha 1", 2, "say how many clients there are with --num-clients"),
        ("--client 4 --natural", 2, "there is no client 4; the 4 clients are counted from 0"),
        ("--client 5 --num-clients 5 --alpha 1", 2, "there is no client 5"),
        ("--client 0 --num-clients 25 --alpha 1", 2, "cannot split 24 examples among 25 clients"),
        ("--client 0 --num-clients 2 --alpha 0", 2, "'--alpha': alpha must be positive"),
        ("--client 0 --num-clients 2 --alpha nan", 2, "alpha must be positive and at most 1e+09"),
        ("--client 0 --num-clients 2 --alpha inf", 2, "alpha must be positive and at most 1e+09"),
        ("--client 0 --num-clients 2 --alpha 1e308", 2, "and at most 1e+09, got 1e+308"),
        ("--eval-share nan", 2, "the test share must be between 0 and 1, got nan"),
        ("--epochs 100000000000000000000", 2, "'--epochs'"),
        ("--batch-size 100000000000000000000", 2, "'--batch-size'"),
        ("--server-round 100000000000000000000", 2, "'--server-round'"),
        ("--seed -1", 2, "'--seed'"),
        ("--client 0 --natural --num-clients 9", 2, "there are 4 writers or speakers, not 9"),
        ("--eval-share 1.5", 2, "the test share must be between 0 and 1, got 1.5"),
        ("--eval-share 0.5 --eval-data PACK#test", 2, "it stands instead of --eval-data"),
        ("--distill dynamic_ma", 2, "did you mean dynamic-ma"),
        ("--augment flip", 2, "no augmentation is called 'flip'"),
        ("--lr 0", 2, "'--lr': the learning rate must be positive"),
        ("--lr -1", 2, "the learning rate must be positive, got -1"),
        ("--lr nan", 2, "the learning rate must be positive, got nan"),
        ("--lr inf", 2, "the learning rate inf is zero or infinite as float32"),
        ("--lr 1e308", 2, "the learning rate 1e+308 is zero or infinite as float32"),
        ("--lr 1e-50", 2, "the learning rate 1e-50 is zero or infinite as float32"),
        ("--eval-data PACK", 3, "write the split after the name"),
        (
            "--client 1 --natural --eval-data PACK#odd --eval-own",
            3,
            "the evaluation data has no examples of client 1 (b)",
        ),
        ("--lr 1e38 --epochs 3", 6, "training diverged"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    type_command: Type, home: Path, packs: Path, arguments: str, exit_code: int, message: str
) -> None:
    typed = typed_on(type_command, home, packs, *arguments.split())

    assert typed.exit_code == exit_code
    assert message in " ".join(typed.stderr.replace("│", "").split())
    assert not (packs / "update.safetensors").exists()


def test_data_that_does_not_say_who_made_it_has_no_natural_clients(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    typed = type_command(
        "finetune",
        home / "model.safetensors",
        *("--data", home / "data.npz", "--client", 0, "--natural"),
        *("-o", tmp_path / "update.safetensors"),
    )

    assert typed.exit_code == 3
    assert "the data does not say who made each example" in typed.stderr


def test_data_of_other_classes_is_refused(type_command: Type, home: Path, tmp_path: Path) -> None:
    names = np.array(["a", "b"])
    np.savez(tmp_path / "d.npz", images=random_images(2), labels=np.arange(2), class_names=names)

    typed = type_command(
        "finetune", home / "model.safetensors", "--data", tmp_path / "d.npz", "-o", tmp_path / "u"
    )

    assert typed.exit_code == 3
    assert "d.npz: the model has no class called 'a', 'b', only 'ant', 'bee', 'cat'" in typed.stderr
