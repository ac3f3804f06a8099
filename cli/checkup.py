"""Checkup: what `corral doctor` looks at. Each function finds what is there, what is slow or wrong with it, and the cure.

The engine's library is never loaded here: a process of its own tries it out.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict

import psutil

from ..runtime.engine import build
from ..runtime.engine.threads import available_cores
from ..runtime.schedule.machine import Machine
from ..store.errors import BugError, CorralError, InputError, IntegrityError, MachineError, RemoteError
from ..store.local import Store
from .client import Client, Processes, is_listening
from .settings import Settings
from .units import counted, human_bytes
from .variables import faults, set_variables, unread

State: TypeAlias = Literal["ok", "note", "slow", "wrong"]

INSTRUCTION_SETS = {
    "AVX2": "avx2", "FMA": "fma", "F16C": "f16c", "BMI2": "bmi2", "AVX_VNNI": "avx_vnni", "AVX512": "avx512f",
    "AVX512_VBMI": "avx512vbmi", "AVX512_VNNI": "avx512_vnni", "AVX512_BF16": "avx512_bf16", "AMX_INT8": "amx_int8",
    "FP16_VA": "asimdhp", "DOTPROD": "asimddp", "MATMUL_INT8": "i8mm", "SVE": "sve", "SME": "sme",
}  # fmt: skip
"""What the engine calls them, and what /proc/cpuinfo does."""
_LEFT_OUT = frozenset({"AMX_INT8", "SME"})
"""A native build may have left these out on purpose."""
_LITTLE = 1 << 30
"""Bytes of memory or disk that hardly any model fits in."""
_GPUS = {"/proc/driver/nvidia/version": ("NVIDIA", "-DGGML_CUDA=ON"), "/dev/kfd": ("AMD", "-DGGML_HIP=ON")}
"""Where a driver shows itself, whose it is, and what builds the engine for it."""
_FICLONE = 0x40049409


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    state: State
    found: str
    cure: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The same for programs; sizes in bytes."""
    fault: type[CorralError] | None = None
    """Of what is wrong: the branch of the errors that says whose fault it is."""

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"check": self.check, "state": self.state, "found": self.found, "cure": self.cure, **self.data}


def checkup(settings: Settings) -> Iterator[Finding]:
    """Everything, in the order in which it is shown."""
    yield from engine()
    yield from cores(settings)
    yield memory()
    yield from store(settings)
    yield server(settings)
    yield from environment(settings)


def engine() -> Iterator[Finding]:
    """The build, its instruction sets and its devices."""
    try:
        installed = build.probe()
        devices = build.devices()
    except MachineError as error:
        yield Finding("engine", "wrong", str(error), error.hint, fault=MachineError)
        return
    name = _build_name()
    yield Finding(
        "engine",
        "ok",
        f"llama-cpp-python {installed.version}, the version that is pinned; {name} build",
        data={"version": installed.version, "build": name},
    )
    if not installed.use_extra_buffers:
        found = "it dies of its fast kernels on this processor and goes without them"
        yield Finding("kernels", "slow", found, "make setup-native, by GCC 13 or newer, or: make setup")
    yield instruction_sets(installed.instruction_sets, _cpu_flags(), is_native=name == "native")
    listed = [
        {"name": device.name, "description": device.description, "kind": device.kind}
        | {"free": device.free, "total": device.total}
        for device in devices
    ]
    names = ", ".join(
        f"{d.description or d.name}{f' ({human_bytes(d.free)} free)' if d.kind == 'gpu' else ''}" for d in devices
    )
    idle = None if installed.offloads else next((gpu for path, gpu in _GPUS.items() if Path(path).exists()), None)
    if idle:
        cure = f"CORRAL_LLAMA_CMAKE_ARGS={idle[1]} make setup"
        yield Finding("devices", "slow", f"this build does not use the {idle[0]} GPU", cure, {"devices": listed})
    else:
        yield Finding("devices", "ok", names or "none", data={"devices": listed})


def instruction_sets(used: list[str], cpu_flags: frozenset[str], *, is_native: bool = False) -> Finding:
    """Those of the build against those of the processor; a native build has all that the compiler gets right."""
    had = [name for name, flag in INSTRUCTION_SETS.items() if flag in cpu_flags]
    unused = [name for name in had if name not in used]
    data = {"used": used, "unused": unused}
    if any(name not in _LEFT_OUT for name in unused):
        found = f"this processor also has {', '.join(unused)}"
        if is_native:
            return Finding("instructions", "note", found, "make setup-native with a newer compiler", data)
        return Finding("instructions", "slow", found, "make setup-native", data)
    left_out = f"; {', '.join(unused)} is left out" if unused else ""
    return Finding("instructions", "ok", f"{', '.join(used) or 'none beyond the usual'}{left_out}", data=data)


def cores(settings: Settings) -> Iterator[Finding]:
    """What threads there are cores for, and what others take of them."""
    seen, usable = os.cpu_count() or 1, available_cores()
    try:
        asked = settings.count("NUM_THREAD", 0)
    except CorralError:  # told of as a variable
        asked = 0
    threads = asked or usable
    data = {"processors": seen, "cores": usable, "threads": threads, "load": os.getloadavg()[0]}
    found = f"{counted(usable, 'core')} to use of {counted(seen, 'processor')}, {counted(threads, 'thread')}"
    if threads > usable:
        yield Finding(
            "threads", "slow", f"{found}: they wait for each other", f"unset {settings.variable('NUM_THREAD')}", data
        )
    else:
        yield Finding("threads", "ok", found, data=data)
    if (busy := data["load"]) > seen:
        cure = "end what else runs, or give the engine fewer threads: CORRAL_NUM_THREAD=1"
        yield Finding("load", "slow", f"{busy:.1f} processes want {counted(seen, 'processor')}", cure)


def memory() -> Finding:
    """What may still be taken."""
    least = Machine().room()
    if least is None:
        return Finding("memory", "note", "the system does not say")
    total = psutil.virtual_memory().total
    data = {"available": least.available, "total": total, "owner": least.owner}
    found = f"{human_bytes(least.available)} of {least.owner} available, {human_bytes(total)} in the machine"
    if least.available < _LITTLE:
        return Finding("memory", "slow", found, "stop what else takes memory; corral ps, corral stop", data)
    return Finding("memory", "ok", found, data=data)


def store(settings: Settings) -> Iterator[Finding]:
    """The folder, its disk, and what can be seen of its models without reading them."""
    try:
        local = settings.store
        models, broken = local.models()
    except CorralError as error:
        yield Finding("store", "wrong", str(error), error.hint, fault=_branch(error))
        return
    disk = next(path for path in (local.root, *local.root.absolute().parents) if path.is_dir())
    free, shares = shutil.disk_usage(disk).free, _shares_space(disk)
    copies = "copies share space" if shares else "copies take space"
    found = f"{local.root}: {counted(len(models), 'model')}, {human_bytes(free)} free ({_file_system(disk)}, {copies})"
    data = {"path": str(local.root), "models": len(models), "free": free, "reflink": shares}
    little = free < _LITTLE
    yield Finding("store", "slow" if little else "ok", found, "corral gc; corral df" if little else None, data)
    problems: list[CorralError] = [*broken]
    for model in models:
        try:
            local.check_complete(model.manifest)
        except CorralError as error:
            problems.append(error)
    for error in problems:
        cure = error.hint or "corral verify --repair"
        yield Finding("model", "wrong", str(error), cure, fault=IntegrityError)
    if others := sum(path.lstat().st_uid != os.geteuid() for path in _blob_files(local)):
        cure = f"run it as the store's owner, or: chown -R {os.geteuid()} {local.root}"
        yield Finding("owner", "note", f"{counted(others, 'file')} of the store belong to other users", cure)


def server(settings: Settings) -> Finding:
    """Whether one answers."""
    try:
        url = settings.url
        if not is_listening(url):
            state = "wrong" if settings.is_remote else "ok"
            return _unreachable(url) if state == "wrong" else Finding("server", "ok", f"none at {url}")
        client = Client(url)
        version = client.get("/api/version", _Version)["version"]
        loaded = len(client.get("/api/ps", Processes)["models"])
    except CorralError as error:
        return Finding("server", "wrong", str(error), error.hint, fault=_branch(error))
    data = {"url": url, "version": version, "loaded": loaded}
    return Finding("server", "ok", f"{url}, version {version}, {counted(loaded, 'model')} loaded", data=data)


def environment(settings: Settings) -> Iterator[Finding]:
    """Variables, and the user's own settings."""
    found = faults(settings)
    for error in found:
        yield Finding("settings", "wrong", str(error), error.hint, fault=_branch(error))
    for line in unread(settings):
        yield Finding("settings", "note", line)
    if not found:
        names = set_variables(settings)
        yield Finding("settings", "ok", ", ".join(names) or "no variables are set", data={"variables": names})


class _Version(TypedDict):
    version: str


def _build_name() -> str:
    """`portable`, `native` or `custom`, as tools/setup.sh left it in this environment; `unknown` of any other."""
    try:
        return Path(sys.prefix, ".corral-engine").read_text().split()[0]
    except (OSError, IndexError):
        return "unknown"


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith(("flags", "Features"))), "").split())


def _unreachable(url: str) -> Finding:
    return Finding(
        "server", "wrong", f"{url}: nobody answers", "start it there, or unset OLLAMA_HOST", fault=RemoteError
    )


def _branch(error: CorralError) -> type[CorralError]:
    kinds = (InputError, IntegrityError, RemoteError, MachineError)
    return next((kind for kind in kinds if isinstance(error, kind)), BugError)


def _shares_space(folder: Path) -> bool:
    """Whether a copy there can share its bytes with the original (reflinks), tried with two files that have no names."""
    try:
        one, other = (os.open(folder, os.O_TMPFILE | os.O_RDWR) for _ in range(2))
    except (OSError, AttributeError):
        return False
    try:
        os.write(one, bytes(4096))
        fcntl.ioctl(other, _FICLONE, one)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(one)
        os.close(other)


def _file_system(folder: Path) -> str:
    """The type of the mount that a folder is on."""
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.absolute().is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def _blob_files(local: Store) -> Iterator[Path]:
    return local.blobs.folder.iterdir() if local.blobs.folder.is_dir() else iter(())
