"""Models whose names Ollama does not have: as good as others, and out of reach of an Ollama on the same store."""

from __future__ import annotations

import contextlib
import errno
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.store.digest import Digest
from corral.store.errors import (
    BlobNotFoundError,
    InvalidManifestError,
    ModelNotFoundError,
    StoreError,
)
from corral.store.gc import Collected
from corral.store.local import Store
from corral.store.manifest import MODEL, SYSTEM, Manifest
from corral.store.name import Name
from corral.store.verify import verify

from tests.conftest import Cli, DockerRegistry
from tests.store.beside import BARE, NESTED, PLAIN, filenames, shown, spares
from tests.store.pruning import prune

Stored = Callable[[Store, str], Manifest]


def names_of(store: Store) -> list[str]:
    return sorted(str(name) for name in store.tags.names())


@pytest.fixture(params=[NESTED, BARE], ids=str)
def name(request: pytest.FixtureRequest) -> Name:
    return request.param


def test_it_is_tagged_found_listed_and_removed_like_any_other(store: Store, stored: Stored, name: Name) -> None:
    made = stored(store, "hi")
    assert store.tag(name, made) == name
    assert not store.tags.folder.exists()
    assert store.find(name).manifest == made
    assert store.find(Name.parse(f"{name.host}/{name.repository}".upper() + f":{name.tag}")).name == name
    assert store.find(Name.parse(f"{name}@{made.digest}")).name == name
    assert [model.name for model in store.models()[0]] == [name]
    store.copy(name, PLAIN)
    store.copy(PLAIN, Name.parse("ghcr.io/x/y/z"))
    assert names_of(store) == sorted(["ghcr.io/x/y/z:latest", str(name), "plain:latest"])
    for one in (name, PLAIN, Name.parse("ghcr.io/x/y/z")):
        store.remove(one)
    assert list(store.blobs) == []
    assert spares(store) == shown(store) == set()
    assert not any((store.root / ".corral/oci/manifests").rglob("*"))
    with pytest.raises(ModelNotFoundError):
        store.find(name)


def test_where_its_manifest_is(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    for text in ("ghcr.io/a/b/c/m:t", "ghcr.io/m:t", "ghcr.io/a.b/m:t", f"ghcr.io/a/m:{'t' * 128}", "ghcr.io/a/m:t"):
        store.tag(Name.parse(text), made)
    found = {path.relative_to(store.root).as_posix() for path in store.root.rglob("*/ghcr.io/*/*/*")}
    oci = ".corral/oci/manifests/ghcr.io"
    assert found == {
        f"{oci}/a+b+c/m/t", f"{oci}/+/m/t", f"{oci}/a.b/m/t", f"{oci}/a/m/{'t' * 128}", "manifests/ghcr.io/a/m/t"
    }  # fmt: skip
    assert len(list(store.tags.names())) == 5


def test_ollama_takes_nothing_of_it(store: Store, stored: Stored, name: Name) -> None:
    made = stored(store, "hi")
    store.tag(name, made)
    assert spares(store) == filenames(made)
    prune(store.root)
    assert shown(store) == set()
    store.check_complete(made)
    assert verify(store, is_deep=True).problems[1:] == ()  # the weights are no GGUF
    assert [store.blobs.read(blob, 1000) for blob in made.blobs][1] == b"hi"
    assert store.blobs.put(b"hi", SYSTEM).is_new is False
    assert store.collect(older_than=0) == Collected()
    store.remove(name)
    assert list(store.blobs) == []


def test_a_spare_is_linked_back_for_a_name_that_ollama_sees(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    store.tag(NESTED, made)
    prune(store.root)
    store.collect()
    store.copy(NESTED, PLAIN)
    prune(store.root)
    assert shown(store) == spares(store) == filenames(made)
    for blob in made.blobs:
        path, spare = store.blobs.places(blob.digest)
        assert path.samefile(spare)
        assert store.blobs.is_ours(blob.digest)
    store.remove(NESTED)
    assert (shown(store), spares(store)) == (filenames(made), set())
    store.check_complete(made)
    store.remove(PLAIN)
    assert list(store.blobs) == []


def test_a_blob_goes_when_neither_kind_of_model_needs_it_and_counts_once(store: Store, stored: Stored) -> None:
    nested, plain = stored(store, "nested"), stored(store, "plain")
    store.tag(NESTED, nested)
    store.tag(PLAIN, plain)
    loose = store.blobs.put(b"loose", MODEL).blob
    assert store.collect(is_dry=True) == Collected(blobs=[loose.digest], bytes=5)
    assert store.collect() == Collected(blobs=[loose.digest], bytes=5)
    store.tags.delete(NESTED)
    collected = store.collect()
    assert collected.blobs == [Digest.of(b"nested")]
    assert collected.bytes == len("nested")
    assert spares(store) == set()
    store.check_complete(plain)
    store.tags.delete(PLAIN)
    assert store.collect().bytes == plain.size
    assert (shown(store), spares(store)) == (set(), set())
    assert list(store.blobs.wrote_folder.iterdir()) == []


def test_what_ollama_wrote_is_kept_for_it(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    for path in store.blobs.wrote_folder.iterdir():
        path.unlink()
    store.tag(NESTED, made)
    store.remove(NESTED)
    # Young, and not Corral's: Ollama may be about to name them. Nothing is free, for the other names are there still.
    assert (shown(store), spares(store)) == (filenames(made), set())
    assert store.collect() == Collected()
    assert store.collect(older_than=0).bytes == made.size


def test_a_broken_manifest_of_either_kind_stops_the_collection(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    store.tag(NESTED, made)
    store.blobs.put(b"loose", MODEL)
    (store.tags.oci_folder / "localhost:5000/a+b+c/m/v1").write_bytes(b"{")
    with pytest.raises(InvalidManifestError, match="localhost:5000/a/b/c/m:v1"):
        store.collect(older_than=0)
    assert [str(error) for error in store.models()[1]]
    assert [problem.problem for problem in verify(store).problems] == ["manifest"]
    store.remove(NESTED)
    assert store.collect().bytes == made.size + 5
    assert spares(store) == set()


def test_error_for_an_incomplete_model_leaves_no_tag(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    store.blobs.path(made.layers[1].digest).unlink()
    with pytest.raises(BlobNotFoundError):
        store.tag(NESTED, made)
    assert names_of(store) == []
    store.collect()
    assert list(store.blobs) == []


def test_files_that_do_not_belong_are_told_of_and_passed_over(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    store.tag(NESTED, made)
    there = store.tags.oci_folder / "localhost:5000"
    strays = ["a/m/t", "a++b/m/t", "+a/m/t", "a+/m/t", "a+b/m+n/t", "a+b/m/t+u", "a+c/m", "a+b/m/d/eep"]
    for path in strays:
        (there / path).parent.mkdir(parents=True, exist_ok=True)
        (there / path).write_bytes(made.raw)
    for path in (store.tags.folder / "ghcr.io/a.b/m/t", store.tags.folder / "ghcr.io/+/m/t"):
        path.parent.mkdir(parents=True)
        path.write_bytes(made.raw)  # neither Ollama nor Corral takes them for models
    (store.blobs.spares.folder / "readme.txt").write_bytes(b"x")
    assert names_of(store) == [str(NESTED)]
    found = {stray.path for stray in verify(store).strays}
    assert found == {f".corral/oci/manifests/localhost:5000/{path}" for path in strays} | {
        "manifests/ghcr.io/a.b/m/t", "manifests/ghcr.io/+/m/t", ".corral/oci/blobs/readme.txt"
    }  # fmt: skip
    assert store.collect(older_than=0) == Collected()


def test_what_another_process_relies_on_keeps_both_names(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    store.tag(NESTED, made)
    with store.writing():
        store.blobs.put(b"hi", SYSTEM)
        store.remove(NESTED)
        blob = made.layers[1].digest.filename
        assert (shown(store), spares(store)) == ({blob}, {blob})
    assert store.collect().bytes == 2


def test_the_one_below_is_read_only(store: Store, stored: Stored, tmp_path: Path) -> None:
    made = stored(store, "hi")
    store.tag(NESTED, made)
    prune(store.root)
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    upper = Store(tmp_path / "upper", [store.root])
    assert upper.find(NESTED).manifest == made
    upper.check_complete(made)
    upper.copy(NESTED, BARE)
    upper.copy(NESTED, PLAIN)
    assert list(upper.blobs) == []
    assert sorted(str(model.name) for model in upper.models()[0]) == sorted(map(str, (NESTED, BARE, PLAIN)))
    assert upper.collect(older_than=0) == Collected()
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before
    upper.remove(BARE)
    assert upper.find(NESTED).manifest == made


def test_tags_collections_and_prunings_at_once_leave_whole_models(store: Store, stored: Stored) -> None:
    names = [NESTED, PLAIN, BARE]
    models = [stored(store, text) for text in ("one", "two", "three")]
    failures: list[BaseException] = []
    ended = time.monotonic() + 2

    def at_work(number: int) -> None:
        own = Store(store.root)
        turn = number
        try:
            while time.monotonic() < ended:
                turn += 1
                try:
                    with own.writing():
                        own.tag(names[number], stored(own, ("one", "two", "three")[turn % 3]))
                except (BlobNotFoundError, StoreError) as error:
                    if isinstance(error, StoreError) and error.errno != errno.ENOENT:
                        raise
                    continue  # pruned in between, and said so
                if turn % 4 == 0:
                    own.remove(names[number])
                if turn % 3 == 0:
                    own.collect(older_than=0)
                if turn % 5 == 0 and number:
                    with contextlib.suppress(FileNotFoundError):  # two of them at once
                        prune(own.root)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=at_work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found, broken = store.models()
    assert broken == []
    for model in found:
        if not model.name.is_ollamas:
            store.check_complete(model.manifest)
            assert model.manifest in models
    store.collect(older_than=0)
    for model in store.models()[0]:
        if not model.name.is_ollamas:
            assert all((store.blobs.spares.folder / file).exists() for file in filenames(model.manifest))


def test_the_command_line_end_to_end(
    cli: Cli, tiny_gguf: Path, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    name = f"{docker_registry.host}/a/b/c/m:v1"
    cli.ok("create", name, "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be kind.\n")
    cli.ok("cp", name, "plain")
    prune(cli.models)
    cli.ok("cp", "plain", f"{docker_registry.host}/bare")
    listed = [line.split()[0] for line in cli.ok("list").splitlines()[1:]]
    assert sorted(listed) == sorted([name, "plain:latest", f"{docker_registry.host}/bare:latest"])
    cli.ok("rm", "plain")
    prune(cli.models)
    assert "Be kind." in cli.ok("show", name, "--modelfile")
    assert cli.run("diff", name, f"{docker_registry.host}/bare").returncode == 0
    assert name in cli.ok("df")
    assert json.loads(cli.ok("df", "--json"))["unreferenced"]["bytes"] == 0
    cli.ok("verify", "--deep")
    cli.ok("export", name, "-o", "m.tar")
    other = Cli(tmp_path / "other", cli.folder)
    for one in (name, f"{docker_registry.host}/bare"):
        cli.ok("push", one)
        other.ok("pull", one)
    made, again = (Store(one.models).find(Name.parse(name)).manifest for one in (cli, other))
    assert again == made
    assert sorted(listed) == sorted([*[line.split()[0] for line in other.ok("list").splitlines()[1:]], "plain:latest"])
    third = Cli(tmp_path / "third", cli.folder)
    third.ok("import", "m.tar")
    assert name in third.ok("list")
    for one in (name, f"{docker_registry.host}/bare"):
        other.ok("rm", one)
    assert [file for file in other.files() if file.startswith(("blobs", ".corral/oci"))] == []
    assert "too many slashes" in cli.error(1, "show", "a/b/c/d")
