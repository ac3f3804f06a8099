"""Settings: the environment, read in one place. Each OLLAMA_X may be CORRAL_X, which wins; over both wins a verb's option."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from ..store.errors import InputError, shown
from ..store.local import Store
from .units import read_bytes

DEFAULT_PORT = 11434
_PORTS = {"HOST": DEFAULT_PORT, "REGISTRY_HOST": 5000}
"""What says where a server is, and its port where that says none."""
_UNIX = "unix://"
_YES = ("1", "t", "true", "y", "yes", "on")
_NO = ("", "0", "f", "false", "n", "no", "off")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says, as text; the properties give it meaning when it is asked for."""

    variables: Mapping[str, str]
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    """What this one command was told, by the same names."""
    listens: Literal["HOST", "REGISTRY_HOST"] = "HOST"
    """Which server is meant: that of models, or the registry."""

    @classmethod
    def from_environment(cls) -> Settings:
        """The process's own environment."""
        return cls(dict(os.environ))

    def with_options(self, **options: object) -> Settings:
        """These settings, over them the options that were given: `--ca-file` for CA_FILE."""
        given = {name.upper(): str(value) for name, value in options.items() if value is not None}
        return replace(self, options={**self.options, **given})

    def text(self, name: str) -> str:
        """The value of CORRAL_<name> or OLLAMA_<name>, trimmed of blanks and quotes as Ollama does; "" when unset."""
        if name in self.options:
            return self.options[name]
        for variable in (f"CORRAL_{name}", f"OLLAMA_{name}"):
            value = self.variables.get(variable, "").strip().strip("\"'").strip()
            if value:
                return value
        return ""

    def count(self, name: str, default: int) -> int:
        """A whole number from 0. Raises InputError for anything else."""
        text = self.text(name)
        if not text:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 12:
            variable = self.variable(name)
            raise InputError(
                f"{variable}: {shown(text)} is not a whole number", hint=f"unset {variable}, or give a number"
            )
        return int(text)

    def seconds(self, name: str, default: float) -> float:
        """A duration as Ollama writes them: `5m`, `1h30m`, seconds. Raises InputError."""
        from ..runtime.schedule.duration import parse_duration

        try:
            return parse_duration(self.text(name) or default)
        except InputError as error:
            raise InputError(f"{self.variable(name)}: {error}", hint=error.hint) from None

    def size(self, name: str) -> int:
        """Bytes, as `20GB`; 0 where nothing is said. Raises InputError."""
        try:
            return read_bytes(self.text(name) or "0")
        except ValueError as cause:
            raise InputError(f"{self.variable(name)}: {shown(self.text(name))}: {cause}") from None

    def variable(self, name: str) -> str:
        """The variable, or the option, that text() takes the value from."""
        if name in self.options:
            return f"--{name.removeprefix('REGISTRY_').lower().replace('_', '-')}"
        is_ours = Settings({f"OLLAMA_{name}": self.variables.get(f"CORRAL_{name}", "")}).text(name)
        return f"CORRAL_{name}" if is_ours else f"OLLAMA_{name}"

    def flag(self, name: str) -> bool:
        """A switch: any value but a word for no turns it on, as in Ollama, which knows fewer of these."""
        return self.text(name).lower() not in _NO

    def consent(self, name: str) -> bool:
        """A switch that opens something: words for yes alone turn it on. Raises InputError for one that is no answer."""
        text = self.text(name)
        if text.lower() not in (*_YES, *_NO):
            raise InputError(
                f"{self.variable(name)}: {shown(text)} says neither yes nor no", hint="write 1 for yes, or 0 for no"
            )
        return text.lower() in _YES

    @property
    def models(self) -> Path:
        """The store's root folder."""
        return Path(self.text("MODELS") or Path.home() / ".ollama" / "models").expanduser()

    @property
    def store(self) -> Store:
        """The local store, on top of those that are only read."""
        extra = self.text("EXTRA_MODELS")
        return Store(self.models, [Path(path).expanduser() for path in extra.split(os.pathsep) if path])

    @property
    def config_file(self) -> Path:
        """The user's own settings, which need not be there."""
        named = self.text("CONFIG")
        return Path(named).expanduser() if named else self._config_home / "corral" / "config.toml"

    @property
    def keys_file(self) -> Path:
        """The API keys of this user's servers."""
        named = self.text("KEYS")
        return Path(named).expanduser() if named else self._config_home / "corral" / "keys.json"

    @property
    def login_files(self) -> list[Path]:
        """Docker's and podman's files of logins: what a variable names before what is in its usual place."""
        docker, podman, runtime = (
            self.variables.get(name, "") for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR")
        )
        files = [Path(docker, "config.json")] if docker else []
        files += [Path(podman)] if podman else []
        files += [] if docker else [Path.home() / ".docker" / "config.json"]
        files += [Path(runtime, "containers", "auth.json")] if runtime else []
        return [*files, self._config_home / "containers" / "auth.json"]

    @property
    def signing_key(self) -> Path:
        """The key by which Ollama's registry knows its user; Ollama's own file."""
        return Path.home() / ".ollama" / "id_ed25519"

    @property
    def _config_home(self) -> Path:
        return Path(self.variables.get("XDG_CONFIG_HOME") or Path.home() / ".config")

    @property
    def url(self) -> str:
        """Where the server is, for clients: `http://host:port` without a slash at the end, or `unix:///path`."""
        if socket := self.unix_socket:
            return f"{_UNIX}{socket}"
        scheme, host, port, path = self._address
        reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - a bind address is no destination
        return f"{scheme}://{f'[{reached}]' if ':' in reached else reached}:{port}{path}"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on, where there is no unix_socket."""
        _, host, port, _ = self._address
        return host, port

    @property
    def _address(self) -> tuple[str, str, int, str]:
        return _address(self.variable(self.listens), self.text(self.listens), _PORTS[self.listens])

    @property
    def unix_socket(self) -> Path | None:
        """The file to listen at instead of an address. Raises InputError."""
        text = self.text(self.listens)
        if not text.lower().startswith(_UNIX):
            return None
        path = text[len(_UNIX) :]
        if not path.startswith("/") or not path.isprintable():
            raise InputError(
                f"{self.variable(self.listens)}: {shown(text)}: no socket's path",
                hint="it is whole: unix:///run/corral.sock",
            )
        return Path(path)

    @property
    def is_remote(self) -> bool:
        """Whether the server named is another machine's, so that the local store is not its store."""
        if self.unix_socket:
            return False
        host = self.address[0]
        return not (host in ("localhost", "::1", "::", "0.0.0.0") or host.startswith("127."))  # noqa: S104

    @property
    def origins(self) -> list[str]:
        """Origins allowed besides the local ones."""
        return self.listed("ORIGINS")

    @property
    def pull_from(self) -> list[str]:
        """The hosts of the registries that the server may be told to pull from; none for all."""
        return self.listed("PULL_FROM")

    def listed(self, name: str) -> list[str]:
        """What is written with commas between."""
        return [item.strip() for item in self.text(name).split(",") if item.strip()]


def _address(variable: str, text: str, usual_port: int) -> tuple[str, str, int, str]:
    """Scheme, host, port and path of an OLLAMA_HOST (spec part 2)."""
    if text.lower() == "ollama.com":
        return "https", text, 443, ""
    given = "://" in text
    bare = f"[{text}]" if text.count(":") > 1 and not text.startswith("[") and not given else text
    try:
        parts = urlsplit(text if given else f"//{bare}")
    except ValueError as cause:
        raise InputError(f"{variable}: {shown(text)}: {cause}") from None
    scheme = parts.scheme or "http"
    if scheme not in ("http", "https"):
        raise InputError(f"{variable}: {shown(text)}: the scheme must be http, https or unix")
    default = {"http": 80, "https": 443}[scheme] if given else usual_port
    try:
        port = parts.port
    except ValueError:
        raise InputError(f"{variable}: {shown(text)}: the port must be a number from 0 to 65535") from None
    return scheme, parts.hostname or "127.0.0.1", default if port is None else port, parts.path.rstrip("/")
