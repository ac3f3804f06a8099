"""Options that several verbs have, each said once."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

Local: TypeAlias = Annotated[bool, typer.Option("--local", help="Use the local store whatever OLLAMA_HOST says.")]
Insecure: TypeAlias = Annotated[bool, typer.Option("--insecure", help="Use https with any certificate, or plain http.")]
JsonLines: TypeAlias = Annotated[bool, typer.Option("--json", help="Print progress as a line of JSON each.")]
Connections: TypeAlias = Annotated[
    int | None, typer.Option("--connections", min=1, max=64, help="Transfer over so many connections at once.")
]
Bandwidth: TypeAlias = Annotated[
    str | None, typer.Option("--bandwidth", help="Take at most so many bytes a second: 10MB, 512KiB.")
]
CaFile: TypeAlias = Annotated[str | None, typer.Option("--ca-file", help="Trust the authorities in this file too.")]
ClientCert: TypeAlias = Annotated[str | None, typer.Option("--client-cert", help="Show this certificate.")]
ClientKey: TypeAlias = Annotated[str | None, typer.Option("--client-key", help="The certificate's key.")]
TlsCert: TypeAlias = Annotated[
    str | None, typer.Option("--tls-cert", help="Speak TLS with this certificate and chain.")
]
TlsKey: TypeAlias = Annotated[str | None, typer.Option("--tls-key", help="The certificate's key.")]
Grace: TypeAlias = Annotated[
    int | None, typer.Option("--grace", min=0, help="Seconds that answers may take to end after a SIGTERM.")
]
Htpasswd: TypeAlias = Annotated[
    str | None, typer.Option("--htpasswd", metavar="FILE", help="Let the users of this file in, by bcrypt.")
]
Grant: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--grant",
        metavar="USER:read|write:PATTERN",
        help="Of repositories, let a user of the file read or write these alone: crew/*.",
    ),
]
Share: TypeAlias = Annotated[
    list[str] | None, typer.Option("--share", metavar="PATTERN", help="Let everybody read these repositories: crew/*.")
]
ReadOnly: TypeAlias = Annotated[bool, typer.Option("--read-only", help="Let nobody write to the registry.")]
MaxBlob: TypeAlias = Annotated[
    str | None, typer.Option("--max-blob", metavar="SIZE", help="Take no larger blob than this: 20GB.")
]
UploadExpiry: TypeAlias = Annotated[
    str | None,
    typer.Option("--upload-expiry", metavar="DURATION", help="Forget uploads without a byte for so long: 24h."),
]
