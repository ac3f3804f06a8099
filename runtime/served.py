"""ServedModel: everything a request needs to know of a stored model, read once; and what is known of one not yet created."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..modelfile import describe
from ..modelfile.nodes import Modelfile
from ..modelfile.parameters import Value
from ..modelfile.plan import plan
from ..modelfile.recipe import check
from ..modelfile.sources import Sources, layer_path, read_config, read_parameters
from ..modelfile.template.choice import Choice, choose
from ..store import gguf, manifest
from ..store.config import Config
from ..store.errors import InputError, IntegrityError
from ..store.gguf import GGUF
from ..store.local import Store
from ..store.name import Name
from ..store.tags import TaggedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a model's prompts depend on."""

    name: Name
    config: Config
    weights: Path
    header: GGUF
    template: str
    """The TEMPLATE layer, "" without one."""
    system: str
    messages: tuple[describe.StoredMessage, ...]
    has_projector: bool

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
    def capabilities(self) -> list[str]:
        """What it can do, by Ollama's words and in its order."""
        if self.header.own("pooling_type") is not None:
            return ["embedding"]
        known = self.shown_choice.capabilities
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
    parameters: dict[str, Value]

    @property
    def modified(self) -> datetime:
        """When the tag was last set, in local time."""
        return datetime.fromtimestamp(self.tagged.modified).astimezone()


def served(store: Store, name: Name) -> ServedModel:
    """Read a model. Raises ModelNotFoundError, and IntegrityError and its kin when anything of it is damaged."""
    tagged = store.find(name)
    model = tagged.manifest
    weights = model.of_type(manifest.MODEL)
    if not weights:
        raise IntegrityError(f"model '{name}': it has no GGUF weights", hint="this server runs GGUF models only")
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
        has_projector=bool(model.of_type(manifest.PROJECTOR)),
        tagged=tagged,
        parameters=read_parameters(store, model),
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
        has_projector=any(layer.media_type == manifest.PROJECTOR for layer in made.layers),
    )
