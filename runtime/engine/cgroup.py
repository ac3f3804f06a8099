"""Control groups: the limits that this process is under, its own group's and those of all groups above it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Group:
    """A control group's folder."""

    folder: Path
    version: int

    def text(self, name: str) -> str:
        """What is in one of its files; "" when it has none."""
        try:
            return (self.folder / name).read_text().strip()
        except (OSError, ValueError):
            return ""

    def number(self, name: str) -> int | None:
        """A file's number; None for `max` and when there is none."""
        text = self.text(name)
        return int(text) if text.isdigit() else None

    def table(self, name: str) -> dict[str, int]:
        """A file of names and numbers."""
        rows = (line.split() for line in self.text(name).splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def groups(controller: str, root: Path) -> Iterator[Group]:
    """This process's groups for `memory` or `cpu`, its own first. `root` is where the file system is, `/` but in tests."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                yield from _upwards(root / mount, path, 2, "cgroup.controllers")
        elif controller in names.split(","):
            for mount in dict.fromkeys((controller, names)):
                yield from _upwards(root / "sys/fs/cgroup" / mount, path, 1, "cgroup.procs")


def _upwards(mount: Path, path: str, version: int, sign: str) -> Iterator[Group]:
    """From the group to the mount. In a container the path may be the host's, which is not there: then the mount itself."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
    for end in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:end])
        if (folder / sign).exists():
            yield Group(folder, version)
