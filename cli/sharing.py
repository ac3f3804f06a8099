"""Sharing: how the settings have the local store be a registry, and for whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..registry.serve.htpasswd import Htpasswd
from ..registry.serve.scopes import Grants, users_grants
from ..registry.serve.uploads import EXPIRY
from ..runtime.http.oci import Door
from ..runtime.http.oci_access import Logins, make_door
from ..store.errors import InputError, shown
from ..store.keys import Keys
from .settings import Settings

_SHORTEST_EXPIRY = 60.0


@dataclass(frozen=True, slots=True)
class Sharing:
    """A registry's settings."""

    logins: Logins
    is_read_only: bool
    max_blob: int
    """Bytes; 0 for no limit."""
    upload_expiry: float
    """Seconds without a byte."""

    @classmethod
    def read(cls, settings: Settings) -> Sharing:
        """From the options and variables. Raises InputError, FileError."""
        expiry = settings.seconds("REGISTRY_UPLOAD_EXPIRY", EXPIRY)
        if expiry < _SHORTEST_EXPIRY:
            raise InputError(f"{settings.variable('REGISTRY_UPLOAD_EXPIRY')}: an upload is kept for a minute at least")
        return cls(
            _logins(settings), settings.consent("REGISTRY_READ_ONLY"), settings.size("REGISTRY_MAX_BLOB"), expiry
        )

    def door(self, *, loopback: bool) -> Door:
        """The registry's."""
        return make_door(self.logins, loopback=loopback, is_read_only=self.is_read_only)

    def warnings(self, *, loopback: bool, tls: bool) -> Iterator[str]:
        """What whoever starts it should know."""
        if loopback:
            return
        if not self.logins.are_wanted():
            readable = ", ".join(map(str, self.logins.shared.read)) or "nothing"
            yield (
                f"other machines can reach this registry, and it has neither keys nor passwords: they may read {readable}"
                " and write nothing. `corral keys add NAME --write PATTERN` makes a key, --htpasswd FILE names passwords,"
                " --share PATTERN lets everybody read"
            )
        elif not tls:
            yield "keys and passwords cross the network in plain: give --tls-cert and --tls-key, or let a proxy speak TLS"


def sharing_options(
    *,
    htpasswd: str | None,
    grant: Sequence[str] | None,
    share: Sequence[str] | None,
    read_only: bool,
    max_blob: str | None,
    upload_expiry: str | None,
) -> dict[str, object]:
    """The options that a command was given, by the names of their settings."""
    return {
        "registry_htpasswd": htpasswd,
        "registry_grant": ",".join(grant) if grant else None,
        "registry_share": ",".join(share) if share else None,
        "registry_read_only": read_only or None,
        "registry_max_blob": max_blob,
        "registry_upload_expiry": upload_expiry,
    }


def _logins(settings: Settings) -> Logins:
    keys, file = Keys(settings.keys_file), settings.text("REGISTRY_HTPASSWD")
    htpasswd = Htpasswd(Path(file).expanduser()) if file else None
    keys.all()
    users = set(htpasswd.users()) if htpasswd else set[str]()
    try:
        shared = Grants.parse(settings.listed("REGISTRY_SHARE"))
    except InputError as error:
        raise InputError(f"{settings.variable('REGISTRY_SHARE')}: {error}", hint=error.hint) from None
    variable = settings.variable("REGISTRY_GRANT")
    try:
        grants = users_grants(settings.listed("REGISTRY_GRANT"))
    except InputError as error:
        raise InputError(f"{variable}: {error}", hint=error.hint) from None
    # Who is not granted anything may everything: a name that is misspelt must not come to that.
    if strangers := grants.keys() - users:
        who = f"{variable}: {shown(min(strangers))} is no user"
        raise InputError(who, hint="users are those of the file that --htpasswd names")
    return Logins(keys, htpasswd, grants, shared)
