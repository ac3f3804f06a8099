"""Models of random bytes, whose blobs have all the sizes at which something may go wrong."""

from __future__ import annotations

import random

from corral.store.config import Config
from corral.store.digest import Digest
from corral.store.manifest import (
    CONFIG_TYPE,
    LICENSE,
    MODEL,
    PARAMS,
    SYSTEM,
    TEMPLATE,
    Descriptor,
    Manifest,
)

from tests.registry.exchange import Data

_SIZES = (0, 1, 2, 17, 4096, 65_535, 65_537, 300_000, 1 << 20, (1 << 20) + 1, 2_500_000)
_MOST = 64 << 20
"""That `randbytes` gives at once."""


def random_model(chance: random.Random, *sizes: int) -> tuple[Manifest, dict[str, Data]]:
    """A model with one to four layers, or with layers of these sizes: its manifest, and its blobs by their digests."""
    sizes = sizes or tuple(chance.choice(_SIZES) for _ in range(chance.randint(1, 4)))
    contents: dict[str, Data] = {}

    def described(media_type: str, data: bytes) -> Descriptor:
        digest = Digest.of(data)
        contents[str(digest)] = data
        return Descriptor(media_type, digest, len(data))

    kinds = (MODEL, TEMPLATE, SYSTEM, PARAMS, LICENSE, LICENSE)
    layers = [described(kind, random_bytes(chance, size)) for kind, size in zip(kinds, sizes, strict=False)]
    return Manifest.build(described(CONFIG_TYPE, Config(model_format="gguf").encode()), layers), contents


def random_bytes(chance: random.Random, size: int) -> bytes:
    """As many as one likes."""
    return b"".join(chance.randbytes(min(_MOST, size - start)) for start in range(0, size, _MOST))
