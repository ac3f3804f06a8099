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
