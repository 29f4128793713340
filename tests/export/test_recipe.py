"""Recipes: the stock ones, a user's own, and bad ones."""

from pathlib import Path

import pytest

from reefl_edge.bundles.artifacts import PRECISIONS_OF, artifact_name
from reefl_edge.errors import InputError
from reefl_export.parity.gate import Gate
from reefl_export.recipe import read_recipe, recipe_for, stock, stock_recipes


def test_every_stock_recipe_is_called_by_its_format_and_precision() -> None:
    recipes = stock_recipes()

    assert {name: recipe.name for name, recipe in recipes.items()} == {
        name: name for name in recipes
    }
    assert {name.split("-", 1)[0] for name in recipes} == {"executorch", "onnx", "coreml"}
    assert recipes["onnx-fp32"].batch_sizes == ()
    assert all(recipe.gate != Gate() for recipe in recipes.values())


def test_float32_artifacts_lie_where_they_always_did_and_others_beside_them() -> None:
    folders = {recipe.name: recipe.folder for recipe in stock_recipes().values()}

    assert folders["executorch-fp32"] == "."
    assert folders["onnx-fp32"] == "onnx"
    assert folders["onnx-int8-dynamic"] == "onnx-int8-dynamic"
    assert len(set(folders.values())) == len(folders)


def test_stock_pairs_formats_with_precisions_each_once() -> None:
    names = [recipe.name for recipe in stock(["onnx", "onnx"], ["int8-dynamic", "fp32"])]

    assert names == ["onnx-int8-dynamic", "onnx-fp32"]


def test_a_precision_that_a_format_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(ValueError, match="executorch does not come in fp16, only in fp32, int8"):
        recipe_for("executorch", "fp16")


def test_a_users_own_recipe_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'target = "onnx"\nprecision = "int8-dynamic"\nkeep_float = ["classifier.*"]\n'
        "[gate]\nmin_exit_agreement = 0.99\n"
    )

    recipe = read_recipe(str(path))

    assert recipe.keep_float == ("classifier.*",)
    assert recipe.gate == Gate(min_exit_agreement=0.99)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('target = "tflite"\nprecision = "fp32"', "target: Input should be"),
        ('target = "onnx"\nprecision = "fp32"\nthreads = 2', "threads: Unexpected keyword"),
        (
            'target = "coreml"\nprecision = "fp32"\nbatch_sizes = [1]\nadaptive_graph = true',
            "is for onnx",
        ),
        ('target = "onnx"\nprecision = "fp32"\nbatch_sizes = [4]', "must hold 1"),
        ('target = "onnx"\nprecision = "fp32"\nbatch_sizes = [1]', "onnx takes any batch"),
        ('target = "coreml"\nprecision = "fp32"\nbatch_sizes = [1, 2]', "takes one image"),
        ('target = "executorch"\nprecision = "fp16"', "does not come in fp16"),
        ('target = "onnx"\nprecision = "fp32"\ndelegate = "xnnpack"', "for no other format"),
        ('target = "onnx"\nprecision = "fp32"\ndeployment_target = "iOS18"', "is for coreml"),
        ('target = "onnx"\nprecision = "fp32"\nkeep_float = ["a"]', "says nothing of fp32"),
        ('target = "executorch"\nprecision = "fp32"', "fixed batch_sizes"),
        ("target =", "not a TOML file"),
    ],
)
def test_a_bad_recipe_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)

    with pytest.raises(InputError, match=message):
        read_recipe(str(path))


def test_the_stock_recipes_are_all_the_precisions_there_are() -> None:
    assert set(stock_recipes()) == {
        artifact_name(target, precision)
        for target, precisions in PRECISIONS_OF.items()
        for precision in precisions
    }


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ValueError, match="did you mean onnx-fp32"):
        read_recipe("onnx-fp23")
    with pytest.raises(InputError, match=r"missing\.toml: no such file"):
        read_recipe("missing.toml")
