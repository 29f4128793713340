"""What lies in the folder of a deployed federation, for the SuperLink and for each node?

deployment/
  superlink.toml                  where the SuperLink listens
  authority.crt, authority.key    who signs
  superlink.crt, superlink.key    what the SuperLink proves with
  keys/NAME.pub                   the nodes that may take part
  nodes/NAME/                     what is carried to a node, whole:
    node.toml, node.key, authority.crt
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from reefl_edge import schema
from reefl_edge.errors import InputError
from reefl_edge.federation.flower import certificates
from reefl_edge.federation.flower.superlink import ServerCertificates
from reefl_edge.federation.flower.toml import Value, attribute_docs, settings_table, toml_table
from reefl_edge.federation.node import NodeSettings, read_node_settings
from reefl_edge.files import write_bytes, write_text

DEFAULT_PORT = 9092
FOLDER = "deployment"
NODE_FILE = "node.toml"

# A folder, a part of a host's name, and a word on a command line.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
# Flower's own word to a simulated node.
_NOT_FOR_NODES = ("num-partitions",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a SuperLink listens.

    Attributes:
        host: The address; 0.0.0.0 stands for all that this machine has.
        port: The port; it is all that nodes need to reach.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError(f"a port is from 1 to 65535, got {self.port}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFile:
    """What a node is told when it starts.

    Attributes:
        superlink: Host and port of the SuperLink, by a name that its certificate is for.
        node: What the app finds as its node's configuration.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    superlink: str
    node: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deployment:
    """The folder of a deployed federation.

    Attributes:
        folder: The folder.
    """

    folder: Path

    @property
    def exists(self) -> bool:
        """There is one."""
        return self._listening_file.is_file()

    @property
    def certificates(self) -> ServerCertificates:
        """What the SuperLink proves with."""
        return ServerCertificates(
            authority=self.folder / "authority.crt",
            certificate=self.folder / "superlink.crt",
            key=self.folder / "superlink.key",
        )

    def public_keys(self) -> dict[str, bytes]:
        """Return the public keys of the nodes that may take part, by the node's name."""
        return {
            path.stem: path.read_bytes() for path in sorted((self.folder / "keys").glob("*.pub"))
        }

    def node_folder(self, name: str) -> Path:
        """Return the folder that is carried to a node."""
        return self.folder / "nodes" / name

    def listening(self) -> Listening:
        """Return where the SuperLink listens.

        Raises:
            InputError: The file is missing or damaged.
        """
        return schema.read_toml(Listening, self._listening_file)

    def hosts(self) -> tuple[str, ...]:
        """Return what nodes call the SuperLink: what its certificate is for, where it has one.

        Raises:
            InputError: The certificate is damaged.
        """
        path = self.certificates.certificate
        return certificates.hosts_of(path) if path.exists() else ("localhost",)

    def check(self) -> None:
        """Refuse certificates that nodes would refuse.

        Raises:
            InputError: One is missing, damaged or expired.
        """
        again = f"make a new one with 'reefl-edge federate init {self.folder.parent} --deployment'"
        for path in (self.certificates.authority, self.certificates.certificate):
            certificates.check_certificate(path, renewed_by=again)

    def write(self, listening: Listening, hosts: Sequence[str], nodes: Iterable[str]) -> list[Path]:
        """Write what is not there yet; a new certificate of the SuperLink in any case.

        Args:
            listening: Where the SuperLink listens.
            hosts: What nodes call it; the first goes into what they are told.
            nodes: Names of the nodes.

        Returns:
            The folders of the new nodes.

        Raises:
            InputError: What is there is damaged.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = self.certificates
        authority_key = self.folder / "authority.key"
        if not own.authority.exists():
            certificates.make_authority(own.authority, authority_key)
        certificates.make_server_certificate(
            own.certificate,
            own.key,
            authority=own.authority,
            authority_key=authority_key,
            hosts=hosts,
        )
        write_text(self._listening_file, settings_table(listening))
        superlink = f"{hosts[0]}:{listening.port}"
        new = [name for name in nodes if not self.node_folder(name).exists()]
        return [self._write_node(name, superlink) for name in new]

    def _write_node(self, name: str, superlink: str) -> Path:
        folder = self.node_folder(name)
        folder.mkdir(mode=0o700, parents=True)
        (self.folder / "keys").mkdir(exist_ok=True)
        certificates.make_node_key(folder / "node.key", self.folder / "keys" / f"{name}.pub")
        write_bytes(folder / "authority.crt", self.certificates.authority.read_bytes())
        number = len(self.public_keys()) - 1
        node = NodeSettings(name=name, partition_id=number)
        write_text(
            folder / NODE_FILE,
            "# What this node is told when it starts: reefl-edge federate join FOLDER\n"
            f"{toml_table({'superlink': superlink}, attribute_docs(NodeFile))}"
            f"\n[node]\n{settings_table(node, leaves_out=_NOT_FOR_NODES)}",
        )
        return folder

    @property
    def _listening_file(self) -> Path:
        return self.folder / "superlink.toml"


def check_node_name(name: str) -> str:
    """Return a name that a node can have.

    Raises:
        ValueError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"a node's name is made of letters, digits, - and _, at most 63, got {name!r}"
        )
    return name


def read_node(folder: Path) -> NodeFile:
    """Read what a node is told when it starts, and check that, its key and whom it trusts.

    Raises:
        InputError: One is missing or damaged, or others may read the key.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    certificates.check_key(folder / "node.key")
    certificates.check_certificate(
        folder / "authority.crt", renewed_by="carry the node's folder from the server again"
    )
    node = schema.read_toml(NodeFile, folder / NODE_FILE)
    read_node_settings(node.node)
    return node
