"""`corral remote inspect`: what a registry has under a name, without pulling it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import typer

from ...registry.contents import Part
from ...registry.copy import fetched
from ...registry.inspection import Inspection, inspect
from ...registry.transport import Registry
from ...store.errors import one_line
from ...store.name import Name
from .. import console
from ..options import Insecure
from ..settings import Settings
from ..units import human_bytes
from ..wiring import registry_access

_MAX_VALUE = 200


def command(
    reference: Annotated[str, typer.Argument(help="The manifest: host/namespace/model[:tag|@digest].")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Print the manifest's very bytes.")] = False,
    insecure: Insecure = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show a manifest in a registry: its digest, format, config and layers with their sizes."""
    access = registry_access(Settings.from_environment())
    name = Name.parse(reference)
    if raw:
        with Registry(name, insecure=insecure, access=access) as registry:
            console.out_bytes(fetched(registry, name.reference).raw)
        return
    found = inspect(name, insecure=insecure, access=access)
    if as_json:
        console.out_json(found.to_json())
    else:
        _print(found)


def _print(found: Inspection) -> None:
    contents = found.contents
    console.out(f"{found.name} {found.manifest.digest}")
    rows = {
        "media type": contents.media_type or found.manifest.media_type,
        "artifact type": contents.artifact_type,
        "format": found.format or "no model that can be used here",
        "size": human_bytes(contents.size),
        "subject": str(contents.subject.descriptor.digest) if contents.subject else "",
    }
    _section("Manifest", {key: value for key, value in rows.items() if value})
    _section("Annotations", contents.annotations)
    _section("Config", dict(found.facts))
    _parts("Manifests", contents.manifests)
    _parts("Layers", contents.layers)


def _section(title: str, rows: Mapping[str, str]) -> None:
    if rows:
        console.out(f"  {title}")
        width = max(len(one_line(key)) for key in rows)
        for key, value in rows.items():
            cut = value if len(value) <= _MAX_VALUE else f"{value[:_MAX_VALUE]}…"
            console.out(f"    {one_line(key).ljust(width)}    {one_line(cut)}")


def _parts(title: str, parts: Iterable[Part]) -> None:
    rows = [
        f"    {part.descriptor.digest} {human_bytes(part.descriptor.size):>8} "
        + one_line(" ".join(filter(None, (part.descriptor.media_type, part.platform, _title(part)))))
        for part in parts
    ]
    if rows:
        console.out("\n".join([f"  {title}", *rows]))


def _title(part: Part) -> str:
    """The file's name, by ORAS's custom or ModelPack's."""
    names = ("org.opencontainers.image.title", "org.cncf.model.filepath")
    return next((part.annotations[name] for name in names if name in part.annotations), "")
