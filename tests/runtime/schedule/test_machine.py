"""How much memory may be taken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from corral.runtime.schedule.machine import Machine, Room

GIB = 1 << 30
KERNEL = {"proc/meminfo": f"MemTotal: {64 << 20} kB\nMemFree: 1 kB\nMemAvailable:   {8 << 20} kB\n"}
V2 = KERNEL | {"proc/self/cgroup": "0::/a/b\n"} | {
    f"sys/fs/cgroup/{p}cgroup.controllers": "memory" for p in ("", "a/", "a/b/")
}  # fmt: skip
V1 = KERNEL | {"proc/self/cgroup": "9:memory:/a\n0::/\n", "sys/fs/cgroup/memory/a/cgroup.procs": "1"}
GROUP = "its control group"


def written(root: Path, files: Mapping[str, object]) -> Path:
    for name, value in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{value}\n")
    return root


def v2(folder: str, limit: object, used: int, statistics: str = "") -> dict[str, object]:
    at = f"sys/fs/cgroup/{folder}memory"
    return {f"{at}.max": limit, f"{at}.current": used, f"{at}.stat": statistics}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/meminfo": "rubbish"}, None),
        (KERNEL, Room(8 * GIB, "this machine")),
        (V2 | v2("a/b/", "max", GIB), Room(8 * GIB, "this machine")),
        (V2 | v2("a/b/", 16 * GIB, GIB), Room(8 * GIB, "this machine")),
        (V2 | v2("a/b/", 4 * GIB, GIB), Room(3 * GIB, GROUP)),
        (V2 | v2("a/b/", 4 * GIB, 3 * GIB, f"anon 5\nactive_file {GIB}\ninactive_file {GIB}"), Room(3 * GIB, GROUP)),
        (V2 | v2("a/b/", "max", GIB) | v2("a/", 2 * GIB, GIB), Room(GIB, GROUP)),
        (V2 | v2("a/b/", 2 * GIB, 3 * GIB), Room(0, GROUP)),
        (V2 | v2("a/b/", 6 * GIB, GIB) | {"sys/fs/cgroup/a/b/memory.high": 2 * GIB}, Room(GIB, GROUP)),
        (
            V1
            | {
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": 5 * GIB,
                "sys/fs/cgroup/memory/a/memory.usage_in_bytes": 3 * GIB,
                "sys/fs/cgroup/memory/a/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n",
            },
            Room(3 * GIB, GROUP),
        ),
        (V1 | {"sys/fs/cgroup/memory/a/memory.limit_in_bytes": 9223372036854771712}, Room(8 * GIB, "this machine")),
    ],
)
def test_the_tightest_bound_counts(tmp_path: Path, files: dict[str, object], expected: Room | None) -> None:
    assert Machine(written(tmp_path, files)).room() == expected


def test_this_machine_has_some() -> None:
    found = Machine().room()
    assert found
    assert found.available > 0
