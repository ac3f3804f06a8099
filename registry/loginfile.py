"""LoginFile: a file of logins in docker's format, read, and written as docker would; and Logins, several of them.

Within a file, a program named for the registry comes before what the file itself holds, and the longest key that fits
(`host/namespace/model`, `host/namespace`, `host`) before shorter ones; the program for all registries comes last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from ..store.errors import FileError, InputError
from ..store.files import open_regular, put_private
from .credentials import BROKEN_HINT, Credential, credential_of, is_key_of, matching_keys, server_key
from .keychain import Keychain

_MAX_BYTES = 4 << 20


class LoginFile:
    """`config.json` of docker, or podman's `auth.json`; one that is not there is an empty one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, host: str, repository: str = "") -> Credential | None:
        """The credential for a repository. Raises InputError for a file of another form, FileError, MachineError."""
        document = self._read()
        helper = self._helper(document, host)
        if helper:
            return helper.get(server_key(host))
        auths = self._section(document, "auths")
        for key in matching_keys(list(auths), host, repository):
            found = credential_of(auths[key], f"{self.path}: {key}")
            if found:
                return replace(found, source=str(self.path))
        store = self._store(document)
        return store.get(server_key(host)) if store else None

    def add(self, host: str, credential: Credential) -> str:
        """Keep a login, in the program the file names for it if any; gives where. Raises what find() raises."""
        document = self._read()
        keychain = self._helper(document, host) or self._store(document)
        key = server_key(host)
        if keychain:
            keychain.store(key, credential)
        auths = {old: entry for old, entry in self._section(document, "auths").items() if not is_key_of(old, host)}
        name = "identitytoken" if credential.is_identity_token else "auth"
        value = credential.secret if credential.is_identity_token else credential.basic.removeprefix("Basic ")
        # docker lists there what its program keeps.
        self._write(document | {"auths": auths | {key: {} if keychain else {name: value}}})
        return f"docker-credential-{keychain.name}" if keychain else str(self.path)

    def remove(self, host: str) -> bool:
        """Forget a login; whether there was one. Raises what find() raises."""
        document = self._read()
        keychain = self._helper(document, host) or self._store(document)
        was_kept = keychain is not None and keychain.get(server_key(host)) is not None
        if keychain and was_kept:
            keychain.erase(server_key(host))
        auths = self._section(document, "auths")
        kept = {key: entry for key, entry in auths.items() if not is_key_of(key, host)}
        if len(kept) < len(auths):
            self._write(document | {"auths": kept})
        return was_kept or len(kept) < len(auths)

    def _helper(self, document: Mapping[str, Any], host: str) -> Keychain | None:
        helpers = self._section(document, "credHelpers")
        name = next((helpers[key] for key in helpers if is_key_of(key, host)), None)
        return Keychain(str(name), str(self.path)) if name else None

    def _store(self, document: Mapping[str, Any]) -> Keychain | None:
        name = document.get("credsStore")
        return Keychain(str(name), str(self.path)) if name else None

    def _section(self, document: Mapping[str, Any], name: str) -> dict[str, Any]:
        section: object = document.get(name) or {}
        if not isinstance(section, dict):
            raise self._broken(f"{name} is no object")
        return cast("dict[str, Any]", section)

    def _read(self) -> dict[str, Any]:
        try:
            with open_regular(self.path) as file:
                raw = file.read(_MAX_BYTES)
        except FileError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                return {}
            raise
        if not raw.strip():
            return {}
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError) as cause:
            raise self._broken(getattr(cause, "msg", "not JSON")) from None
        if not isinstance(document, dict):
            raise self._broken("not an object")
        return cast("dict[str, Any]", document)

    def _broken(self, why: str) -> InputError:
        return InputError(f"{self.path}: no file of logins: {why}", hint=BROKEN_HINT)

    def _write(self, document: dict[str, Any]) -> None:
        put_private(self.path, json.dumps(document, indent="\t").encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Logins:
    """The files to look in, the first that has something wins. Nothing is read before a registry asks for it."""

    paths: tuple[Path, ...] = ()

    def find(self, host: str, repository: str = "") -> Credential | None:
        """The credential for a repository, if any. Raises InputError, FileError for a file that cannot be used."""
        return next((found for path in self.paths if (found := LoginFile(path).find(host, repository))), None)
