"""Document: an image manifest as a registry sent it, its parts checked, with what its packer calls the files in it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...store.digest import Digest
from ...store.errors import InvalidManifestError, shown
from ...store.manifest import MANIFEST_TYPE, Descriptor, Manifest
from ..contents import Contents, Part

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

MODELPACK = "application/vnd.cncf.model.manifest.v1+json"
"""The type of a ModelPack artifact."""

FILEPATH = "org.cncf.model.filepath"
TITLE = "org.opencontainers.image.title"

_GENERIC = {"", "application/json", "application/octet-stream", "binary/octet-stream", "text/plain"}
"""What servers say of a file they know nothing of."""
_LICENSE = re.compile(r"(licen[cs]es?|copying)([._-].*)?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest that names blobs, as opposed to an index."""

    identity: str
    """What an error is about."""
    media_type: str
    """OCI_MANIFEST or MANIFEST_TYPE, "" where nobody says."""
    manifest: Manifest
    """It, read as a model's. Whether it is one is for the formats to say."""
    contents: Contents

    @classmethod
    def parse(cls, raw: bytes, media_type: str, identity: str) -> Document:
        """Read a manifest; `media_type` is what it was sent as. Raises InvalidManifestError."""
        manifest = Manifest.parse(raw, identity)
        contents = Contents.parse(raw, identity)
        settled = agreed_type(contents, media_type, identity)
        if settled not in ("", OCI_MANIFEST, MANIFEST_TYPE):
            raise InvalidManifestError(identity, f"its media type is {shown(settled)}, expected {OCI_MANIFEST}")
        sizes: dict[Digest, int] = {}
        for blob in manifest.blobs:
            if blob.digest.algorithm != "sha256":
                raise InvalidManifestError(identity, f"{blob.digest}: Ollama's store holds blobs by sha256 only")
            if sizes.setdefault(blob.digest, blob.size) != blob.size:
                why = f"{blob.digest} has {sizes[blob.digest]} bytes in one place and {blob.size} in another"
                raise InvalidManifestError(identity, why)
        return cls(identity, settled, manifest, contents)

    @property
    def config(self) -> Descriptor:
        """The config blob."""
        return self.manifest.config

    @property
    def layers(self) -> tuple[Part, ...]:
        """The layers with their annotations."""
        return self.contents.layers

    def wrong(self, why: str, hint: str | None = None) -> InvalidManifestError:
        """The error that says what is wrong with it."""
        return InvalidManifestError(self.identity, why, hint=hint)


def agreed_type(contents: Contents, sent: str, identity: str) -> str:
    """The media type by the manifest itself and by the server, "" where neither says.

    Raises InvalidManifestError where they differ, and for what could be read as a manifest and as an index.
    """
    said, sent = contents.media_type.lower(), sent.lower()
    if sent in _GENERIC:
        sent = said
    if said and said != sent:
        raise InvalidManifestError(identity, f"it says it is {shown(said)}, and was sent as {shown(sent)}")
    if contents.manifests and (contents.layers or contents.config):
        raise InvalidManifestError(identity, "it names manifests like an index and layers like a manifest")
    return sent


def file_of(part: Part) -> str:
    """What the packer called a file, without folders; "" where it does not say. To compare and to show: never a path."""
    name = part.annotations.get(FILEPATH) or part.annotations.get(TITLE) or ""
    return name.replace("\\", "/").rpartition("/")[2]


def is_license(file: str) -> bool:
    """Whether a file's name says that it is a licence."""
    return _LICENSE.fullmatch(file) is not None


def is_projector(file: str) -> bool:
    """Whether a GGUF's name says that it is a projector, by the custom of llama.cpp's converters."""
    return "mmproj" in file.lower()
