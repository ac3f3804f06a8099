"""Wiring: which concrete parts the verbs use. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..store.errors import InputError, shown
from ..store.local import Store
from ..store.name import Name
from ..store.progress import Report
from .settings import Settings

if TYPE_CHECKING:
    from ..modelfile.lint import CountTokens
    from ..registry.remote import Access


def local_store(settings: Settings, *, local: bool) -> Store:
    """The local store. Raises InputError when OLLAMA_HOST names another machine, whose store is meant then."""
    if settings.is_remote and not local:
        raise InputError(
            f"OLLAMA_HOST names another machine, {settings.url}: its store cannot be changed from here yet",
            hint="use --local for this machine's store, or unset OLLAMA_HOST",
        )
    return settings.store


def registry_access(settings: Settings) -> Access:
    """How registries are reached: the user's settings, and the logins of docker and podman. Raises InputError, FileError."""
    from ..registry.loginfile import Logins
    from ..registry.patience import Patience
    from ..registry.signing import SigningKey
    from .registries import read_registries

    logins = Logins(tuple(settings.login_files))
    usual = Patience()
    patience = replace(
        usual,
        retries=settings.count("RETRIES", usual.retries),
        stall=float(settings.count("STALL", int(usual.stall)) or 1),
    )
    return replace(
        read_registries(settings), logins=logins, patience=patience, signing_key=SigningKey(settings.signing_key)
    )


def registry_host(text: str) -> tuple[str | None, str]:
    """The scheme, if one was written, and the host of a registry. Raises InputError."""
    scheme, separator, rest = text.rpartition("://")
    host = rest.removesuffix("/")
    try:
        if (separator and scheme not in ("http", "https")) or "/" in host:
            raise ValueError
        return scheme or None, Name.parse(f"{host}/library/x").host
    except (ValueError, InputError):
        raise InputError(
            f"{shown(text)}: not a registry", hint="name its host, with :port where it needs one"
        ) from None


def pull_from(settings: Settings) -> list[str]:
    """The hosts of the registries that the server may be told to pull from; none for all. Raises InputError."""
    try:
        return [registry_host(host)[1] for host in settings.pull_from]
    except InputError as error:
        raise InputError(f"{settings.variable('PULL_FROM')}: {error}", hint=error.hint) from None


def puller(store: Store, *, insecure: bool) -> Callable[[Name, Report], None]:
    """The resolver of base models: a pull into the same store."""

    def resolve(name: Name, report: Report) -> None:
        from ..registry.pull import pull

        access = registry_access(Settings.from_environment())
        pull(name, store, insecure=insecure, access=access, report=report)

    return resolve


def token_counter() -> CountTokens:
    """What counts tokens for lint: the engine, where one is installed."""
    from ..runtime.engine.vocabulary import count_tokens

    return count_tokens
