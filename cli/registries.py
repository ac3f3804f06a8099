"""Registries: what the user's `config.toml` and the environment say about them. A variable wins over the file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..registry.remote import FORMATS, MAX_CONNECTIONS, Access, Remote
from ..store.errors import FileError, InputError, shown
from ..store.files import open_regular
from ..store.name import DEFAULT_HOST
from .settings import Settings
from .units import read_bytes

_MAX_BYTES = 1 << 20
_FILES = ("ca_file", "client_cert", "client_key")
_SWITCHES = ("http", "insecure", "ollama_key")
_KEYS = (*_SWITCHES, *_FILES, "realm", "mirrors", "format", "connections", "bandwidth")
_FOR_ALL = ("connections", "bandwidth")
"""What may stand at the top too, for all registries."""
_HINT = (
    f"known are default_registry, {', '.join(_FOR_ALL)}, and under "
    f'[registry."host:port"]: {", ".join(_KEYS)}; docs/registries.md explains them'
)
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[0-9]{1,5})?")
_NO_HOST = 'expected a registry\'s host, as in "mirror.example.com:5000"'


def read_registries(settings: Settings) -> Access:
    """What is said of registries, without logins. Raises InputError, which names the file and the line, FileError."""
    file = _ConfigFile(settings.config_file, must_exist=bool(settings.text("CONFIG")))
    # A variable that names no registry is for all of them, and wins over what the file says of one.
    said = _said_of_all(settings)
    otherwise = replace(file.otherwise(), **said)
    remotes = {host: replace(remote, **said) for host, remote in file.remotes().items()}
    for host, change in _said_of_some(settings):
        remotes[host] = replace(remotes.get(host, otherwise), **change)
    named = settings.text("DEFAULT_REGISTRY")
    if named and not _HOST.fullmatch(named):
        raise InputError(f"{settings.variable('DEFAULT_REGISTRY')}: {shown(named)}: {_NO_HOST}")
    default = named or file.default_registry() or DEFAULT_HOST
    return Access(remotes, otherwise, default)


def _said_of_all(settings: Settings) -> dict[str, Any]:
    """What variables and options say of every registry."""
    said: dict[str, Any] = {name: Path(text).expanduser() for name in _FILES if (text := settings.text(name.upper()))}
    for name, check in _CHECKS.items():
        text = settings.text(name.upper())
        if text:
            try:
                said[name] = check(int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text)
            except ValueError as cause:
                raise InputError(f"{settings.variable(name.upper())}: {shown(text)}: {cause}") from None
    return said


def _said_of_some(settings: Settings) -> Iterator[tuple[str, dict[str, Any]]]:
    """What variables say of the registries that they name."""
    for switch in _SWITCHES:
        for host in _words(settings.text(switch.upper())):
            yield host.lower(), {switch: True}
    for host, realms in _pairs(settings, "REALM"):
        yield host, {"realm": realms[-1] if realms else None}
    for host, mirrors in _pairs(settings, "MIRRORS"):
        yield host, {"mirrors": mirrors}


def _pairs(settings: Settings, name: str) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Of a variable with REGISTRY=HOST in it: for each registry the hosts, none for REGISTRY= alone."""
    found: dict[str, tuple[str, ...]] = {}
    for pair in _words(settings.text(name)):
        registry, equals, host = pair.partition("=")
        if not equals or not _HOST.fullmatch(registry) or not (host == "" or _HOST.fullmatch(host)):
            raise InputError(
                f"{settings.variable(name)}: {shown(pair)}: expected REGISTRY=HOST",
                hint="several are separated by commas; REGISTRY= alone means that it has none",
            )
        found[registry.lower()] = (*found.get(registry.lower(), ()), *([host] if host else []))
    return found.items()


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _connections(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_CONNECTIONS:
        raise ValueError(f"expected a number from 1 to {MAX_CONNECTIONS}")
    return value


def _bandwidth(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError('expected bytes a second, as in "10MB", "512KiB" or 4096')
    rate = read_bytes(value) if isinstance(value, str) else value
    if not 1 <= rate < 1 << 50:
        raise ValueError("expected at least a byte a second")
    return rate


def _format(value: object) -> str:
    if value not in FORMATS:
        raise ValueError(f"expected one of {', '.join(FORMATS)}")
    return str(value)


_CHECKS: dict[str, Callable[[object], Any]] = {
    "connections": _connections,
    "bandwidth": _bandwidth,
    "format": _format,
}
"""Each gives the value that is meant, or raises ValueError that says what is expected."""


class _ConfigFile:
    """The file, checked as it is asked."""

    def __init__(self, path: Path, *, must_exist: bool) -> None:
        self._path = path
        self._text = self._read(must_exist=must_exist)
        try:
            self._document = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as cause:
            raise InputError(f"{path}: {cause}", hint="the file is in TOML; see https://toml.io") from None
        for key in self._document.keys() - {"default_registry", "registry", *_FOR_ALL}:
            raise self._wrong((), key, "unknown key")

    def default_registry(self) -> str:
        """The host, "" if none is named."""
        named = self._value((), self._document, "default_registry", str)
        if named is not None and not _HOST.fullmatch(named):
            raise self._wrong((), "default_registry", f"{shown(named)}: {_NO_HOST}")
        return cast("str", named or "")

    def otherwise(self) -> Remote:
        """What is said of all registries."""
        return Remote(**{key: self._checked((), self._document, key) for key in _FOR_ALL if key in self._document})

    def remotes(self) -> dict[str, Remote]:
        """What is said of each registry, by host in lower case."""
        tables: dict[str, Any] = self._value((), self._document, "registry", dict) or {}
        otherwise = self.otherwise()
        found: dict[str, Remote] = {}
        for host in tables:
            if not _HOST.fullmatch(host):
                raise self._wrong(("registry",), host, _NO_HOST)
            if host.lower() in found:
                raise self._wrong(("registry",), host, "it stands here twice, in other letters")
            found[host.lower()] = self._remote(host, tables, otherwise)
        return found

    def _remote(self, host: str, tables: dict[str, Any], otherwise: Remote) -> Remote:
        table: dict[str, Any] = self._value(("registry",), tables, host, dict) or {}
        where = ("registry", host)
        for key in table.keys() - set(_KEYS):
            raise self._wrong(where, key, "unknown key")
        files = {key: self._file(self._value(where, table, key, str)) for key in _FILES}
        checked = {key: self._checked(where, table, key) for key in _CHECKS if key in table}
        return replace(
            otherwise,
            http=self._value(where, table, "http", bool),
            insecure=self._value(where, table, "insecure", bool) or False,
            ca_file=files["ca_file"],
            client_cert=files["client_cert"],
            client_key=files["client_key"],
            realm=self._value(where, table, "realm", str),
            ollama_key=self._value(where, table, "ollama_key", bool),
            mirrors=self._mirrors(where, table),
            **checked,
        )

    def _mirrors(self, where: tuple[str, ...], table: Mapping[str, Any]) -> tuple[str, ...]:
        listed: list[Any] = self._value(where, table, "mirrors", list) or []
        for mirror in listed:
            if not isinstance(mirror, str) or not _HOST.fullmatch(mirror):
                raise self._wrong(where, "mirrors", f"{shown(str(mirror))}: {_NO_HOST}")
        return tuple(listed)

    def _checked(self, where: tuple[str, ...], table: Mapping[str, Any], key: str) -> Any:
        try:
            return _CHECKS[key](table[key])
        except ValueError as cause:
            raise self._wrong(where, key, str(cause)) from None

    def _file(self, text: str | None) -> Path | None:
        """A file that is named in the file: seen from where that is."""
        return self._path.parent / Path(text).expanduser() if text else None

    def _value(self, where: tuple[str, ...], table: Mapping[str, Any], key: str, kind: type) -> Any:
        value = table.get(key)
        if value is not None and not isinstance(value, kind):
            words = {str: "text in quotes", bool: "true or false", dict: "a table", list: "a list in [ ]"}
            raise self._wrong(where, key, f"expected {words[kind]}")
        return value

    def _wrong(self, where: tuple[str, ...], key: str, why: str) -> InputError:
        return InputError(f"{self._path}:{_line_of(self._text, where, key)}: {shown(key)}: {why}", hint=_HINT)

    def _read(self, *, must_exist: bool) -> str:
        try:
            with open_regular(self._path) as file:
                return file.read(_MAX_BYTES).decode()
        except UnicodeDecodeError:
            raise InputError(f"{self._path}: not UTF-8 text") from None
        except FileError as error:
            if must_exist or not isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                raise
            return ""


def _line_of(text: str, where: tuple[str, ...], key: str) -> int:
    """The line in which a table's key is set; its first line, or 1, where that is written in some other way."""
    spelled = re.compile(rf"""\s*(["']?){re.escape(key)}\1\s*[=.]""")
    table: tuple[str, ...] = ()
    start = 1
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            table = _header(line)
            if table[: len(where) + 1] == (*where, key):
                return number
            start = number if table == where else start
        elif table == where and spelled.match(line):
            return number
    return start


def _header(line: str) -> tuple[str, ...]:
    """The names in a table's header."""
    try:
        inner: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    names: list[str] = []
    while isinstance(inner, dict) and inner:
        name, inner = next(iter(cast("dict[str, Any]", inner).items()))
        names.append(name)
    return tuple(names)
