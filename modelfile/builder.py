"""Build: carry a plan out on a store. Two verbs, adopt a file and put bytes; the tag is set last.

Everything that can be wrong with the input is found before the first byte is written.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..store import manifest, parts
from ..store.ingest import Written
from ..store.local import Store
from ..store.manifest import Descriptor, Manifest
from ..store.name import Name
from ..store.progress import Progress, Report, silent
from ..store.tags import TaggedModel
from . import nodes, rules
from .diagnostics import ModelfileError
from .plan import ContentLayer, FileLayer, Layer, Plan, plan
from .recipe import examine
from .sources import Resolver, Sources


def build(
    name: Name,
    modelfile: nodes.Modelfile,
    store: Store,
    *,
    folder: Path,
    resolver: Resolver | None = None,
    links: bool = False,
    is_cached: bool = True,
    report: Report = silent,
) -> TaggedModel:
    """Create the model `name` from a Modelfile whose relative paths start at `folder`.

    `links` and `is_cached` say how files are taken in: see BlobStore.adopt.

    Raises ModelfileError for what is wrong in the file, other CorralErrors for what is wrong around it.
    """
    planned = prepare(modelfile, store, folder=folder, resolver=resolver, report=report)
    with store.writing():
        adopt = partial(store.blobs.adopt, links=links, is_cached=is_cached)
        layers = [_carry_out(layer, store, adopt, report) for layer in planned.layers]
        config = _carry_out(ContentLayer(planned.config.encode(), manifest.CONFIG_TYPE), store, adopt, report)
        built = Manifest.build(config, layers)
        report(Progress("writing manifest"))
        stored = store.tag(name, built)
    report(Progress("success"))
    return store.find(stored)


def prepare(
    modelfile: nodes.Modelfile, store: Store, *, folder: Path, resolver: Resolver | None = None, report: Report = silent
) -> Plan:
    """What is to be built, without having built it; only a base model that is absent is brought in by the resolver.

    Raises ModelfileError with all that is wrong in the file, other CorralErrors for what is wrong around it.
    """
    recipe, findings = examine(modelfile)
    errors = [one for one in findings if one.severity == "error"]
    if errors:  # then nothing is pulled, but what is here is looked at, so that all errors are told at once
        found = Sources(store, modelfile, folder).find(recipe)
        errors += [one for one in found.diagnostics if one.rule is not rules.ABSENT_MODEL]
        raise ModelfileError(modelfile.source, errors)
    return plan(recipe, *Sources(store, modelfile, folder, resolver, report).find(recipe).checked())


def _carry_out(
    layer: Layer, store: Store, adopt: Callable[[Path, str, Callable[[int], None]], Written], report: Report
) -> Descriptor:
    match layer:
        case Descriptor():
            store.blobs.leases.add(layer.digest)
            report(Progress(f"using existing layer {layer.digest}"))
            return layer
        case ContentLayer():
            written = store.blobs.put(layer.data, layer.media_type)
        case FileLayer() if layer.more:
            written = parts.merge(
                store.blobs,
                (layer.path, *layer.more),
                layer.media_type,
                lambda done: report(Progress("merging split GGUF", completed=done)),
            )
        case FileLayer():
            status, total = f"copying file {layer.path.name}", layer.path.stat().st_size
            written = adopt(
                layer.path, layer.media_type, lambda done: report(Progress(status, total=total, completed=done))
            )
    report(Progress(f"{'creating new' if written.is_new else 'using existing'} layer {written.blob.digest}"))
    return written.blob
