"""A device at the end of each kind of link."""

from collections.abc import Iterator

import pytest

from tests.remotes import LINKS, Remote, remote_of


@pytest.fixture(scope="module", params=LINKS)
def running_remote(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Remote]:
    """A device that a module's tests share."""
    kind: str = request.param
    with remote_of(kind, tmp_path_factory.mktemp(kind)) as remote:
        yield remote


@pytest.fixture
def remote(running_remote: Remote, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """The same, with the client set up to find it."""
    for name, value in running_remote.environment.items():
        monkeypatch.setenv(name, value)
    return running_remote
