"""How many threads are good for the engine: one for each core that this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .cgroup import groups


def available_cores(root: Path = Path("/"), affinity: Iterable[int] | None = None) -> int:
    """Physical cores among the processors this process may run on, no more than its control groups' quota; at least 1.

    Part of a core is none: threads wait for each other, and one that is throttled holds up all.
    """
    processors = os.sched_getaffinity(0) if affinity is None else set(affinity)
    cores = {_siblings(root, processor) for processor in processors}
    return max(1, int(min([len(cores), *_quotas(root)])))


def _siblings(root: Path, processor: int) -> str:
    """What is the same for all processors of one core."""
    folder = root / f"sys/devices/system/cpu/cpu{processor}/topology"
    for name in ("core_cpus_list", "thread_siblings_list"):
        try:
            return (folder / name).read_text().strip()
        except OSError:
            continue
    return str(processor)


def _quotas(root: Path) -> Iterable[float]:
    """Cores' worth of time that the control groups allow."""
    for group in groups("cpu", root):
        if group.version == 2:
            quota, _, period = group.text("cpu.max").partition(" ")
        else:
            quota, period = group.text("cpu.cfs_quota_us"), group.text("cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)
