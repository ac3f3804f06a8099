"""The requests that clients send, from tests/golden/clients: a file for each client, a request under each name. They are sent
with the headers that are written there and no others but those that HTTP asks for; a body that is a text is sent as it is.
"""

from __future__ import annotations

import json
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, Cli
from tests.runtime.conftest import PATIENCE, FakeServer
from tests.runtime.http.test_answers import TEMPLATE
from tests.runtime.weights import create, create_embedder
from tests.weights import chat_template

GOLDEN = sorted((ROOT / "tests" / "golden" / "clients").glob("*.json"))
CONTEXT = 4096
"""Tokens that `clever` was trained with."""


class Reply:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def kind(self) -> str:
        """The type of the content, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0]

    def json(self) -> Any:
        """The object of a reply that is one."""
        assert self.kind == "application/json"
        return json.loads(self.body)

    def good(self) -> Any:
        """The object of a reply to a request that succeeded."""
        assert self.status == 200, self.body
        return self.json()

    def lines(self) -> list[dict[str, Any]]:
        """The objects of a stream of lines, none of them empty."""
        assert (self.status, self.kind) == (200, "application/x-ndjson"), self.body
        *found, rest = self.body.split(b"\n")
        assert rest == b""
        return [json.loads(line) for line in found]

    def events(self) -> list[dict[str, Any]]:
        """The objects of a stream of server-sent events."""
        assert (self.status, self.kind) == (200, "text/event-stream"), self.body
        *found, done, rest = self.body.decode().split("\n\n")
        assert (done, rest) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in found]

    def content(self) -> str:
        """The text of a streamed chat."""
        return "".join(chunk["message"]["content"] for chunk in self.lines())


def requests_of(client: str) -> dict[str, Any]:
    """The requests of a client by their names."""
    return json.loads((ROOT / "tests" / "golden" / "clients" / f"{client}.json").read_text())


def send(server: FakeServer, client: str, name: str, **changes: object) -> Reply:
    """Send a client's request, with some of its body's fields changed."""
    asked = requests_of(client)[name]
    body = asked.get("body")
    data = body.encode() if isinstance(body, str) else json.dumps(body | changes).encode() if body else b""
    host = server.url.removeprefix("http://")
    connection = HTTPConnection(host, timeout=PATIENCE)
    try:
        connection.putrequest(asked["method"], asked["path"], skip_host=True, skip_accept_encoding=True)
        headers = {"Host": host} | asked.get("headers", {}) | ({"Content-Length": str(len(data))} if data else {})
        for header, value in headers.items():
            connection.putheader(header, value)
        connection.endheaders(data)
        reply = connection.getresponse()
        return Reply(reply.status, {key.lower(): value for key, value in reply.getheaders()}, reply.read())
    finally:
        connection.close()


def store_models(folder: Path) -> Path:
    """A store with the models that the clients ask for: `clever` thinks and calls tools, `plain` does neither, `fim` fills
    gaps, `embed` embeds.
    """
    cli = Cli(folder / "models", folder)
    jinja = chat_template("{% for message in messages %}{{ message.content }}{% endfor %}{# tools #}")
    stops = 'PARAMETER stop "<|im_end|>"\nPARAMETER stop "two words"\nPARAMETER num_ctx 2048'
    infill = f"TEMPLATE <pre>{{{{ .Prompt }}}}<suf>{{{{ .Suffix }}}}<mid>\n{stops}"
    create(cli, "clever", modelfile=f'TEMPLATE """{TEMPLATE}"""', context=CONTEXT)
    create(cli, "plain", modelfile="TEMPLATE {{ .System }} {{ .Prompt }}", context=CONTEXT + 1)
    create(cli, "fim", modelfile=infill, context=CONTEXT + 2)
    create(cli, "jinja", jinja, context=CONTEXT + 3)
    create_embedder(cli, "embed")
    return cli.models
