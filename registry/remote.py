"""Remote: how a registry is to be reached, as its user says, and what is known of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..store.name import DEFAULT_HOST
from .credentials import Credential
from .patience import Patience
from .signing import SigningKey

FORMATS = ("ollama", "oci", "modelpack")
"""What `format` may be: the forms that formats/writing.py writes."""
MAX_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Remote:
    """What its user says of one registry."""

    http: bool | None = None
    """Plain http or not; unsaid, https, and http for this machine's own."""
    insecure: bool = False
    """https without looking at the certificate, and plain http where there is no https."""
    ca_file: Path | None = None
    """Authorities besides the usual ones."""
    client_cert: Path | None = None
    client_key: Path | None = None
    realm: str | None = None
    """A host elsewhere whose token service is the registry's own."""
    ollama_key: bool | None = None
    """Whether it knows Ollama's keys; unsaid, Ollama's own and Hugging Face's do."""
    mirrors: tuple[str, ...] = ()
    """Hosts to ask first for what is pulled; they never see the registry's credentials."""
    format: str = ""
    """The form in which models are pushed, where it is not said; "" is Ollama's."""
    connections: int = 0
    """How many transfers to have at once; 0 for as many as are good."""
    bandwidth: int = 0
    """How many bytes a second all transfers together may take; 0 for no limit."""


class FindsCredentials(Protocol):
    """Where credentials come from."""

    def find(self, host: str, repository: str = "") -> Credential | None:
        """The credential for a repository, if any."""
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """What a token service gave."""

    text: str = field(repr=False)
    expires: float
    """By the monotonic clock, in seconds."""


@dataclass(frozen=True, slots=True)
class Access:
    """How all registries are reached, and with whose credentials; one for a process."""

    remotes: Mapping[str, Remote] = field(default_factory=dict[str, Remote])
    """By host, in lower case."""
    otherwise: Remote = Remote()
    default_registry: str = DEFAULT_HOST
    """What stands for Ollama's registry, where names without a host lead."""
    logins: FindsCredentials | None = None
    signing_key: SigningKey | None = None
    """For registries that know Ollama's keys, where there is no login."""
    patience: Patience = field(default_factory=Patience)
    tokens: dict[tuple[str, tuple[str, ...]], Token] = field(default_factory=dict[tuple[str, tuple[str, ...]], Token])
    """Those that were given, by registry and scopes."""

    def host(self, name_host: str) -> str:
        """The registry for a name's host."""
        return self.default_registry if name_host == DEFAULT_HOST else name_host

    def remote(self, host: str) -> Remote:
        """What is said of a registry."""
        return self.remotes.get(host.lower(), self.otherwise)
