"""Access to the registry server: keys, passwords, what is shared, and what is said to all others."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from corral.registry.serve.errors import ServingError
from corral.registry.serve.htpasswd import Htpasswd
from corral.registry.serve.scopes import Grants, users_grants
from corral.runtime.http.oci_access import Logins, make_door
from corral.runtime.http.registry_app import make_registry_app
from corral.store.keys import Keys
from starlette.datastructures import Headers

from corral import Store
from tests.conftest import BCRYPT, PASSWORD
from tests.registry.serve.documents import BLOB, CONFIG, MANIFEST, NONE, digest, image
from tests.registry.serve.wire import Reply, Wire
from tests.runtime.http.running import running

Shown = Mapping[str, str]
NOBODY: Shown = {}
REPOSITORIES: tuple[str, ...] = ("crew/brief", "crew/deep/plan", "library/word", "open/pub", "other/thing")


def bearer(key: str) -> Shown:
    return {"Authorization": f"Bearer {key}"}


def basic(user: str, password: str) -> Shown:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@dataclass(frozen=True)
class Guarded:
    """A server that asks who one is."""

    wire: Wire
    shown: Mapping[str, Shown]
    """What each caller sends."""

    def ask(self, who: str, method: str, target: str, body: bytes = b"", **headers: str) -> Reply:
        return self.wire.ask(method, target, body, {**self.shown[who], **headers})

    def read(self, who: str, repository: str) -> Reply:
        return self.ask(who, "GET", f"/v2/{repository}/manifests/v1")

    def write(self, who: str, repository: str) -> Reply:
        return self.ask(who, "PUT", f"/v2/{repository}/manifests/v1", image(), **{"Content-Type": MANIFEST})


def push(wire: Wire, repository: str, shown: Shown) -> None:
    for blob in (BLOB, CONFIG):
        target = f"/v2/{repository}/blobs/uploads/?digest={digest(blob)}"
        assert wire.ask("POST", target, blob, shown).status == 201
    headers = {"Content-Type": MANIFEST, **shown}
    assert wire.ask("PUT", f"/v2/{repository}/manifests/v1", image(), headers).status == 201


@contextmanager
def asking(models: Path, logins: Logins, *, loopback: bool = True, is_read_only: bool = False) -> Generator[Wire]:
    door = make_door(logins, loopback=loopback, is_read_only=is_read_only)
    app = make_registry_app(Store(models), door, loopback=loopback)
    with running(app) as server, Wire(f"127.0.0.1:{server.port}") as wire:
        yield wire


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Generator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    keys = Keys(folder / "keys.json")
    shown = {
        "nobody": NOBODY,
        "skopeo without a login": {"Authorization": "Basic Og=="},
        "manager": bearer(keys.add("manager", ["manage"])),
        "inferring": bearer(keys.add("inferring", ["infer"])),
        "reader": bearer(keys.add("reader", [], read=["crew/*"])),
        "writer": basic("anyone", keys.add("writer", [], write=["crew/*", "library/word"])),
        "mixed": basic("", keys.add("mixed", ["infer"], read=["*"], write=["crew/brief"])),
        "alice": basic("alice", PASSWORD),
        "bob": basic("bob", PASSWORD),
        "carol": basic("carol", PASSWORD),
    }
    (folder / "htpasswd").write_text("".join(f"{user}:{BCRYPT}\n" for user in ("alice", "bob", "carol")))
    grants = users_grants(["bob:read:other/*", "carol:write:crew/brief", "carol:read:word"])
    logins = Logins(keys, Htpasswd(folder / "htpasswd"), grants, Grants.parse(["open/*"]))
    with asking(folder / "models", logins) as wire:
        for repository in REPOSITORIES:
            push(wire, repository, shown["manager"])
        yield Guarded(wire, shown)


EVERYWHERE: set[str] = set(REPOSITORIES)
ACCESS: dict[str, tuple[set[str], set[str]]] = {
    "nobody": ({"open/pub"}, set()),
    "skopeo without a login": ({"open/pub"}, set()),
    "manager": (EVERYWHERE, EVERYWHERE),
    "inferring": ({"open/pub"}, set()),
    "reader": ({"crew/brief", "crew/deep/plan", "open/pub"}, set()),
    "writer": (
        {"crew/brief", "crew/deep/plan", "library/word", "open/pub"},
        {"crew/brief", "crew/deep/plan", "library/word"},
    ),
    "mixed": (EVERYWHERE, {"crew/brief"}),
    "alice": (EVERYWHERE, EVERYWHERE),
    "bob": ({"other/thing", "open/pub"}, set()),
    "carol": ({"crew/brief", "library/word", "open/pub"}, {"crew/brief"}),
}
"""What each may read, and what he may write."""


@pytest.mark.parametrize("who", ACCESS)
def test_everybody_reads_and_writes_what_is_his(guarded: Guarded, who: str) -> None:
    readable, writable = ACCESS[who]
    is_known = who not in ("nobody", "skopeo without a login")
    no = (403, "DENIED") if is_known else (401, "UNAUTHORIZED")
    for repository in REPOSITORIES:
        for allowed, well, reply in (
            (readable, 200, guarded.read(who, repository)),
            (writable, 201, guarded.write(who, repository)),
        ):
            if repository in allowed:
                assert reply.status == well
            else:
                assert (reply.status, reply.code) == no
                assert reply.headers.get("www-authenticate", "") == ("" if is_known else 'Basic realm="corral"')
    listed = guarded.ask(who, "GET", "/v2/_catalog").json["repositories"]
    assert set(listed) == readable


@pytest.mark.parametrize("who", ACCESS)
def test_whether_a_repository_is_there_is_told_to_its_readers_alone(guarded: Guarded, who: str) -> None:
    readable, _ = ACCESS[who]
    if "other/thing" in readable:
        assert guarded.read(who, "other/none").status == 404
        return
    for target in ("manifests/v1", f"blobs/{digest(BLOB)}", "tags/list", f"referrers/{NONE}", f"manifests/{NONE}"):
        here, absent = (guarded.ask(who, "GET", f"/v2/other/{name}/{target}") for name in ("thing", "thong"))
        assert here.status == absent.status in (401, 403)
        assert here.body.replace(b"thing", b"thong") == absent.body
        assert {**here.headers, "x-request-id": "", "date": ""} == {**absent.headers, "x-request-id": "", "date": ""}


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "blobs/uploads/"),
        ("POST", f"blobs/uploads/?digest={digest(b'new')}"),
        ("POST", f"blobs/uploads/?mount={digest(BLOB)}"),
        ("GET", "blobs/uploads/" + "0" * 48),
        ("PATCH", "blobs/uploads/" + "0" * 48),
        ("PUT", "blobs/uploads/" + "0" * 48),
        ("DELETE", "blobs/uploads/" + "0" * 48),
        ("DELETE", "manifests/v1"),
        ("DELETE", f"manifests/{digest(image())}"),
        ("DELETE", f"blobs/{digest(BLOB)}"),
        ("PUT", f"manifests/{digest(image())}"),
    ],
)
def test_error_who_may_only_read_changes_nothing(guarded: Guarded, method: str, target: str) -> None:
    for who, status in (("reader", 403), ("nobody", 401)):
        assert guarded.ask(who, method, f"/v2/crew/brief/{target}", b"new").status == status
    assert guarded.ask("reader", "GET", "/v2/crew/brief/manifests/v1").status == 200
    assert guarded.ask("reader", "GET", f"/v2/crew/brief/blobs/{digest(BLOB)}").body == BLOB


def test_error_a_blob_is_mounted_only_from_what_one_may_read(guarded: Guarded) -> None:
    blob = b"of another repository"
    assert guarded.ask("manager", "POST", f"/v2/other/thing/blobs/uploads/?digest={digest(blob)}", blob).status == 201
    for source in ("&from=other/thing", "&from=other/thong", ""):
        target = f"/v2/crew/mine/blobs/uploads/?mount={digest(blob)}{source}"
        assert guarded.ask("writer", "POST", target).status == 202
        assert guarded.ask("writer", "HEAD", f"/v2/crew/mine/blobs/{digest(blob)}").status == 404
    assert (
        guarded.ask("mixed", "POST", f"/v2/crew/brief/blobs/uploads/?mount={digest(blob)}&from=other/thing").status
        == 201
    )
    assert (
        guarded.ask("writer", "POST", f"/v2/crew/mine/blobs/uploads/?mount={digest(blob)}&from=crew/brief").status
        == 201
    )


def test_error_an_upload_is_gone_on_with_only_in_its_repository(guarded: Guarded) -> None:
    begun = guarded.ask("manager", "POST", "/v2/other/thing/blobs/uploads/")
    name = begun.headers["location"].rpartition("/")[2]
    assert guarded.ask("writer", "PATCH", f"/v2/crew/brief/blobs/uploads/{name}", b"x").code == "BLOB_UPLOAD_UNKNOWN"
    assert guarded.ask("manager", "DELETE", begun.headers["location"]).status == 204


def test_who_is_known_is_told_that_he_is(guarded: Guarded) -> None:
    for who in ACCESS:
        is_known = who not in ("nobody", "skopeo without a login")
        reply = guarded.ask(who, "GET", "/v2/")
        assert reply.status == (200 if is_known else 401)
        assert reply.headers.get("www-authenticate", "") == ("" if is_known else 'Basic realm="corral"')
        assert guarded.ask(who, "GET", "/health").status == 200


@pytest.mark.parametrize(
    "shown",
    [
        bearer("ck_wrong"),
        bearer(""),
        bearer("\xff"),
        basic("alice", "wrong"),
        basic("alice", ""),
        basic("", PASSWORD),
        basic("mallory", PASSWORD),
        basic("ALICE", PASSWORD),
        basic("alice", PASSWORD + "\0"),
        basic("alice", "x" * 2000),
        basic("alice", BCRYPT),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic b25lIHdvcmQ="},
        {"Authorization": "Digest x"},
        {"Authorization": ""},
    ],
    ids=lambda shown: shown["Authorization"][:24] or "empty",
)
def test_error_a_wrong_key_or_password_opens_nothing_not_even_what_is_shared(guarded: Guarded, shown: Shown) -> None:
    for target in ("/v2/", "/v2/open/pub/manifests/v1", "/v2/_catalog"):
        reply = guarded.wire.ask("GET", target, b"", shown)
        assert (reply.status, reply.code) == (401, "UNAUTHORIZED")
        assert reply.headers["www-authenticate"] == 'Basic realm="corral"'
        assert PASSWORD not in reply.body.decode()


def test_on_this_machine_everybody_may_everything_until_there_is_a_key(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    with asking(tmp_path / "models", Logins(keys)) as wire:
        push(wire, "crew/brief", NOBODY)
        assert wire.ask("GET", "/v2/").status == 200
        assert wire.ask("GET", "/v2/", b"", basic("left", "over")).status == 200
        secret = Keys(keys.path).add("first", ["manage"])
        assert wire.ask("GET", "/v2/").status == 401
        assert wire.ask("GET", "/v2/_catalog").status == 401
        assert wire.ask("GET", "/v2/crew/brief/manifests/v1").status == 401
        assert wire.ask("GET", "/v2/crew/brief/manifests/v1", b"", bearer(secret)).status == 200
        Keys(keys.path).remove("first")
        assert wire.ask("GET", "/v2/crew/brief/manifests/v1").status == 200


def test_beyond_this_machine_without_logins_only_what_is_shared_is_read(tmp_path: Path) -> None:
    with asking(tmp_path / "models", Logins()) as wire:
        for repository in ("crew/brief", "open/pub"):
            push(wire, repository, NOBODY)
    with asking(tmp_path / "models", Logins(shared=Grants.parse(["open/*"])), loopback=False) as wire:
        assert wire.ask("GET", "/v2/").status == 200
        assert wire.ask("GET", "/v2/_catalog").json == {"repositories": ["open/pub"]}
        assert wire.ask("GET", "/v2/open/pub/manifests/v1").status == 200
        for method, repository in (("GET", "crew/brief"), ("DELETE", "open/pub"), ("DELETE", "crew/brief")):
            reply = wire.ask(method, f"/v2/{repository}/manifests/v1")
            assert (reply.status, reply.code) == (403, "DENIED")
            said = reply.json["errors"][0]["message"]
            assert all(cure in said for cure in ("--share", "corral keys add", "--htpasswd"))
            assert "www-authenticate" not in reply.headers


def test_a_registry_that_is_only_read(tmp_path: Path) -> None:
    with asking(tmp_path / "models", Logins()) as wire:
        push(wire, "crew/brief", NOBODY)
    keys = Keys(tmp_path / "keys.json")
    shown = bearer(keys.add("manager", ["manage"]))
    with asking(tmp_path / "models", Logins(keys), is_read_only=True) as wire:
        assert wire.ask("GET", "/v2/crew/brief/manifests/v1", b"", shown).status == 200
        for method, target in (("DELETE", "manifests/v1"), ("POST", "blobs/uploads/"), ("PUT", "manifests/v2")):
            reply = wire.ask(method, f"/v2/crew/brief/{target}", b"", shown)
            assert (reply.status, reply.code) == (403, "DENIED")
            assert "read" in reply.json["errors"][0]["message"]


def test_error_logins_that_cannot_be_read_let_nobody_in(tmp_path: Path) -> None:
    keys, file = Keys(tmp_path / "keys.json"), tmp_path / "htpasswd"
    reader = bearer(keys.add("reader", [], read=["crew/*"]))
    unclear = bearer(keys.add("unclear", [], read=["Crew/*"]))
    file.write_text(f"alice:{BCRYPT}\n")
    with asking(tmp_path / "models", Logins(keys, Htpasswd(file), {}, Grants.parse(["*"]))) as wire:

        def status(shown: Shown) -> int:
            reply = wire.ask("GET", "/v2/crew/brief/tags/list", b"", shown)
            assert str(tmp_path) not in reply.body.decode()
            return reply.status

        alice = basic("alice", PASSWORD)
        assert [status(shown) for shown in (reader, alice, unclear)] == [404, 404, 500]
        file.write_text("{")
        assert [status(shown) for shown in (reader, alice)] == [404, 500]
        keys.path.write_text("{")
        assert [status(shown) for shown in (reader, alice)] == [500, 500]


def test_one_password_is_compared_once_for_many_connections(tmp_path: Path) -> None:
    compared: list[str] = []

    class Counting(Htpasswd):
        def check(self, user: str, password: str) -> bool:
            compared.append(user)
            return super().check(user, password)

    (tmp_path / "htpasswd").write_text(f"alice:{BCRYPT}\n")
    door = make_door(Logins(htpasswd=Counting(tmp_path / "htpasswd")), loopback=True)

    async def ask() -> None:
        headers = Headers(basic("alice", PASSWORD))
        assert all(caller.is_known for caller in await asyncio.gather(*(door.caller(headers) for _ in range(64))))
        assert (await door.caller(headers)).is_known

    asyncio.run(ask())
    assert compared == ["alice"]


def test_error_many_wrong_passwords_are_not_all_compared(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(f"alice:{BCRYPT}\n")
    door = make_door(Logins(htpasswd=Htpasswd(tmp_path / "htpasswd")), loopback=True)

    async def code(password: str) -> str:
        try:
            await door.caller(Headers(basic("alice", password)))
        except ServingError as error:
            return error.code
        return ""

    async def ask() -> list[str]:
        assert await code(PASSWORD) == ""
        wrong = [code(f"wrong {number}") for number in range(200)]
        # Who was right not long ago is let in all the same.
        return await asyncio.gather(*wrong, code(PASSWORD))

    codes = asyncio.run(ask())
    assert codes[-1] == ""
    assert set(codes[:-1]) == {"UNAUTHORIZED", "TOOMANYREQUESTS"}
    assert codes.count("UNAUTHORIZED") == 32


def test_error_who_has_to_wait_is_told_how_long(tmp_path: Path) -> None:
    class Busy(Htpasswd):
        def check(self, user: str, password: str) -> bool:
            raise ServingError("TOOMANYREQUESTS", f"{user} has to wait, {len(password)}")

    (tmp_path / "htpasswd").write_text(f"alice:{BCRYPT}\n")
    with asking(tmp_path / "models", Logins(htpasswd=Busy(tmp_path / "htpasswd"))) as wire:
        reply = wire.ask("GET", "/v2/", b"", basic("alice", PASSWORD))
        assert (reply.status, reply.code) == (429, "TOOMANYREQUESTS")
        assert int(reply.headers["retry-after"]) > 0
