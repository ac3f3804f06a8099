"""Catalog: lists that a registry gives in pages, by distribution-spec 1.1: what comes next stands in a Link header.

A registry may lie about how long a list is, so pages, their sizes and their entries are all bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urljoin

import msgspec

from ..store.errors import shown
from .errors import RegistryError
from .transport import Registry

MAX_PAGES = 1000
MAX_PAGE_BYTES = 4 << 20
MAX_TAGS = 100_000

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)


def next_page(link: str) -> str | None:
    """Where a Link header (RFC 8288) says the next page is; None when there is none."""
    for target, parameters in _LINK.findall(link):
        relations = {word.lower() for quoted, bare in _REL.findall(parameters) for word in (quoted or bare).split()}
        if "next" in relations:
            return target
    return None


def pages(registry: Registry, path: str, *, also_ok: tuple[int, ...] = (), **options: Any) -> Iterator[Page]:
    """A list's pages; `path` is seen from the repository. Raises RegistryError, also for a list without an end."""
    seen: set[str] = set()
    while path:
        reply = registry.send("GET", path, also_ok=also_ok, **options)
        if reply.url in seen or len(seen) == MAX_PAGES:
            reply.close()
            raise RegistryError(
                f"{registry.identity}: the registry's list has no end: page {len(seen) + 1} is {shown(path)}"
            )
        seen.add(reply.url)
        following = next_page(reply.headers.get("Link", ""))
        path = urljoin(reply.url, following) if following else ""
        yield Page(registry.identity, reply.status_code, reply.headers, registry.whole(reply, "page", MAX_PAGE_BYTES))


@dataclass(frozen=True, slots=True)
class Page:
    """One reply of several."""

    identity: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body, an object. Raises RegistryError."""
        try:
            document = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as cause:
            raise RegistryError(f"{self.identity}: the registry's list is no JSON: {cause}") from None
        if not isinstance(document, dict):
            raise RegistryError(f"{self.identity}: the registry's list is no JSON object")
        return cast("dict[str, Any]", document)


def tags(registry: Registry) -> list[str]:
    """A repository's tags, in the registry's order. Raises RegistryError, with status 404 when there is no repository."""
    found: list[str] = []
    try:
        for page in pages(registry, "tags/list"):
            listed: object = page.json().get("tags") or []
            if not isinstance(listed, list):
                raise RegistryError(f"{registry.identity}: the registry's tags are no list")
            for tag in cast("list[object]", listed):
                if not isinstance(tag, str) or not _TAG.fullmatch(tag):
                    raise RegistryError(f"{registry.identity}: the registry lists {shown(str(tag))}, which is no tag")
                found.append(tag)
            if len(found) > MAX_TAGS:
                raise RegistryError(f"{registry.identity}: the registry lists more than {MAX_TAGS} tags")
    except RegistryError as error:
        if error.status != 404:
            raise
        raise RegistryError(
            f"{registry.repository}: no such repository in the registry {registry.host}",
            status=404,
            hint="see that the name is right; some registries hide what one is not logged in for",
        ) from None
    return list(dict.fromkeys(found))
