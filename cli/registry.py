"""`corral registry`: the local store as a registry for other machines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

import typer
from starlette.types import ASGIApp

from ..runtime.http.registry_app import make_registry_app
from .engine import start_logging
from .listening import serve_forever
from .options import Grace, Grant, Htpasswd, MaxBlob, ReadOnly, Share, TlsCert, TlsKey, UploadExpiry
from .settings import Settings
from .sharing import Sharing, sharing_options

SUMMARY = "Serve the local store as an OCI registry."
_ADDRESS = "127.0.0.1:5000"


def serve(
    *,
    host: Annotated[
        str | None,
        typer.Option("--host", help=f"Listen there: host, host:port or unix:///path. The default is {_ADDRESS}."),
    ] = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    htpasswd: Htpasswd = None,
    grant: Grant = None,
    share: Share = None,
    read_only: ReadOnly = False,
    max_blob: MaxBlob = None,
    upload_expiry: UploadExpiry = None,
    grace: Grace = None,
) -> None:
    """Start the registry: clients pull from the local store and push to it; nothing runs models."""
    settings = replace(Settings.from_environment(), listens="REGISTRY_HOST")
    settings = settings.with_options(
        registry_host=host or (None if settings.text("REGISTRY_HOST") else _ADDRESS),
        tls_cert=tls_cert,
        tls_key=tls_key,
        grace=grace,
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
    sharing = Sharing.read(settings)

    def make(is_own: bool) -> tuple[ASGIApp, Iterable[str]]:  # noqa: FBT001
        app = make_registry_app(
            settings.store,
            sharing.door(loopback=is_own),
            origins=settings.origins,
            loopback=is_own,
            max_blob=sharing.max_blob,
            upload_expiry=sharing.upload_expiry,
        )
        return app, sharing.warnings(loopback=is_own, tls=bool(settings.text("TLS_CERT")))

    serve_forever(settings, make)


COMMANDS = {"serve": serve}
