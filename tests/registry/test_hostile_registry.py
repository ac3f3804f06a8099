"""A registry that means harm or is broken: one clear error, in bounded time and memory, and nothing left in the store."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from corral.registry.patience import Patience
from corral.registry.pull import pull
from corral.registry.remote import Access
from corral.store.errors import CorralError, IntegrityError, MismatchError, RemoteError
from corral.store.local import Store
from corral.store.name import Name

from tests.conftest import CORRAL, Cli

TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = b'{"model_format":"gguf","architecture":"amd64","os":"linux"}'
LAYER = b"Be kind."
HASTE = Patience(retries=2, first_wait=0.01, stall=5)


class Handler(BaseHTTPRequestHandler):
    """One request; what it does is the test's to say, by `act`."""

    protocol_version = "HTTP/1.1"
    act: Callable[[Handler], None]

    def do_GET(self) -> None:
        type(self).act(self)

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""

    def reply(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        """Send `body`, with another Content-Length if one is given."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length is not None

    def endless(self, status: int = 200, **headers: str) -> None:
        """Send zeros until the client has had enough."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(bytes(1 << 20))
        except OSError:
            return


@contextmanager
def registry(act: Callable[[Handler], None]) -> Generator[str]:
    """A server that does `act` for every request; gives its address."""
    kind = type("Acting", (Handler,), {"act": staticmethod(act)})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def descriptor(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def manifest(**changes: object) -> bytes:
    """A sound manifest, its one layer changed so."""
    layer = descriptor(LAYER, "application/vnd.ollama.image.system") | changes
    config = descriptor(CONFIG, "application/vnd.docker.container.image.v1+json")
    return json.dumps({"schemaVersion": 2, "mediaType": TYPE, "config": config, "layers": [layer]}).encode()


def sound(handler: Handler, *, layer: Callable[[Handler], None] | None = None, made: bytes | None = None) -> None:
    """A registry with one sound model; `layer` answers for the layer instead."""
    if "/manifests/" in handler.path:
        handler.reply(made if made is not None else manifest(), Content_Type=TYPE)
    elif handler.path.endswith(hashlib.sha256(CONFIG).hexdigest()):
        handler.reply(CONFIG)
    elif layer is not None:
        layer(handler)
    else:
        handler.reply(LAYER)


def refused(cli: Cli, act: Callable[[Handler], None], *kinds: type[CorralError]) -> str:
    """What a pull says that must fail with one of these errors and leave nothing wrong; of damaged goods, nothing at all."""
    with registry(act) as address, pytest.raises(kinds) as caught:
        pull(Name.parse(f"{address}/crew/x:v1"), Store(cli.models), access=Access(patience=HASTE))
    left = {name: digest for name, digest in cli.files().items() if not name.startswith(".corral/")}
    if isinstance(caught.value, IntegrityError):
        assert left == {}
    assert all(name == f"blobs/sha256-{digest}" for name, digest in left.items())
    assert not list((cli.models / ".corral" / "ingest").glob("*"))
    return str(caught.value)


def test_the_double_is_a_registry_when_it_means_no_harm(cli: Cli) -> None:
    with registry(sound) as address:
        assert cli.ok("pull", f"{address}/crew/x:v1").split()[1] == f"sha256:{hashlib.sha256(manifest()).hexdigest()}"


BLOBS: dict[str, Callable[[Handler], None]] = {
    "longer than it says": lambda h: h.reply(LAYER + b"!!!!", length=len(LAYER) + 4),
    "shorter than it says": lambda h: h.reply(LAYER[:3], length=len(LAYER)),
    "a short body": lambda h: h.reply(LAYER[:3]),
    "nothing": lambda h: h.reply(b""),
    "other bytes": lambda h: h.reply(b"Be evil."),
    "endless": lambda h: h.endless(),
    "endless with a huge length": lambda h: h.endless(Content_Length=str(10 << 30)),
    "a web page": lambda h: h.reply(b"<html>please log in</html>", Content_Type="text/html"),
    "a wrong length": lambda h: h.reply(LAYER, length=3),
    "a length that is no number": lambda h: h.reply(LAYER, Content_Length="many"),
    "a negative length": lambda h: h.reply(LAYER, length=-1),
    "zipped": lambda h: h.reply(LAYER, Content_Encoding="gzip"),
    "no content": lambda h: h.reply(b"", status=204),
    "part of it": lambda h: h.reply(LAYER[:4], status=206, Content_Range="bytes 0-3/8"),
    "an error": lambda h: h.reply(b'{"errors":[{"code":"DENIED","message":"no\\u001b[2J"}]}', status=403),
    "an error that is no error body": lambda h: h.reply(b"\xff" * 200_000, status=500),
    "an error of other types": lambda h: h.reply(b'{"errors":[1,null,{"code":{}}]}', status=404),
    "a redirect in circles": lambda h: h.reply(b"", status=307, Location=h.path),
    "a redirect with an endless body": lambda h: h.endless(status=307, Location="/x"),
    "a redirect without an address": lambda h: h.reply(b"", status=307),
    "a redirect to nowhere": lambda h: h.reply(b"", status=307, Location="http://127.0.0.1:1/x"),
    "a redirect to a file": lambda h: h.reply(b"", status=307, Location="file:///etc/passwd"),
    "a redirect that is no address": lambda h: h.reply(b"", status=307, Location="http://[::1"),
}
WHOLE = {"a wrong length", "a length that is no number", "a negative length"}
"""Where the bytes are right all the same, a client may take them; it must not take wrong ones."""


@pytest.mark.parametrize("kind", [kind for kind in BLOBS if kind not in WHOLE])
def test_error_a_blob(cli: Cli, kind: str) -> None:
    said = refused(cli, lambda handler: sound(handler, layer=BLOBS[kind]), IntegrityError, RemoteError)
    assert "\n" not in said


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_a_blob_with_odd_headers_is_whole_or_refused(cli: Cli, kind: str) -> None:
    is_here = True
    with registry(lambda handler: sound(handler, layer=BLOBS[kind])) as address:
        try:
            pull(Name.parse(f"{address}/crew/x:v1"), Store(cli.models))
        except (IntegrityError, RemoteError):
            is_here = False
    system = cli.models / "blobs" / f"sha256-{hashlib.sha256(LAYER).hexdigest()}"
    assert system.exists() == is_here
    assert not is_here or system.read_bytes() == LAYER


MANIFESTS: dict[str, bytes] = {
    "a digest that is a path": manifest(digest="sha256:../../../../etc/passwd"),
    "a digest that is a path of the right length": manifest(digest="sha256:" + "../" * 21 + "x"),
    "an absolute path": manifest(digest="/etc/passwd"),
    "upper case": manifest(digest="sha256:" + "A" * 64),
    "short": manifest(digest="sha256:abc"),
    "another algorithm": manifest(digest="sha512:" + "a" * 128),
    "a negative size": manifest(size=-1),
    "a huge size": manifest(size=1 << 62),
    "a size beyond numbers": manifest(size=1 << 70),
    "a size of another type": manifest(size="8"),
    "no layers": b'{"schemaVersion":2,"layers":null}',
    "another schema": manifest().replace(b'"schemaVersion": 2', b'"schemaVersion": 1'),
    "a list": b"[]",
    "nothing": b"",
    "a web page": b"<html>please log in</html>",
    "no text": b"\xff\xfe" * 100,
    "deep": b"[" * 100_000,
    "cut": manifest()[:100],
    "many layers": json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": TYPE,
            "config": descriptor(CONFIG, "c"),
            "layers": [descriptor(LAYER, "x")] * 20_000,
        }
    ).encode(),
}


@pytest.mark.parametrize("made", MANIFESTS.values(), ids=MANIFESTS)
def test_error_a_manifest(cli: Cli, made: bytes) -> None:
    said = refused(cli, lambda handler: sound(handler, made=made), IntegrityError)
    assert "/crew/x:v1" in said
    assert not (cli.models / "blobs").exists() or not list((cli.models / "blobs").iterdir())


@pytest.mark.parametrize(("code", "layer"), [(3, "other bytes"), (4, "an error")])
def test_error_the_command_line_says_it_in_one_line(cli: Cli, code: int, layer: str) -> None:
    with registry(lambda handler: sound(handler, layer=BLOBS[layer])) as address:
        said = cli.error(code, "pull", f"{address}/crew/x:v1")
    assert "\x1b" not in said
    assert not (cli.models / "manifests").exists()


def test_error_a_manifest_of_ten_gigabytes_is_not_read(cli: Cli) -> None:
    limit = 1 << 30

    def act(handler: Handler) -> None:
        handler.endless(Content_Length=str(10 << 30), Content_Type=TYPE)

    with registry(act) as address:
        done = subprocess.run(
            [CORRAL, "pull", f"{address}/crew/x:v1"],
            env=cli.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )
    assert done.returncode == 4
    assert "manifest of more than 4194304 bytes" in done.stderr
    assert cli.files() == {}


def test_error_another_manifest_than_the_one_asked_for(cli: Cli) -> None:
    wanted = "sha256:" + "0" * 64
    with registry(sound) as address:
        said = cli.error(3, "pull", f"{address}/crew/x@{wanted}")
    assert f"expected {wanted}, got sha256:{hashlib.sha256(manifest()).hexdigest()}" in said
    assert {name for name in cli.files() if not name.startswith(".corral/")} == set()


SHA512 = f"sha512:{hashlib.sha512(manifest()).hexdigest()}"
PROMISES: dict[str, tuple[str, type[CorralError] | None, str]] = {
    "this manifest's": (f"sha256:{hashlib.sha256(manifest()).hexdigest()}", None, ""),
    "this manifest's by another algorithm": (SHA512, None, ""),
    "another manifest's": ("sha256:" + "0" * 64, MismatchError, f"expected sha256:{'0' * 64}, got sha256:"),
    "another's by another algorithm": ("sha512:" + "0" * 128, MismatchError, SHA512),
    "no digest": ("sha256:evil\x1b[2J", RemoteError, "is no digest"),
    "upper case": ("sha256:" + "A" * 64, RemoteError, "is no digest"),
    "empty": ("", RemoteError, "is no digest"),
    "an unknown algorithm": ("md5:" + "0" * 32, RemoteError, "is no digest"),
}


@pytest.mark.parametrize("promise", PROMISES)
def test_the_digest_sent_with_a_manifest_must_be_the_manifests(cli: Cli, promise: str) -> None:
    header, kind, words = PROMISES[promise]

    def act(handler: Handler) -> None:
        if "/manifests/" in handler.path:
            handler.reply(manifest(), Content_Type=TYPE, Docker_Content_Digest=header)
        else:
            sound(handler)

    if kind is None:
        with registry(act) as address:
            cli.ok("pull", f"{address}/crew/x:v1")
        return
    said = refused(cli, act, kind)
    assert words in said
    assert "/crew/x:v1: " in said
    assert said.isprintable()


def test_error_whatever_is_damaged_has_a_hint(cli: Cli) -> None:
    acts: list[Callable[[Handler], None]] = [
        lambda handler: sound(handler, made=b""),
        lambda handler: sound(handler, made=manifest(size=-1)),
        lambda handler: sound(handler, layer=BLOBS["other bytes"]),
        lambda handler: sound(handler, layer=BLOBS["a short body"]),
    ]
    for act in acts:
        with registry(act) as address, pytest.raises(IntegrityError) as caught:
            pull(Name.parse(f"{address}/crew/x:v1"), Store(cli.models))
        assert str(caught.value).startswith(f"{address}/crew/x:v1: ")
        assert caught.value.hint
        assert "again" not in caught.value.hint.removesuffix("try again, or tell its owner")


def test_a_redirect_to_another_host_takes_no_secret_along(cli: Cli) -> None:
    seen: list[dict[str, str]] = []

    def elsewhere(handler: Handler) -> None:
        seen.append({name.lower(): value for name, value in handler.headers.items()})
        handler.reply(LAYER)

    with registry(elsewhere) as other:
        location = f"http://localhost:{other.rpartition(':')[2]}/signed"
        with registry(lambda handler: sound(handler, layer=lambda h: h.reply(b"", 307, Location=location))) as address:
            cli.ok("pull", f"{address}/crew/x:v1")
    assert len(seen) == 1
    assert not seen[0].keys() & {"authorization", "cookie"}


@pytest.fixture
def small(cli: Cli, tiny_gguf: Path) -> Cli:
    """A store with the model `small`."""
    cli.ok("create", "small", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    return cli


def pushing(location: str | None, *, put: Callable[[Handler], None] | None = None) -> Callable[[Handler], None]:
    """A registry that has no blob, gives this upload location and takes what comes."""

    def act(handler: Handler) -> None:
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if handler.command == "HEAD":
            handler.reply(b"", 404)
        elif handler.command == "POST":
            handler.send_response(202)
            if location:
                handler.send_header("Location", location)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif put is not None:
            put(handler)
        else:
            handler.reply(b"", 201)

    return act


PUSHES: dict[str, tuple[Callable[[Handler], None], str]] = {
    "another host": (pushing("http://localhost:1/upload"), "cannot reach localhost:1"),
    "another scheme": (pushing("ftp://127.0.0.1/upload"), "neither http nor https"),
    "no location": (pushing(None), "no upload location"),
    "no address": (pushing("http://[::1"), "location"),
    "another digest": (
        pushing("/upload", put=lambda h: h.reply(b"", 201, Docker_Content_Digest="sha256:evil\x1b")),
        "stored",
    ),
    "a refusal": (
        pushing("/upload", put=lambda h: h.reply(b'{"errors":[{"code":"DENIED","message":"full"}]}', 507)),
        "DENIED: full",
    ),
    "a redirect": (pushing("/upload", put=lambda h: h.reply(b"", 307, Location="http://localhost:1/")), "localhost:1"),
    "an endless reply": (pushing("/upload", put=lambda h: h.endless(status=500)), "500"),
    "a login": (pushing("/upload", put=lambda h: h.reply(b"", 401)), "login"),
}


@pytest.mark.parametrize(("act", "words"), PUSHES.values(), ids=PUSHES)
def test_error_a_push(small: Cli, act: Callable[[Handler], None], words: str) -> None:
    with registry(act) as address:
        small.ok("cp", "small", f"{address}/crew/x:v1")
        before = small.files()
        said = small.error(4, "push", f"{address}/crew/x:v1")
    assert words in said
    assert "\x1b" not in said
    assert before.items() <= small.files().items()


def test_a_large_blob_is_pulled_in_constant_memory(cli: Cli) -> None:
    size, piece = 200 << 20, bytes(1 << 20)
    hashed = hashlib.sha256()
    for _ in range(size // len(piece)):
        hashed.update(piece)

    def zeros(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        for _ in range(size // len(piece)):
            handler.wfile.write(piece)

    made = manifest(digest=f"sha256:{hashed.hexdigest()}", size=size)
    with registry(lambda handler: sound(handler, made=made, layer=zeros)) as address:
        # The process says itself what it needed: what its parent is told counts the fork's copy of the parent.
        code = (
            "import sys; from corral.cli.main import run; code = run(sys.argv[1:])\n"
            "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
            "sys.exit(code)"
        )
        command = [sys.executable, "-c", code, "pull", f"{address}/crew/x:v1"]
        done = subprocess.run(command, env=cli.environment, capture_output=True, text=True, check=True, timeout=120)
    assert (cli.models / "blobs" / f"sha256-{hashed.hexdigest()}").stat().st_size == size
    assert int(done.stdout.splitlines()[-1]) << 10 < 100 << 20
