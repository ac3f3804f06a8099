"""ServedModel: everything a request needs to know of a stored model, read once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..modelfile import describe
from ..modelfile.parameters import Value
from ..modelfile.sources import read_config, read_parameters
from ..modelfile.template.choice import Choice, choose
from ..store import gguf, manifest
from ..store.config import Config
from ..store.errors import InputError, IntegrityError
from ..store.gguf import GGUF
from ..store.local import Store
from ..store.name import Name
from ..store.tags import TaggedModel


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as the store has it."""

    tagged: TaggedModel
    config: Config
    weights: Path
    header: GGUF
    template: str
    """The TEMPLATE layer, "" without one."""
    system: str
    parameters: dict[str, Value]
    messages: tuple[describe.StoredMessage, ...]
    has_projector: bool

    @property
    def name(self) -> Name:
        """As stored."""
        return self.tagged.name

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
        tagged,
        read_config(store, model),
        path,
        gguf.read(path, f"blob {path.name}"),
        describe.read_text(store, model, manifest.TEMPLATE, manifest.PROMPT),
        describe.read_text(store, model, manifest.SYSTEM),
        read_parameters(store, model),
        tuple(describe.read_messages(store, model)),
        bool(model.of_type(manifest.PROJECTOR)),
    )
