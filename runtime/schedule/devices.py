"""Which layers go to which GPU. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from .memory import Estimate

SPREAD = -1
"""As `main_gpu`: over all of them."""


class Device(Protocol):
    """A GPU, as the engine sees it."""

    @property
    def kind(self) -> str:
        """`gpu`, or `igpu` for one that uses the machine's memory."""
        ...

    @property
    def free(self) -> int:
        """Bytes of its memory that nobody uses."""
        ...

    @property
    def total(self) -> int:
        """Bytes of its memory."""
        ...


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a model's layers go."""

    num_gpu: int
    """How many, counted from the last; the output is one more than there are blocks."""
    main_gpu: int
    """The one device they go to, or SPREAD."""
    vram: int
    """Bytes they take there."""
    is_whole: bool
    """Whether all that are wanted there fit."""


def lay_out(
    estimate: Estimate,
    devices: Sequence[Device],
    *,
    overhead: int = 0,
    spread: bool = False,
    num_gpu: int = -1,
    main_gpu: int | None = None,
) -> Layout:
    """As many layers as fit into what is free but `overhead` bytes on each device; or `num_gpu`, if that is not negative.

    One device takes them where it can: `main_gpu` if it is named, else the one with most room. Where none can take all,
    or with `spread`, they go to all devices.
    """
    if not devices or num_gpu == 0:
        return Layout(0, main_gpu or 0, 0, is_whole=True)
    layers = [weights + cache for weights, cache in zip(estimate.blocks, estimate.caches, strict=True)]
    # By how many layers there are, counted from the last.
    sizes = list(accumulate([estimate.output, *reversed(layers)], initial=0))
    most = len(sizes) - 1
    wanted = min(num_gpu, most) if num_gpu > 0 else most
    free = [max(0, device.free - overhead - estimate.compute) for device in devices]
    roomiest = max(range(len(free)), key=free.__getitem__)
    single = roomiest if main_gpu is None or not 0 <= main_gpu < len(free) else main_gpu
    usable = [room for room in free if room]
    is_single = len(usable) < 2 or single == main_gpu or (not spread and sizes[wanted] <= free[single])
    room = free[single] if is_single else _shared(usable, max(layers, default=0))
    fitting = max(count for count, size in enumerate(sizes) if size <= room)
    count = wanted if num_gpu > 0 else fitting
    vram = sizes[count] + estimate.compute * (1 if is_single else len(usable)) if count else 0
    return Layout(count, single if is_single else SPREAD, vram, is_whole=wanted <= fitting)


def _shared(free: Sequence[int], largest: int) -> int:
    """What devices hold together: a layer is not divided, so each may leave most of one unused."""
    waste = largest * (len(free) - 1) // 2
    return max(0, sum(free) - waste)
