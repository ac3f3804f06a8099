"""Tags and their manifests: each moves and goes by itself, also beside one that to Ollama is the same, and only if wanted."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from corral.runtime.http.oci import Door
from corral.runtime.http.registry_app import anybody, make_registry_app

from corral import Store
from tests import weights
from tests.conftest import Cli
from tests.registry.formats.artifacts import Layer
from tests.registry.formats.artifacts import artifact as sample
from tests.registry.serve.conftest import Serving
from tests.registry.serve.documents import (
    BLOB,
    CONFIG,
    DOCKER,
    INDEX,
    MANIFEST,
    digest,
    image,
    index,
    pushed,
    put,
    upload,
)
from tests.registry.serve.table import held, row
from tests.registry.serve.wire import Reply
from tests.runtime.http.running import running

HOSTS = pytest.mark.parametrize("repository", ["crew/small", "ghcr.io/crew/small"])
BOTH = f"{DOCKER}, {MANIFEST}, {INDEX}"


def model(seed: int) -> tuple[bytes, list[bytes]]:
    """The manifest of a model by Docker Model Runner, and its blobs."""
    prefix = "application/vnd.docker.ai."
    config = Layer(f"{prefix}model.config.v0.1+json", b'{"config":{"format":"gguf"},"descriptor":{},"rootfs":{}}')
    made = sample(Layer(f"{prefix}gguf.v3", weights.gguf()), Layer(f"{prefix}license", b"%d" % seed), config=config)
    return made.raw, list(made.blobs.values())


def give(own: Serving, repository: str, tag: str, raw: bytes, blobs: list[bytes], media_type: str = MANIFEST) -> None:
    steps = [*upload(*blobs, to=repository), put(raw, tag, media_type=media_type, to=repository)]
    assert held(row("given", *steps), own.host) == ""


def ask(own: Serving, repository: str, reference: str, method: str = "GET", raw: bytes = b"", **headers: str) -> Reply:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return own.wire.ask(method, f"/v2/{repository}/manifests/{reference}", raw, {"Accept": BOTH, **sent})


def tags(own: Serving, repository: str) -> list[str]:
    return own.wire.ask("GET", f"/v2/{repository}/tags/list").json["tags"]


@HOSTS
def test_a_model_does_not_take_the_place_of_one_whose_tag_differs_by_case(own: Serving, repository: str) -> None:
    models = {"v1": model(1), "V1": model(2)}
    for tag, (raw, blobs) in models.items():
        give(own, repository, tag, raw, blobs)
    assert tags(own, repository) == ["V1", "v1"]
    for tag, (raw, blobs) in models.items():
        assert ask(own, repository, tag).body == ask(own, repository, digest(raw)).body == raw
        for blob in blobs:
            assert own.wire.ask("GET", f"/v2/{repository}/blobs/{digest(blob)}").body == blob
    assert ask(own, repository, "V1", "DELETE").status == 202
    assert ask(own, repository, "v1").body == models["v1"][0]
    assert tags(own, repository) == ["v1"]


@HOSTS
def test_what_is_no_model_leaves_a_model_whose_tag_differs_by_case(own: Serving, repository: str) -> None:
    raw, blobs = model(1)
    give(own, repository, "v1", raw, blobs)
    give(own, repository, "V1", index(raw), [], INDEX)
    assert (ask(own, repository, "v1").body, ask(own, repository, "V1").body) == (raw, index(raw))
    assert ask(own, repository, "v1", "DELETE").status == 202
    assert (tags(own, repository), ask(own, repository, "V1").body) == (["V1"], index(raw))


@HOSTS
def test_a_model_of_a_store_below_is_not_covered_by_one_whose_tag_differs_by_case(
    repository: str, tiny_gguf: Path, tmp_path: Path
) -> None:
    below = Cli(tmp_path / "below", tmp_path)
    below.ok("create", f"{repository}:v1", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    app = make_registry_app(Store(tmp_path / "models", [below.models]), Door(anybody))
    with running(app) as server, ExitStack() as stack:
        own = Serving(f"127.0.0.1:{server.port}", tmp_path / "models", stack)
        before = ask(own, repository, "v1").body
        raw, blobs = model(1)
        give(own, repository, "V1", raw, blobs)
        assert (ask(own, repository, "v1").body, ask(own, repository, "V1").body) == (before, raw)
        assert tags(own, repository) == ["V1", "v1"]


@HOSTS
def test_a_model_that_is_made_anew_in_another_spelling_is_given_by_both(
    own: Serving, repository: str, tiny_gguf: Path
) -> None:
    raw, blobs = model(1)
    give(own, repository, "V1", raw, blobs)
    (file,) = (own.models / "manifests").rglob("V1")
    file.unlink()
    own.cli.ok("create", f"{repository}:v1", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    assert ask(own, repository, "V1").body == ask(own, repository, "v1").body != raw


@HOSTS
def test_error_a_tag_that_nobody_gave_is_not_deleted_as_one_that_differs_by_case(own: Serving, repository: str) -> None:
    raw, blobs = model(1)
    give(own, repository, "V1", raw, blobs)
    reply = ask(own, repository, "v1", "DELETE")
    assert (reply.status, reply.code) == (404, "MANIFEST_UNKNOWN")
    assert ask(own, repository, "V1").body == raw


def test_a_tag_that_looks_like_a_digest_is_listed_as_the_client_gave_it(own: Serving) -> None:
    raw, blobs = model(1)
    tag = digest(raw).replace(":", "-")
    give(own, "crew/small", tag, raw, blobs)
    assert tags(own, "crew/small") == [tag]


def test_the_blobs_of_a_model_that_is_deleted_by_its_digest_wait_for_the_next_manifest(own: Serving) -> None:
    raw, blobs = model(1)
    give(own, "crew/small", "v1", raw, blobs)
    assert ask(own, "crew/small", digest(raw), "DELETE").status == 202
    for blob in blobs:
        assert own.wire.ask("HEAD", f"/v2/crew/small/blobs/{digest(blob)}").status == 200
    assert held(row("again", put(raw, "v2", to="crew/small")), own.host) == ""
    own.cli.ok("verify", "--deep")


OTHER = f'"{digest(BLOB)}"'
CONDITIONS = {
    "the tag is what it was": ({"If_Match": "<etag>"}, 201),
    "it is one of several": ({"If_Match": f"{OTHER}, <etag>"}, 201),
    "it is there": ({"If_Match": "*"}, 201),
    "it is not another": ({"If_None_Match": OTHER}, 201),
    "it is another": ({"If_Match": OTHER}, 412),
    "it is not there": ({"If_None_Match": "*"}, 412),
    "it is not what it is": ({"If_None_Match": "<etag>"}, 412),
}


@pytest.mark.parametrize("kind", ["an image", "a model", "a model made here"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_tag_is_only_moved_on_the_clients_condition(own: Serving, tiny_gguf: Path, kind: str, condition: str) -> None:
    raw, blobs = model(1)
    if kind == "an image":
        assert held(row("crew", pushed("v1")), own.host) == ""
    elif kind == "a model":
        give(own, "rows/crew", "v1", raw, blobs)
    else:
        own.cli.ok("create", "rows/crew:v1", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    before = ask(own, "rows/crew", "v1", "HEAD").headers["etag"]
    headers, status = CONDITIONS[condition]
    sent = {name: value.replace("<etag>", before) for name, value in headers.items()}
    after = image(layers=[], annotations={"new": "yes"})
    assert held(row("crew", upload(CONFIG)), own.host) == ""
    reply = ask(own, "rows/crew", "v1", "PUT", after, Content_Type=MANIFEST, **sent)
    assert reply.status == status
    assert (ask(own, "rows/crew", "v1", "HEAD").headers["etag"] == before) == (status == 412)
    assert ask(own, "rows/crew", digest(after)).status == (404 if status == 412 else 200)


def test_a_condition_is_for_what_was_there_before_though_its_tag_is_named_twice(own: Serving) -> None:
    assert held(row("crew", pushed("v1")), own.host) == ""
    before = ask(own, "rows/crew", "v1", "HEAD").headers["etag"]
    after = image(annotations={"new": "yes"})
    reply = ask(own, "rows/crew", "v1?tag=v1", "PUT", after, Content_Type=MANIFEST, If_Match=before)
    assert (reply.status, ask(own, "rows/crew", "v1").body) == (201, after)


def test_error_a_condition_on_a_tag_that_is_not_there(own: Serving) -> None:
    assert held(row("crew", pushed("v1")), own.host) == ""
    for header, status in (("If_Match", 412), ("If_None_Match", 201)):
        reply = ask(own, "rows/crew", "new", "PUT", image(), Content_Type=MANIFEST, **{header: "*"})
        assert reply.status == status
