"""Survey: it says at once what is so now, whoever changed the store and however, and reads only what has changed."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import shutil
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from corral.store import survey
from corral.store.digest import Digest
from corral.store.errors import IntegrityError, ModelNotFoundError, StoreError
from corral.store.local import Store
from corral.store.manifest import CONFIG_TYPE, MODEL, SYSTEM, Descriptor, Manifest
from corral.store.name import Name
from corral.store.survey import Survey
from corral.store.tags import TaggedModel

from tests.store.beside import BARE, NESTED

Stored = Callable[[Store, str], Manifest]
SETTLED = 0.12
"""Seconds after which files are not read again."""


@dataclass(frozen=True)
class Said:
    """A model by its name and its system text."""

    name: str
    text: str
    of: Digest


class Reader:
    """Surveys a store and counts what it reads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reads: list[str] = []
        self.survey = Survey(store, self._say)

    def _say(self, tagged: TaggedModel, twin: Said | None) -> Said:
        self.reads.append(str(tagged.name))
        if twin:
            return replace(twin, name=str(tagged.name))
        self.store.check_complete(tagged.manifest)
        (layer,) = tagged.manifest.of_type(SYSTEM)
        return Said(str(tagged.name), self.store.blobs.read(layer, 100).decode(), tagged.manifest.digest)

    def texts(self) -> dict[str, str]:
        """What the survey says now."""
        return {said.name.removesuffix(":latest"): said.text for said in self.survey.models()}

    def settle(self) -> None:
        """Let it know everything."""
        time.sleep(SETTLED)
        self.survey.models()
        self.reads.clear()


@pytest.fixture
def reader(store: Store, stored: Stored) -> Reader:
    """It knows `a` and `b`, whose texts are so too."""
    for text in "ab":
        store.tag(Name.parse(text), stored(store, text))
    found = Reader(store)
    found.settle()
    return found


def tag_file(store: Store, model: str) -> Path:
    return store.root / f"manifests/registry.ollama.ai/library/{model}/latest"


def blob(store: Store, text: str) -> Path:
    return store.blobs.folder / Digest.of(text.encode()).filename


def as_ollama(store: Store, model: str, manifest: Manifest) -> None:
    """Ollama writes manifests in place."""
    tag_file(store, model).parent.mkdir(parents=True, exist_ok=True)
    tag_file(store, model).write_bytes(manifest.raw)


def by_hand(store: Store, model: str) -> None:
    shutil.rmtree(tag_file(store, model).parent)


def edit(path: Path, data: bytes) -> None:
    """In place, with the same mtime."""
    status = path.stat()
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def manifests_of_one_size(store: Store, stored: Stored) -> None:
    """The manifest of `a` becomes one of the same size, in place and with its mtime."""
    edit(tag_file(store, "a"), stored(store, "c").raw)


Change = Callable[[Store, Stored], object]
CHANGES: dict[str, tuple[Change, dict[str, str]]] = {
    "nothing": (lambda _, __: None, {"a": "a", "b": "b"}),
    "a new model": (lambda s, put: s.tag(Name.parse("c"), put(s, "c")), {"a": "a", "b": "b", "c": "c"}),
    "a new tag of a model": (lambda s, put: s.tag(Name.parse("a:t"), put(s, "t")), {"a": "a", "b": "b", "a:t": "t"}),
    "a copy": (lambda s, _: s.copy(Name.parse("a"), Name.parse("c")), {"a": "a", "b": "b", "c": "a"}),
    "a copy over another": (lambda s, _: s.copy(Name.parse("a"), Name.parse("b")), {"a": "a", "b": "a"}),
    "a model less": (lambda s, _: s.remove(Name.parse("a")), {"b": "b"}),
    "a model replaced": (lambda s, put: s.tag(Name.parse("a"), put(s, "c")), {"a": "c", "b": "b"}),
    "Ollama's new model": (lambda s, put: as_ollama(s, "c", put(s, "c")), {"a": "a", "b": "b", "c": "c"}),
    "Ollama's change": (lambda s, put: as_ollama(s, "a", put(s, "longer")), {"a": "longer", "b": "b"}),
    "a folder removed": (lambda s, _: by_hand(s, "a"), {"b": "b"}),
    "all folders removed": (lambda s, _: shutil.rmtree(s.root / "manifests"), {}),
    "the store removed": (lambda s, _: shutil.rmtree(s.root), {}),
    "the same size": (manifests_of_one_size, {"a": "c", "b": "b"}),
    "a blob less": (lambda s, _: blob(s, "a").unlink(), {"b": "b"}),
    "a blob of all less": (lambda s, _: blob(s, "weights").unlink(), {}),
    "a blob cut": (lambda s, _: edit(blob(s, "weights"), b"weigh"), {}),
    "a blob damaged": (lambda s, _: edit(blob(s, "a"), b"x"), {"b": "b"}),
    "a manifest damaged": (lambda s, _: edit(tag_file(s, "a"), b"{"), {"b": "b"}),
    "a manifest empty": (lambda s, _: edit(tag_file(s, "a"), b""), {"b": "b"}),
    "a name of others": (lambda s, put: s.tag(NESTED, put(s, "n")), {"a": "a", "b": "b", str(NESTED): "n"}),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen_at_once_and_back_again(
    reader: Reader, stored: Stored, tmp_path: Path, change: Change, expected: dict[str, str]
) -> None:
    before = tmp_path / "before"
    shutil.copytree(reader.store.root, before)
    assert reader.texts() == {"a": "a", "b": "b"}
    change(reader.store, stored)
    assert reader.texts() == expected
    reader.settle()
    assert reader.texts() == expected
    shutil.rmtree(reader.store.root, ignore_errors=True)
    before.rename(reader.store.root)
    assert reader.texts() == {"a": "a", "b": "b"}


def test_what_has_not_changed_is_not_read_again(reader: Reader, stored: Stored) -> None:
    assert reader.texts() == reader.texts() == {"a": "a", "b": "b"}
    assert reader.reads == []
    reader.store.tag(Name.parse("c"), stored(reader.store, "c"))
    time.sleep(SETTLED)
    assert reader.texts() == {"a": "a", "b": "b", "c": "c"}
    assert reader.texts() == {"a": "a", "b": "b", "c": "c"}
    assert sorted(reader.reads) == ["a:latest", "b:latest", "c:latest"]  # the weights are theirs too, and were touched


def test_nor_is_what_is_left_out(reader: Reader) -> None:
    blob(reader.store, "a").unlink()
    edit(tag_file(reader.store, "b"), b"{")
    reader.settle()
    assert reader.texts() == {}
    assert reader.reads == []


def test_a_manifest_is_read_once_however_many_tags_it_has(store: Store, stored: Stored) -> None:
    made = stored(store, "x")
    store.tag(Name.parse("x"), made)
    twins: list[Said | None] = []

    def say(tagged: TaggedModel, twin: Said | None) -> Said:
        twins.append(twin)
        return Said(str(tagged.name), "", tagged.manifest.digest)

    for number in range(5):
        store.copy(Name.parse("x"), Name.parse(f"x:{number}"))
    said = Survey(store, say).models()
    assert [twin is None for twin in twins] == [True, False, False, False, False, False]
    assert {one.name for one in said} == {"x:latest", *(f"x:{number}" for number in range(5))}


def test_the_newest_is_first_and_of_two_spellings_the_only_one(store: Store, stored: Stored) -> None:
    reader = Reader(store)
    for age, text in ((30, "old"), (10, "new"), (20, "middle"), (40, "NEW")):
        as_ollama(store, text, stored(store, text))
        os.utime(tag_file(store, text), (1_000_000 - age, 1_000_000 - age))
    assert list(reader.texts()) == ["new", "middle", "old"]
    os.utime(tag_file(store, "NEW"))
    assert list(reader.texts()) == ["NEW", "middle", "old"]
    assert list(reader.texts()) == [str(model.name).removesuffix(":latest") for model in store.models()[0]]


def test_a_model_below_is_seen_while_none_above_has_its_name(tmp_path: Path, stored: Stored) -> None:
    lower, name = Store(tmp_path / "lower"), Name.parse("a")
    lower.tag(name, stored(lower, "lower"))
    upper = Store(tmp_path / "upper", [lower.root])
    reader = Reader(upper)
    reader.settle()
    assert reader.texts() == {"a": "lower"}
    upper.tag(name, stored(upper, "upper"))
    assert reader.texts() == {"a": "upper"}
    reader.settle()
    edit(tag_file(upper, "a"), b"{")  # it cannot be found by its name then
    assert reader.texts() == {}
    tag_file(upper, "a").unlink()
    assert reader.texts() == {"a": "lower"}
    reader.settle()
    blob(lower, "lower").unlink()
    assert reader.texts() == {}
    upper.blobs.put(b"lower", SYSTEM)
    assert reader.texts() == {"a": "lower"}


def test_a_blob_is_seen_where_only_corral_looks(reader: Reader, stored: Stored) -> None:
    store = reader.store
    store.tag(BARE, stored(store, "n"))
    blob(store, "n").unlink()
    assert reader.texts()[str(BARE)] == "n"
    reader.settle()
    assert reader.texts()[str(BARE)] == "n"
    assert reader.reads == []
    blob(store, "n").write_bytes(b"damaged")  # what is there is read first
    assert str(BARE) not in reader.texts()
    blob(store, "n").unlink()
    assert reader.texts()[str(BARE)] == "n"
    store.blobs.spares.path(Digest.of(b"n")).unlink()
    assert str(BARE) not in reader.texts()


def test_a_tag_that_is_a_link_is_as_what_it_leads_to(reader: Reader, tmp_path: Path) -> None:
    away = tmp_path / "away"
    tag_file(reader.store, "a").with_name("linked").symlink_to(away)
    reader.settle()
    assert "a:linked" not in reader.texts()
    shutil.copy(tag_file(reader.store, "b"), away)
    assert reader.texts()["a:linked"] == "b"
    reader.settle()
    away.unlink()
    away.mkdir()
    assert reader.texts() == {"a": "a", "b": "b"}


def test_error_a_failure_of_this_machine_is_not_remembered(store: Store, stored: Stored) -> None:
    store.tag(Name.parse("a"), stored(store, "a"))
    failures: list[Exception] = [StoreError("blobs", "read", OSError(24, "Too many open files"))]

    def say(tagged: TaggedModel, _: str | None) -> str:
        if failures:
            raise failures[0]
        return str(tagged.name)

    found = Survey(store, say)
    time.sleep(SETTLED)
    assert found.models() == []
    failures.clear()
    assert found.models() == ["a:latest"]
    failures.append(IntegrityError("a: it is not what it was"))
    assert found.models() == ["a:latest"]


def test_error_a_digest_that_no_file_has_leaves_only_its_model_out(reader: Reader) -> None:
    foreign = Descriptor(MODEL, Digest("sha512", "0" * 128), 7)
    as_ollama(reader.store, "c", Manifest.build(replace(foreign, media_type=CONFIG_TYPE), [foreign]))
    assert reader.texts() == {"a": "a", "b": "b"}


def test_error_a_folder_that_cannot_be_read(reader: Reader) -> None:
    shutil.rmtree(tag_file(reader.store, "a").parent)
    tag_file(reader.store, "a").parent.symlink_to("a")
    with pytest.raises(StoreError, match="cannot list"):
        reader.texts()
    tag_file(reader.store, "a").parent.unlink()
    assert reader.texts() == {"b": "b"}


class Seen:
    """Something whose end can be seen."""


def test_what_is_gone_is_forgotten(store: Store, stored: Stored) -> None:
    for text in "ab":
        store.tag(Name.parse(text), stored(store, text))
    time.sleep(SETTLED)
    found = Survey(store, lambda _, __: Seen())
    seen = [weakref.ref(one) for one in found.models()]
    assert [ref() for ref in seen] == found.models()
    for text in "ab":
        store.remove(Name.parse(text))
    assert found.models() == []
    gc.collect()
    assert [ref() for ref in seen] == [None, None]


@pytest.mark.parametrize(("most", "read"), [(0, 10), (5000, 8), (1 << 20, 0)])
def test_only_so_much_is_remembered_and_everything_said(
    store: Store, stored: Stored, monkeypatch: pytest.MonkeyPatch, most: int, read: int
) -> None:
    for number in range(10):
        store.tag(Name.parse(f"m{number}"), stored(store, f"{number}"))
    monkeypatch.setattr(survey, "MOST_REMEMBERED", most)
    reader = Reader(store)
    reader.settle()
    assert reader.texts() == {f"m{number}": f"{number}" for number in range(10)}
    assert len(reader.reads) == read
    reader.settle()
    assert reader.texts() == {f"m{number}": f"{number}" for number in range(10)}
    assert len(reader.reads) == read


def test_many_threads_see_only_whole_models_while_others_come_and_go(store: Store, stored: Stored) -> None:
    texts = [f"text {number}" for number in range(6)]
    with store.writing():
        made = {text: stored(store, text) for text in texts}
        store.tag(Name.parse("stays"), made[texts[0]])
    reader, ends = Reader(store), time.monotonic() + 3

    def change(seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < ends:
            name, text = Name.parse(f"m{chance.randrange(4)}"), chance.choice(texts)
            with contextlib.suppress(ModelNotFoundError, StoreError, OSError):  # they are in each other's way
                match chance.randrange(4):
                    case 0:
                        store.remove(name)
                    case 1:
                        as_ollama(store, name.model, made[text])  # whether or not its blobs are there
                    case 2:
                        store.copy(Name.parse("stays"), name)
                    case _:
                        with store.writing():
                            store.tag(name, stored(store, text))

    def see() -> set[int]:
        counts: set[int] = set()
        while time.monotonic() < ends:
            found = {said.name: said for said in reader.survey.models()}
            assert "stays:latest" in found
            assert all(said.of == made[said.text].digest for said in found.values())
            counts.add(len(found))
        return counts

    with ThreadPoolExecutor() as threads:
        changes = [threads.submit(change, seed) for seed in range(2)]
        seen = [threads.submit(see) for _ in range(4)]
        for done in changes:
            done.result()
        assert len(set[int]().union(*(done.result() for done in seen))) > 1
    assert {said.name: said.of for said in reader.survey.models()} == dict(complete(store))


def complete(store: Store) -> Iterator[tuple[str, Digest]]:
    """What can be run, without a survey."""
    for model in store.models()[0]:
        with contextlib.suppress(IntegrityError):
            store.check_complete(model.manifest)
            yield str(model.name), model.manifest.digest
