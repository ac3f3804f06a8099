"""Trust: who may see a registry's credentials, and where its replies may lead. Pure.

A credential belongs to its registry. Besides it, only a token service that is evidently the registry's own may see it: on
the same host, in the same registrable domain (`registry.gitlab.com`, `gitlab.com`), or named by the user.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import cache
from typing import Literal
from urllib.parse import urlsplit

from ..store.errors import shown

Place = Literal["public", "private", "loopback", "link-local"]
_NETLOC = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Whom one talks to, and how."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Origin:
        """The origin of an absolute address. Raises ValueError that says what is wrong with it."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS:
            raise ValueError("it is neither http nor https")
        # No user names; and nothing that another parser might take for the end of the host.
        if not _NETLOC.fullmatch(parts.netloc) or not parts.hostname:
            raise ValueError(f"{shown(parts.netloc)} is no host")
        return cls(parts.scheme, parts.hostname.rstrip("."), _PORTS[parts.scheme] if parts.port is None else parts.port)

    @property
    def is_plain(self) -> bool:
        """Whether what is said to it can be read on the way."""
        return self.scheme == "http"


def may_see_credentials(service: Origin, registry: Origin, own_realm: str | None) -> bool:
    """Whether a token service is evidently the registry's, or `own_realm`, the host that the user named as its own."""
    if service.is_plain and not registry.is_plain:
        return False
    return service.host in (registry.host, own_realm) or _is_same_site(service.host, registry.host)


def _is_same_site(one: str, other: str) -> bool:
    site = _site(one)
    return site is not None and site == _site(other)


@cache
def _site(host: str) -> str | None:
    """The registrable domain; None for an address, for a single word and for a public suffix."""
    from publicsuffixlist import PublicSuffixList  # a list of 10,000 rules, which most pulls do not need

    if place_of(host) is not None or "." not in host:
        return None
    return PublicSuffixList(accept_unknown=True).privatesuffix(host)


def check_way(target: Origin, registry: Origin, home: Place) -> None:
    """Raises ValueError, which says why, where a reply of the registry, which is at `home`, must not lead."""
    if target.is_plain and not registry.is_plain:
        raise ValueError("it leads from https to http")
    place = place_of(target.host)
    if place is not None and not is_in_reach(place, home):
        raise ValueError(f"it leads to a {place} address")


def is_in_reach(place: Place, home: Place) -> bool:
    """Whether a registry at `home` may send one to `place`: not from the Internet into somebody's own network."""
    return place in ("public", home) or (home, place) == ("loopback", "private")


def place_of(host: str) -> Place | None:
    """What network an IP address belongs to; None for a name."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return "loopback" if host == "localhost" or host.endswith(".localhost") else None
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    return "public" if address.is_global else "private"


def is_loopback(host: str) -> bool:
    """Whether `host`, which may have a port, is this machine under a name of its own."""
    bare = (host if host.endswith("]") else host.rpartition(":")[0] or host).strip("[]")
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare == "localhost"
