"""`corral serve`: the HTTP server on the local store."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated

import typer
from starlette.types import ASGIApp

from .. import __version__
from ..modelfile.level import API_LEVEL
from ..runtime.http.app import make_app
from ..runtime.http.registry_app import Registry
from ..store.errors import InputError
from ..store.keys import Keys
from .engine import engine_defaults, start_logging
from .listening import serve_forever
from .options import Grace, Grant, Htpasswd, MaxBlob, ReadOnly, Share, TlsCert, TlsKey, UploadExpiry
from .settings import Settings
from .sharing import Sharing, sharing_options
from .wiring import pull_from, registry_access


def command(
    *,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    grace: Grace = None,
    allow_manage: Annotated[
        bool, typer.Option("--allow-manage", help="Without API keys, let other machines change models too.")
    ] = False,
    registry: Annotated[
        bool, typer.Option("--registry", help="Be a registry too; the options below are for it.")
    ] = False,
    htpasswd: Htpasswd = None,
    grant: Grant = None,
    share: Share = None,
    read_only: ReadOnly = False,
    max_blob: MaxBlob = None,
    upload_expiry: UploadExpiry = None,
) -> None:
    """Start the server."""
    settings = Settings.from_environment().with_options(
        tls_cert=tls_cert,
        tls_key=tls_key,
        grace=grace,
        allow_manage=allow_manage or None,
        registry=registry or None,
        **sharing_options(
            htpasswd=htpasswd,
            grant=grant,
            share=share,
            read_only=read_only,
            max_blob=max_blob,
            upload_expiry=upload_expiry,
        ),
    )
    start_logging(settings)
    defaults, keys, sharing = engine_defaults(settings), Keys(settings.keys_file), _sharing(settings)
    is_locked, may_manage = bool(keys.all()), settings.consent("ALLOW_MANAGE")

    def make(is_own: bool) -> tuple[ASGIApp, Iterable[str]]:  # noqa: FBT001
        warnings = [] if is_own or is_locked else [_exposed(may_manage=may_manage)]
        store, served = settings.store, None
        if sharing:
            warnings += sharing.warnings(loopback=is_own, tls=bool(settings.text("TLS_CERT")))
            door = sharing.door(loopback=is_own)
            served = Registry(store, door, max_blob=sharing.max_blob, upload_expiry=sharing.upload_expiry)
        app = make_app(
            store,
            defaults,
            origins=settings.origins,
            loopback=is_own,
            version=settings.text("OLLAMA_VERSION") or API_LEVEL,
            max_loaded=settings.count("MAX_LOADED_MODELS", 0),
            max_queue=settings.count("MAX_QUEUE", 0),
            registries=partial(registry_access, settings),
            pull_from=pull_from(settings),
            release=__version__,
            keys=keys,
            allow_manage=may_manage,
            registry=served,
        )
        return app, warnings

    serve_forever(settings, make)


def _sharing(settings: Settings) -> Sharing | None:
    if settings.consent("REGISTRY"):
        return Sharing.read(settings)
    if given := [name for name in settings.options if name.startswith("REGISTRY_")]:
        raise InputError(f"{settings.variable(given[0])} is for a registry", hint="give --registry too")
    return None


def _exposed(*, may_manage: bool) -> str:
    what = "use and change" if may_manage else "use"
    return (
        f"other machines can reach this server, and it has no API keys: whoever reaches it may {what} its models."
        " `corral keys add NAME` makes a key; docs/security.md says more"
    )
