"""A package that is absent, and one that is there but does not load, are told apart."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from reefl_edge.checkpoints.foreign.files import read_arrays
from reefl_edge.errors import MissingToolchainError
from reefl_edge.extras import needs_extra


def _install(folder: Path, name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(folder)


def test_an_absent_package_names_its_extra() -> None:
    with (
        pytest.raises(MissingToolchainError, match=r"^training needs norch; install 'reefl-edge\["),
        needs_extra("training", "norch", "train"),
    ):
        import norch  # type: ignore[import-not-found] # noqa: F401


def test_of_several_packages_the_absent_one_is_named() -> None:
    with (
        pytest.raises(MissingToolchainError, match=r"^export needs norch; install"),
        needs_extra("export", ("torch", "norch"), "onnx"),
    ):
        import norch  # noqa: F401


def test_an_absent_package_that_is_imported_under_another_name_is_named_as_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with (
        pytest.raises(MissingToolchainError, match="the demo needs scikit-learn; install"),
        needs_extra("the demo", "scikit-learn", "demo"),
    ):
        import sklearn  # noqa: F401


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('libnorch.so:\\nundefined symbol')", "libnorch.so: undefined symbol"),
        ("raise OSError('libcudart.so.12: cannot open shared object file')", "libcudart.so.12: "),
        ("import a_dependency_of_norch", "No module named 'a_dependency_of_norch'"),
        ("import norch.part", "No module named 'norch.part'"),
    ],
)
def test_a_package_that_does_not_load_says_why_in_one_line(
    code: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, "norch", code, monkeypatch)

    with (
        pytest.raises(MissingToolchainError) as caught,
        needs_extra("training", "norch", "train"),
    ):
        import norch  # noqa: F401

    message = f"training needs norch, installed here but not loading: {reason}"
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 5


def test_a_module_of_ours_that_is_missing_is_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError), needs_extra("training", "torch", "train"):
        import_module("reefl_edge.nowhere")


def test_an_error_of_the_system_is_no_missing_package() -> None:
    with pytest.raises(FileNotFoundError), needs_extra("training", "torch", "train"):
        Path("/nowhere/at/all").read_bytes()


def test_a_file_that_needs_torch_says_why_torch_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, "torch", "raise OSError('libtorch_cpu.so: file too short')", monkeypatch)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "reefl_edge.checkpoints.foreign.pickles", raising=False)

    (tmp_path / "model.pth").touch()
    with pytest.raises(MissingToolchainError, match=r"not loading: libtorch_cpu\.so: file too"):
        read_arrays(tmp_path / "model.pth")
