"""``reefl-edge convert``, and MODEL given by somebody else's file."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from reefl_edge.array_files.safetensors import read_header, read_safetensors
from reefl_edge.checkpoints.checkpoint import read_checkpoint
from reefl_edge.checkpoints.hashes import weights_sha256
from tests.checkpoints.foreign.released import released_state
from tests.cli.conftest import Type

HEADS = ("--num-heads", "2")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.safetensors"
    save_file(released_state(depth=2, num_blocks=2), path)
    return path


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    """A DeiT file: a released one with query, key and value fused, and no accumulator."""
    arrays = released_state(depth=2, num_blocks=2, width=64)
    names = [
        name for name in arrays if not name.startswith("accumulator.") and ".attn.k" not in name
    ]
    fused = {
        name.replace(".q.", ".qkv."): (
            np.concatenate([arrays[name.replace(".q.", f".{part}.")] for part in "qkv"])
            if ".attn.q." in name
            else arrays[name]
        )
        for name in names
        if ".attn.k." not in name and ".attn.v." not in name
    }
    save_file(fused, tmp_path / "deit.safetensors")
    return tmp_path / "deit.safetensors"


def test_a_released_state_dict_becomes_a_checkpoint_and_goes_back(
    type_command: Type, state: Path, tmp_path: Path
) -> None:
    ours, back, again = (tmp_path / name for name in ("o.safetensors", "b.pth", "a.safetensors"))
    options = ("--num-exits", 2, *HEADS, "--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.2")

    typed = type_command("convert", state, "-o", ours, *options, "--json")
    returned = type_command("convert", ours, "-o", back, "--to", "released")
    # What the way back prints as the next command reads the file again.
    words = shlex.split(returned.stderr.split("next: reefl-edge ")[1])
    type_command(*words[:-1], again)

    first, second = read_checkpoint(ours), read_checkpoint(again)
    assert typed.exit_code == returned.exit_code == 0
    assert typed.document["weights_sha256"] == weights_sha256(second.arrays)
    assert typed.document["random"] == []
    assert first.submodel == second.submodel
    assert first.submodel.architecture.mean == (0.5, 0.4, 0.3)
    assert "saved" in returned.stdout


def test_a_models_classes_get_names_that_its_bundle_answers_with(
    type_command: Type, state: Path, tmp_path: Path
) -> None:
    model, again, bundle = tmp_path / "m.safetensors", tmp_path / "a.safetensors", tmp_path / "b"
    names = ("--class-names", "cat, dog,owl")

    typed = type_command("convert", state, "-o", model, "--num-exits", 2, *HEADS, *names, "--json")
    shown = type_command("convert", model, "-o", again)
    type_command("export", model, "--format", "onnx", "-o", bundle)

    assert typed.document["class_names"] == ["cat", "dog", "owl"]
    assert "3: cat, dog, owl" in shown.stdout
    assert again.read_bytes() == model.read_bytes()
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["class_names"] == ["cat", "dog", "owl"]


def test_a_backbone_becomes_a_model_to_be_trained(
    type_command: Type, backbone: Path, tmp_path: Path
) -> None:
    typed = type_command(
        "convert", backbone, "-o", tmp_path / "model.safetensors",
        "--num-classes", 3, "--exit-blocks", "0,1", "--image-size", 24, "--json",
    )  # fmt: skip

    assert typed.exit_code == 0
    assert typed.document["random"] == ["accumulator", "classifier"]
    assert "accumulator, classifier: random" in typed.stderr
    assert "next: reefl-edge finetune" in typed.stderr
    architecture = read_checkpoint(tmp_path / "model.safetensors").submodel.architecture
    assert (architecture.num_classes, architecture.image_size) == (3, 24)


def test_a_backbone_is_fine_tuned_and_exported_with_the_same_options(
    type_command: Type, backbone: Path, home: Path, tmp_path: Path
) -> None:
    update, bundle = tmp_path / "update.safetensors", tmp_path / "bundle"
    options = ("--num-classes", 3, "--num-exits", 2)

    tuned = type_command(
        "finetune", backbone, *options, "--data", home / "data.npz", "-o", update, "--seed", 7
    )
    words = shlex.split(tuned.stderr.split("next: reefl-edge ")[1])
    exported = type_command(*words[:-1], bundle, "--format", "onnx")

    assert (tuned.exit_code, exported.exit_code) == (0, 0)
    assert "random" not in exported.stderr
    assert not json.loads((bundle / "manifest.json").read_text())["has_random_weights"]


def test_a_backbone_exported_untrained_says_so(
    type_command: Type, backbone: Path, tmp_path: Path
) -> None:
    options = ("--num-classes", 3, "--num-exits", 2, "--format", "onnx")

    typed = type_command("export", backbone, "-o", tmp_path / "bundle", *options)

    assert typed.exit_code == 0
    assert "the accumulator and the classifier are random" in typed.stderr
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["has_random_weights"]


def test_a_checkpoint_made_from_a_backbone_remembers_that_its_head_is_random(
    type_command: Type, backbone: Path, home: Path, tmp_path: Path
) -> None:
    model, update = tmp_path / "model.safetensors", tmp_path / "update.safetensors"
    type_command("convert", backbone, "--num-classes", 3, "--num-exits", 2, "-o", model)

    untrained = type_command("export", model, "--format", "onnx", "-o", tmp_path / "a")
    type_command("finetune", model, "--data", home / "data.npz", "-o", update)
    trained = type_command(
        "export", model, "--update", update, "--format", "onnx", "-o", tmp_path / "b"
    )

    assert "the accumulator and the classifier are random" in untrained.stderr
    assert "random" not in trained.stderr


def test_a_bundle_made_from_a_backbone_is_fine_tuned_as_its_checkpoint_is(
    type_command: Type, backbone: Path, home: Path, tmp_path: Path
) -> None:
    bundle, update = tmp_path / "bundle", tmp_path / "update.safetensors"
    options = ("--num-classes", 3, "--num-exits", 2, "--format", "onnx")
    type_command("export", backbone, "-o", bundle, *options)

    tuned = type_command("finetune", bundle, "--data", home / "data.npz", "-o", update)
    trained = type_command(
        "export", bundle, "--update", update, "--format", "onnx", "-o", tmp_path / "b"
    )

    assert (tuned.exit_code, trained.exit_code) == (0, 0)
    assert "random" not in trained.stderr
    assert not json.loads((tmp_path / "b" / "manifest.json").read_text())["has_random_weights"]


def test_random_weights_stay_random_through_checkpoint_and_bundle(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    model, bundle, update = (tmp_path / name for name in ("m.safetensors", "bundle", "update"))

    converted = type_command("convert", "digits", "--num-classes", 3, "-o", model, "--json")
    exported = type_command("export", model, "--format", "onnx", "-o", bundle)
    inferred = type_command("infer", bundle, home / "first.png")
    refused = [
        type_command("finetune", source, "--data", home / "data.npz", "-o", update)
        for source in (model, bundle)
    ]

    assert converted.document["random"] == [
        "cls_token", "pos_embed", "patch_embed", "blocks", "accumulator", "classifier"
    ]  # fmt: skip
    assert "next: reefl-edge profile" in converted.stderr
    assert "the weights are random: the bundle is good for measuring" in exported.stderr
    assert json.loads((bundle / "manifest.json").read_text())["has_random_weights"]
    assert "its answers mean nothing" in inferred.stderr
    for typed in refused:
        assert typed.exit_code == 2
        assert "has random weights throughout" in " ".join(typed.stderr.replace("│", "").split())
    assert not update.exists()


def test_a_bundle_of_before_whose_weights_are_random_is_refused_by_finetune(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    bundle = shutil.copytree(home / "bundle", tmp_path / "bundle")
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "has_random_weights": True}))

    typed = type_command(
        "finetune", bundle, "--data", home / "data.npz", "-o", tmp_path / "update.safetensors"
    )

    assert typed.exit_code == 2
    assert "random weights throughout" in " ".join(typed.stderr.replace("│", "").split())


def test_a_checkpoint_of_an_earlier_version_gets_its_hash_by_convert(
    type_command: Type, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    metadata = json.loads(read_header(home / "model.safetensors").metadata["reefl_edge"])
    del metadata["weights_sha256"], metadata["metadata_sha256"], metadata["random"]
    arrays = read_safetensors(home / "model.safetensors")
    save_file(arrays, old, metadata={"reefl_edge": json.dumps(metadata)})

    typed = type_command("convert", old, "-o", new)

    assert typed.exit_code == 0
    assert ["old.safetensors" in record.message for record in caplog.records] == [True]
    assert new.read_bytes() == (home / "model.safetensors").read_bytes()


def test_the_released_layout_cannot_say_that_weights_are_random(
    type_command: Type, tmp_path: Path
) -> None:
    typed = type_command("convert", "digits", "--to", "released", "-o", tmp_path / "m.pth")

    assert "random, to be trained, which a file of the released code cannot say" in typed.stderr


def test_a_foreign_model_is_profiled(type_command: Type, backbone: Path) -> None:
    typed = type_command(
        "profile", "--model", backbone, "--num-classes", 3, "--num-exits", 1,
        "--runtime", "eager", "--regime", "none", "--json",
    )  # fmt: skip

    assert typed.exit_code == 0
    assert typed.document["context"]["weights"] not in ("", "random")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        ((), 2, "does not say how many exits"),
        (("--num-exits", "3"), 2, "cannot spread 3 exits over 2 blocks"),
        (("--exit-blocks", "0,x"), 2, "--exit-blocks"),
        (("--exit-blocks", "1,0"), 2, "must increase"),
        (("--num-exits", "2", "--mean", "1,2"), 2, "'1,2' has 2 numbers; give one for each of red"),
        (("--num-exits", "2", "--mean", "0.5"), 2, "'0.5' has 1 number; give one for each of red"),
        (("--num-exits", "2", "--std", "a,0.5,0.5"), 2, "'--std': 'a' is no number"),
        (("--num-exits", "2", "--regime", "half"), 2, "no regime is called 'half'"),
        (("--num-exits", "2", "--to", "onnx"), 2, "choose reefl-edge or released"),
        (("--num-exits", "2", "--num-heads", "3"), 2, "not a multiple of 3 heads"),
        (("--num-exits", "100000000000"), 2, "--num-exits"),
        (("--num-exits", "2", "--num-classes", "100000000000"), 2, "--num-classes"),
        (("--num-exits", "2", "--image-size", "100000"), 2, "--image-size"),
        (("--num-exits", "2", "--num-heads", "100000"), 2, "--num-heads"),
        (("--num-exits", "2", "--mean", "0.5,nan,0.5"), 2, "'--mean': mean must be from"),
        (("--num-exits", "2", "--std", "0.5,0,0.5"), 2, "'--std': std must be from"),
        (("--num-exits", "2", "--std", "0.5,inf,0.5"), 2, "'--std': std must be from"),
        (("--num-exits", "2", "--max-exit", "2"), 2, "no exit 2"),
        (("--num-exits", "2", "--class-names", "a,b"), 2, "2 names for the 3 classes of MODEL"),
        (("--num-exits", "2", "--class-names", "a,b,a"), 2, "several classes are called 'a'"),
        (("--num-exits", "2", "--class-names", "a,,b"), 2, "has a comma too many"),
        (
            ("--num-exits", "2", "--class-names", "a,b,c", "--to", "released"),
            2,
            "a file of the released code holds no names",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    type_command: Type,
    state: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    exit_code: int,
    message: str,
) -> None:
    output = tmp_path / "out.safetensors"

    typed = type_command("convert", state, "-o", output, *HEADS, *arguments)

    assert typed.exit_code == exit_code
    assert message in " ".join(typed.stderr.replace("│", "").split())
    assert not output.exists()


def test_our_own_layout_goes_into_safetensors_only(
    type_command: Type, state: Path, tmp_path: Path
) -> None:
    typed = type_command("convert", state, "-o", tmp_path / "model.pth", "--num-exits", 2, *HEADS)

    assert typed.exit_code == 2
    assert "is no .safetensors file" in typed.stderr
