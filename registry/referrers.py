"""Referrers: what is attached to a manifest (signatures, provenance, notes), by distribution-spec 1.1.

A registry that does not keep the list itself has it under a tag `sha256-<hex>`, an index that clients keep up (the spec's
"referrers tag schema"). Who pushes a manifest with a `subject` must see to that where the registry has not.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
import requests

from ..store.digest import Digest
from ..store.manifest import MAX_MANIFEST_BYTES
from .catalog import pages
from .contents import Contents, Part
from .errors import RegistryError
from .transport import OCI_INDEX_TYPE, Registry, RemoteManifest

MAX_REFERRERS = 10_000
_EMPTY = msgspec.json.encode({"schemaVersion": 2, "mediaType": OCI_INDEX_TYPE, "manifests": []})
_NEVER_HEARD_OF_IT = (400, 404, 405)
"""What registries answer that keep no lists of referrers."""
_UPDATES = 5
"""How often to begin anew when others change the index at the same time."""
_updating = threading.Lock()
"""Within a process they take turns."""


def fallback_tag(subject: Digest) -> str:
    """The tag of a manifest's list where the registry has none: at most 32 and 64 characters, a tag can have no colon."""
    return f"{subject.algorithm[:32]}-{subject.hex[:64]}"


def referrers(registry: Registry, subject: Digest, artifact_type: str = "") -> list[Part]:
    """What refers to the manifest, of that type if one is given; nothing where nothing does. Raises RegistryError."""
    found: list[Part] = []
    query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
    for page in pages(registry, f"referrers/{subject}{query}", also_ok=_NEVER_HEARD_OF_IT):
        if not _is_list(page.status, page.headers):
            raw, _ = _kept_by_clients(registry, subject)
            found = list(Contents.parse(raw, _index_of(registry, subject)).manifests)
            break
        found += Contents.parse(page.body, f"{registry.identity}: referrers").manifests
        if len(found) > MAX_REFERRERS:
            raise RegistryError(f"{registry.identity}: the registry lists more than {MAX_REFERRERS} referrers")
    # Whether or not the registry did (it says so in OCI-Filters-Applied), which costs nothing.
    once = {part.descriptor.digest: part for part in found}.values()
    return [part for part in once if artifact_type in ("", part.artifact_type)]


def note_subject(registry: Registry, manifest: RemoteManifest, reply: requests.Response) -> None:
    """After a manifest was stored with `reply`: see that it is listed with its subject. Raises RegistryError."""
    contents = Contents.parse(manifest.raw, registry.identity)
    if contents.subject is None or "OCI-Subject" in reply.headers:
        return
    part = contents.described(manifest.digest, manifest.media_type, len(manifest.raw))
    _update(registry, contents.subject.descriptor.digest, manifest.digest, [part.to_json()])


def forget_subject(registry: Registry, manifest: RemoteManifest) -> None:
    """After a manifest was deleted: take it out of the index of its subject, if clients keep one. Raises RegistryError."""
    subject = Contents.parse(manifest.raw, registry.identity).subject
    if subject is None:
        return
    digest = subject.descriptor.digest
    reply = registry.ask("GET", f"referrers/{digest}", also_ok=_NEVER_HEARD_OF_IT)
    if not _is_list(reply.status_code, reply.headers):
        _update(registry, digest, manifest.digest, [])


def _is_list(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the registry keeps such lists itself."""
    return status == 200 and headers.get("Content-Type", "").partition(";")[0].strip() == OCI_INDEX_TYPE


def _update(registry: Registry, subject: Digest, digest: Digest, entry: list[dict[str, Any]]) -> None:
    """Have the index that clients keep say this, or nothing, of a referrer; what it says of others stays as it is."""
    tag = fallback_tag(subject)
    with _updating:
        for _ in range(_UPDATES):
            raw, etag = _kept_by_clients(registry, subject)
            index: dict[str, Any] = msgspec.json.decode(raw)
            listed: list[dict[str, Any]] = index.get("manifests") or []
            wanted = [other for other in listed if other["digest"] != str(digest)] + entry
            if wanted == listed:
                return
            raw = msgspec.json.encode(index | {"manifests": wanted})
            if len(raw) > MAX_MANIFEST_BYTES:
                raise RegistryError(f"{registry.identity}: the index {tag} has no room for another referrer")
            headers = {"Content-Type": OCI_INDEX_TYPE}
            # So that a registry which can tell refuses what another client's change has overtaken.
            if etag and not etag.startswith("W/"):
                headers["If-Match"] = etag
            if registry.ask("PUT", f"manifests/{tag}", data=raw, headers=headers, also_ok=(412,)).status_code != 412:
                return
    raise RegistryError(f"{registry.identity}: others keep changing the index {tag}", hint="try again")


def _kept_by_clients(registry: Registry, subject: Digest) -> tuple[bytes, str]:
    """The index under the fallback tag, well formed, and its ETag; an empty one when there is none."""
    tag = fallback_tag(subject)
    reply = registry.send("GET", f"manifests/{tag}", headers={"Accept": OCI_INDEX_TYPE}, also_ok=(400, 404))
    raw = registry.whole(reply, "index", MAX_MANIFEST_BYTES)
    if not _is_list(
        reply.status_code, reply.headers
    ):  # none; or something else has the tag, which some call a bad request
        return _EMPTY, ""
    Contents.parse(raw, _index_of(registry, subject))
    return raw, reply.headers.get("ETag", "")


def _index_of(registry: Registry, subject: Digest) -> str:
    return f"{registry.identity}: index {fallback_tag(subject)}"
