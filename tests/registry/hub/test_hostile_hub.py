"""A Hub that means harm or is broken: one clear error, nothing left in the store, and the token where it belongs."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CORRAL, Cli, free_port
from tests.registry.hub.conftest import NAME, Puller
from tests.registry.hub.double import Hub, Reply, Seen, running_hub, sha256
from tests.weights import gguf

TOKEN = "hf_s3cretT0ken"
WEIGHTS = "parrot-Q4_K_M.gguf"
Siblings = list[dict[str, Any]]


def siblings(change: Callable[[Siblings], Siblings | None]) -> Callable[[dict[str, Any]], object]:
    """A listing with changed entries."""

    def changed(listing: dict[str, Any]) -> object:
        entries: Siblings = listing["siblings"]
        return {**listing, "siblings": change(entries) or entries}

    return changed


def weights_entry(entries: Siblings) -> dict[str, Any]:
    return next(entry for entry in entries if entry["rfilename"] == WEIGHTS)


def flipped(path: str, data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if path == WEIGHTS else data


def test_error_other_bytes(puller: Puller, hub: Hub) -> None:
    hub.content = flipped
    said = puller.error(3)
    promised, got = (sha256(data) for data in (hub.files[WEIGHTS], flipped(WEIGHTS, hub.files[WEIGHTS])))
    assert f"{NAME}:latest: {WEIGHTS}: expected sha256:{promised}, got sha256:{got}" in said


def test_error_other_bytes_of_a_file_in_git(puller: Puller, hub: Hub) -> None:
    hub.content = flipped
    hub.in_git = {WEIGHTS}
    assert re.search(rf"{WEIGHTS}: expected [0-9a-f]{{40}}, got [0-9a-f]{{40}}\n", puller.error(3))


@pytest.mark.parametrize("more", [1, 64 << 20])
def test_error_more_bytes_than_were_listed(puller: Puller, hub: Hub, more: int) -> None:
    hub.content = lambda path, data: data + bytes(more) if path == WEIGHTS else data
    said = puller.error(3)
    assert f"at most {len(hub.files[WEIGHTS])} bytes, got more" in said


def test_error_fewer_bytes_than_were_listed(puller: Puller, hub: Hub) -> None:
    hub.content = lambda path, data: data[:-1] if path == WEIGHTS else data
    assert f"{NAME}:latest: the transfer from 127.0.0.1 broke off" in puller.error(4)


@pytest.mark.parametrize("size", [1, 10**6])
def test_error_a_size_that_lies(puller: Puller, hub: Hub, size: int) -> None:
    hub.listing = siblings(lambda entries: weights_entry(entries)["lfs"].update(size=size))
    puller.error(3)


def test_error_no_room(puller: Puller, hub: Hub) -> None:
    hub.listing = siblings(lambda entries: weights_entry(entries)["lfs"].update(size=1 << 43))
    assert f"{1 << 43} bytes to write" in puller.error(5)


def test_error_a_checksum_that_lies(puller: Puller, hub: Hub) -> None:
    hub.listing = siblings(lambda entries: weights_entry(entries)["lfs"].update(sha256="0" * 64))
    assert f"expected sha256:{'0' * 64}, got sha256:{sha256(hub.files[WEIGHTS])}" in puller.error(3)


@pytest.mark.parametrize(
    "change",
    [
        {"lfs": {"sha256": "../../etc/passwd", "size": 1, "pointerSize": 1}},
        {"lfs": {"sha256": None, "size": 1, "pointerSize": 1}},
        {"lfs": {"sha256": "0" * 64, "size": "1", "pointerSize": 1}},
        {"lfs": {"sha256": "0" * 64, "size": -1, "pointerSize": 1}},
        {"lfs": {"sha256": "0" * 64, "size": True, "pointerSize": 1}},
        {"lfs": {"sha256": "0" * 64, "size": 1 << 80, "pointerSize": 1}},
        {"lfs": None, "blobId": None},
        {"lfs": None, "blobId": "../x"},
        {"lfs": None, "size": None},
        {"rfilename": f"../{WEIGHTS}"},
        {"rfilename": f"/{WEIGHTS}"},
        {"rfilename": f"a/../../{WEIGHTS}"},
        {"rfilename": f"{WEIGHTS}\0.gguf"},
        {"rfilename": f"a\\..\\{WEIGHTS}"},
        {"rfilename": 7},
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_is_passed_over(puller: Puller, hub: Hub, change: dict[str, Any]) -> None:
    hub.listing = siblings(lambda entries: weights_entry(entries).update(change))
    puller.ok()
    assert f"blobs/sha256-{sha256(hub.files['parrot-Q8_0.gguf'])}" in puller.contents()


NO_LISTS: list[object] = [
    {},
    7,
    None,
    {"id": "x"},
    {"id": "x", "sha": "main", "siblings": []},
    {"id": "x", "sha": 7, "siblings": []},
    {"id": "x", "sha": "../" * 20, "siblings": []},
    {"id": "x", "sha": "c" * 40, "siblings": 7},
    {"id": "x", "sha": "c" * 40, "siblings": [7]},
    {"id": "x", "sha": "c" * 40, "siblings": [{}]},
    {"id": "x", "sha": "c" * 40, "siblings": [{"rfilename": "x", "lfs": 7}]},
    {"id": "x", "sha": "c" * 40, "siblings": [], "lastModified": "never"},
]


@pytest.mark.parametrize("listing", NO_LISTS, ids=str)
def test_error_a_list_that_is_none(puller: Puller, hub: Hub, listing: object) -> None:
    hub.listing = lambda _: listing
    said = puller.error(4)
    assert "127.0.0.1 does not answer as the Hub does: " in said or "the download from 127.0.0.1 failed: " in said


def test_error_a_list_that_is_no_json(puller: Puller, hub: Hub) -> None:
    for body in (b"", b"<html>", b'{"siblings":' + b"[" * 200_000, b"\xff"):
        hub.answer = lambda _, body=body: Reply(200, {"Content-Length": str(len(body))}, body)
        assert "does not answer as the Hub does: its list of files cannot be read" in puller.error(4)


def test_error_a_list_without_end(puller: Puller, hub: Hub) -> None:
    entry = json.dumps({"rfilename": "x" * 1000}).encode()
    body = b'{"siblings":[' + b",".join([entry] * 40_000) + b"]}"
    hub.answer = lambda _: Reply(200, {"Content-Length": str(len(body))}, body)
    assert f"expected at most {32 << 20} bytes, got more" in puller.error(3)


def test_error_too_many_files(puller: Puller, hub: Hub) -> None:
    hub.listing = siblings(lambda _: [{"rfilename": f"{n}.txt", "size": 1, "blobId": "0" * 40} for n in range(20_001)])
    assert "the repository has 20001 files, at most 20000 are looked at" in puller.error(4)


def test_error_packed_replies(puller: Puller, hub: Hub) -> None:
    body = gzip.compress(bytes(64 << 20))
    hub.answer = lambda _: Reply(200, {"Content-Encoding": "gzip", "Content-Length": str(len(body))}, body)
    assert 'the reply of 127.0.0.1 is packed ("gzip")' in puller.error(4)
    assert {seen.headers["accept-encoding"] for seen in hub.seen} == {"identity"}


def test_error_what_is_no_gguf(puller: Puller, hub: Hub) -> None:
    hub.files[WEIGHTS] = b"GGUF" + bytes(100)
    assert f"{NAME}:latest: {WEIGHTS}: invalid GGUF: " in puller.error(3)


def test_what_was_here_before_stays(puller: Puller, hub: Hub) -> None:
    puller.ok(f"{NAME}:{WEIGHTS}")
    hub.files["mmproj-parrot-F16.gguf"] = gguf(context=7)
    assert "it is a model, expected a projector" in puller.error(3)
    assert puller.cli.ok("verify", "--deep")


@pytest.mark.parametrize(
    ("reply", "message", "hint"),
    [
        (Reply(401, {"X-Error-Code": "RepoNotFound"}), "not found on 127.0.0.1, or not for you", "set HF_TOKEN"),
        (Reply(404, {"X-Error-Code": "RepoNotFound"}), "not found on 127.0.0.1, or not for you", "check the name"),
        (Reply(403, {"X-Error-Code": "GatedRepo"}), "the repository is gated", f"on the model's page, https://{NAME},"),
        (Reply(401, {"X-Error-Code": "GatedRepo"}), "the repository is gated", "accept the licence"),
        (Reply(403, {"X-Error-Message": "Access to this resource is disabled."}), "or not for you", ""),
        (Reply(403, {}), "or not for you", ""),
        (Reply(400, {}), "127.0.0.1 answered 400", ""),
        (Reply(418, {}, b"I am\x1b[31m\na teapot"), "127.0.0.1 answered 418", ""),
        (Reply(503, {}), "127.0.0.1 answered 503", "try again later"),
        (Reply(429, {"Retry-After": "86400"}), "127.0.0.1 answered 429, and to wait 86400 seconds", "try again then"),
        (Reply(503, {"Retry-After": "9" * 500}), "answered 503, and to wait 999999999999 seconds", "try again then"),
        (Reply(429, {"RateLimit": '"api";r=0;t=999'}), "answered 429, and to wait 999 seconds", "HF_TOKEN"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_error_refusals(puller: Puller, hub: Hub, reply: Reply, message: str, hint: str) -> None:
    hub.answer = lambda _: reply
    said = puller.error(4)
    assert message in said
    assert hint in said
    assert "teapot" not in said


def test_error_a_file_is_refused(puller: Puller, hub: Hub) -> None:
    hub.answer = lambda seen: Reply(403, {"X-Error-Code": "GatedRepo"}) if "/resolve/" in seen.path else None
    assert "the repository is gated" in puller.error(4)
    hub.answer = lambda seen: Reply(404, {"X-Error-Code": "EntryNotFound"}) if "/resolve/" in seen.path else None
    assert "a file that 127.0.0.1 lists is not there" in puller.error(4)
    hub.answer = lambda seen: Reply(403, {}) if seen.host == "cdn" else None
    assert "not found on 127.0.0.1, or not for you" in puller.error(4)


def test_error_nobody_is_there(puller: Puller) -> None:
    said = puller.error(4, HF_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    assert "cannot reach 127.0.0.1: Connection refused" in said
    assert "HF_ENDPOINT" in said


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://127.0.0.1", "http://", "http://user:pass@127.0.0.1"])
def test_error_an_endpoint_that_is_none(puller: Puller, endpoint: str) -> None:
    assert "is no address: " in puller.error(1, HF_ENDPOINT=endpoint)


def test_error_settings_that_are_none(puller: Puller) -> None:
    assert "huggingface_hub cannot use its settings: " in puller.error(1, HF_HUB_DOWNLOAD_TIMEOUT="soon")


def test_error_names_that_no_repository_has(puller: Puller, hub: Hub) -> None:
    for name in ("hf.co/crew/parrot.git", "hf.co/crew/a--b"):
        assert f"{name}:latest: the Hub has no such names" in puller.error(1, name)
    assert hub.seen == []


def test_the_token_is_the_hubs_alone(puller: Puller, hub: Hub) -> None:
    hub.token = TOKEN
    assert "or not for you" in puller.error(4)
    said = puller.error(4, HF_TOKEN=f"{TOKEN}X")
    assert "or not for you" in said
    assert TOKEN not in said
    puller.ok(HF_TOKEN=TOKEN)
    assert {seen.headers.get("authorization") for seen in hub.seen if seen.host == "cdn"} == {None}


def test_the_token_may_be_in_a_file(own_puller: Puller, hub: Hub) -> None:
    hub.token = TOKEN
    own_puller.home.mkdir()
    (own_puller.home / "token").write_text(TOKEN)
    own_puller.ok()


@pytest.mark.parametrize("part", ["/api/", "/resolve/"])
def test_a_redirect_does_not_carry_the_token(puller: Puller, hub: Hub, part: str) -> None:
    with running_hub(hub.files) as stranger:
        away = stranger.url.replace("127.0.0.1", "localhost")
        hub.answer = lambda seen: Reply(307, {"Location": away + seen.path}) if part in seen.path else None
        puller.run(HF_TOKEN=TOKEN)
        assert stranger.seen or part == "/resolve/"
        assert {seen.headers.get("authorization") for seen in stranger.seen} <= {None}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Xet-Hash": "0" * 64, "X-Xet-Refresh-Route": "http://localhost:1/steal"},
        {"X-Xet-Hash": "0" * 64, "Link": '<http://localhost:1/steal>; rel="xet-auth"'},
        {"ETag": '"x/../../y"'},
    ],
    ids=["xet route", "xet link", "etag"],
)
def test_error_what_the_library_would_trust(puller: Puller, hub: Hub, headers: dict[str, str]) -> None:
    more = {"X-Repo-Commit": "c" * 40, "X-Linked-Size": "7", "ETag": '"x"'} | headers
    hub.answer = lambda seen: Reply(200, more) if "/resolve/" in seen.path else None
    said = puller.error(4, HF_TOKEN=TOKEN, HF_HUB_DISABLE_XET="0")
    assert "is not shown the token" in said or "sent the checksum" in said


def around(hub: Hub, location: str) -> Callable[[Seen], Reply | None]:
    """Files are elsewhere."""

    def answer(seen: Seen) -> Reply | None:
        if "/resolve/" not in seen.path:
            return None
        data = hub.files[seen.path.rpartition("/")[2]]
        headers = {"Location": location, "X-Repo-Commit": "c" * 40, "X-Linked-Etag": sha256(data)}
        return Reply(302, headers | {"X-Linked-Size": str(len(data))})

    return answer


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/", "file:///etc/passwd"]
)
def test_error_ways_that_are_not_taken(puller: Puller, hub: Hub, location: str) -> None:
    hub.answer = around(hub, location)
    said = puller.error(4)
    assert "is not followed: it " in said


def test_error_a_redirect_that_never_ends(puller: Puller, hub: Hub) -> None:
    hub.answer = around(hub, f"{hub.cdn}/round")
    inner = hub.answer
    hub.answer = lambda seen: Reply(302, {"Location": f"{hub.cdn}/round"}) if seen.host == "cdn" else inner(seen)
    puller.error(4)
    assert len(hub.seen) < 50


def test_a_public_hub_leads_into_no_private_network(cli: Cli, tmp_path: Path) -> None:
    code = (
        "import httpx2\n"
        "from corral.registry import hub_client\n"
        "from corral.registry.errors import RegistryError\n"
        "with hub_client.at_work('hf.co/crew/parrot'):\n"
        "    for host in ('127.0.0.1', '10.0.0.1', '[::ffff:10.0.0.1]', '169.254.1.1', 'localhost', '[::1]', '0.0.0.0'):\n"
        "        for scheme in ('http', 'https'):\n"
        "            try:\n"
        "                hub_client._check_request(httpx2.Request('GET', f'{scheme}://{host}/x'))\n"
        "            except RegistryError as error:\n"
        "                continue\n"
        "            raise SystemExit(f'{scheme}://{host} was let through')\n"
    )
    environment = cli.environment | {"HF_ENDPOINT": "https://8.8.8.8", "HF_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


def test_nor_by_a_name(cli: Cli, tmp_path: Path) -> None:
    """A name may lead anywhere; here the resolver is one that sends every name to the same place."""
    code = (
        "import socket, httpx2\n"
        "from corral.registry import hub_client\n"
        "from corral.registry.errors import RegistryError\n"
        "for address, may in (('10.0.0.1', False), ('127.0.0.1', False), ('8.8.4.4', True)):\n"
        "    socket.getaddrinfo = lambda *_, **__: [(2, 1, 6, '', (address, 443))]\n"
        "    try:\n"
        "        with hub_client.at_work('hf.co/crew/parrot'):\n"
        "            hub_client._check_request(httpx2.Request('GET', 'https://cdn.example/x'))\n"
        "    except RegistryError as error:\n"
        "        assert not may, error\n"
        "    else:\n"
        "        assert may, address\n"
    )
    environment = cli.environment | {"HF_ENDPOINT": "https://8.8.8.8", "HF_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


def test_nothing_is_told_about_what_runs_it(puller: Puller, hub: Hub) -> None:
    puller.ok(AI_AGENT="something", AGENT="something")
    assert not [seen for seen in hub.seen if "agent-harnesses" in seen.path]
    assert not [seen for seen in hub.seen if "agent/" in seen.headers["user-agent"]]


def test_its_warnings_do_not_reach_the_terminal(puller: Puller, hub: Hub) -> None:
    hub.files[WEIGHTS] += bytes(1000)
    hub.drops = 1
    puller.ok(HF_HUB_ENABLE_HF_TRANSFER="1", HF_HUB_DISABLE_PROGRESS_BARS="0", HF_DEBUG="1", HF_HUB_VERBOSITY="debug")


def test_an_interruption_leaves_nothing(puller: Puller, hub: Hub) -> None:
    def slowly(seen: Seen) -> Reply | None:
        if seen.host == "cdn":
            time.sleep(30)
        return None

    hub.answer = slowly
    process = subprocess.Popen(
        [CORRAL, "pull", NAME],
        env=puller.cli.environment | puller.settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "cdn" not in {seen.host for seen in hub.seen}:
        time.sleep(0.02)
    process.send_signal(2)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert puller.contents() == {}
