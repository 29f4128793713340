"""How do arrays and a document about them share a file, so that damage to either is seen?

Safetensors, whose metadata holds the document as JSON; in that, a hash of all else it says and of
the arrays.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reefl_edge import schema
from reefl_edge.array_files.safetensors import read_header, read_safetensors, write_safetensors
from reefl_edge.errors import InputError
from reefl_edge.schema import Sha256

AnyArrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedDocument:
    """What a file says of its arrays, beside what a subclass says.

    Attributes:
        sha256: Of all else that stands here, and of the arrays; None before it is written.
        schema_version: Of the document.
    """

    sha256: Sha256 | None = None
    schema_version: int = 1


D = TypeVar("D", bound=HashedDocument)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """One kind of such a file.

    Attributes:
        key: Of its document in the metadata.
        name: What it is called in messages, with its article.
        newest: The schema version that is written; newer ones are not read.
    """

    key: str
    name: str
    newest: int

    def write(
        self, document: HashedDocument, arrays: Mapping[str, NDArray[Any]], path: Path
    ) -> None:
        """Write a document and its arrays, whole or not at all.

        Raises:
            OSError: The folder cannot be written to, or the disk is full; it names ``path``.
        """
        document = replace(document, schema_version=self.newest)
        hashed = replace(document, sha256=_sha256_of(schema.to_dict(document), arrays))
        write_safetensors(arrays, path, {self.key: schema.to_json(hashed)})

    def read(self, kind: type[D], path: Path) -> tuple[D, AnyArrays]:
        """Read a document and its arrays, held to the hash.

        Raises:
            InputError: The file is missing, damaged, of a newer version, or none of this kind.
        """
        text = self._text_in(path)
        document = self._parsed(kind, text, path)
        arrays: AnyArrays = dict(read_safetensors(path))
        if document.sha256 != _sha256_of(schema.parse_json(text, source=str(path)), arrays):
            raise InputError(f"{path} is damaged: it is not what was written (the hash differs)")
        return document, arrays

    def document_in(self, kind: type[D], path: Path) -> D:
        """Return what a file says of its arrays, which are not read, nor the hash compared.

        Raises:
            InputError: See ``read``.
        """
        return self._parsed(kind, self._text_in(path), path)

    def _text_in(self, path: Path) -> str:
        header = read_header(path)
        if self.key not in header.metadata:
            raise InputError(f"{path} is not {self.name}")
        return header.metadata[self.key]

    def _parsed(self, kind: type[D], text: str, path: Path) -> D:
        document: D = schema.from_versioned_json(kind, text, source=str(path), newest=self.newest)
        return document


def _sha256_of(document: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    said = {key: value for key, value in document.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
