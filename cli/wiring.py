"""Wiring: which concrete parts the verbs use. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..store.errors import InputError
from ..store.local import Store
from ..store.name import Name
from ..store.progress import Report
from .settings import Settings

if TYPE_CHECKING:
    from ..modelfile.lint import CountTokens


def local_store(settings: Settings, *, local: bool) -> Store:
    """The local store. Raises InputError when OLLAMA_HOST names another machine, whose store is meant then."""
    if settings.is_remote and not local:
        raise InputError(
            f"OLLAMA_HOST names another machine, {settings.url}: its store cannot be changed from here yet",
            hint="use --local for this machine's store, or unset OLLAMA_HOST",
        )
    return settings.store


def puller(store: Store, *, insecure: bool) -> Callable[[Name, Report], None]:
    """The resolver of base models: a pull into the same store."""

    def resolve(name: Name, report: Report) -> None:
        from ..registry.pull import pull

        pull(name, store, insecure=insecure, report=report)

    return resolve


def token_counter() -> CountTokens:
    """What counts tokens for lint: the engine, where one is installed."""
    from ..runtime.engine.vocabulary import count_tokens

    return count_tokens
