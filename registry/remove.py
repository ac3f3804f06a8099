"""Remove: a tag, or a manifest with all its tags, from a registry.

By distribution-spec 1.1 a tag is removed alone. Older registries (Distribution 2.8) only remove a manifest by its digest,
and with it every tag it has; that is done only when there is no other tag, or its user wants it so.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..store.digest import Digest
from ..store.errors import InputError
from ..store.name import Name
from .catalog import tags
from .copy import fetched
from .errors import RegistryError
from .referrers import forget_subject
from .remote import Access
from .transport import Registry, RemoteManifest

MAX_COMPARED = 1000
"""Tags of which it is asked what they stand for, to find the others of a manifest."""
_REFUSED = (400, 405, 501)
"""What registries answer to the deletion of a tag that cannot do it."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What was done."""

    digest: Digest
    """The manifest that the name stood for."""
    is_whole: bool
    """Whether the manifest is gone, and with it all its tags; else only the one tag."""


def remove(name: Name, *, insecure: bool = False, access: Access | None = None, all_tags: bool = False) -> Removed:
    """Remove the tag; the manifest with all its tags if it is named by its digest, or with `all_tags`.

    Raises InputError when it could not be done without removing other tags too, RegistryError.
    """
    with Registry(name, insecure=insecure, access=access, actions="pull,push,delete") as registry:
        manifest = fetched(registry, name.reference)
        if not (name.digest or all_tags):
            reply = registry.ask("DELETE", f"manifests/{name.tag}", also_ok=_REFUSED)
            if reply.status_code not in _REFUSED:
                return Removed(manifest.digest, is_whole=False)
            _check_alone(registry, name, manifest)
        reply = registry.ask("DELETE", f"manifests/{manifest.digest}", also_ok=_REFUSED)
        if reply.status_code in _REFUSED:
            raise RegistryError(
                f"{name}: the registry {registry.host} deletes nothing ({reply.status_code})",
                status=reply.status_code,
                hint="its owner has to allow it; Distribution has it under storage.delete.enabled",
            )
        forget_subject(registry, manifest)
        return Removed(manifest.digest, is_whole=True)


def _check_alone(registry: Registry, name: Name, manifest: RemoteManifest) -> None:
    """Raises InputError when the manifest has other tags than this, which would go with it."""
    others = [tag for tag in tags(registry) if tag != name.tag]
    advice = "--all-tags removes it with all of them"
    if len(others) > MAX_COMPARED:
        raise InputError(
            f"{name}: {registry.host} removes no single tag, and has too many ({len(others)}) to see which are the same",
            hint=advice,
        )
    same = [tag for tag in others if _digest(registry, tag) == str(manifest.digest)]
    if same:
        shown = ", ".join(same[:5]) + (f" and {len(same) - 5} more" if len(same) > 5 else "")
        raise InputError(
            f"{name}: {registry.host} removes no single tag, and this manifest is also {shown}", hint=advice
        )


def _digest(registry: Registry, tag: str) -> str:
    """What a tag stands for; "" when it is gone by now."""
    try:
        return str(registry.manifest(tag).digest)
    except RegistryError as error:
        if error.status == 404:
            return ""
        raise
