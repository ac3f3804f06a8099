"""Copies from registry to registry: nothing by way of the store, nothing unverified, nothing sent twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from corral.registry.copy import MAX_DEPTH, copy
from corral.registry.credentials import Credential
from corral.registry.errors import RegistryError
from corral.registry.referrers import referrers
from corral.registry.remote import Access
from corral.registry.transport import Registry
from corral.store.digest import Digest
from corral.store.errors import InputError, InvalidManifestError, MismatchError
from corral.store.name import Name
from corral.store.progress import Progress

from tests.conftest import PASSWORD, USER, Cli, DockerRegistry
from tests.registry.gatekeeper import Gatekeeper
from tests.registry.modern import INDEX, MANIFEST, Modern, Repository, digest_of, modern_registry

BIG = bytes(range(256)) * 8192
"""2 MiB: several pieces."""


@pytest.fixture
def modern() -> Generator[Modern]:
    with modern_registry() as running:
        yield running


@pytest.fixture
def other() -> Generator[Modern]:
    with modern_registry() as running:
        yield running


def at(registry: Modern | DockerRegistry, rest: str) -> Name:
    return Name.parse(f"{registry.host}/{rest}")


def test_to_another_registry_blob_by_blob(modern: Modern, other: Modern) -> None:
    digest = modern.artifact("crew/x", BIG.hex().encode(), "v1")
    seen: list[Progress] = []
    copied = copy(at(modern, "crew/x:v1"), at(other, "team/y:v2"), report=seen.append)
    assert str(copied.digest) == digest
    assert other.repository("team/y").blobs == modern.repository("crew/x").blobs
    assert other.repository("team/y").manifests == modern.repository("crew/x").manifests
    assert other.repository("team/y").tags == {"v2": digest}
    assert [step.status for step in seen if step.total is None] == ["pulling manifest", "pushing manifest", "success"]
    moved = [step.completed or 0 for step in seen if step.total == 2 * len(BIG)]
    assert moved == sorted(moved)
    assert moved[-1] == 2 * len(BIG)
    assert len(moved) > 2


def test_what_is_there_is_not_sent_again(modern: Modern, other: Modern) -> None:
    modern.artifact("crew/x", b"text", "v1")
    for _ in range(2):
        copy(at(modern, "crew/x:v1"), at(other, "crew/x:v1"))
    assert len(modern.asked("GET", "/blobs/")) == 2
    assert len(other.asked("PUT", "/blobs/")) == 2


def test_within_a_registry_blobs_are_mounted(modern: Modern) -> None:
    modern.artifact("crew/x", b"text", "v1")
    copy(at(modern, "crew/x:v1"), at(modern, "team/deep/y:v1"))
    assert modern.repository("team/deep/y").blobs == modern.repository("crew/x").blobs
    assert modern.asked("GET", "/blobs/") == modern.asked("PUT", "/blobs/") == []


def test_where_it_does_not_mount_they_are_sent(modern: Modern) -> None:
    modern.mounts = False
    modern.artifact("crew/x", b"text", "v1")
    copy(at(modern, "crew/x:v1"), at(modern, "crew/y:v1"))
    assert modern.repository("crew/y").blobs == modern.repository("crew/x").blobs
    assert modern.cancelled == 2


def test_another_tag_of_one_repository_is_a_manifest_alone(modern: Modern) -> None:
    digest = modern.artifact("crew/x", b"text", "v1")
    copy(at(modern, "crew/x:v1"), at(modern, "crew/x:stable"))
    assert modern.repository("crew/x").tags == {"v1": digest, "stable": digest}
    assert modern.asked("POST", "") == []


def index(modern: Modern, name: str, parts: list[str], *tags: str) -> str:
    manifests = modern.repository(name).manifests
    listed = [{"mediaType": manifests[part][0], "digest": part, "size": len(manifests[part][1])} for part in parts]
    return modern.put(name, {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}, *tags)


def test_an_index_goes_with_all_it_names(modern: Modern, other: Modern) -> None:
    parts = [modern.artifact("crew/x", text) for text in (b"arm", b"amd")]
    digest = index(modern, "crew/x", [index(modern, "crew/x", parts), parts[0]], "v1")
    copy(at(modern, "crew/x:v1"), at(other, "crew/x:v1"))
    assert other.repository("crew/x").manifests == modern.repository("crew/x").manifests
    assert other.repository("crew/x").tags == {"v1": digest}
    stored = [path.rpartition("/")[2] for path in other.asked("PUT", "/manifests/")]
    assert stored[-1] == "v1"
    assert stored[:2] == parts


def test_error_indexes_in_indexes_without_an_end(modern: Modern, other: Modern) -> None:
    digest = modern.artifact("crew/x", b"text")
    for _ in range(MAX_DEPTH + 1):
        digest = index(modern, "crew/x", [digest], "v1")
    with pytest.raises(RegistryError, match=f"more than {MAX_DEPTH} in each other"):
        copy(at(modern, "crew/x:v1"), at(other, "crew/x:v1"))
    assert other.repository("crew/x").tags == {}


def test_by_digest(modern: Modern, other: Modern) -> None:
    digest = modern.artifact("crew/x", b"text", "v1")
    modern.artifact("crew/x", b"newer", "v1")
    copy(at(modern, f"crew/x@{digest}"), at(other, "crew/x:old"))
    assert other.repository("crew/x").tags == {"old": digest}
    copy(at(modern, f"crew/x@{digest}"), at(other, f"crew/y@{digest}"))
    assert other.repository("crew/y").tags == {}
    assert list(other.repository("crew/y").manifests) == [digest]


def test_error_a_target_with_another_digest(modern: Modern, other: Modern) -> None:
    digest = modern.artifact("crew/x", b"text", "v1")
    with pytest.raises(InputError, match=f"cannot name .*, whose digest is {digest}"):
        copy(at(modern, "crew/x:v1"), at(other, f"crew/x@sha256:{'0' * 64}"))


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "flipped": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "flipped at the end": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "short": lambda data: data[:-1],
    "long": lambda data: data + b"x",
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("wrong", list(WRONG))
def test_error_no_wrong_blob_arrives_however_careless_the_target(modern: Modern, other: Modern, wrong: str) -> None:
    modern.artifact("crew/x", BIG.hex().encode(), "v1")
    repository = modern.repository("crew/x")
    largest = max(repository.blobs, key=lambda digest: len(repository.blobs[digest]))
    repository.blobs[largest] = WRONG[wrong](repository.blobs[largest])
    with pytest.raises(MismatchError, match=f"blob {largest[7:19]} from {modern.host}: expected"):
        copy(at(modern, "crew/x:v1"), at(other, "crew/x:v1"))
    assert largest not in other.repository("crew/x").blobs
    assert other.repository("crew/x").tags == {}


def test_error_a_manifest_of_another_type_than_it_says(modern: Modern, other: Modern) -> None:
    digest = modern.artifact("crew/x", b"text", "v1")
    raw = modern.repository("crew/x").manifests[digest][1]
    modern.repository("crew/x").manifests[digest] = (INDEX, raw)
    with pytest.raises(InvalidManifestError, match="was sent as"):
        copy(at(modern, "crew/x:v1"), at(other, "crew/x:v1"))


@pytest.mark.parametrize("source_lists", [True, False])
@pytest.mark.parametrize("target_lists", [True, False])
def test_referrers_go_along_when_asked(
    modern: Modern, other: Modern, *, source_lists: bool, target_lists: bool
) -> None:
    subject = modern.artifact("crew/x", b"model", "v1")
    signature = modern.artifact("crew/x", b"signature", subject=subject)
    notary = modern.artifact("crew/x", b"of the signature", subject=signature)
    for about in (subject, signature):
        listed = {"schemaVersion": 2, "mediaType": INDEX, "manifests": modern.referrers("crew/x", about)}
        if not source_lists:
            modern.put("crew/x", listed, about.replace(":", "-"))
    modern.has_referrers, other.has_referrers = source_lists, target_lists
    copy(at(modern, "crew/x:v1"), at(other, "crew/x:v1"))
    assert list(other.repository("crew/x").manifests) == [subject]
    copy(at(modern, "crew/x:v1"), at(other, "crew/x:v1"), with_referrers=True)
    with Registry(at(other, "crew/x")) as registry:
        for about, made in ((subject, signature), (signature, notary)):
            (found,) = referrers(registry, Digest.parse(about))
            assert str(found.descriptor.digest) == made
    assert {"v1"} == {tag for tag in other.repository("crew/x").tags if not tag.startswith("sha256-")}


def listing(modern: Modern, part: dict[str, Any]) -> str:
    """A model whose list of referrers, kept by clients, has this in it."""
    modern.has_referrers = False
    subject = modern.artifact("crew/x", b"model", "v1")
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [part]}
    modern.put("crew/x", document, subject.replace(":", "-"))
    return subject


def test_a_referrer_that_is_gone_is_passed_over(modern: Modern, other: Modern) -> None:
    listing(modern, {"mediaType": MANIFEST, "digest": digest_of(b"gone"), "size": 1})
    seen: list[Progress] = []
    copy(at(modern, "crew/x:v1"), at(other, "crew/x:v1"), with_referrers=True, report=seen.append)
    assert f"{digest_of(b'gone')} is listed as a referrer, and gone" in [step.status for step in seen]


def test_error_a_referrer_of_something_else(modern: Modern, other: Modern) -> None:
    foreign = modern.artifact("crew/x", b"foreign", subject=digest_of(b"another"))
    subject = listing(modern, {"mediaType": MANIFEST, "digest": foreign, "size": 1})
    with pytest.raises(MismatchError, match=f"expected {subject}, got {digest_of(b'another')}"):
        copy(at(modern, "crew/x:v1"), at(other, "crew/x:v1"), with_referrers=True)
    assert foreign not in other.repository("crew/x").manifests


def test_a_blob_that_breaks_off_is_sent_again(modern: Modern, other: Modern) -> None:
    modern.artifact("crew/x", BIG.hex().encode(), "v1")
    repository = modern.repository("crew/x")
    largest = max(repository.blobs, key=lambda digest: len(repository.blobs[digest]))
    data, cut = repository.blobs[largest], [1]

    def answer(method: str, path: str) -> tuple[int, dict[str, str], bytes] | None:
        if method == "GET" and path.endswith(largest) and cut:
            cut.pop()
            return 200, {"Content-Length": str(len(data)), "Connection": "close"}, data[: len(data) // 2]
        return None

    modern.answer = answer
    copy(at(modern, "crew/x:v1"), at(other, "crew/x:v1"))
    assert other.repository("crew/x").blobs[largest] == data


def test_from_and_to_a_real_registry(
    cli: Cli, tiny_gguf: Path, docker_registry: DockerRegistry, modern: Modern
) -> None:
    name = f"{docker_registry.host}/crew/carried:v1"
    cli.ok("create", name, "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Carry me.\n")
    pushed = cli.ok("push", name)
    mounted = copy(Name.parse(name), at(docker_registry, "team/carried:v2"))
    assert pushed.split()[1] == str(mounted.digest)
    there = copy(at(docker_registry, "team/carried:v2"), at(modern, "crew/there:v3"))
    back = copy(at(modern, "crew/there:v3"), at(docker_registry, "crew/back:v4"))
    assert mounted.raw == there.raw == back.raw
    subject, note = str(back.digest), modern.artifact("crew/there", b"a note", subject=str(back.digest))
    copy(at(modern, "crew/there:v3"), at(docker_registry, "crew/back:v4"), with_referrers=True)
    with Registry(at(docker_registry, "crew/back")) as registry:
        (found,) = referrers(registry, Digest.parse(subject))
    assert str(found.descriptor.digest) == note
    other = Cli(cli.models.parent / "other", cli.folder)
    assert other.ok("pull", f"{docker_registry.host}/crew/back:v4").split()[1] == subject


@dataclass(frozen=True)
class Holds:
    credential: Credential

    def find(self, host: str, repository: str = "") -> Credential:  # noqa: ARG002
        return self.credential


def test_a_mount_needs_a_token_for_both_repositories(cli: Cli, tiny_gguf: Path, keeper: Gatekeeper) -> None:
    name, text = f"{keeper.upstream}/crew/held:v1", f"FROM {tiny_gguf}\nSYSTEM Hold it.\n"
    cli.ok("create", name, "-f", "-", stdin=text)
    cli.ok("push", name)
    access = Access(logins=Holds(Credential(USER, PASSWORD)))
    copy(Name.parse(f"{keeper.host}/crew/held:v1"), Name.parse(f"{keeper.host}/crew/mounted:v1"), access=access)
    assert [seen.path for seen in keeper.seen if seen.method in ("GET", "PUT") and "/blobs/" in seen.path] == []
    scopes = {scope for seen in keeper.asked("/token") for scope in parse_qs(urlsplit(seen.path).query)["scope"]}
    assert scopes == {"repository:crew/held:pull", "repository:crew/mounted:pull,push"}


def test_the_double_keeps_what_it_is_sent(modern: Modern) -> None:
    """So that the tests above see what was sent."""
    modern.artifact("crew/x", b"text", "v1")
    repository: Repository = modern.repository("crew/x")
    assert {digest_of(data) for data in repository.blobs.values()} == set(repository.blobs)
    assert [json.loads(raw)["schemaVersion"] for _, raw in repository.manifests.values()] == [2]
