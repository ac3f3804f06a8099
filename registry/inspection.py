"""Inspection: what a registry has under a name, by its manifest and its config alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

from ..store.errors import InvalidManifestError
from ..store.manifest import Descriptor
from ..store.name import Name
from .contents import Contents
from .copy import fetched
from .formats.reading import recognise
from .remote import Access
from .transport import Registry, RemoteManifest

MAX_CONFIG_BYTES = 1 << 20
_MAX_FACTS = 200
_MAX_DEPTH = 8
_MAX_TEXT = 400


@dataclass(frozen=True, slots=True)
class Inspection:
    """A manifest and what it says."""

    name: Name
    manifest: RemoteManifest
    contents: Contents
    format: str
    """How the model in it is packed; "" where there is no model that can be used here."""
    config: Any
    """The config, where it is small JSON; else None."""

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What the config says, flat: names with dots between them, and values."""
        found: list[tuple[str, str]] = []
        _flatten(self.config, "", found, depth=0)
        return found

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        contents = self.contents
        fields: dict[str, Any] = {
            "name": str(self.name),
            "digest": str(self.manifest.digest),
            "mediaType": contents.media_type or self.manifest.media_type,
            "artifactType": contents.artifact_type,
            "format": self.format,
            "size": len(self.manifest.raw),
            "total": contents.size,
            "config": contents.config.to_json() if contents.config else None,
            "layers": [part.to_json() for part in contents.layers],
            "manifests": [part.to_json() for part in contents.manifests],
            "subject": contents.subject.to_json() if contents.subject else None,
            "annotations": dict(contents.annotations),
            "facts": self.config,
        }
        return {key: value for key, value in fields.items() if value not in (None, "", [], {})}


def inspect(name: Name, *, insecure: bool = False, access: Access | None = None) -> Inspection:
    """Look at what the name stands for. Raises RegistryError, IntegrityErrors."""
    with Registry(name, insecure=insecure, access=access) as registry:
        manifest = fetched(registry, name.reference)
        contents = Contents.parse(manifest.raw, str(name))
        try:
            form = recognise(manifest.raw, manifest.media_type, str(name)).format
        except InvalidManifestError:
            form = "index" if contents.manifests else ""
        config = contents.config.descriptor if contents.config else None
        return Inspection(name, manifest, contents, form, _config(registry, config) if config else None)


def _config(registry: Registry, blob: Descriptor) -> Any:
    if blob.size > MAX_CONFIG_BYTES:
        return None
    try:
        return json.loads(registry.small_blob(blob))
    except (ValueError, RecursionError):
        return None


def _flatten(value: Any, name: str, found: list[tuple[str, str]], *, depth: int) -> None:
    if len(found) == _MAX_FACTS or depth > _MAX_DEPTH or value in (None, "", [], {}):
        return
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            _flatten(inner, f"{name}.{key}" if name else key, found, depth=depth + 1)
    elif isinstance(value, list):
        listed = cast("list[Any]", value)
        # Of an image's file systems, and other lists of things, only how many there are.
        is_plain = all(isinstance(item, str | int | float) for item in listed)
        text = ", ".join(map(str, listed)) if is_plain else f"{len(listed)} of them"
        found.append((name, text[:_MAX_TEXT]))
    else:
        found.append((name, str(value)[:_MAX_TEXT]))
