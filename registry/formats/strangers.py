"""Strangers: what an artifact is that is no model for here, and what can be done about it. Pure."""

from __future__ import annotations

from ...store.errors import InvalidManifestError, shown
from .document import Document

_READ = "models in Ollama's form, in OCI form, ModelPack, Docker Model Runner's and GGUF files pushed by oras are read"
_KNOWN = (
    ("application/vnd.kitops.modelkit.", "a ModelKit, whose files are in archives", "have it packed as ModelPack, raw"),
    ("application/vnd.jozu.model.", "a ModelKit, whose files are in archives", "have it packed as ModelPack, raw"),
    ("application/vnd.cncf.helm.", "a Helm chart", None),
    ("application/vnd.dev.sigstore.", "a signature", None),
    ("application/vnd.dev.cosign.", "a signature", None),
    ("application/vnd.in-toto", "an attestation", None),
    ("application/vnd.wasm.", "a WebAssembly module", None),
    ("application/vnd.docker.plugin.", "a Docker plugin", None),
    (
        "application/vnd.oci.image.config.",
        "a container image",
        "if it is a model in an image, have it pushed as an artifact",
    ),
    (
        "application/vnd.docker.container.image.",
        "a container image",
        "if it is a model in an image, have it pushed as an artifact",
    ),
)
"""By how the type of the artifact or of its config begins."""
_MOST_SHOWN = 8


def refusal(document: Document) -> InvalidManifestError:
    """The error that says what it is."""
    for kind in (document.contents.artifact_type, document.config.media_type):
        for prefix, what, hint in _KNOWN:
            if kind.startswith(prefix):
                return document.wrong(f"it is {what}, no model", hint or _READ)
    types = sorted({layer.descriptor.media_type for layer in document.layers})
    names = ", ".join(shown(kind) for kind in types[:_MOST_SHOWN]) or "no layers"
    kind = shown(document.contents.artifact_type)
    return document.wrong(f"it is no model that is known here: {kind} with {names}", _READ)
