"""Digest: the name of content by its own hash, and the only way from outside data to a path."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from .errors import InvalidDigestError

_FORMS = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """An algorithm and its lower-case hex. An instance is always well formed; str() gives `sha256:…`.

    Ollama's layout holds sha256 only; sha512 exists for registry content.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        form = _FORMS.get(self.algorithm)
        if form is None or not form.fullmatch(self.hex):
            raise InvalidDigestError(f"{self.algorithm}:{self.hex}")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `algorithm:hex`. Raises InvalidDigestError for anything else."""
        algorithm, colon, hex_digits = text.partition(":")
        if not colon:
            raise InvalidDigestError(text)
        return cls(algorithm, hex_digits)

    @classmethod
    def from_filename(cls, filename: str) -> Digest:
        """Read the store's file name form, `sha256-<hex>`. Raises InvalidDigestError."""
        algorithm, dash, hex_digits = filename.partition("-")
        if not dash:
            raise InvalidDigestError(filename)
        return cls(algorithm, hex_digits)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The sha256 digest of `data`."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    @property
    def filename(self) -> str:
        """The store's file name: `sha256-<hex>`."""
        return f"{self.algorithm}-{self.hex}"

    @property
    def short(self) -> str:
        """The first 12 hex digits, as Ollama shows IDs."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
