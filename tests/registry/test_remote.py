"""What is done in registries themselves: tags in pages, referrers with and without their API, copies, removal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from typing import Any

import pytest
from corral.registry import catalog
from corral.registry import referrers as listing
from corral.registry.catalog import next_page, tags
from corral.registry.contents import Contents
from corral.registry.copy import copy, fetched
from corral.registry.errors import RegistryError
from corral.registry.referrers import fallback_tag, note_subject, referrers
from corral.registry.remove import remove
from corral.registry.transport import Registry
from corral.store.digest import Digest
from corral.store.errors import InputError, InvalidManifestError, MismatchError
from corral.store.name import Name

from tests.conftest import DockerRegistry
from tests.registry.modern import INDEX, MANIFEST, Answer, Modern, digest_of, modern_registry


@pytest.fixture
def modern() -> Generator[Modern]:
    with modern_registry() as running:
        yield running


def at(host: str, rest: str) -> Name:
    return Name.parse(f"{host}/{rest}")


def digests(found: list[Any]) -> list[str]:
    return [str(part.descriptor.digest) for part in found]


# Links and pages


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ("", None),
        ('</v2/a/tags/list?last=x>; rel="next"', "/v2/a/tags/list?last=x"),
        ("</x>; rel=next", "/x"),
        ('</x>; REL="Next"', "/x"),
        ('</a>; rel="prev", </b>; title="no, not; this"; rel="next"', "/b"),
        ('</a>; rel="prev next"', "/a"),
        ('</a>; rel="nextish"', None),
        ("</a>", None),
        ("rel=next", None),
        ("<" * 100_000, None),
    ],
)
def test_a_link_to_the_next_page(header: str, target: str | None) -> None:
    assert next_page(header) == target


@pytest.mark.parametrize("page", [1, 3, 1000])
def test_all_pages_of_tags_are_read(modern: Modern, page: int) -> None:
    modern.page = page
    wanted = [f"v{i}" for i in range(7)]
    modern.artifact("crew/x", b"x", *wanted)
    with Registry(at(modern.host, "crew/x")) as registry:
        assert tags(registry) == wanted
    assert len(modern.asked("GET", "/tags/list")) == -(-7 // page)


def test_error_a_repository_that_is_not_there(modern: Modern, docker_registry: DockerRegistry) -> None:
    for host in (modern.host, docker_registry.host):
        with (
            Registry(at(host, "crew/absent")) as registry,
            pytest.raises(RegistryError, match=f"crew/absent: no such repository in the registry {host}") as caught,
        ):
            tags(registry)
        assert caught.value.status == 404


def tag_page(*listed: object, link: str = "") -> tuple[int, dict[str, str], bytes]:
    return 200, {"Link": link} if link else {}, json.dumps({"name": "crew/x", "tags": listed}).encode()


NONSENSE: list[tuple[Answer, str]] = [
    (tag_page("v1", link="</v2/crew/x/tags/list>; rel=next"), "has no end: page 2 is"),
    (tag_page("v1", link="<http://169.254.1.1/>; rel=next"), "is not followed: it leads to a link-local address"),
    (tag_page("../../../etc"), 'lists "../../../etc", which is no tag'),
    (tag_page("a" * 129), "which is no tag"),
    (tag_page("a\nb"), "which is no tag"),
    (tag_page(5), 'lists "5", which is no tag'),
    ((200, {}, b'{"tags": "v1"}'), "tags are no list"),
    ((200, {}, b"[]"), "is no JSON object"),
    ((200, {}, b"<html>"), "is no JSON: "),
    ((200, {}, b"[" * 100_000), "is no JSON: "),
    ((200, {}, b" " * (catalog.MAX_PAGE_BYTES + 1)), "page of more than 4194304 bytes"),
]


@pytest.mark.parametrize(("answer", "words"), NONSENSE)
def test_error_a_list_that_makes_no_sense(modern: Modern, answer: Answer, words: str) -> None:
    modern.answer = lambda _, __: answer
    with Registry(at(modern.host, "crew/x")) as registry, pytest.raises(RegistryError) as caught:
        tags(registry)
    assert words in str(caught.value)


def test_error_a_list_without_an_end(modern: Modern, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "MAX_PAGES", 5)
    modern.answer = lambda _, path: tag_page("v1", link=f"<{path.partition('?')[0]}?n={len(path)}{path[-1]}>; rel=next")
    with Registry(at(modern.host, "crew/x")) as registry, pytest.raises(RegistryError, match="has no end"):
        tags(registry)
    assert len(modern.seen) <= 6


def test_error_more_tags_than_anybody_has(modern: Modern, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "MAX_TAGS", 5)
    modern.artifact("crew/x", b"x", *[f"v{i}" for i in range(6)])
    with Registry(at(modern.host, "crew/x")) as registry, pytest.raises(RegistryError, match="more than 5 tags"):
        tags(registry)


# Referrers


@pytest.mark.parametrize("filters", [True, False])
@pytest.mark.parametrize("page", [1, 1000])
def test_referrers_by_the_registrys_own_list(modern: Modern, page: int, *, filters: bool) -> None:
    modern.page, modern.filters = page, filters
    subject = modern.artifact("crew/x", b"model", "v1")
    notes = [modern.artifact("crew/x", f"n{i}".encode(), subject=subject, kind="text/note") for i in range(3)]
    signature = modern.artifact("crew/x", b"s", subject=subject, kind="text/signature")
    with Registry(at(modern.host, "crew/x")) as registry:
        assert digests(referrers(registry, Digest.parse(subject))) == [*notes, signature]
        found = referrers(registry, Digest.parse(subject), "text/signature")
        assert digests(found) == [signature]
        assert (found[0].artifact_type, found[0].annotations) == ("text/signature", {"note": "s"})
        assert referrers(registry, Digest.parse(signature)) == []


@pytest.mark.parametrize("status", [400, 404, 405, 200])
def test_referrers_by_the_tag_where_the_registry_has_no_list(modern: Modern, status: int) -> None:
    """Also where a page for people comes back, as from registries that know no such path."""
    modern.answer = lambda _, path: (status, {"Content-Type": "text/html"}, b"<p>") if "/referrers/" in path else None
    subject = modern.artifact("crew/x", b"model", "v1")
    part = {"mediaType": MANIFEST, "digest": digest_of(b"a"), "size": 1, "artifactType": "text/x"}
    modern.put("crew/x", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [part]}, subject.replace(":", "-"))
    with Registry(at(modern.host, "crew/x")) as registry:
        assert digests(referrers(registry, Digest.parse(subject))) == [digest_of(b"a")]
        assert referrers(registry, Digest.parse(subject), "text/y") == []
        assert referrers(registry, Digest.of(b"unknown")) == []


def test_the_tag_of_a_digest() -> None:
    assert fallback_tag(Digest.of(b"")) == f"sha256-{hashlib.sha256(b'').hexdigest()}"
    long = Digest("sha512", hashlib.sha512(b"").hexdigest())
    assert fallback_tag(long) == f"sha512-{long.hex[:64]}"


def attach(registry: Registry, modern: Modern, repository: str, text: bytes, subject: str) -> str:
    """Push a referrer as any client would, and see to its listing."""
    digest = modern.artifact("crew/made", text, subject=subject)
    raw = modern.repository("crew/made").manifests[digest][1]
    modern.repository(repository).blobs |= modern.repository("crew/made").blobs
    reply = registry.put_manifest(digest, raw, MANIFEST)
    note_subject(registry, fetched(registry, digest), reply)
    return digest


def test_what_is_pushed_is_listed_by_the_client_where_the_registry_does_not(modern: Modern) -> None:
    modern.has_referrers = False
    subject = modern.artifact("crew/x", b"model", "v1")
    with Registry(at(modern.host, "crew/x"), actions="pull,push") as registry:
        made = [attach(registry, modern, "crew/x", f"n{i}".encode(), subject) for i in range(3)]
        attach(registry, modern, "crew/x", b"n1", subject)
        assert sorted(digests(referrers(registry, Digest.parse(subject)))) == sorted(made)
        assert {part.annotations["note"] for part in referrers(registry, Digest.parse(subject))} == {"n0", "n1", "n2"}


def test_the_client_lists_nothing_where_the_registry_does(modern: Modern) -> None:
    subject = modern.artifact("crew/x", b"model", "v1")
    with Registry(at(modern.host, "crew/x"), actions="pull,push") as registry:
        made = attach(registry, modern, "crew/x", b"n", subject)
        assert digests(referrers(registry, Digest.parse(subject))) == [made]
    assert set(modern.repository("crew/x").tags) == {"v1"}


def test_what_others_have_put_into_the_index_stays(modern: Modern) -> None:
    modern.has_referrers = False
    subject = modern.artifact("crew/x", b"model", "v1")
    theirs = {
        "mediaType": MANIFEST,
        "digest": digest_of(b"a"),
        "size": 1,
        "urls": ["https://x"],
        "odd": [1, {"b": None}],
    }
    tag = subject.replace(":", "-")
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [theirs], "annotations": {"who": "them"}}
    modern.put("crew/x", index, tag)
    with Registry(at(modern.host, "crew/x"), actions="pull,push") as registry:
        made = attach(registry, modern, "crew/x", b"n", subject)
    kept = json.loads(modern.repository("crew/x").manifests[modern.repository("crew/x").tags[tag]][1])
    assert kept["annotations"] == {"who": "them"}
    assert kept["manifests"][0] == theirs
    assert kept["manifests"][1]["digest"] == made


def test_a_change_by_another_client_meanwhile_is_not_lost(modern: Modern) -> None:
    modern.has_referrers, modern.has_etags = False, True
    subject = modern.artifact("crew/x", b"model", "v1")
    tag = subject.replace(":", "-")
    parts = [{"mediaType": MANIFEST, "digest": digest_of(bytes([i])), "size": 1} for i in range(4)]
    modern.put("crew/x", {"schemaVersion": 2, "mediaType": INDEX, "manifests": parts[:1]}, tag)
    left = [2, 3, 4]

    def overtake() -> None:
        if modern.seen[-1][1].endswith(tag) and left:
            modern.put("crew/x", {"schemaVersion": 2, "mediaType": INDEX, "manifests": parts[: left.pop(0)]}, tag)

    modern.changed = overtake
    with Registry(at(modern.host, "crew/x"), actions="pull,push") as registry:
        made = attach(registry, modern, "crew/x", b"n", subject)
        found = digests(referrers(registry, Digest.parse(subject)))
    assert found == [*(part["digest"] for part in parts), made]


def test_error_others_never_leave_the_index_alone(modern: Modern) -> None:
    modern.has_referrers, modern.has_etags = False, True
    subject = modern.artifact("crew/x", b"model", "v1")
    tag = subject.replace(":", "-")
    counted = iter(range(100))

    def overtake() -> None:
        if modern.seen[-1][1].endswith(tag):
            part = {"mediaType": MANIFEST, "digest": digest_of(b"%d" % next(counted)), "size": 1}
            modern.put("crew/x", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [part]}, tag)

    modern.put("crew/x", {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}, tag)
    modern.changed = overtake
    with (
        Registry(at(modern.host, "crew/x"), actions="pull,push") as registry,
        pytest.raises(RegistryError, match="others keep changing the index"),
    ):
        attach(registry, modern, "crew/x", b"n", subject)


def test_error_more_referrers_than_anybody_has(modern: Modern, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_REFERRERS", 2)
    subject = modern.artifact("crew/x", b"model", "v1")
    for i in range(3):
        modern.artifact("crew/x", b"%d" % i, subject=subject)
    with Registry(at(modern.host, "crew/x")) as registry, pytest.raises(RegistryError, match="more than 2 referrers"):
        referrers(registry, Digest.parse(subject))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 2, "layers": [{"digest": "sha256:x", "size": 1}]}',
        b'{"schemaVersion": 2, "manifests": [{"digest": "sha256:%s", "size": -1}]}' % (b"0" * 64),
        b'{"schemaVersion": 2, "subject": {"digest": "../../x", "size": 1}}',
        b'{"schemaVersion": 2, "annotations": {"a": 1}}',
        b'{"schemaVersion": 2, "layers": ' + b"[" * 5000,
    ],
)
def test_error_no_manifest(document: bytes) -> None:
    with pytest.raises(InvalidManifestError, match="x: invalid manifest"):
        Contents.parse(document, "x")


# Removal


def test_a_tag_alone_is_removed(modern: Modern) -> None:
    digest = modern.artifact("crew/x", b"model", "v1", "v2")
    removed = remove(at(modern.host, "crew/x:v1"))
    assert (str(removed.digest), removed.is_whole) == (digest, False)
    assert modern.repository("crew/x").tags == {"v2": digest}


def test_where_tags_are_not_removed_alone_the_manifest_goes_if_it_has_no_other(modern: Modern) -> None:
    modern.deletes_tags = False
    digest = modern.artifact("crew/x", b"model", "v1")
    modern.artifact("crew/x", b"another", "v2", "v3")
    removed = remove(at(modern.host, "crew/x:v1"))
    assert (str(removed.digest), removed.is_whole) == (digest, True)
    assert set(modern.repository("crew/x").tags) == {"v2", "v3"}
    with pytest.raises(InputError, match="removes no single tag, and this manifest is also v3"):
        remove(at(modern.host, "crew/x:v2"))
    assert set(modern.repository("crew/x").tags) == {"v2", "v3"}
    assert remove(at(modern.host, "crew/x:v2"), all_tags=True).is_whole
    assert modern.repository("crew/x").tags == {}


def test_what_is_named_by_its_digest_is_removed(modern: Modern) -> None:
    digest = modern.artifact("crew/x", b"model", "v1", "v2")
    assert remove(at(modern.host, f"crew/x@{digest}")).is_whole
    assert modern.repository("crew/x").manifests == {}


def test_error_a_registry_that_removes_nothing(modern: Modern) -> None:
    modern.deletes = False
    modern.artifact("crew/x", b"model", "v1")
    with pytest.raises(RegistryError, match=r"deletes nothing \(405\)") as caught:
        remove(at(modern.host, "crew/x:v1"))
    assert caught.value.hint
    assert modern.repository("crew/x").tags.keys() == {"v1"}


def test_error_what_is_not_there_is_not_removed(modern: Modern) -> None:
    with pytest.raises(RegistryError) as caught:
        remove(at(modern.host, "crew/x:v1"))
    assert caught.value.status == 404
    assert modern.asked("DELETE", "") == []


@pytest.mark.parametrize("has_referrers", [True, False])
def test_a_removed_referrer_is_not_listed(modern: Modern, *, has_referrers: bool) -> None:
    modern.has_referrers = has_referrers
    subject = modern.artifact("crew/x", b"model", "v1")
    with Registry(at(modern.host, "crew/x"), actions="pull,push") as registry:
        made = [attach(registry, modern, "crew/x", text, subject) for text in (b"a", b"b")]
        remove(at(modern.host, f"crew/x@{made[0]}"))
        assert digests(referrers(registry, Digest.parse(subject))) == [made[1]]


def test_error_a_digest_that_the_registry_does_not_keep_to(modern: Modern) -> None:
    wanted = modern.artifact("crew/x", b"model", "v1")
    wrong = modern.artifact("crew/x", b"another", "v2")
    repository = modern.repository("crew/x")
    modern.answer = lambda _, path: (
        (200, {"Content-Type": MANIFEST}, repository.manifests[wrong][1]) if "/manifests/" in path else None
    )
    with pytest.raises(MismatchError, match=f"expected {wanted}, got {wrong}"):
        copy(at(modern.host, f"crew/x@{wanted}"), at(modern.host, "crew/y:v1"))
    assert "crew/y" not in modern.repositories
