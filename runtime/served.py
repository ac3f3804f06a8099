"""ServedModel: everything a request needs to know of a stored model, read once; and what is known of one not yet created."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..modelfile import describe
from ..modelfile.diagnostics import ModelfileError
from ..modelfile.nodes import From, Modelfile
from ..modelfile.parameters import Value, merge_parameters
from ..modelfile.plan import plan
from ..modelfile.recipe import check
from ..modelfile.source import Source, Span
from ..modelfile.sources import Sources, layer_path, read_config, read_parameters
from ..modelfile.template.choice import Choice, choose
from ..store import gguf, manifest
from ..store.config import Config
from ..store.digest import Digest
from ..store.errors import InputError, IntegrityError
from ..store.gguf import GGUF
from ..store.local import Store
from ..store.name import Name
from ..store.tags import TaggedModel
from .engine.protocol import Adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a model's prompts and answers depend on."""

    name: Name
    config: Config
    weights: Path
    header: GGUF
    template: str
    """The TEMPLATE layer, "" without one."""
    system: str
    messages: tuple[describe.StoredMessage, ...]
    parameters: dict[str, Value]
    has_projector: bool
    adapters: tuple[Adapter, ...] = ()
    """In the order they are named; all of them are applied."""

    @property
    def digest(self) -> Digest | None:
        """The manifest's; None of a model that has none because it is in no store."""
        return None

    @property
    def family(self) -> str:
        """The architecture, as the config has it or else the weights."""
        return self.config.model_family or self.header.architecture

    @property
    def choice(self) -> Choice:
        """Which template its prompts are made with. Raises InputError for a RENDERER nobody knows."""
        return choose(self.template, self.header.chat_template or "", self.config.renderer, self.family)

    @property
    def shown_choice(self) -> Choice:
        """The same of a model that cannot be run, but looked at."""
        try:
            return self.choice
        except InputError:
            return choose(self.template, self.header.chat_template or "")

    @property
    def has_infill(self) -> bool:
        """Whether the weights name special tokens for a text with a gap; an older file calls them otherwise."""
        sets = (("fim_pre", "fim_suf", "fim_mid"), ("prefix", "suffix", "middle"))
        keys = self.header.metadata.keys()
        return any(all(f"tokenizer.ggml.{name}_token_id" in keys for name in names) for names in sets)

    @property
    def capabilities(self) -> list[str]:
        """What it can do, by Ollama's words and in its order."""
        if self.header.own("pooling_type") is not None:
            return ["embedding"]
        known = self.shown_choice.capabilities.union(["insert"] if self.has_infill else [])
        found = ["completion"]
        if self.header.own("vision.block_count") is not None:
            found.append("vision")
        found += [name for name in ("tools", "insert") if name in known]
        if self.has_projector and "vision" not in found:
            found.append("vision")
        if "thinking" in known:
            found.append("thinking")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel(ModelFacts):
    """A model as the store has it."""

    tagged: TaggedModel

    @property
    def digest(self) -> Digest:
        """The manifest's."""
        return self.tagged.manifest.digest


def served(store: Store, name: Name) -> ServedModel:
    """Read a model. Raises ModelNotFoundError, and IntegrityError and its kin when anything of it is damaged."""
    return of_tag(store, store.find(name))


def of_tag(store: Store, tagged: TaggedModel) -> ServedModel:
    """Read the model a tag points at. Raises as served() does, when anything but the tag is missing or damaged."""
    model = tagged.manifest
    weights = model.of_type(manifest.MODEL)
    if not weights:
        raise IntegrityError(f"model '{tagged.name}': it has no GGUF weights", hint="this server runs GGUF models only")
    store.check_complete(model)
    path = store.blobs.path(weights[-1].digest)
    return ServedModel(
        name=tagged.name,
        config=read_config(store, model),
        weights=path,
        header=gguf.read(path, f"blob {path.name}"),
        template=describe.read_text(store, model.layers, manifest.TEMPLATE, manifest.PROMPT),
        system=describe.read_text(store, model.layers, manifest.SYSTEM),
        messages=tuple(describe.read_messages(store, model.layers)),
        parameters=read_parameters(store, model),
        has_projector=bool(model.of_type(manifest.PROJECTOR)),
        adapters=tuple(Adapter(str(store.blobs.path(layer.digest))) for layer in model.of_type(manifest.ADAPTER)),
        tagged=tagged,
    )


def planned(store: Store, name: Name, modelfile: Modelfile, folder: Path) -> ModelFacts:
    """The model that a Modelfile would create, without creating it. Raises what `build` does, and pulls nothing."""
    recipe, _ = check(modelfile)
    base, extras = Sources(store, modelfile, folder).find(recipe).checked()
    made = plan(recipe, base, extras)
    weights = next((layer for layer in reversed(made.layers) if layer.media_type == manifest.MODEL), None)
    if not weights or not base.weights:
        raise InputError(f"{modelfile.source.filename}: FROM gives no GGUF weights")
    return ModelFacts(
        name=name,
        config=made.config,
        weights=layer_path(store, weights),
        header=base.weights,
        template=describe.read_text(store, made.layers, manifest.TEMPLATE, manifest.PROMPT),
        system=describe.read_text(store, made.layers, manifest.SYSTEM),
        messages=tuple(describe.read_messages(store, made.layers)),
        parameters=merge_parameters(base.parameters, recipe.parameters),
        has_projector=any(layer.media_type == manifest.PROJECTOR for layer in made.layers),
        adapters=tuple(
            Adapter(str(layer_path(store, layer))) for layer in made.layers if layer.media_type == manifest.ADAPTER
        ),
    )


def of_file(store: Store, path: str) -> ModelFacts:
    """The model that FROM and this path alone would create, to be run from where it is. Raises what `build` does."""
    source = Source(f"FROM {path}", path)
    end = len(source.text)
    modelfile = Modelfile((From(path, Span(0, end), Span(end - len(path), end)),), source)
    words = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(path).stem).lstrip(".-")
    try:
        return planned(store, Name.parse(words[:80] or "model"), modelfile, Path())
    except ModelfileError as error:  # It shows a place in a Modelfile, and the user wrote none.
        if not Path(path).exists():
            raise InputError(f"{path}: no such file") from None
        raise InputError(f"{path}: {error.diagnostics[0].message}", hint=error.hint) from None
