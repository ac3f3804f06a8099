"""Hugging Face's own cache: what is there is taken and not fetched, offline nothing else is, and it is never changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.registry.hub.conftest import NAME, Puller
from tests.registry.hub.double import COMMIT, Hub, git_id, sha256


@pytest.fixture
def puller(own_puller: Puller) -> Puller:
    """One whose home is the test's."""
    return own_puller


def cache(puller: Puller, *paths: str, commit: str = COMMIT, folder: str = "hub") -> Path:
    """Put files of the repository where huggingface_hub keeps those it has downloaded."""
    root = puller.home / folder / "models--crew--parrot"
    for path in paths:
        data = puller.hub.files[path]
        blob = root / "blobs" / (sha256(data) if puller.hub.is_lfs(path) else git_id(data))
        pointer = root / "snapshots" / commit / path
        for file in (blob, pointer):
            file.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        pointer.symlink_to(blob)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / "main").write_text(commit)
    return root


def state(root: Path) -> dict[str, tuple[int, int, int, str]]:
    """What can be seen of files and their content."""
    return {
        str(path): (status.st_ino, status.st_mtime_ns, status.st_nlink, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in root.rglob("*")
        if path.is_file() and (status := path.stat())
    }


BOTH = ("parrot-Q4_K_M.gguf", "mmproj-parrot-F16.gguf")


def test_what_is_in_the_cache_is_not_fetched(puller: Puller, hub: Hub) -> None:
    root = cache(puller, *BOTH)
    before = state(root)
    puller.ok()
    assert hub.fetched() == []
    assert state(puller.home) == before


def test_nor_is_what_another_commit_had(puller: Puller, hub: Hub) -> None:
    cache(puller, *BOTH, commit="a" * 40)
    puller.ok()
    assert hub.fetched() == []


def test_nor_is_what_is_in_git(puller: Puller, hub: Hub) -> None:
    hub.in_git = set(BOTH)
    hub.files |= {"template": b"{{ .Prompt }}", "system": b"Be kind."}
    cache(puller, *BOTH, "template", commit="a" * 40)
    puller.ok()
    assert hub.fetched() == ["system"]


def test_the_cache_may_be_elsewhere(puller: Puller, hub: Hub) -> None:
    cache(puller, *BOTH, folder="elsewhere")
    puller.ok(HF_HUB_CACHE=str(puller.home / "elsewhere"))
    assert hub.fetched() == []


@pytest.mark.parametrize("in_git", [set[str](), set(BOTH)], ids=["LFS", "git"])
def test_what_is_damaged_in_the_cache_is_fetched(puller: Puller, hub: Hub, in_git: set[str]) -> None:
    hub.in_git = in_git
    root = cache(puller, *BOTH)
    good = puller.ok()
    puller.cli.ok("rm", NAME)
    hub.seen.clear()
    damaged = bytearray(hub.files["parrot-Q4_K_M.gguf"])
    damaged[-1] ^= 1
    (root / "snapshots" / COMMIT / "parrot-Q4_K_M.gguf").resolve().write_bytes(damaged)
    (root / "snapshots" / COMMIT / "mmproj-parrot-F16.gguf").resolve().write_bytes(b"cut")
    before = state(root)
    assert puller.ok() == good
    assert len(hub.fetched()) == 2
    assert state(puller.home) == before
    assert f"blobs/sha256-{sha256(bytes(damaged))}" not in puller.contents()


def test_offline_the_cache_is_all_there_is(puller: Puller, hub: Hub) -> None:
    hub.files["system"] = b"Be kind."
    root = cache(puller, *BOTH, "system")
    before = state(root)
    offline = puller.ok(HF_HUB_OFFLINE="1")
    assert hub.seen == []
    assert state(puller.home) == before
    assert puller.ok() == offline


def test_error_offline_without_the_file(puller: Puller, hub: Hub) -> None:
    cache(puller, *BOTH)
    said = puller.error(1, f"{NAME}:Q8_0", HF_HUB_OFFLINE="1")
    assert 'no file of the repository fits "Q8_0"' in said
    assert hub.seen == []


@pytest.mark.parametrize("has_cache", [True, False])
def test_error_offline_without_the_repository(puller: Puller, hub: Hub, has_cache: bool) -> None:  # noqa: FBT001
    if has_cache:
        (puller.home / "hub" / "models--crew--owl" / "refs").mkdir(parents=True)
    said = puller.error(4, HF_HUB_OFFLINE="1")
    assert f"{NAME}:latest: HF_HUB_OFFLINE is set, and the cache at {puller.home}/hub does not have it" in said
    assert hub.seen == []


def test_error_offline_and_damaged(puller: Puller) -> None:
    root = cache(puller, *BOTH)
    (root / "snapshots" / COMMIT / "parrot-Q4_K_M.gguf").resolve().write_bytes(b"cut")
    said = puller.error(4, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set, and its file parrot-Q4_K_M.gguf is not in the cache, or damaged there" in said


def test_error_the_cache_leads_out_of_itself(puller: Puller, tmp_path: Path) -> None:
    root = cache(puller, *BOTH)
    secret = tmp_path / "secret"
    secret.write_bytes(b"s3cret")
    (root / "snapshots" / COMMIT / "system").symlink_to(secret)
    puller.ok(HF_HUB_OFFLINE="1")
    assert "s3cret" not in puller.shown()
