"""Machine: how much memory may still be taken, by the kernel and by the control groups this process is in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..engine.cgroup import Group, groups


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of memory."""

    available: int
    """What can be taken without swapping; file pages that are not in use count as free."""
    owner: str
    """Whose memory it is: `this machine`'s or `its control group`'s."""


@dataclass(frozen=True, slots=True)
class Machine:
    """See the module."""

    root: Path = Path("/")
    """Where the system's files are."""

    def room(self) -> Room | None:
        """The tightest of all bounds; None where the system does not say."""
        bounds = [self._kernel(), *map(_of_group, groups("memory", self.root))]
        return min((bound for bound in bounds if bound), key=lambda bound: bound.available, default=None)

    def _kernel(self) -> Room | None:
        try:
            lines = (self.root / "proc/meminfo").read_text().splitlines()
            rows = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
            return Room(int(rows["MemAvailable"][0]) << 10, "this machine")
        except (OSError, KeyError, IndexError, ValueError):
            return None


def _of_group(group: Group) -> Room | None:
    names = ("memory.max", "memory.high") if group.version == 2 else ("memory.limit_in_bytes",)
    used = group.number("memory.current" if group.version == 2 else "memory.usage_in_bytes")
    limits = [limit for name in names if (limit := group.number(name)) is not None]
    if not limits or used is None:
        return None
    statistics = group.table("memory.stat")
    prefix = "" if group.version == 2 else "total_"
    files = sum(statistics.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
    return Room(max(0, min(limits) - max(0, used - files)), "its control group")
