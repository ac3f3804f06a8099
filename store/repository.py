"""Repository: what a registry that serves this store calls the models of one name. Pure.

A model of the default host is served as `namespace/model`, one of another host as `host/namespace/model`. Repositories have
lower case only, and no colon: a host's port follows two underscores, which no host's name has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import InvalidNameError
from .name import DEFAULT_HOST, DEFAULT_NAMESPACE, OCI_REPOSITORY, Name

_MAX_LENGTH = 255
_PORT = re.compile(r"(.+)__([0-9]{1,5})")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """A repository's path, by the rules of the distribution spec 1.1; an instance is always well formed."""

    path: str

    def __post_init__(self) -> None:
        if len(self.path) > _MAX_LENGTH or not OCI_REPOSITORY.fullmatch(self.path):
            why = (
                "a repository has up to 255 lower-case letters and digits, with one of . _ __ - / between them at most"
            )
            raise InvalidNameError(self.path, why)

    @classmethod
    def parse(cls, text: str) -> Repository:
        """Read what a client asks for; one word is a model of the default namespace. Raises InvalidNameError."""
        return cls(text if "/" in text else f"{DEFAULT_NAMESPACE}/{text}")

    @classmethod
    def of(cls, name: Name) -> Repository | None:
        """The repository of a model; None where no repository can be called so."""
        host = "" if name.host.lower() == DEFAULT_HOST else f"{name.host.replace(':', '__')}/"
        try:
            found = cls(f"{host}{name.repository}".lower())
        except InvalidNameError:
            return None
        back = found.name(name.tag)
        return found if back and back.folded() == name.folded() else None

    def name(self, tag: str) -> Name | None:
        """The model's name that is served under this tag; None where the store has no such names."""
        host, slash, rest = self.path.partition("/")
        if host == DEFAULT_HOST:
            return None  # its models are served without it: who may what goes by one spelling
        if port := _PORT.fullmatch(host):
            host = f"{port[1]}:{port[2]}"
        try:
            return Name.parse(f"{host}{slash}{rest}:{tag}")
        except InvalidNameError:
            return None

    @property
    def filename(self) -> str:
        """Its folder: no repository has a + in it."""
        return self.path.replace("/", "+")

    @classmethod
    def from_filename(cls, filename: str) -> Repository:
        """Read the form of `filename`. Raises InvalidNameError."""
        return cls(filename.replace("+", "/"))

    def __str__(self) -> str:
        return self.path


def is_tag(text: str) -> bool:
    """Whether it is a tag by the distribution spec."""
    return _TAG.fullmatch(text) is not None
