"""`corral create`: text -> parse -> check -> plan -> build, on the local store."""

from __future__ import annotations

import os
import re
from typing import Annotated

import typer

from ..store.name import Name
from . import console
from .layers import layers_json, print_layers
from .options import Insecure, Local
from .settings import Settings
from .sources import read_source

_FROM = re.compile(rb'^[ \t]*FROM[ \t]+"?([^"\s]+)', re.IGNORECASE | re.MULTILINE)
"""What FROM names, at a first glance."""


def command(
    model: Annotated[str, typer.Argument(help="The name to create.")],
    file: Annotated[str, typer.Option("--file", "-f", help="The Modelfile, or - for standard input.")] = "Modelfile",
    *,
    insecure: Insecure = False,
    link: Annotated[
        bool, typer.Option("--link", help="Give local files a second name in the store instead of copying them.")
    ] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Hash local files even if they look unchanged.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be created; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest's parts as JSON.")] = False,
    local: Local = False,
) -> None:
    """Create a model from a Modelfile."""
    from .wiring import local_store, puller

    settings = Settings.from_environment()
    name = Name.parse(model)
    store = local_store(settings, local=local)
    data, source, folder = read_source(file)
    if link:  # the rest of this program takes its time to load, which a hash need not wait for
        for named in _FROM.findall(data):
            store.blobs.ahead.start(folder / os.fsdecode(named))
    from ..modelfile.builder import build
    from ..modelfile.diagnostics import render
    from ..modelfile.dryrun import foresee
    from ..modelfile.lint import lint
    from ..modelfile.parser import read

    modelfile = read(source)
    for found in lint(modelfile, store, folder=folder, count_tokens=lambda _, __: None):
        if found.severity == "warning":
            console.note(render(found, source))
    if dry_run:
        with console.progress() as report:
            foreseen = foresee(name, modelfile, store, folder=folder, is_cached=not no_cache, report=report)
        if as_json:
            new = [str(blob.digest) for blob in foreseen.new]
            console.out_json({"name": str(foreseen.name), **layers_json(foreseen.manifest), "new": new})
        else:
            print_layers(foreseen.name, foreseen.manifest)
        return
    with console.progress() as report:
        created = build(
            name,
            modelfile,
            store,
            folder=folder,
            resolver=puller(store, insecure=insecure),
            links=link,
            is_cached=not no_cache,
            report=report,
        )
    if as_json:
        console.out_json({"name": str(created.name), **layers_json(created.manifest)})
    else:
        print_layers(created.name, created.manifest)
