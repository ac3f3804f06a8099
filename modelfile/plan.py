"""Plan: which layers and config a recipe gives on its base. Pure: nothing is read or written here.

The rules are Ollama's (spec part 4.6): FROM a model inherits its layers; TEMPLATE, SYSTEM and MESSAGE replace, LICENSE
adds, parameters are merged key by key. Config facts about the weights always come from the GGUF itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ..store import gojson, manifest
from ..store.config import Config
from ..store.gguf import GGUF
from ..store.manifest import Descriptor
from .parameters import Value, merge_parameters
from .recipe import Recipe


@dataclass(frozen=True, slots=True)
class FileLayer:
    """A layer that is a local GGUF file, to be adopted."""

    path: Path
    media_type: str
    more: tuple[Path, ...] = ()
    """The further parts of a split GGUF; together they are one layer."""


@dataclass(frozen=True, slots=True)
class ContentLayer:
    """A layer whose bytes the recipe gives."""

    data: bytes
    media_type: str


Layer: TypeAlias = "Descriptor | FileLayer | ContentLayer"
"""A Descriptor is an inherited layer."""


@dataclass(frozen=True, slots=True)
class Base:
    """What FROM resolved to: layers, and the facts that inheritance needs."""

    weights: GGUF | None
    """The header of the model's weights; None for a base whose weights are not a GGUF."""
    layers: tuple[Layer, ...]
    config: Config = field(default_factory=Config)
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])


@dataclass(frozen=True, slots=True)
class Plan:
    """What the builder carries out."""

    layers: tuple[Layer, ...]
    config: Config


def plan(recipe: Recipe, base: Base, extra: tuple[FileLayer, ...] = ()) -> Plan:
    """The layers and config of `recipe` on `base`; `extra` are the files of ADAPTER and DRAFT."""
    replaced: set[str] = set()
    own: list[Layer] = list(extra)
    if extra:
        replaced |= {layer.media_type for layer in extra}
    if recipe.template:
        replaced |= {manifest.TEMPLATE, manifest.PROMPT}
        own.append(ContentLayer(recipe.template.encode(), manifest.TEMPLATE))
    if recipe.system:
        replaced.add(manifest.SYSTEM)
        own.append(ContentLayer(recipe.system.encode(), manifest.SYSTEM))
    if recipe.parameters:
        replaced.add(manifest.PARAMS)
        merged = merge_parameters(base.parameters, recipe.parameters)
        own.append(ContentLayer(gojson.encode(merged, sort_keys=True), manifest.PARAMS))
    if recipe.messages:
        replaced.add(manifest.MESSAGES)
        messages: list[gojson.Json] = [{"role": role, "content": text} for role, text in recipe.messages]
        own.append(ContentLayer(gojson.encode(messages), manifest.MESSAGES))
    own += [ContentLayer(text.encode(), manifest.LICENSE) for text in recipe.licenses]
    inherited = tuple(layer for layer in base.layers if layer.media_type not in replaced)
    return Plan(inherited + tuple(own), _config(recipe, base))


def _config(recipe: Recipe, base: Base) -> Config:
    inherited = base.config
    facts = Config.of(base.weights) if base.weights else inherited
    return Config(
        model_format=facts.model_format,
        model_family=facts.model_family,
        model_families=facts.model_families,
        model_type=facts.model_type,
        file_type=facts.file_type,
        renderer=recipe.renderer or inherited.renderer,
        parser=recipe.parser or inherited.parser,
        requires=recipe.requires or inherited.requires,
        capabilities=inherited.capabilities,
    )
