"""Corral: a Modelfile build toolchain, model registry client and llama.cpp server, compatible with Ollama.

The public names are loaded when they are first used, so that `import corral` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .modelfile.builder import build
    from .modelfile.diagnostics import ModelfileError
    from .modelfile.nodes import Modelfile
    from .modelfile.parser import parse
    from .modelfile.rules import Diagnostic
    from .modelfile.template.errors import TemplateError
    from .modelfile.template.parser import Template
    from .store.config import Config
    from .store.digest import Digest
    from .store.errors import CorralError
    from .store.local import Store
    from .store.manifest import Descriptor, Manifest
    from .store.name import Name

__version__ = "0.1.0"

_HOMES = {
    "Config": ".store.config",
    "CorralError": ".store.errors",
    "Descriptor": ".store.manifest",
    "Diagnostic": ".modelfile.rules",
    "Digest": ".store.digest",
    "Manifest": ".store.manifest",
    "Modelfile": ".modelfile.nodes",
    "ModelfileError": ".modelfile.diagnostics",
    "Name": ".store.name",
    "Store": ".store.local",
    "Template": ".modelfile.template.parser",
    "TemplateError": ".modelfile.template.errors",
    "build": ".modelfile.builder",
    "parse": ".modelfile.parser",
}

__all__ = [
    "Config",
    "CorralError",
    "Descriptor",
    "Diagnostic",
    "Digest",
    "Manifest",
    "Modelfile",
    "ModelfileError",
    "Name",
    "Store",
    "Template",
    "TemplateError",
    "__version__",
    "build",
    "parse",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value
