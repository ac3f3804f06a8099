"""Cores that this process may use: real cores, its affinity, its control groups' quota."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from corral.runtime.engine.threads import available_cores

EIGHT = {f"sys/devices/system/cpu/cpu{i}/topology/core_cpus_list": f"{i % 4},{i % 4 + 4}" for i in range(8)}
"""Four cores of two threads each."""
V2 = {"proc/self/cgroup": "0::/a/b\n"} | {f"sys/fs/cgroup/{p}cgroup.controllers": "cpu" for p in ("", "a/", "a/b/")}
V1 = {"proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/a\n"} | {
    f"sys/fs/cgroup/cpu,cpuacct/{p}cgroup.procs": "" for p in ("", "a/")
}

HOSTS = {"proc/self/cgroup": "0::/a/path/that/is/the/hosts\n", "sys/fs/cgroup/cgroup.controllers": ""}


def written(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("affinity", "cores"), [(range(8), 4), ((0, 4), 1), ((0, 1), 2), ((0, 5), 2), ((3,), 1), (range(99), 95)]
)
def test_threads_of_one_core_count_once(tmp_path: Path, affinity: range, cores: int) -> None:
    assert available_cores(written(tmp_path, EIGHT), affinity) == cores


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 4),
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "200000 100000"}, 2),
        (V2 | {"sys/fs/cgroup/a/cpu.max": "390000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 3),
        (V2 | {"sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "rubbish"}, 4),
        (V1 | {"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "-1"}, 4),
        (
            V1
            | {
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
            },
            2,
        ),
        (HOSTS | {"sys/fs/cgroup/cpu.max": "100000 100000"}, 1),
    ],
)  # fmt: skip
def test_a_quota_allows_whole_cores(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    assert available_cores(written(tmp_path, EIGHT | files), range(8)) == cores


def test_this_machine_has_some() -> None:
    assert 1 <= available_cores() <= len(os.sched_getaffinity(0))
