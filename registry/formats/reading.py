"""Reading: which model an artifact is, whoever packed it. Pure.

Anybody's bytes come in here. What comes out is a value or an InvalidManifestError that says what it is instead.
"""

from __future__ import annotations

from ...store.errors import InvalidManifestError, shown
from ...store.manifest import MANIFEST_TYPE, MAX_MANIFEST_BYTES, Descriptor
from ..contents import Contents, Part
from . import docker, modelpack, oci, ollama, oras
from .document import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST, Document, agreed_type
from .packed import Packed
from .strangers import refusal

_FORMATS = (ollama.read, oci.read, modelpack.read, docker.read, oras.read)
_MODELS = ("application/vnd.cncf.model.", "application/vnd.docker.ai.", ollama.TYPES)
_ATTESTATION = "vnd.docker.reference.type"
_MOST_SHOWN = 8


def choose(raw: bytes, media_type: str, identity: str) -> Descriptor | None:
    """The one model of an index, None where `raw` is no index. `media_type` is what it was sent as.

    Attestations are passed over. Raises InvalidManifestError where no model is left, or several are.
    """
    contents = Contents.parse(raw, identity)
    kind = agreed_type(contents, media_type, identity)
    if kind not in (OCI_INDEX, DOCKER_LIST) and not (kind == "" and contents.manifests):
        return None
    parts = [part for part in contents.manifests if _is_candidate(part)]
    models = [part for part in parts if part.artifact_type.startswith(_MODELS)] or parts
    if not models:
        types = sorted({part.artifact_type or part.descriptor.media_type for part in contents.manifests})
        names = ", ".join(map(shown, types[:_MOST_SHOWN])) or "nothing"
        raise InvalidManifestError(identity, f"its index names no model, but {names}")
    if len({part.descriptor.digest for part in models}) > 1:
        names = ", ".join(_words(part) for part in models[:_MOST_SHOWN])
        hint = "ask for one of them by its digest: NAME@sha256:…"
        raise InvalidManifestError(identity, f"its index names {len(models)} manifests: {names}", hint=hint)
    model = models[0].descriptor
    if model.digest.algorithm != "sha256" or model.size > MAX_MANIFEST_BYTES:
        why = f"its manifest {model.digest} has {model.size} bytes, at most {MAX_MANIFEST_BYTES} by sha256 are read"
        raise InvalidManifestError(identity, why)
    return model


def recognise(raw: bytes, media_type: str, identity: str) -> Packed:
    """The model that a manifest is; `media_type` is what it was sent as. Raises InvalidManifestError for all else."""
    document = Document.parse(raw, media_type, identity)
    for read in _FORMATS:
        if packed := read(document):
            return packed
    raise refusal(document)


def _is_candidate(part: Part) -> bool:
    is_manifest = part.descriptor.media_type in (OCI_MANIFEST, MANIFEST_TYPE)
    return is_manifest and _ATTESTATION not in part.annotations and part.platform != "unknown/unknown"


def _words(part: Part) -> str:
    what = part.platform or part.artifact_type
    return f"{part.descriptor.digest}{f' ({shown(what)[1:-1]})' if what else ''}"
