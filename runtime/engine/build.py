"""Build: the engine as it is installed here, tried out once. No other file runs llama.cpp for that, and no server's process
loads it: a build for another processor, or one that its compiler got wrong, ends whoever calls it.

`probe` has a process of its own check the library and evaluate some tokens with a model of nothing. What came of that is kept
in a file, so that it is done once for each build and processor.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import secrets
import signal
import subprocess
import sys
import threading
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import msgspec

from ...store.errors import FileError, MachineError, system_errors
from .worker import NOT_INSTALLED, VARIABLES

log = logging.getLogger(__name__)

WITHOUT_EXTRA_BUFFERS = "plain"
DEVICES = "devices"
"""What the probe may be told."""
BROKEN = "build it anew: make setup, or: pip install --no-cache-dir --force-reinstall 'corral[llama]'"
"""The cure."""

_TIMEOUT = 120
_FORMAT = 1
"""Of the kept file; a change of what is tried out or kept needs another."""
_CPU_FAULTS = (signal.SIGSEGV, signal.SIGILL, signal.SIGBUS, signal.SIGFPE, signal.SIGABRT)
_SELECTING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES")
"""Variables that decide which devices the library sees."""
_T = TypeVar("_T")


class Device(msgspec.Struct, frozen=True):
    """Something the engine computes on."""

    name: str
    description: str
    kind: str
    """`cpu`, `gpu`, `igpu` (a GPU without memory of its own) or `accel`."""
    free: int
    """Bytes of its memory that were free when it was asked; 0 where it does not say."""
    total: int
    """Bytes of its memory."""


class Build(msgspec.Struct, frozen=True):
    """An installed engine."""

    version: str
    """Of the bindings, and in parentheses llama.cpp's and ggml's."""
    system: str
    """What the engine says of itself, as it says it."""
    instruction_sets: list[str]
    """Those of the processor's that it was built for."""
    devices: list[Device]
    """See `devices()` for how much of their memory is free now."""
    offloads: bool
    """Whether it can use a GPU."""
    use_extra_buffers: bool
    """Whether weights may be repacked for this processor: False where that ended the process."""


class Refused(msgspec.Struct, frozen=True):
    """With the exit status 1 instead of an answer: why the engine cannot be used."""

    error: str
    hint: str | None = None


_guard = threading.Lock()
_known: dict[Path, Build] = {}
"""Where no file can be kept, this process remembers."""


def probe() -> Build:
    """The installed engine, tried out if it has not been. Raises MachineError with the cure."""
    kept = _folder() / f"engine-{_identity()}.json"
    with _guard:
        build = _known.get(kept) or _read(kept)
        if build is None:
            build = _tried_out()
            _keep(kept, build)
        _known[kept] = build
        return build


def devices() -> list[Device]:
    """What the engine can compute on, and how much memory is free there now. Raises MachineError."""
    _identity()
    return _asked(list[Device], DEVICES)


def signal_name(number: int) -> str:
    """`SIGSEGV`, or the number of a signal without a name."""
    return {known.value: known.name for known in signal.Signals}.get(number, str(number))


class _DiedError(MachineError):
    """The process that tried the engine out was ended by a signal."""

    def __init__(self, status: int, said: str) -> None:
        self.signal = -status
        how = f"signal: {signal_name(-status)}{f' ({said})' if said else ''}"
        super().__init__(f"the engine is broken: it ended at its first use: {how}", hint=BROKEN)


def _tried_out() -> Build:
    try:
        return _asked(Build)
    except _DiedError as error:
        if error.signal not in _CPU_FAULTS:
            raise
        build = _asked(Build, WITHOUT_EXTRA_BUFFERS)
        name = signal_name(error.signal)
        log.warning(
            "the engine dies of its own fast kernels on this processor (signal: %s) and goes without them, more slowly; %s",
            name,
            BROKEN,
        )
        return build


def _asked(kind: type[_T], *arguments: str) -> _T:
    """What the probe says. Raises _DiedError, MachineError."""
    command = [sys.executable, "-m", __name__.rpartition(".")[0] + ".llama.probe", *arguments]
    with system_errors(sys.executable, "try the engine out", FileError):
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, env=VARIABLES | os.environ
            )
        except subprocess.TimeoutExpired:
            raise MachineError(f"the engine is broken: its first use took over {_TIMEOUT} s", hint=BROKEN) from None
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [""]
    if done.returncode < 0:
        raise _DiedError(done.returncode, lines[-1][:500])
    try:
        if not done.returncode:
            return msgspec.json.decode(done.stdout, type=kind)
        refused = msgspec.json.decode(done.stdout, type=Refused)
    except msgspec.DecodeError:
        refused = Refused(f"the engine is broken: {lines[-1][:500] or 'it says nothing'}", BROKEN)
    raise MachineError(refused.error, hint=refused.hint)


def _identity() -> str:
    """Of the libraries, the processor and what else the answer depends on, in a few hex digits. Raises MachineError."""
    found = find_spec("llama_cpp")
    if found is None or not found.submodule_search_locations:
        raise MachineError("the engine is not installed: there is no llama_cpp", hint=NOT_INSTALLED)
    named = os.environ.get("LLAMA_CPP_LIB_PATH")
    folder = Path(named) if named else Path(found.submodule_search_locations[0], "lib")
    try:
        files = sorted((file.name, file.stat()) for file in folder.iterdir())
        version = metadata.version("llama-cpp-python")
    except (OSError, metadata.PackageNotFoundError) as cause:
        raise MachineError(f"the engine is not installed: {cause}", hint=NOT_INSTALLED) from None
    libraries = [(name, status.st_size, status.st_mtime_ns) for name, status in files]
    selected = [os.environ.get(variable) for variable in _SELECTING]
    facts = (_FORMAT, version, str(folder), libraries, _processor(), selected)
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:16]


def _processor() -> str:
    """Its model and what it can do."""
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    lasting = ("model name", "flags", "Features", "CPU ")  # others, like the clock's speed, change all the time
    return "\n".join(line for line in first.splitlines() if line.startswith(lasting))


def _folder() -> Path:
    named = os.environ.get("CORRAL_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "corral")


def _read(kept: Path) -> Build | None:
    try:
        return msgspec.json.decode(kept.read_bytes(), type=Build)
    except (OSError, msgspec.DecodeError):  # absent or damaged, it is written anew
        return None


def _keep(kept: Path, build: Build) -> None:
    temporary = kept.with_name(f"{kept.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):  # it is tried out again, which costs a second
        kept.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(msgspec.json.encode(build))
            temporary.replace(kept)
        finally:
            temporary.unlink(missing_ok=True)
