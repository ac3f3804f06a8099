"""Registries: what the user's `config.toml` and the environment say about them. A variable wins over the file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..registry.remote import Access, Remote
from ..store.errors import FileError, InputError, shown
from ..store.files import open_regular
from ..store.name import DEFAULT_HOST
from .settings import Settings

_MAX_BYTES = 1 << 20
_FLAGS = ("http", "insecure")
_FILES = ("ca_file", "client_cert", "client_key")
_KEYS = (*_FLAGS, *_FILES, "realm")
_HINT = f'known are default_registry, and under [registry."host:port"]: {", ".join(_KEYS)}'


def read_registries(settings: Settings) -> Access:
    """What is said of registries, without logins. Raises InputError, which names the file and the line, FileError."""
    file = _ConfigFile(settings.config_file, must_exist=bool(settings.text("CONFIG")))
    said = {name: Path(text).expanduser() for name in _FILES if (text := settings.text(name.upper()))}
    otherwise = _with_files(Remote(), said)
    remotes = {host: _with_files(remote, said) for host, remote in file.remotes().items()}
    for flag in _FLAGS:
        for host in settings.text(flag.upper()).lower().replace(",", " ").split():
            # Both are about this registry only, so the variables name registries.
            known = remotes.get(host, otherwise)
            remotes[host] = replace(known, http=True) if flag == "http" else replace(known, insecure=True)
    default = settings.text("DEFAULT_REGISTRY") or file.default_registry() or DEFAULT_HOST
    return Access(remotes, otherwise, default)


def _with_files(remote: Remote, files: Mapping[str, Path]) -> Remote:
    return replace(
        remote,
        ca_file=files.get("ca_file", remote.ca_file),
        client_cert=files.get("client_cert", remote.client_cert),
        client_key=files.get("client_key", remote.client_key),
    )


class _ConfigFile:
    """The file, checked as it is asked."""

    def __init__(self, path: Path, *, must_exist: bool) -> None:
        self._path = path
        self._text = self._read(must_exist=must_exist)
        try:
            self._document = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as cause:
            raise InputError(f"{path}: {cause}", hint="the file is in TOML; see https://toml.io") from None
        for key in self._document.keys() - {"default_registry", "registry"}:
            raise self._wrong((), key, "unknown key")

    def default_registry(self) -> str:
        """The host, "" if none is named."""
        return cast("str", self._value((), self._document, "default_registry", str) or "")

    def remotes(self) -> dict[str, Remote]:
        """What is said of each registry, by host in lower case."""
        tables: dict[str, Any] = self._value((), self._document, "registry", dict) or {}
        return {host.lower(): self._remote(host, tables) for host in tables}

    def _remote(self, host: str, tables: dict[str, Any]) -> Remote:
        table: dict[str, Any] = self._value(("registry",), tables, host, dict) or {}
        where = ("registry", host)
        for key in table.keys() - set(_KEYS):
            raise self._wrong(where, key, "unknown key")
        files = {key: self._file(self._value(where, table, key, str)) for key in _FILES}
        return Remote(
            http=self._value(where, table, "http", bool),
            insecure=self._value(where, table, "insecure", bool) or False,
            ca_file=files["ca_file"],
            client_cert=files["client_cert"],
            client_key=files["client_key"],
            realm=self._value(where, table, "realm", str),
        )

    def _file(self, text: str | None) -> Path | None:
        """A file that is named in the file: seen from where that is."""
        return self._path.parent / Path(text).expanduser() if text else None

    def _value(self, where: tuple[str, ...], table: Mapping[str, Any], key: str, kind: type) -> Any:
        value = table.get(key)
        if value is not None and not isinstance(value, kind):
            words = {str: "text in quotes", bool: "true or false", dict: "a table"}
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
