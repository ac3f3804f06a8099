"""Listings: rows of tags, of repositories, and of what is said about a manifest."""

from __future__ import annotations

from typing import Any

from tests.registry.serve.documents import (
    EMPTY,
    INDEX,
    MANIFEST,
    SHELF,
    artifact,
    described,
    digest,
    image,
    image_parts,
    index,
    pushed,
    put,
    upload,
)
from tests.registry.serve.table import Row, Step, row

IMAGE = image()
M = digest(IMAGE)
TAGGED, DISCUSSED = "shelf/tagged", "shelf/discussed"
"""Repositories that are there before the rows begin, one with tags, one with referrers. Rows only look at them."""
LIST = f"/v2/{TAGGED}/tags/list"
SORTED = ["0", "10", "9", "B", "C", "a", "b", "c"]


def tags(query: str, shown: list[str], following: str = "", of: str = "<repo>") -> Step:
    """The step that asks for tags; `following` is the query of the page behind them."""
    link = f'</v2/{of}/tags/list?{following}>; rel="next"' if following else None
    return Step("GET", f"/v2/{of}/tags/list{query}", 200, gives={"Link": link}, shows={"name": of, "tags": shown})


def _paged(name: str, *pages: tuple[str, list[str], str]) -> Row:
    return row(name, *(tags(*page, of=TAGGED) for page in pages))


_TAGS = [
    _paged("tags in their order", ("", SORTED, "")),
    row("tags are JSON", Step("GET", f"{LIST}", 200, gives={"Content-Type": "application/json"})),
    row("the head of tags", Step("HEAD", LIST, 200)),
    _paged(
        "tags in pages",
        ("?n=3", SORTED[:3], "last=9&n=3"),
        ("?last=9&n=3", SORTED[3:6], "last=a&n=3"),
        ("?last=a&n=3", SORTED[6:], ""),
    ),
    _paged("a page of all tags has no next", ("?n=8", SORTED, "")),
    _paged("a page of more than all tags", ("?n=9", SORTED, ""), ("?n=1000", SORTED, ""), ("?n=999999999", SORTED, "")),
    _paged("a page of no tags", ("?n=0", [], "")),
    _paged("tags behind one", ("?last=9", SORTED[3:], "")),
    _paged("tags behind one that is not there", ("?last=A&n=2", ["B", "C"], "last=C&n=2")),
    _paged("tags behind the last", ("?last=c", [], "")),
    _paged("tags behind all", ("?n=3&last=zzz", [], "")),
    *(
        row(f"a page of {what} tags", Step("GET", f"{LIST}?n={n}", 400, code="UNSUPPORTED"))
        for what, n in {
            "minus one": "-1",
            "x": "x",
            "one and a half": "1.5",
            "no number of": "",
            "too many digits of": "9" * 99,
        }.items()
    ),
    row("tags of an unknown repository", Step("GET", "tags/list", 404, code="NAME_UNKNOWN")),
    row("tags of a repository without one", image_parts(), put(IMAGE, M), tags("", [])),
    row("tags of a repository of blobs", upload(EMPTY), tags("", [])),
    row("tags without a deleted one", pushed("v1", "v2"), Step("DELETE", "manifests/v1", 202), tags("", ["v2"])),
    row(
        "tags without those of a deleted manifest",
        pushed("v1", "v2"),
        put(image(artifactType="a/b"), "v3"),
        Step("DELETE", f"manifests/{M}", 202),
        tags("", ["v3"]),
    ),
    row("tags are not deleted as a whole", Step("DELETE", LIST, 405, code="UNSUPPORTED", gives={"Allow": "*"})),
]


def _catalog(query: str, shown: list[str], following: str = "") -> Step:
    link = f'</v2/_catalog?{following}>; rel="next"' if following else None
    return Step("GET", f"/v2/_catalog?{query}", 200, gives={"Link": link}, shows={"repositories": shown})


_TWO = [*pushed("v1", to="<repo>/a"), *pushed("v1", to="<repo>/b"), *pushed("v1", to="<repo>/c")]
_REPOSITORIES = [
    row(
        "a page of repositories",
        _TWO,
        Step(
            "GET",
            "/v2/_catalog?n=2&last=<repo>",
            200,
            gives={"Link": "*", "Content-Type": "application/json"},
            shows={"repositories": ["<repo>/a", "<repo>/b"]},
        ),
    ),
    row("a page of no repositories", _catalog("n=0", [])),
    row("repositories behind the last", _catalog("last=zzz", [])),
    row("a page of minus one repositories", Step("GET", "/v2/_catalog?n=-1", 400, code="UNSUPPORTED")),
    row("a page of x repositories", Step("GET", "/v2/_catalog?n=x", 400, code="UNSUPPORTED")),
    row("repositories are not deleted as a whole", Step("DELETE", "/v2/_catalog", 405, code="UNSUPPORTED")),
]


def _referrers(
    shown: list[dict[str, Any]], query: str = "", of: str = M, at: str = "<repo>", **gives: str | None
) -> Step:
    said = {"Content-Type": INDEX, **{name.replace("_", "-"): value for name, value in gives.items()}}
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": shown}
    return Step("GET", f"/v2/{at}/referrers/{of}{query}", 200, gives=said, shows=document)


SUBJECT = described(IMAGE, MANIFEST)
THING = "application/vnd.example.thing"
ABOUT = artifact(subject=SUBJECT, annotations={"key": "value"})
OLD_ABOUT = image(subject=SUBJECT, config=described(EMPTY, "application/vnd.example.sbom"), layers=[])
INDEX_ABOUT = index(subject=SUBJECT, artifactType="application/vnd.example.list")
PART = described(ABOUT, MANIFEST, artifactType=THING, annotations={"key": "value"})
OLD_PART = described(OLD_ABOUT, MANIFEST, artifactType="application/vnd.example.sbom")
INDEX_PART = described(INDEX_ABOUT, INDEX, artifactType="application/vnd.example.list")
ALL = sorted((PART, OLD_PART, INDEX_PART), key=lambda part: part["digest"])


def discussed(to: str = "<repo>") -> list[Step]:
    """The steps that send an image and three manifests about it."""
    about = [put(ABOUT, digest(ABOUT), to=to), put(OLD_ABOUT, "old", to=to), put(INDEX_ABOUT, "index", 201, INDEX, to)]
    return [*pushed("v1", to=to), *upload(EMPTY, to=to), *about]


_SET = discussed()
STOCK = row(
    "stock", upload(EMPTY, b"", to=SHELF), pushed("v1", to=SHELF), pushed(*SORTED, to=TAGGED), discussed(DISCUSSED)
)


def _about(name: str, *steps: Any) -> Row:
    return row(f"referrers {name}", *steps)


_REFERRERS = [
    _about("of what has none", pushed("v1"), _referrers([])),
    _about("in an unknown repository", _referrers([])),
    _about("of what is not here", _referrers([], of="sha512:" + "0" * 128)),
    _about("with all that is said of them", _referrers(ALL, at=DISCUSSED, OCI_Filters_Applied=None)),
    _about(
        "of one kind", _referrers([PART], f"?artifactType={THING}", at=DISCUSSED, OCI_Filters_Applied="artifactType")
    ),
    _about(
        "of the kind of their config",
        _referrers([OLD_PART], "?artifactType=application/vnd.example.sbom", at=DISCUSSED),
    ),
    _about(
        "of the kind of their config in quotes",
        _referrers([OLD_PART], "?artifactType=application%2Fvnd.example.sbom", at=DISCUSSED),
    ),
    _about("that are indexes", _referrers([INDEX_PART], "?artifactType=application/vnd.example.list", at=DISCUSSED)),
    _about("of an unknown kind", _referrers([], "?artifactType=x", at=DISCUSSED, OCI_Filters_Applied="artifactType")),
    _about(
        "are for one repository",
        pushed("v1"),
        upload(EMPTY, to="<other>"),
        put(ABOUT, "about", to="<other>"),
        _referrers([]),
    ),
    _about(
        "without a deleted one",
        _SET,
        Step("DELETE", f"manifests/{digest(ABOUT)}", 202),
        _referrers([part for part in ALL if part != PART]),
    ),
    _about("with one whose tag is deleted", _SET, Step("DELETE", "manifests/old", 202), _referrers(ALL)),
    _about("of a deleted manifest", _SET, Step("DELETE", f"manifests/{M}", 202), _referrers(ALL)),
    _about("that came before their subject", upload(EMPTY), put(ABOUT, "about"), pushed("v1"), _referrers([PART])),
    _about(
        "by sha512",
        upload(EMPTY),
        put(artifact(subject=described(IMAGE, MANIFEST, "sha512")), "about"),
        _referrers(
            [described(artifact(subject=described(IMAGE, MANIFEST, "sha512")), MANIFEST, artifactType=THING)],
            of=digest(IMAGE, "sha512"),
        ),
    ),
    _about(
        "of a referrer",
        _SET,
        put(artifact(subject=described(ABOUT, MANIFEST)), "second"),
        _referrers(
            [described(artifact(subject=described(ABOUT, MANIFEST)), MANIFEST, artifactType=THING)], of=digest(ABOUT)
        ),
    ),
    _about("of no digest", Step("GET", "referrers/sha256:abc", 400, code="DIGEST_INVALID")),
    _about("of a tag", pushed("v1"), Step("GET", "referrers/v1", 400, code="DIGEST_INVALID")),
    _about("by HEAD", Step("HEAD", f"/v2/{DISCUSSED}/referrers/{M}", 200, gives={"Content-Type": INDEX})),
    _about("are not put", Step("PUT", f"referrers/{M}", 405, code="UNSUPPORTED", gives={"Allow": "*"})),
    _about(
        "by the tag of old clients",
        pushed("v1"),
        put(index(ABOUT), M.replace(":", "-"), media_type=INDEX),
        Step("GET", f"manifests/{M.replace(':', '-')}", 200, headers={"Accept": INDEX}, shows=index(ABOUT)),
    ),
]

LISTINGS = [*_TAGS, *_REPOSITORIES, *_REFERRERS]
