"""A state machine: creates, copies, removals, collections, exports, imports and an Ollama's pruning, also half done ones
beside others, against a model.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import hypothesis.strategies as st
from corral.modelfile.builder import build
from corral.modelfile.parser import parse
from corral.store.archive import export
from corral.store.digest import Digest
from corral.store.errors import ModelNotFoundError
from corral.store.local import Store
from corral.store.manifest import CONFIG_TYPE, MODEL, Descriptor, Manifest
from corral.store.name import Name
from corral.store.unpack import opened, unpack
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.weights import gguf, text_pair

NAMES = st.sampled_from([Name.parse(text) for text in ("a", "A", "ns/a:b", "ghcr.io/x/y/a", "GHCR.io/b")])
WEIGHTS = st.integers(0, 2)


class StoreMachine(RuleBasedStateMachine):
    """One store, seen by two openings of it, as by two processes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="corral-machine-"))
        for i in range(3):
            (self.folder / f"{i}.gguf").write_bytes(gguf(text_pair("general.name", f"weights {i}")))
        self.store, self.other = Store(self.folder / "models"), Store(self.folder / "models")
        self.expected: dict[tuple[str, ...], Manifest] = {}
        self.writing = ExitStack()
        self.held: list[Descriptor] = []
        self.archived: Manifest | None = None

    def teardown(self) -> None:
        self.writing.close()
        shutil.rmtree(self.folder)

    @rule(name=NAMES, weights=WEIGHTS, system=st.sampled_from(["", "x", "y"]), links=st.booleans())
    def create(self, name: Name, weights: int, system: str, *, links: bool) -> None:
        text = f"FROM ./{weights}.gguf\n" + (f"SYSTEM {system}\n" if system else "")
        made = build(name, parse(text), self.store, folder=self.folder, links=links)
        self.expected[name.folded()] = made.manifest

    @rule(source=NAMES, destination=NAMES)
    def copy(self, source: Name, destination: Name) -> None:
        if source.folded() in self.expected:
            self.store.copy(source, destination)
            self.expected[destination.folded()] = self.expected[source.folded()]
        else:
            self.refused(lambda: self.store.copy(source, destination))

    @rule(name=NAMES)
    def remove(self, name: Name) -> None:
        if self.expected.pop(name.folded(), None):
            self.store.remove(name)
        else:
            self.refused(lambda: self.store.remove(name))

    @rule(name=NAMES)
    def export(self, name: Name) -> None:
        if name.folded() in self.expected:
            export(self.store, self.store.find(name), str(self.folder / "archive.tar"), replaces=True)
            self.archived = self.expected[name.folded()]

    @precondition(lambda self: self.archived is not None)
    @rule(name=NAMES)
    def import_(self, name: Name) -> None:
        assert self.archived is not None
        with opened(str(self.folder / "archive.tar")) as archive:
            assert unpack(archive, self.store, name).manifest == self.archived
        self.expected[name.folded()] = self.archived

    @rule(dry=st.booleans())
    def collect(self, *, dry: bool) -> None:
        self.store.collect(older_than=0, is_dry=dry)
        if not dry:
            named = {blob.digest for manifest in self.expected.values() for blob in manifest.blobs}
            assert set(self.store.blobs) == named | {blob.digest for blob in self.held}
            found = self.store.collect(older_than=0)
            assert (found.bytes, found.blobs) == (0, [])

    @precondition(lambda self: not self.held)
    @rule()
    def prune(self) -> None:
        """An Ollama starts on the same store."""
        models, _ = self.store.tags.models()
        seen = {blob.digest for model in models if model.name.is_ollamas for blob in model.manifest.blobs}
        for digest in set(self.store.blobs) - seen:
            (self.store.blobs.folder / digest.filename).unlink(missing_ok=True)

    @precondition(lambda self: not self.held)
    @rule(weights=WEIGHTS, links=st.booleans())
    def begin(self, weights: int, *, links: bool) -> None:
        """The other one takes blobs in and has not tagged them yet."""
        self.writing.enter_context(self.other.writing())
        adopted = self.other.blobs.adopt(self.folder / f"{weights}.gguf", MODEL, links=links).blob
        self.held = [adopted, self.other.blobs.put(b"{}\n", CONFIG_TYPE).blob]

    @precondition(lambda self: self.held)
    @rule(name=NAMES, dies=st.booleans())
    def end(self, name: Name, *, dies: bool) -> None:
        if not dies:
            made = Manifest.build(self.held[1], self.held[:1])
            self.other.tag(name, made)
            self.expected[name.folded()] = made
        self.writing.close()
        self.held = []

    @invariant()
    def every_name_is_what_it_should_be(self) -> None:
        models, broken = self.store.tags.models()
        assert broken == []
        assert {model.name.folded(): model.manifest for model in models} == self.expected
        for manifest in self.expected.values():
            self.store.check_complete(manifest)
        for blob in self.held:
            self.store.blobs.check(blob)

    def refused(self, action: object) -> None:
        try:
            assert callable(action)
            action()
        except ModelNotFoundError:
            return
        raise AssertionError("a model that is not there was found")

    @invariant()
    def ollama_has_all_of_what_it_sees_and_the_rest_is_out_of_its_reach(self) -> None:
        for model in self.store.tags.models()[0]:
            for blob in model.manifest.blobs:
                shown, spare = self.store.blobs.places(blob.digest)
                assert (shown if model.name.is_ollamas else spare).is_file()

    @invariant()
    def what_has_a_name_is_what_the_name_says(self) -> None:
        for digest in self.store.blobs:
            assert Digest.of(self.store.blobs.path(digest).read_bytes()) == digest


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=300 if os.environ.get("CORRAL_SOAK") else 25, stateful_step_count=25, deadline=None
)
