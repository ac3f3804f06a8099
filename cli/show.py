"""`corral show`: what a model is made of."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..store.errors import InputError, one_line
from ..store.name import Name
from . import console
from .layers import layers_json
from .options import Local
from .settings import Settings
from .units import human_bytes

_OTHER_BYTES = (
    "# The stored manifest was written by another tool: this builds an equal model whose manifest has another digest.\n"
)
_FIELDS = ("license", "modelfile", "parameters", "system", "template")


def command(
    model: Annotated[str, typer.Argument(help="The model.")],
    *,
    license_: Annotated[bool, typer.Option("--license", help="Only the license.")] = False,
    modelfile: Annotated[bool, typer.Option("--modelfile", help="Only the Modelfile that builds it again.")] = False,
    parameters: Annotated[bool, typer.Option("--parameters", help="Only the parameters.")] = False,
    system: Annotated[bool, typer.Option("--system", help="Only the system message.")] = False,
    template: Annotated[bool, typer.Option("--template", help="Only the template.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Metadata and tensors too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's reply and the manifest's parts.")] = False,
    local: Local = False,
) -> None:
    """Show a model."""
    chosen = [
        field for field, on in zip(_FIELDS, (license_, modelfile, parameters, system, template), strict=True) if on
    ]
    if len(chosen) > 1:
        raise InputError(
            "only one of '--license', '--modelfile', '--parameters', '--system', or '--template' can be specified"
        )
    settings = Settings.from_environment()
    complete = True
    if settings.is_remote and not local:
        from .client import Client, Shown

        reply: dict[str, Any] = Client(settings.url).post("/api/show", {"model": model, "verbose": verbose}, Shown)
    else:
        reply, complete = _local(settings, model, verbose=verbose)
    if as_json:
        console.out_json(reply)
    elif chosen:
        _print_field(chosen[0], reply.get(chosen[0], ""))
    else:
        _print_sections(reply, verbose=verbose)
    if chosen == ["modelfile"] and not complete:
        raise InputError(
            f"{model}: the Modelfile language cannot express all of it; see the comments",
            hint="copy it instead: corral cp",
        )


def _local(settings: Settings, text: str, *, verbose: bool) -> tuple[dict[str, Any], bool]:
    from ..modelfile.describe import describe, rebuilds
    from ..modelfile.printer import print_lines
    from ..runtime.catalog import show_reply
    from ..runtime.served import served

    store = settings.store
    model = served(store, Name.parse(text))
    reply = {"name": str(model.name), **layers_json(model.tagged.manifest)} | show_reply(store, model, verbose=verbose)
    _, complete = print_lines(describe(store, model.tagged.manifest))
    if complete and not rebuilds(store, model.tagged.manifest, reply["modelfile"]):
        reply["modelfile"] = _OTHER_BYTES + reply["modelfile"]
    return reply, complete


def _print_field(field: str, text: str) -> None:
    """One field, as it is; licence, Modelfile and parameters get a line end, as in Ollama."""
    console.out(
        console.clean(text) if field == "license" else text, end="" if field in ("system", "template") else "\n"
    )


def _print_sections(reply: dict[str, Any], *, verbose: bool) -> None:
    info, details = reply["model_info"], reply["details"]
    family = info.get("general.architecture", details["family"])
    rows = [("architecture", family), ("parameters", details["parameter_size"])]
    rows += [
        (words, str(info[f"{family}.{key}"]))
        for words, key in (("context length", "context_length"), ("embedding length", "embedding_length"))
        if f"{family}.{key}" in info
    ]
    rows.append(("quantization", details["quantization_level"]))
    if "requires" in reply:
        rows.append(("requires", reply["requires"]))
    _section("Model", rows)
    _section("Capabilities", [(capability,) for capability in reply["capabilities"]])
    parameters = reply.get("parameters", "").splitlines()
    _section("Parameters", [tuple(line.split(None, 1)) for line in parameters])
    if verbose:
        _section("Metadata", [(key, str(value)) for key, value in sorted(info.items())])
        _section("Tensors", [(tensor["name"], tensor["type"], str(tensor["shape"])) for tensor in reply["tensors"]])
    for title in ("System", "License"):
        lines = [line.strip() for line in reply.get(title.lower(), "").splitlines() if line.strip()]
        _section(title, [(line,) for line in lines[:2]] + ([("...",)] if len(lines) > 2 else []))
    if "layers" in reply:
        blobs = [*reply["layers"], reply["config"]]
        _section("Manifest", [(reply["digest"],)])
        _section("Layers", [(blob["mediaType"], blob["digest"], human_bytes(blob["size"])) for blob in blobs])


def _section(title: str, rows: list[tuple[str, ...]]) -> None:
    if not rows:
        return
    console.out(f"  {title}")
    widths = [max((len(row[i]) for row in rows if i < len(row)), default=0) for i in range(max(map(len, rows)))]
    for row in rows:
        console.out("    " + "".join(one_line(cell).ljust(width + 4) for cell, width in zip(row, widths, strict=False)))
    console.out()
