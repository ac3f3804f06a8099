"""Repair from an origin that may hold anything: only good bytes get in, and each failure is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from corral.store.errors import RemoteError
from corral.store.local import Store
from corral.store.manifest import SYSTEM, Descriptor, Manifest
from corral.store.name import Name
from corral.store.progress import Report
from corral.store.repair import repair
from corral.store.verify import Problem, verify

Stored = Callable[[Store, str], Manifest]
GOOD = b"Be kind."


@dataclass
class Shelf:
    """An origin that has the same bytes whatever it is asked for, and remembers who was asked."""

    data: bytes
    asked: list[str] = field(default_factory=list[str])

    def blob(self, name: Name, blob: Descriptor, /) -> Iterator[bytes]:
        assert blob.size == len(GOOD)
        self.asked.append(str(name))
        yield self.data[:3]
        yield self.data[3:]

    def model(self, name: Name, report: Report, /) -> None:  # noqa: ARG002
        self.asked.append(str(name))
        raise RemoteError(f"{name}: nobody has it")


@pytest.fixture
def damaged(store: Store, stored: Stored) -> Path:
    """The damaged system message of a model with two names."""
    made = stored(store, GOOD.decode())
    store.tag(Name.parse("small"), made)
    store.tag(Name.parse("host:5000/crew/small"), made)
    path = store.blobs.path(made.of_type(SYSTEM)[0].digest)
    path.write_bytes(b"Be evil.")
    return path


def of_the_message(problems: tuple[Problem, ...], path: Path) -> Problem:
    """The weights are no GGUF, which cannot be helped."""
    return next(problem for problem in problems if str(problem.subject).endswith(path.name[7:]))


def test_good_bytes_take_the_damaged_ones_place(store: Store, damaged: Path) -> None:
    shelf = Shelf(GOOD)
    found = repair(store, verify(store), shelf)
    assert of_the_message(found.problems, damaged).is_repaired
    assert damaged.read_bytes() == GOOD
    # The name with a host of its own is asked first.
    assert shelf.asked == ["host:5000/crew/small:latest"]


@pytest.mark.parametrize("data", [b"", b"Be", b"Be evil.", b"Be evil!", GOOD + b"!"])
def test_other_bytes_do_not(store: Store, damaged: Path, data: bytes) -> None:
    shelf = Shelf(data)
    problem = of_the_message(repair(store, verify(store), shelf).problems, damaged)
    assert not problem.is_repaired
    assert shelf.asked == ["host:5000/crew/small:latest", "small:latest"]
    assert str(problem.reason).count(f"blob {damaged.name[7:19]} from ") == 2
    assert str(problem.reason).count(": expected ") == 2
    assert damaged.read_bytes() == b"Be evil."
    assert list(store.blobs.ingest_folder.iterdir()) == []


def test_a_store_that_is_only_read_is_left_alone(store: Store, damaged: Path, tmp_path: Path) -> None:
    above = Store(tmp_path / "above", below=[store.root])
    above.copy(Name.parse("host:5000/crew/small"), Name.parse("host:5000/crew/mine"))
    repair(above, verify(above), Shelf(GOOD))
    assert damaged.read_bytes() == b"Be evil."
    assert (
        above.blobs.path(above.find(Name.parse("host:5000/crew/mine")).manifest.layers[1].digest).read_bytes() == GOOD
    )
    assert [problem.problem for problem in verify(above).problems] == ["header"]


def test_a_manifest_that_nobody_has(store: Store, damaged: Path) -> None:
    for name in ("registry.ollama.ai/library", "host:5000/crew"):
        (store.tags.folder / name / "small" / "latest").write_bytes(b"{")
    shelf = Shelf(GOOD)
    ours, theirs, orphan, *_ = repair(store, verify(store), shelf).problems
    assert shelf.asked == ["host:5000/crew/small:latest"]
    reasons = {str(problem.subject): problem.reason for problem in (ours, theirs)}
    assert reasons["host:5000/crew/small:latest"] == "host:5000/crew/small:latest: nobody has it"
    assert str(reasons["small:latest"]).startswith("its name has no registry's host")
    assert (orphan.problem, orphan.reason) == ("content", "no model uses it; gc removes it")
    assert damaged.exists()
