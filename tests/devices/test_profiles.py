"""Device profiles: the built-in ones, the user's own, and unknown ones."""

import re
from pathlib import Path

import pytest

from reefl_edge.devices.profiles import (
    builtin_profiles,
    list_profiles,
    load_profile,
    profile_schema,
)
from reefl_edge.errors import InputError

BOARD = """
name = "board"
title = "A board"
kind = "board"
os = "linux"
soc = "A chip"
formats = ["onnx"]
cpu_clusters = [{ name = "A core", num_cores = 2, max_ghz = 1.5 }]
sources = [{ fact = "all", citation = "a book" }]
"""


@pytest.fixture(autouse=True)
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty configuration folder of the tests' own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "reefl-edge" / "device_profiles"
    folder.mkdir(parents=True)
    return folder


def test_the_built_in_profiles_load_and_are_called_like_their_files() -> None:
    assert [profile.name for profile in list_profiles()] == [
        "galaxy-a54",
        "galaxy-s21",
        "galaxy-s23",
        "galaxy-s24",
        "iphone12",
        "iphone14",
        "iphone15",
        "jetson-orin-nano",
        "laptop-x86",
        "moto-g54",
        "oneplus11",
        "pixel6",
        "pixel6-pro",
        "pixel7",
        "pixel8",
        "pixel9",
        "rpi3b-plus",
        "rpi4",
        "rpi5",
        "xiaomi13",
    ]


def test_a_profile_says_what_was_looked_up() -> None:
    pixel = load_profile("pixel7")

    assert pixel.num_cores == 8
    assert [(cluster.num_cores, cluster.max_ghz) for cluster in pixel.cpu_clusters] == [
        (2, 2.85),
        (2, 2.35),
        (4, 1.8),
    ]
    assert pixel.memory_mib == 8192
    assert pixel.link == "adb"
    assert pixel.adb_models == ("Pixel 7",)
    assert [cluster.vector_units for cluster in pixel.cpu_clusters] == [4, 2, 1]
    assert load_profile("pixel6").memory_gb_per_s == 51.2
    assert load_profile("rpi5").memory_mib is None
    assert load_profile("iphone15").formats[0] == "coreml"


def test_every_fact_has_a_source() -> None:
    for profile in list_profiles():
        facts = " ".join(source.fact for source in profile.sources)
        assert "cores" in facts
        assert "clock" in facts
        assert "extensions" in facts or "AVX" in facts
        assert profile.memory_mib is None or "memory of" in facts
        assert profile.memory_gb_per_s is None or "memory bandwidth" in facts
        assert not profile.adb_models or "adb" in facts
        units = {cluster.vector_units for cluster in profile.cpu_clusters}
        assert units == {None} or "vector units" in facts


def test_a_source_is_an_address_or_a_place_in_a_repository() -> None:
    for profile in list_profiles():
        for source in profile.sources:
            assert re.match(r"https?://\S+\.\S+|[\w.-]+/[\w.-]+, \S+", source.citation), source


def test_no_two_profiles_are_of_one_model_of_adb_s() -> None:
    models = [model for profile in list_profiles() for model in profile.adb_models]

    assert len(models) == len(set(models))
    assert all(profile.adb_models for profile in list_profiles() if profile.link == "adb")


def test_what_all_cores_have_is_listed_and_clusters_come_fastest_first() -> None:
    for profile in list_profiles():
        clocks = [cluster.max_ghz for cluster in profile.cpu_clusters]
        assert clocks == sorted(clocks, reverse=True)
        assert {"neon", "avx2"} & {*profile.isa_features}


def test_the_schema_in_the_repository_is_that_of_the_code() -> None:
    assert (builtin_profiles() / "schema.json").read_text(encoding="utf-8") == profile_schema()


def test_a_profile_of_the_user_s_is_found_by_name(user_folder: Path) -> None:
    (user_folder / "board.toml").write_text(BOARD)

    assert load_profile("board").title == "A board"
    assert "board" in {profile.name for profile in list_profiles()}


def test_a_profile_of_the_user_s_wins_over_a_built_in_one(user_folder: Path) -> None:
    (user_folder / "rpi5.toml").write_text(
        BOARD.replace('"board"', '"rpi5"', 1).replace('kind = "rpi5"', 'kind = "board"')
    )

    assert load_profile("rpi5").title == "A board"


def test_a_profile_is_found_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(BOARD)

    assert load_profile(str(tmp_path / "mine.toml")).name == "board"


def test_a_path_that_leads_nowhere_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mine\.toml: no such file"):
        load_profile(str(tmp_path / "mine.toml"))


def test_a_key_of_another_unit_is_named_before_what_is_missing_for_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(BOARD.replace("max_ghz", "max_mhz"))

    with pytest.raises(InputError, match=r"max_mhz: Unexpected keyword argument \(and \d more\)"):
        load_profile(str(tmp_path / "mine.toml"))


def test_an_unknown_device_suggests_the_closest() -> None:
    with pytest.raises(ValueError, match=r"called 'jetson-nano'; did you mean jetson-orin-nano\?"):
        load_profile("jetson-nano")


def test_a_profile_called_unlike_its_file_is_refused(user_folder: Path) -> None:
    (user_folder / "other.toml").write_text(BOARD)

    with pytest.raises(InputError, match="names the device 'board'"):
        list_profiles()


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('soc = "A chip"', 'soc = "A chip"\nmemory_mb = 4096', "memory_mb"),
        ('soc = "A chip"', 'soc = "A chip"\nmemory_mb_per_s = 4096', "memory_mb_per_s"),
        ('soc = "A chip"', 'soc = "A chip"\nmemory_gb_per_s = 51200', "at most 10000, got 51200"),
        ('soc = "A chip"', 'soc = "A chip"\nmemory_gb_per_s = 0', "must be positive"),
        ('soc = "A chip"', 'soc = "A chip"\nadb_models = ["A"]', "whose link is adb"),
        ("max_ghz = 1.5", "max_ghz = 1.5, vector_units = 0", "vector_units must be from 1 to 16"),
        ("max_ghz = 1.5", "max_ghz = 1.5, cache = 2", r"cpu_clusters\.0\.cache"),
        ('soc = "A chip"', "", "soc"),
        ('"onnx"', '"tflite"', r"formats\.0"),
        ("num_cores = 2", "num_cores = 0", "a cluster of 0 cores"),
        ("num_cores = 2", "num_cores = 100000000", "a cluster of 100000000 cores"),
        ("max_ghz = 1.5", "max_ghz = nan", "max_ghz is nan, not a finite number"),
        ("max_ghz = 1.5", "max_ghz = inf", "max_ghz is inf, not a finite number"),
        ('soc = "A chip"', 'soc = "A chip"\nmemory_mib = 8589934592', "from 1 to 16777216, got 8"),
        ('formats = ["onnx"]', "formats = []", "must not be empty"),
        ('name = "board"', "name = ", "not a TOML file"),
    ],
)
def test_a_mistake_in_a_profile_is_named(
    tmp_path: Path, before: str, after: str, reason: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(BOARD.replace(before, after, 1))

    with pytest.raises(InputError, match=reason) as caught:
        load_profile(str(path))
    assert str(path) in str(caught.value)
