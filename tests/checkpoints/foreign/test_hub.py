"""The hub out of reach, slow or unwell: told once, soon, and what is in the cache is read."""

import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socket import create_server, socket
from threading import Thread

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save_file

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.checkpoints.foreign.files import locate
from reefl_edge.errors import InputError, MissingToolchainError
from reefl_edge.models import load_checkpoint

ARRAYS: Arrays = {"a": np.ones(3, np.float32)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def cached_model(cache: Path) -> Path:
    """The weights of some/model, downloaded before."""
    snapshot = cache / "models--some--model" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    save_file(ARRAYS, snapshot / "model.safetensors")
    (snapshot / "config.json").write_text("{}")
    (cache / "models--some--model" / "refs").mkdir()
    (cache / "models--some--model" / "refs" / "main").write_text("0123")
    return snapshot / "model.safetensors"


def _use(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    # It reads the environment once, on import.
    url = f"http://127.0.0.1:{port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "1")
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket]:
    """A hub that takes connections and says nothing."""
    with create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        _use(monkeypatch, server.getsockname()[1])
        yield server


def _count_connections(server: socket) -> int:
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


class _Answering(BaseHTTPRequestHandler):
    """Answers everything with one status, and counts."""

    status = 503
    error_code: str | None = None
    asked: list[str]

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.status)
        if self.error_code is not None:
            self.send_header("X-Error-Code", self.error_code)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture(params=[503, 404])
def answering_hub(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[_Answering]]:
    """A hub that answers with a status, whatever it is asked."""
    handler = type("Handler", (_Answering,), {"status": request.param, "asked": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        _use(monkeypatch, server.server_port)
        yield handler
        server.shutdown()
        thread.join()


def test_a_hub_id_offline_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(InputError, match="the hub is out of reach"):
        load_checkpoint("nobody/no-such-model", num_classes=3)


def test_a_hub_id_in_the_cache_is_read_offline(
    monkeypatch: pytest.MonkeyPatch, cached_model: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    assert locate("some/model").path == cached_model


def test_a_hub_that_does_not_answer_is_asked_once(silent_hub: socket) -> None:
    with pytest.raises(InputError, match=r"the hub is out of reach .*HF_HUB_ETAG_TIMEOUT=SECONDS"):
        locate("nobody/no-such-model")

    assert _count_connections(silent_hub) == 1


def test_what_is_in_the_cache_is_read_from_a_hub_that_does_not_answer(
    silent_hub: socket, cached_model: Path
) -> None:
    assert locate("some/model").path == cached_model
    assert _count_connections(silent_hub) == 1


def test_a_hub_that_has_not_the_model_or_is_not_well_says_so(
    answering_hub: type[_Answering],
) -> None:
    with pytest.raises(InputError, match="nobody/no-such-model") as caught:
        locate("nobody/no-such-model")

    assert "\n" not in str(caught.value)
    if answering_hub.status == 503:
        assert len(answering_hub.asked) == 1
        assert "the hub is out of reach (" in str(caught.value)
    else:
        assert "out of reach" not in str(caught.value)


@pytest.mark.parametrize("answering_hub", [403], indirect=True)
@pytest.mark.parametrize("error_code", ["GatedRepo", "RepoNotFound"])
def test_a_model_that_may_not_be_read_from_here_says_what_it_takes(
    answering_hub: type[_Answering], error_code: str
) -> None:
    answering_hub.error_code = error_code

    with pytest.raises(InputError, match="private or gated one takes 'hf auth login' or HF_TOKEN"):
        locate("somebody/gated-model")


def test_the_hub_without_its_extra_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    with pytest.raises(MissingToolchainError, match=r"install 'reefl-edge\[hub\]'"):
        load_checkpoint("nobody/no-such-model", num_classes=3)
