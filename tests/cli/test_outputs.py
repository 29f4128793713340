"""Is an output that would destroy something, or that cannot be written, refused before the work?"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Type

Refused = tuple[tuple[str, ...], str]

# A command without its output, with {} for the folder, and one of its inputs to name as output.
FILES = [
    (("convert", "{}/model.safetensors"), "model.safetensors"),
    (("profile", "--model", "{}/model.safetensors"), "model.safetensors"),
    (("finetune", "{}/model.safetensors", "--data", "{}/data.npz"), "model.safetensors"),
    (("finetune", "{}/model.safetensors", "--data", "{}/data.npz"), "data.npz"),
    (("finetune", "{}/bundle", "--data", "{}/data.npz"), "bundle/onnx/weights.safetensors"),
    (("parity", "{}/bundle"), "bundle/manifest.json"),
    (("parity", "{}/bundle", "--data", "{}/data.npz"), "data.npz"),
]
COMMANDS = sorted({words for words, _ in FILES} | {("export", "{}/model.safetensors")})


@pytest.fixture
def copy(home: Path, tmp_path: Path) -> Path:
    """What the commands read, for a test to lose."""
    shutil.copytree(home, tmp_path / "home")
    return tmp_path / "home"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def within(folder: Path, words: tuple[str, ...]) -> list[str]:
    return [word.format(folder) for word in words]


@pytest.mark.parametrize(
    "spell", [str, lambda path: f"{path.parent}/../{path.parent.name}/{path.name}"]
)
@pytest.mark.parametrize(("words", "output"), FILES)
def test_an_output_that_is_an_input_is_refused(
    words: tuple[str, ...],
    output: str,
    spell: Callable[[Path], str],
    copy: Path,
    type_command: Type,
) -> None:
    before = contents(copy)

    typed = type_command(*within(copy, words), "-o", spell(copy / output))

    assert typed.exit_code == 2
    assert "is an input, too" in typed.stderr
    assert contents(copy) == before


@pytest.mark.parametrize("name", ["bundle", "."])
def test_a_bundle_is_not_exported_over_what_it_is_made_from(
    name: str, copy: Path, type_command: Type
) -> None:
    before = contents(copy)

    typed = type_command("export", copy / "bundle", "-o", copy / name, "--format", "onnx")

    assert typed.exit_code == 2
    assert "is or holds an input" in typed.stderr
    assert contents(copy) == before


@pytest.mark.parametrize("output", ["", ".", "/"])
@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] != "convert"])
def test_an_output_without_a_name_is_refused(
    words: tuple[str, ...], output: str, copy: Path, type_command: Type,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(copy.parent)

    typed = type_command(*within(copy, words), "-o", output)

    assert typed.exit_code == 2
    assert "name" in typed.stderr


@pytest.mark.parametrize("words", COMMANDS)
def test_an_output_that_cannot_be_written_is_told_before_the_work(
    words: tuple[str, ...], copy: Path, type_command: Type
) -> None:
    typed = type_command(*within(copy, words), "-o", "/proc/nowhere/out.safetensors")

    assert typed.exit_code == 3
    assert typed.stderr == "error: /proc/nowhere/out.safetensors: no such file or directory\n"


def test_a_folder_with_a_manifest_of_somebody_else_is_not_replaced(
    home: Path, tmp_path: Path, type_command: Type
) -> None:
    extension = tmp_path / "extension"
    extension.mkdir()
    (extension / "manifest.json").write_text('{"manifest_version": 3, "name": "mine"}')
    (extension / "background.js").write_text("precious")
    before = contents(extension)

    typed = type_command(
        "export", home / "model.safetensors", "-o", extension, "--format", "onnx"
    )  # fmt: skip

    assert typed.exit_code == 3
    assert "holds background.js, which is no file of a bundle of ours" in typed.stderr
    assert contents(extension) == before


def test_the_demo_overwrites_nothing_but_an_older_demo(
    home: Path, tmp_path: Path, type_command: Type
) -> None:
    mine = tmp_path / "model.safetensors"
    mine.write_bytes((home / "model.safetensors").read_bytes())
    before = contents(tmp_path)

    typed = type_command("demo", "-o", tmp_path)

    assert typed.exit_code == 3
    assert "holds model.safetensors, but no demo.json" in typed.stderr
    assert contents(tmp_path) == before


def test_a_report_goes_where_a_device_leads(home: Path, type_command: Type) -> None:
    typed = type_command("parity", home / "bundle", "-o", "/dev/null")

    assert typed.exit_code == 0
    assert Path("/dev/null").is_char_device()
