"""Sources: what FROM, ADAPTER and DRAFT name, on this machine and in this store (spec part 3.6)."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar, cast

from ..store import gguf, gojson, manifest, parts
from ..store.config import MAX_CONFIG_BYTES, Config
from ..store.errors import CorralError, FileError, InputError, IntegrityError, InvalidNameError, ModelNotFoundError
from ..store.local import Store
from ..store.manifest import Descriptor, Manifest
from ..store.name import Name
from ..store.progress import Progress, Report, silent
from ..store.vocabulary import read_vocabulary
from . import nodes, rules
from .diagnostics import ModelfileError
from .parameters import Value
from .plan import Base, ContentLayer, FileLayer, Layer
from .recipe import Recipe
from .rules import Diagnostic, Rule
from .source import Source

_T = TypeVar("_T")
_MEDIA_TYPES = {"model": manifest.MODEL, "projector": manifest.PROJECTOR, "adapter": manifest.ADAPTER}
_MAX_PARAMS_BYTES = 1 << 20


class Resolver(Protocol):
    """Where a base model that is not in the local store comes from."""

    def __call__(self, name: Name, report: Report, /) -> None:
        """Bring the model into the store, or raise a CorralError."""
        ...


def read_parameters(store: Store, model: Manifest) -> dict[str, Value]:
    """The parameters a model's params layer sets, {} without one. Raises IntegrityError when it is not a JSON object."""
    layers = model.of_type(manifest.PARAMS)
    if not layers:
        return {}
    try:
        # Ollama stores whatever its API was given; each value is checked where it is used.
        values = json.loads(store.blobs.read(layers[-1], _MAX_PARAMS_BYTES), parse_int=_number)
    except (ValueError, RecursionError) as cause:
        raise IntegrityError(f"blob {layers[-1].digest}: not a params object: {cause}") from None
    if not isinstance(values, dict):
        raise IntegrityError(f"blob {layers[-1].digest}: not a params object")
    return cast("dict[str, Value]", values)


def _number(digits: str) -> float:
    """A whole number; -0 is one only as a float."""
    return -0.0 if digits == "-0" else int(digits)


def read_config(store: Store, model: Manifest) -> Config:
    """The model's config blob. Raises BlobNotFoundError, MismatchError, InvalidManifestError."""
    return Config.parse(store.blobs.read(model.config, MAX_CONFIG_BYTES), f"blob {model.config.digest}")


def layer_path(store: Store, layer: Layer) -> Path:
    """Where the file of a layer of weights is: the blob, or what is to become one."""
    assert not isinstance(layer, ContentLayer)
    return store.blobs.path(layer.digest) if isinstance(layer, Descriptor) else layer.path


@dataclass(slots=True)
class Found:
    """What a recipe's sources are, and all that is wrong with them, by the instruction that names it."""

    source: Source
    base: Base | None = None
    extras: list[FileLayer] = field(default_factory=list[FileLayer])
    problems: list[tuple[nodes.Instruction, CorralError]] = field(
        default_factory=list[tuple[nodes.Instruction, CorralError]]
    )

    @property
    def diagnostics(self) -> Iterator[Diagnostic]:
        """The problems as findings."""
        for node, error in self.problems:
            if isinstance(error, ModelfileError):
                yield from error.diagnostics
            else:
                yield rules.MISSING_FILE.at(node.value_span, str(error), error.hint)

    def checked(self) -> tuple[Base, tuple[FileLayer, ...]]:
        """Base and extras. Raises what is wrong: one error as it is, several as one ModelfileError."""
        if len(self.problems) == 1:
            raise self.problems[0][1]
        if self.problems or not self.base:
            raise ModelfileError(self.source, self.diagnostics)
        return self.base, tuple(self.extras)


class Sources:
    """What the file names in a Modelfile mean on this machine; it reads headers and writes nothing."""

    def __init__(
        self,
        store: Store,
        modelfile: nodes.Modelfile,
        folder: Path,
        resolver: Resolver | None = None,
        report: Report = silent,
    ) -> None:
        self._store = store
        self._modelfile = modelfile
        self._folder = folder
        self._resolver = resolver
        self._report = report

    def find(self, recipe: Recipe) -> Found:
        """The base, and the files of ADAPTER and DRAFT, looked into.

        Where a FROM names a model the last such name counts and files are passed over, as in Ollama. Raises what the resolver
        raises; all else is in the result.
        """
        found = Found(self._modelfile.source)
        files = [(node, self._tried(found, node, partial(self.files, node))) for node in recipe.sources if node.value]
        named = [node for node, paths in files if paths == []]
        if named:
            found.base = self._tried(found, named[-1], partial(self._base_model, named[-1]))
        elif files:
            base = self._base_files([(node, paths) for node, paths in files if paths], found)
            found.base = self._with_template(base) if base and not (recipe.template or recipe.renderer) else base
        for node in recipe.extras:
            extra = self._tried(found, node, partial(self._extra_file, node, found.base))
            found.extras += [extra] if extra else []
        return found

    def hides_a_name(self, node: nodes.From) -> bool:
        """Whether files that are here are taken for what could be a model's name."""
        try:
            return bool(node.value) and not node.is_path and bool(self.files(node))
        except ModelfileError:
            return False

    def _extra_file(self, node: nodes.Adapter | nodes.Draft, base: Base | None) -> FileLayer:
        kind = "adapter" if isinstance(node, nodes.Adapter) else "model"
        path = self._expanded(node)
        if not self._mode(node, path):
            raise self._missing(node, path)
        header = gguf.read(path)
        if header.kind != kind:
            raise self._wrong(node, f"{path.name} is a GGUF {header.kind}, expected a GGUF {kind}")
        weights = base.weights if base else None
        if kind == "adapter" and weights and header.architecture != weights.architecture:
            message = f"the adapter is for {header.architecture}, the model is {weights.architecture}"
            raise self._wrong(node, message, "an adapter fits the model it was trained on", rules.WRONG_ADAPTER)
        own = [layer.path.resolve() for layer in base.layers if isinstance(layer, FileLayer)] if base else []
        if kind == "model" and path.resolve() in own:
            raise self._wrong(node, f"DRAFT must not reference the same local path as FROM: {path}")
        return FileLayer(path, manifest.ADAPTER if kind == "adapter" else manifest.DRAFT)

    def _base_files(self, files: Sequence[tuple[nodes.From, list[Path]]], found: Found) -> Base | None:
        self._report(Progress("parsing GGUF"))
        headers: dict[Path, tuple[gguf.GGUF, FileLayer]] = {}
        for node, paths in files:
            for path in paths:
                if not any(path in (known, *layer.more) for known, (_, layer) in headers.items()):
                    read = self._tried(found, node, partial(self._base_file, node, path))
                    headers |= {read[1].path: read} if read else {}
        models = [path for path, (header, _) in headers.items() if header.kind == "model"]
        if len(models) == 1:
            return Base(headers[models[0]][0], tuple(layer for _, layer in headers.values()))
        if not found.problems:
            has = "no model weights"
            if models:
                has = f"more than one model: {', '.join(path.name for path in models)}"
            last = files[-1][0]
            error = self._wrong(last, f"FROM gives {has}", "FROM names one model GGUF, and perhaps its projector")
            found.problems.append((last, error))
        return None

    def _with_template(self, base: Base) -> Base:
        """The base, with the template known by name that its GGUF's chat template is (spec part 8.5)."""
        weights = next(
            layer for layer in base.layers if isinstance(layer, FileLayer) and layer.media_type == manifest.MODEL
        )
        header = gguf.read(weights.path)
        if not header.chat_template:
            return base
        from .template.drift import OwnTemplate
        from .template.translate import recognise

        named = recognise(OwnTemplate(header.chat_template, read_vocabulary(weights.path, header)))
        if not named:
            return base
        self._report(Progress(f"using autodetected template {named.name}"))
        parameters: dict[str, Value] = {"stop": list(named.stops)}
        added = (
            ContentLayer(named.text.encode(), manifest.TEMPLATE),
            ContentLayer(gojson.encode({"stop": list(named.stops)}), manifest.PARAMS),
        )
        return replace(base, layers=base.layers + added, parameters=parameters)

    def _base_file(self, node: nodes.From, path: Path) -> tuple[gguf.GGUF, FileLayer]:
        """A GGUF's header and its layer; any part of a split one stands for the whole."""
        header = gguf.read(path)
        more: tuple[Path, ...] = ()
        if parts.count(header) > 1:
            path, *others = parts.siblings(path, header)
            for missing in (part for part in (path, *others) if not self._mode(node, part)):
                raise self._wrong(node, f"no such file: {missing}", "all parts of a split GGUF stand together")
            header, more = parts.joined((path, *others)), tuple(others)
        return header, FileLayer(path, _MEDIA_TYPES[header.kind], more)

    def _base_model(self, node: nodes.From) -> Base:
        try:
            name = Name.parse(node.value)
        except InvalidNameError as error:
            raise self._wrong(node, f"{node.value!r} is no file here and no model name: {error.why}") from None
        try:
            model = self._store.find(name)
        except ModelNotFoundError as error:
            if self._resolver is None:
                raise self._wrong(node, str(error), error.hint, rules.ABSENT_MODEL) from None
            self._resolver(name, self._report)
            model = self._store.find(name)
        self._store.check_complete(model.manifest)
        weights = model.manifest.of_type(manifest.MODEL)
        path = self._store.blobs.path(weights[-1].digest) if weights else None
        return Base(
            gguf.read(path, f"the weights of {name}") if path and gguf.is_gguf(path) else None,
            model.manifest.layers,
            read_config(self._store, model.manifest),
            read_parameters(self._store, model.manifest),
        )

    def files(self, node: nodes.From) -> list[Path]:
        """The GGUF files a FROM names; none when it names a model."""
        path = self._expanded(node)
        mode = self._mode(node, path)
        if stat.S_ISDIR(mode):
            inside = sorted(path.glob("*.gguf"))
            if inside or not node.is_path:
                return inside
            raise self._wrong(
                node, f"no GGUF file in {path}", "safetensors folders are not supported yet; convert to GGUF first"
            )
        if mode:
            return [path]
        if node.is_path:
            raise self._missing(node, path)
        return []

    def _expanded(self, node: nodes.Instruction) -> Path:
        try:
            return self._folder / Path(node.value).expanduser()
        except RuntimeError:
            raise self._wrong(node, f"no such user: {node.value}") from None

    def _mode(self, node: nodes.Instruction, path: Path) -> int:
        """What stands at the path, as stat() gives it; 0 for nothing."""
        try:
            return path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except OSError as cause:
            raise self._wrong(node, f"{path}: cannot read: {cause.strerror}") from None

    def _missing(self, node: nodes.Instruction, path: Path) -> ModelfileError:
        return self._wrong(node, f"no such file: {path}", "a relative path starts at the Modelfile's folder")

    def _tried(self, found: Found, node: nodes.Instruction, action: Callable[[], _T]) -> _T | None:
        try:
            return action()
        except (InputError, IntegrityError, FileError) as error:
            if not any(node is other and str(error) == str(said) for other, said in found.problems):
                found.problems.append((node, error))
            return None

    def _wrong(
        self, node: nodes.Instruction, message: str, hint: str | None = None, rule: Rule = rules.MISSING_FILE
    ) -> ModelfileError:
        return ModelfileError(self._modelfile.source, [rule.at(node.value_span, message, hint)])
