"""Sources: what FROM, ADAPTER and DRAFT name, on this machine and in this store (spec part 3.6)."""

from __future__ import annotations

import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import msgspec

from ..store import gguf, manifest, parts
from ..store.config import MAX_CONFIG_BYTES, Config
from ..store.errors import IntegrityError, InvalidNameError, ModelNotFoundError
from ..store.local import Store
from ..store.manifest import Manifest
from ..store.name import Name
from ..store.progress import Progress, Report, silent
from . import nodes, rules
from .diagnostics import ModelfileError
from .parameters import Value
from .plan import Base, FileLayer
from .recipe import Recipe
from .rules import Diagnostic, Rule

_T = TypeVar("_T")
_MEDIA_TYPES = {"model": manifest.MODEL, "projector": manifest.PROJECTOR, "adapter": manifest.ADAPTER}
_MAX_PARAMS_BYTES = 1 << 20
_PATH_STARTS = ("/", "./", "../", "~", "\\")


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
        return cast(
            "dict[str, Value]",
            msgspec.json.decode(store.blobs.read(layers[-1], _MAX_PARAMS_BYTES), type=dict[str, Any]),
        )
    except (msgspec.DecodeError, RecursionError) as cause:
        raise IntegrityError(f"blob {layers[-1].digest}: not a params object: {cause}") from None


def read_config(store: Store, model: Manifest) -> Config:
    """The model's config blob. Raises BlobNotFoundError, MismatchError, InvalidManifestError."""
    return Config.parse(store.blobs.read(model.config, MAX_CONFIG_BYTES), f"blob {model.config.digest}")


def looks_like_path(text: str) -> bool:
    """Whether a FROM cannot have meant a model's name."""
    return (
        text.startswith(_PATH_STARTS) or text in (".", "..") or text.lower().endswith((".gguf", ".bin", ".safetensors"))
    )


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

    def resolve(self, recipe: Recipe) -> tuple[Base, tuple[FileLayer, ...]]:
        """The base, and the files of ADAPTER and DRAFT. Raises one ModelfileError for all that is wrong with them."""
        errors: list[Diagnostic] = []
        base = self._tried(errors, partial(self.base, recipe))
        weights = base.weights if base else None
        extras = [self._tried(errors, partial(self.extra_file, node, weights)) for node in recipe.extras]
        if errors or not base:
            raise ModelfileError(self._modelfile.source, errors)
        return base, tuple(extra for extra in extras if extra)

    def base(self, recipe: Recipe) -> Base:
        """What FROM gives: where a name is among several, the last name counts and files are passed over, as in Ollama."""
        errors: list[Diagnostic] = []
        files: list[Path] = []
        named: nodes.From | None = None
        for source in recipe.sources:
            found = self._tried(errors, partial(self.files, source))
            files += found or []
            named = named if found or found is None else source
        if errors:
            raise ModelfileError(self._modelfile.source, errors)
        return self._base_model(named) if named else self._base_files(files, recipe.sources[0])

    def exists(self, node: nodes.Instruction) -> bool:
        """Whether there is a file or folder of that name."""
        try:
            return bool(self._mode(node, self._expanded(node)))
        except ModelfileError:
            return False

    def extra_file(self, node: nodes.Adapter | nodes.Draft, weights: gguf.GGUF | None) -> FileLayer:
        """The file of an ADAPTER or DRAFT, looked into; `weights` is what an adapter must fit."""
        kind = "adapter" if isinstance(node, nodes.Adapter) else "model"
        path = self._expanded(node)
        if not self._mode(node, path):
            raise self._missing(node, path)
        header = gguf.read(path)
        if header.kind != kind:
            raise self._wrong(node, f"{path.name} is a GGUF {header.kind}, expected a GGUF {kind}")
        if kind == "adapter" and weights and header.architecture != weights.architecture:
            message = f"the adapter is for {header.architecture}, the model is {weights.architecture}"
            raise self._wrong(node, message, "an adapter fits the model it was trained on", rules.WRONG_ADAPTER)
        return FileLayer(path, manifest.ADAPTER if kind == "adapter" else manifest.DRAFT)

    def _base_files(self, paths: list[Path], node: nodes.From) -> Base:
        self._report(Progress("parsing GGUF"))
        headers: dict[Path, gguf.GGUF] = {}
        more: dict[Path, tuple[Path, ...]] = {}
        passed: set[Path] = set()
        for path in dict.fromkeys(paths):
            header = gguf.read(path)
            if parts.count(header) > 1 and path not in passed:
                first, *others = parts.siblings(path, header)
                for missing in (part for part in (first, *others) if not self._mode(node, part)):
                    raise self._wrong(node, f"no such file: {missing}", "all parts of a split GGUF stand together")
                header, more[first] = parts.joined((first, *others)), tuple(others)
                passed.update((first, *others))
                path = first
            elif path in passed:
                continue
            headers[path] = header
        models = [path for path, header in headers.items() if header.kind == "model"]
        if len(models) != 1:
            has = (
                "no model weights" if not models else f"more than one model: {', '.join(path.name for path in models)}"
            )
            raise self._wrong(node, f"FROM gives {has}", "FROM names one model GGUF, and perhaps its projector")
        layers = tuple(
            FileLayer(path, _MEDIA_TYPES[header.kind], more.get(path, ())) for path, header in headers.items()
        )
        return Base(headers[models[0]], layers)

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
            if inside or not looks_like_path(node.value):
                return inside
            raise self._wrong(
                node, f"no GGUF file in {path}", "safetensors folders are not supported yet; convert to GGUF first"
            )
        if mode:
            return [path]
        if looks_like_path(node.value):
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

    def _tried(self, errors: list[Diagnostic], action: Callable[[], _T]) -> _T | None:
        try:
            return action()
        except ModelfileError as error:
            errors += error.diagnostics
            return None

    def _wrong(
        self, node: nodes.Instruction, message: str, hint: str | None = None, rule: Rule = rules.MISSING_FILE
    ) -> ModelfileError:
        return ModelfileError(self._modelfile.source, [rule.at(node.value_span, message, hint)])
