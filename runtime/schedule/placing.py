"""Placer: how a model is loaded on this machine, beside what is loaded already; or that it does not fit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from ...store.errors import MachineError
from ...store.header import GGUF
from ..engine import build
from ..engine.protocol import Loaded, LoadOptions
from .devices import Device, lay_out
from .machine import Machine, Room
from .memory import PROCESS, estimate
from .policy import USUAL_CONTEXT, Wanted

log = logging.getLogger(__name__)

LEAST_CONTEXT = 2048
"""Tokens that a context has at least, unless fewer are asked for or the model has no more."""
_MODEST = 2
"""A context of our own choice takes at most this part of the memory that the weights leave, if it is not a short one."""
_MIB = 1 << 20
_MACHINE = Machine()
_HINT = (
    "ask for a smaller num_ctx, set OLLAMA_NUM_PARALLEL=1 or OLLAMA_KV_CACHE_TYPE=q8_0, free memory, "
    "or take a smaller or more quantised model"
)


class TooLargeError(MachineError):
    """The model needs more memory than there is."""

    def __init__(self, name: str, needs: int, room: Room, why: str) -> None:
        super().__init__(
            f"model '{name}' needs {-(-needs // _MIB)} MiB of memory ({why}), {room.owner} has "
            f"{room.available // _MIB} MiB free",
            hint=_HINT,
        )
        self.needs = needs
        self.available = room.available


@dataclass(frozen=True, slots=True)
class Placement:
    """How it is loaded."""

    options: LoadOptions
    is_whole: bool
    """Whether all layers that may be on GPUs are there."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """It does not fit."""

    needs: int
    room: Room
    num_ctx: int


def no_devices() -> Sequence[Device]:
    """On a machine without GPUs."""
    return ()


def gpus() -> Sequence[Device]:
    """The GPUs that the installed engine can use, as they are now. None where it does not work: the load will say why."""
    try:
        found = build.devices() if build.probe().offloads else []
    except MachineError:
        return ()
    # Like llama.cpp: a GPU that has no memory of its own is used where there is no other.
    return [device for device in found if device.kind == "gpu"] or [d for d in found if d.kind == "igpu"]


class Placer:
    """See the module. Its methods may take a while: the engine may be asked for its devices."""

    def __init__(
        self,
        *,
        devices: Callable[[], Sequence[Device]] = no_devices,
        room: Callable[[], Room | None] = _MACHINE.room,
        overhead: int = 0,
        spread: bool = False,
    ) -> None:
        """`overhead` bytes are left free on each GPU; with `spread` all of them are used for each model."""
        self._devices = devices
        self._room = room
        self._overhead = overhead
        self._spread = spread
        self._first: Sequence[Device] | None = None

    def gpus(self) -> int:
        """How many there are."""
        return len(self._known())

    def vram(self) -> int:
        """Bytes of all GPUs together, without what is to be left free."""
        return sum(max(0, device.total - self._overhead) for device in self._known())

    def place(self, wanted: Wanted, held: int, *, name: str, may_shrink: bool) -> Placement | Shortage:
        """How to load a model now; warnings call it `name`.

        `held` are bytes of the weights of models that stay loaded: the system counts their pages as free, and they are not.
        A context that nobody asked for is the longest that leaves memory to others. With `may_shrink` it is made shorter
        until all layers are on GPUs, and any context until it fits.
        """
        if wanted.header is None:
            return Placement(wanted.options, is_whole=True)
        devices = self._devices()
        room = self._room()
        if room:
            room = Room(max(0, room.available - held), room.owner)
        if wanted.is_elastic:
            wanted = replace(wanted, options=self._modest(wanted.options, wanted.header, room))
        if wanted.is_elastic and may_shrink and devices:
            for num_ctx in _contexts(wanted.options.num_ctx, USUAL_CONTEXT):
                placed = self._laid_out(wanted, num_ctx, devices, room)
                if isinstance(placed, Placement) and placed.is_whole:
                    return _told(placed, wanted, name)
        placed = self._laid_out(wanted, wanted.options.num_ctx, devices, room)
        for num_ctx in _contexts(wanted.options.num_ctx, LEAST_CONTEXT) if may_shrink else ():
            if isinstance(placed, Placement):
                break
            placed = self._laid_out(wanted, num_ctx, devices, room)
        return _told(placed, wanted, name) if isinstance(placed, Placement) else placed

    def _modest(self, options: LoadOptions, header: GGUF, room: Room | None) -> LoadOptions:
        """The options with a context that takes no more than its part of the memory."""
        free = self.vram() or (room.available if room else 0)
        modest = options
        for num_ctx in _contexts(options.num_ctx, USUAL_CONTEXT):
            modest = msgspec.structs.replace(options, num_ctx=num_ctx)
            needed = estimate(header, modest)
            if needed.weights + _MODEST * (needed.total - needed.weights) <= free:
                break
        return modest

    def _known(self) -> Sequence[Device]:
        if self._first is None:
            self._first = self._devices()
        return self._first

    def _laid_out(
        self, wanted: Wanted, num_ctx: int, devices: Sequence[Device], room: Room | None
    ) -> Placement | Shortage:
        assert wanted.header
        options = msgspec.structs.replace(wanted.options, num_ctx=num_ctx)
        needed = estimate(wanted.header, options)
        layout = lay_out(
            needed,
            devices,
            overhead=self._overhead,
            spread=self._spread,
            num_gpu=options.num_gpu,
            main_gpu=wanted.main_gpu,
        )
        shares = all(device.kind == "igpu" for device in devices)
        needs = needed.total if shares else max(needed.total - layout.vram, needed.embedding)
        needs += PROCESS + sum(_size(Path(adapter.path)) for adapter in options.adapters)
        if room and needs > room.available:
            return Shortage(needs, room, num_ctx)
        options = msgspec.structs.replace(options, num_gpu=layout.num_gpu, main_gpu=layout.main_gpu)
        return Placement(options, layout.is_whole)


def taken(wanted: Wanted, options: LoadOptions, loaded: Loaded) -> int:
    """Bytes that a loaded model gives back at most: what it says it has, or was foreseen to come to have."""
    foreseen = estimate(wanted.header, options).total if wanted.header else 0
    return max(loaded.memory, foreseen) + PROCESS


def too_large(name: str, shortage: Shortage, slots: int) -> TooLargeError:
    """The error for what cannot be loaded even alone."""
    why = f"with a context of {shortage.num_ctx} tokens for each of {slots} slots"
    return TooLargeError(name, shortage.needs, shortage.room, why)


def _told(placed: Placement, wanted: Wanted, name: str) -> Placement:
    if placed.options.num_ctx < wanted.options.num_ctx:
        text = "%s: loaded with a context of %d tokens instead of %d, to fit the memory"
        log.warning(text, name, placed.options.num_ctx, wanted.options.num_ctx)
    return placed


def _contexts(first: int, least: int) -> Iterable[int]:
    """The first, and by halves the smaller ones down to the least."""
    yield first
    while first > least:
        first = max(least, first // 2)
        yield first


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
