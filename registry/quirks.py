"""Quirks: how much of a blob each registry takes in one request. Pure.

One request for the whole blob works everywhere, and cannot be gone on with once it broke. So large blobs go in chunks, but
for registries that are known to take none; sources are in docs/registries.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """How a registry wants blobs sent. Sizes are in bytes."""

    whole_up_to: int
    """Blobs up to this size go in one request."""
    chunk: int
    """What of a larger one goes in one request, unless the registry wants other sizes."""
    takes_chunks: bool = True
    is_ollamas: bool = False
    """It takes parts only, sends one elsewhere with them, and wants their checksums at the end."""


_ALWAYS_WHOLE = UploadPolicy(0, 0, takes_chunks=False)
_USUAL = UploadPolicy(256 * MIB, 64 * MIB)
_KNOWN = (
    (r"(.+\.)?ollama\.(ai|com)", UploadPolicy(0, 100_000_000, is_ollamas=True)),
    # Answers 416 to a chunk above 4 MiB.
    (r"ghcr\.io", _ALWAYS_WHOLE),
    # Answers 201 to the first chunk and takes no other.
    (r".+\.dkr\.ecr(-fips)?\..+\.amazonaws\.com(\.cn)?|public\.ecr\.aws", _ALWAYS_WHOLE),
    # Take no chunks.
    (r"(.+\.)?gcr\.io|.+-docker\.pkg\.dev", _ALWAYS_WHOLE),
    # Ends a request above 20 GB.
    (r"quay\.io", UploadPolicy(16 << 30, 1 << 30)),
)


def upload_policy(host: str) -> UploadPolicy:
    """The policy for a registry by its host, which may have a port."""
    bare = host.lower().partition(":")[0]
    return next((policy for pattern, policy in _KNOWN if re.fullmatch(pattern, bare)), _USUAL)


def part_size(size: int) -> int:
    """Ollama's part: a sixteenth of the blob, but from 100 MB to 1 GB."""
    return min(max(size // 16, 100_000_000), 1_000_000_000)


def acknowledged(header: str | None) -> int | None:
    """How many bytes an upload's Range says are there; None where it says nothing that can be understood."""
    match = re.fullmatch(r"(?:bytes=)?0-(\d{1,19})", (header or "").strip())
    # Nothing and one byte look the same, by the registries' own tradition.
    return int(match[1]) + 1 if match and match[1] != "0" else 0 if match else None
