"""The verbs that ask a server: what they make of one that is no model server, or fails."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.conftest import Cli


@contextmanager
def answering(status: int, kind: str, body: bytes, show: bytes | None = None) -> Generator[str]:
    """A server that says the same to everybody, but to /api/show what `show` says; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known = show is not None and self.path == "/api/show"
            said = show if show is not None and known else body
            self.send_response(200 if known else status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_HEAD = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


STRANGE = {
    "html": (200, "text/html", b"<html>hello</html>"),
    "other json": (200, "application/json", b'{"hello": "world"}'),
    "no object": (200, "application/json", b"[1, 2]"),
    "nothing": (200, "application/json", b""),
    "not utf-8": (200, "application/json", b"\xff\xfe"),
    "wrong types": (200, "application/json", b'{"models": [{"name": 1}]}'),
    "404 page": (404, "text/html", b"<html>not found</html>"),
    "500 page": (500, "text/html", b"<html>oops</html>"),
    "500 error": (500, "application/json", b'{"error": "out of luck"}'),
    "502": (502, "text/plain", b""),
    "error of another kind": (500, "application/json", b'{"error": {"message": "x"}}'),
}


@pytest.mark.parametrize(("status", "kind", "body"), STRANGE.values(), ids=STRANGE)
def test_error_a_server_that_is_no_model_server_is_a_remote_failure(
    cli: Cli, status: int, kind: str, body: bytes
) -> None:
    with answering(status, kind, body) as address:
        for arguments in (["ps"], ["run", "smol", "hi"]):
            said = cli.error(4, *arguments, OLLAMA_HOST=address)
            assert address in said or "out of luck" in said or "502" in said
    assert not cli.models.exists()


def test_error_what_the_server_says_is_shown(cli: Cli) -> None:
    with answering(400, "application/json", b'{"error": "that is \\u001b[31mwrong"}') as address:
        said = cli.error(1, "stop", "smol", OLLAMA_HOST=address)
    assert said.startswith("Error: that is ")
    assert said.endswith("wrong\n")
    assert "\x1b" not in said


def test_error_a_stream_that_breaks_off(cli: Cli) -> None:
    with answering(200, "application/x-ndjson", b'{"response":"hello","done":false}\n{"resp', b"{}") as address:
        done = cli.run("run", "smol", "hi", OLLAMA_HOST=address)
    assert done.returncode == 4
    assert "the reply cannot be read" in done.stderr


def test_error_an_error_in_a_stream(cli: Cli) -> None:
    with answering(200, "application/x-ndjson", b'{"error":"the engine died"}\n', b"{}") as address:
        assert cli.error(4, "run", "smol", "hi", OLLAMA_HOST=address) == "Error: the engine died\n"


def test_a_missing_model_at_the_server_has_ollamas_words(cli: Cli) -> None:
    with answering(404, "application/json", b'{"error":"model \'smol\' not found"}') as address:
        assert 'couldn\'t find model "smol" to stop' in cli.error(1, "stop", "smol", OLLAMA_HOST=address)
