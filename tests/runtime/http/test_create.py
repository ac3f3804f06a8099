"""POST /api/create: what `corral create` makes of a Modelfile, from JSON; and that no text of it is ever a path."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from corral.store.errors import shown

from corral import Name, Store, build, parse
from tests.conftest import Cli, DockerRegistry, free_port
from tests.runtime.conftest import FakeServer, Serve
from tests.store.splitting import INT32, UINT16, Content, Weights, encoded, number, text


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The server's store, for whoever comes by the command line."""
    folder = tmp_path_factory.mktemp("creating")
    return Cli(folder / "models", folder)


@pytest.fixture(scope="module")
def server(serve: Serve, store: Cli, tiny_gguf: Path) -> Generator[FakeServer]:
    """A server with the model `tiny`."""
    store.ok("create", "tiny", "-f", "-", stdin=f"FROM {tiny_gguf}\nPARAMETER stop a\nLICENSE Free.\n")
    with serve(models=store.models) as running:
        yield running


@pytest.fixture(scope="module")
def blob(server: FakeServer, tiny_gguf: Path) -> str:
    """The digest of an uploaded GGUF."""
    return upload(server, tiny_gguf.read_bytes())


def upload(server: FakeServer, data: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert server.ask("POST", f"/api/blobs/{digest}", data).status_code in (200, 201)
    return digest


def created(server: FakeServer, body: dict[str, Any]) -> list[dict[str, Any]]:
    """What the server says while it makes this."""
    reply = server.post("/api/create", body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"] == "application/x-ndjson"
    assert reply.text.endswith("\n")
    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert lines[-1] == {"status": "success"}, lines
    return lines


def refused(server: FakeServer, body: dict[str, Any]) -> str:
    """What the server says of this, as the same in a stream and not, and how nothing of it is left."""
    before = server.get("/api/tags")
    replies = [server.post("/api/create", body), server.post("/api/create", body | {"stream": False})]
    for reply in replies:
        assert reply.status_code == 400, reply.text
        assert reply.headers["Content-Type"] == "application/json"
    assert server.get("/api/tags") == before
    said = replies[0].json()
    assert replies[-1].json() == said
    assert len(json.dumps(said)) < 2000
    assert "/models" not in str(said)
    return said["error"]


def digest_of(server: FakeServer, name: str) -> str:
    return {model["name"]: model["digest"] for model in server.get("/api/tags")["models"]}[f"{name}:latest"]


SAME: dict[str, tuple[dict[str, Any], str]] = {
    "files": ({}, ""),
    "template and system": (
        {"template": "{{ .System }} {{ .Prompt }}", "system": "Say bye!"},
        'TEMPLATE "{{ .System }} {{ .Prompt }}"\nSYSTEM Say bye!\n',
    ),
    "several lines": ({"system": "a\n\n  b\n"}, 'SYSTEM """a\n\n  b\n"""\n'),
    "parameters": (
        {"parameters": {"temperature": 0.6, "top_k": 10, "top_p": 0.7, "stop": ["USER:", "ASSISTANT:"], "num_ctx": 64}},
        """PARAMETER num_ctx 64
PARAMETER stop USER:
PARAMETER stop ASSISTANT:
PARAMETER temperature 0.6
PARAMETER top_k 10
PARAMETER top_p 0.7
""",
    ),
    "parameters of other looks": (
        {
            "parameters": {
                "temperature": 1,
                "top_k": 4.0,
                "use_mmap": False,
                "stop": "<|end|>",
                "min_p": 1e-7,
                "seed": None,
            }
        },
        """PARAMETER temperature 1.0
PARAMETER top_k 4
PARAMETER use_mmap f
PARAMETER stop "<|end|>"
PARAMETER min_p 1e-7
""",
    ),
    "a parameter of old": ({"parameters": {"mirostat": 2, "seed": 1}}, "PARAMETER mirostat 2\nPARAMETER seed 1\n"),
    "a license": ({"license": "MIT"}, "LICENSE MIT\n"),
    "licenses": ({"license": ["MIT", "BSD"]}, "LICENSE MIT\nLICENSE BSD\n"),
    "messages": (
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a: <b> & c"}]},
        "MESSAGE user hi\nMESSAGE assistant a: <b> & c\n",
    ),
    "renderer and parser": (
        {"renderer": "qwen3", "parser": "qwen3", "requires": "v0.14.0"},
        "RENDERER qwen3\nPARSER qwen3\nREQUIRES 0.14.0\n",
    ),
    "nothing said": ({"system": "", "parameters": {}, "messages": [], "license": [], "template": None, "info": {}}, ""),
    "names in capitals": ({"SYSTEM": "a", "Template": "b"}, "SYSTEM a\nTEMPLATE b\n"),
}


@pytest.mark.parametrize("case", SAME)
@pytest.mark.parametrize("base", ["files", "from", "modelfile"])
def test_it_makes_what_the_command_makes_of_the_modelfile(
    server: FakeServer, store: Cli, blob: str, tiny_gguf: Path, case: str, base: str
) -> None:
    fields, lines = SAME[case]
    bases: dict[str, dict[str, Any]] = {
        "files": {"files": {"tiny.gguf": blob}},
        "from": {"from": "tiny"},
        "modelfile": {"modelfile": f"FROM @{blob}\n{lines}"},
    }
    created(server, {"model": "ours"} | bases[base] | (fields if base != "modelfile" else {}))
    of = "tiny" if base == "from" else tiny_gguf
    made = build(Name.parse("theirs"), parse(f"FROM {of}\n{lines}"), Store(store.models), folder=store.folder)
    assert digest_of(server, "ours") == made.manifest.digest.hex


def test_the_command_itself_makes_the_same(server: FakeServer, store: Cli, blob: str, tiny_gguf: Path) -> None:
    fields, lines = SAME["parameters"]
    created(server, {"model": "ours", "files": {"tiny.gguf": blob}} | fields)
    store.ok("create", "theirs", "-f", "-", stdin=f"FROM {tiny_gguf}\n{lines}")
    assert digest_of(server, "ours") == digest_of(server, "theirs")


def test_the_statuses_of_a_model_from_files(server: FakeServer, blob: str) -> None:
    body = {"model": "said", "files": {"a.gguf": blob}, "system": f"never said before {os.urandom(4).hex()}"}
    statuses = [line["status"] for line in created(server, body)]
    assert statuses[0] == "parsing GGUF"
    assert statuses[1] == f"using existing layer {blob}"
    assert [status.partition(" sha256:")[0] for status in statuses[2:]] == [
        "creating new layer",
        "using existing layer",
        "writing manifest",
        "success",
    ]


def test_the_real_models_template_is_found(serve: Serve, tmp_path: Path, smollm2: Path) -> None:
    cli = Cli(tmp_path / "models", tmp_path)
    with serve(models=cli.models) as server:
        digest = upload(server, smollm2.read_bytes())
        statuses = [line["status"] for line in created(server, {"model": "a", "files": {"SmolLM2.Q4_1": digest}})]
        assert statuses[:3] == ["parsing GGUF", "using autodetected template chatml", f"using existing layer {digest}"]
        cli.ok("create", "b", "-f", "-", stdin=f"FROM {smollm2}\n")
        assert digest_of(server, "a") == digest_of(server, "b")


def test_without_a_stream_there_is_the_end_alone(server: FakeServer, blob: str) -> None:
    reply = server.post("/api/create", {"name": "last", "files": {"a": blob}, "stream": False})
    assert (reply.status_code, reply.json()) == (200, {"status": "success"})
    assert reply.headers["Content-Type"] == "application/json"
    assert digest_of(server, "last")


def test_what_show_says_makes_the_same_model_again(server: FakeServer, blob: str) -> None:
    fields = {"system": "Be brief.", "parameters": {"seed": 3}, "template": "{{ .Prompt }}"}
    created(server, {"model": "first", "files": {"a.gguf": blob}} | fields)
    written = server.post("/api/show", {"model": "first"}).json()["modelfile"]
    assert "FROM /" in written
    created(server, {"model": "second", "modelfile": written})
    assert digest_of(server, "first") == digest_of(server, "second")


def test_from_and_files_come_before_the_text(server: FakeServer) -> None:
    created(server, {"model": "before", "from": "tiny", "modelfile": "FROM absent\nSYSTEM no"})
    created(server, {"model": "alone", "from": "tiny"})
    assert digest_of(server, "before") == digest_of(server, "alone")


def test_fields_add_to_the_text(server: FakeServer) -> None:
    created(server, {"model": "both", "modelfile": "FROM tiny\nSYSTEM a\n", "system": "b", "parameters": {"seed": 1}})
    created(server, {"model": "fields", "from": "tiny", "system": "b", "parameters": {"seed": 1}})
    assert digest_of(server, "both") == digest_of(server, "fields")


def test_names_differ_by_more_than_their_case(server: FakeServer) -> None:
    created(server, {"model": "Cased", "from": "tiny", "system": "1"})
    created(server, {"model": "cASED", "from": "tiny", "system": "2"})
    names = [model["name"] for model in server.get("/api/tags")["models"]]
    assert [name for name in names if name.lower() == "cased:latest"] == ["Cased:latest"]


def test_the_parts_of_a_split_file_become_one(server: FakeServer, store: Cli) -> None:
    pairs = [
        text("general.architecture", "llama"),
        number("llama.block_count", 4, 1),
        number("llama.context_length", 4, 64),
    ]
    tensors = [Weights(name, (8,), 0, bytes([i]) * 32) for i, name in enumerate(("token_embd.weight", "output.weight"))]

    def part(own: int) -> bytes:
        split = [
            number("split.no", UINT16, own),
            number("split.count", UINT16, 2),
            number("split.tensors.count", INT32, 2),
        ]
        return encoded(Content((pairs if own == 0 else []) + split, [tensors[own]]))

    for own in range(2):
        (store.folder / f"split-{own + 1:05}-of-00002.gguf").write_bytes(part(own))
    store.ok("create", "theirs", "-f", "-", stdin="FROM ./split-00001-of-00002.gguf\n")
    # Which is which is said by the files, whatever they are called.
    uploaded = {"z.gguf": upload(server, part(0)), "a.gguf": upload(server, part(1))}
    created(server, {"model": "ours", "files": uploaded})
    assert digest_of(server, "ours") == digest_of(server, "theirs")
    said = refused(server, {"model": "half", "files": {"z.gguf": upload(server, part(0))}})
    assert said == "z.gguf: invalid GGUF: it says it is split.no 0 of 2, expected 0 of 1"


def test_a_base_that_is_not_here_is_pulled(server: FakeServer, store: Cli, docker_registry: DockerRegistry) -> None:
    name = f"{docker_registry.host}/crew/base.gguf:v1.gguf"
    store.ok("create", name, "-f", "-", stdin="FROM tiny\nSYSTEM from afar\n")
    store.ok("push", name)
    store.ok("rm", name)
    lines = created(server, {"model": "pulled", "from": name, "parameters": {"seed": 5}})
    statuses = [line["status"] for line in lines]
    assert statuses[0] == "pulling manifest"
    assert statuses.count("success") == 1
    assert statuses.index("verifying sha256 digest") < statuses.index("writing manifest")
    assert server.post("/api/show", {"model": "pulled"}).json()["system"] == "from afar"


def test_error_a_base_that_cannot_be_pulled(server: FakeServer) -> None:
    name = f"127.0.0.1:{free_port()}/crew/base"
    reply = server.post("/api/create", {"model": "no", "from": name})
    first, last = (json.loads(line) for line in reply.text.splitlines())
    assert (reply.status_code, first) == (200, {"status": "pulling manifest"})
    assert "cannot reach" in last["error"]
    assert server.post("/api/create", {"model": "no", "from": name, "stream": False}).status_code == 500


PATHS = "no file of this machine is opened: upload it to /api/blobs/sha256:… and name it as @sha256:…"
X: dict[str, Any] = {"model": "x"}
TINY = X | {"from": "tiny"}
REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({}, "invalid model name"),
    ({"model": "a b", "from": "tiny"}, "invalid model name"),
    ({"model": "../x", "from": "tiny"}, "invalid model name"),
    ({"model": f"x@sha256:{'0' * 64}", "from": "tiny"}, "invalid model name"),
    (X, "neither 'from' or 'files' was specified"),
    (X | {"path": "/etc/passwd"}, "neither 'from' or 'files' was specified"),
    (X | {"from": "a b"}, "invalid model name"),
    (X | {"from": "./tiny"}, "invalid model name"),
    (X | {"from": "/etc/passwd"}, "invalid model name"),
    (X | {"files": {}}, "unknown type"),
    (X | {"files": {"a": "sha256:zz"}}, "unknown type"),
    (X | {"files": {"a": f"sha256:{'0' * 64}"}}, "unknown type"),
    (X | {"files": {"a.gguf": "sha256:zz"}}, "invalid digest format"),
    (X | {"files": {"a.gguf": ""}}, "invalid digest format"),
    (X | {"files": {"a.gguf": "../../../../etc/passwd"}}, "invalid digest format"),
    (X | {"files": {"a.gguf": f"sha256:{'0' * 64}"}}, f'blob "sha256:{"0" * 64}" not found'),
    (X | {"files": {"m.safetensors": "-"}}, "safetensors are not supported yet; convert them to GGUF first"),
    (TINY | {"adapters": {"a": ""}}, "invalid digest format"),
    (TINY | {"adapters": {"a": "no"}}, "invalid digest format"),
    (TINY | {"draft_files": {"a": "sha256:zz"}}, "invalid digest format"),
    (TINY | {"draft_quantize": "q4_0"}, "--draft-quantize requires a DRAFT model"),
    (TINY | {"quantize": "q4_0"}, "quantize is not supported yet; upload a GGUF that is quantized"),
    (TINY | {"template": "{{ if"}, "template error: template: :1: unclosed action"),
    (TINY | {"parameters": {"temprature": 1}}, "unknown parameter 'temprature' (did you mean temperature?)"),
    (TINY | {"parameters": {"temperature": "hot"}}, 'option "temperature" must be of type float32'),
    (TINY | {"parameters": {"top_k": 1.5}}, 'option "top_k" must be of type integer'),
    (TINY | {"parameters": {"use_mmap": 1}}, 'option "use_mmap" must be of type boolean'),
    (TINY | {"parameters": {"stop": [1]}}, 'option "stop" must be of an array of strings'),
    (TINY | {"messages": [{"role": "cat"}]}, 'message role must be one of "system", "user", or "assistant"'),
    (TINY | {"requires": "soon"}, "requires must be a valid semver (e.g. 0.14.0)"),
    (TINY | {"remote_host": "https://ollama.com"}, "remote models are not supported"),
    (TINY | {"info": {"a": 1}}, "info is not supported: what a model is, is read from its weights; leave it out"),
    (
        X | {"modelfile": "FROM tiny\nMESSAGE cat a"},
        "Modelfile:2:9: error: unknown message role 'cat' [MF004] (the role is system, user or assistant, in lower case)",
    ),
    (X | {"modelfile": "FROM @sha256:zz"}, "invalid digest format"),
    (X | {"modelfile": "FROM a b"}, "invalid model name"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "says"), REFUSALS, ids=lambda value: value if isinstance(value, str) else "")
def test_error_what_cannot_be_made(server: FakeServer, body: dict[str, Any], says: str) -> None:
    assert refused(server, body) == says


@pytest.mark.parametrize(
    "name",
    ["../a.gguf", "/a.gguf", "a/../../b.gguf", "a//b.gguf", "./a.gguf", "a/.", "..", ".", "", "a\\b.gguf", "a\0.gguf"],
)
@pytest.mark.parametrize("field", ["files", "draft_files"])
def test_error_a_file_outside_of_the_clients_folder(server: FakeServer, blob: str, name: str, field: str) -> None:
    assert refused(server, {"model": "x", "from": "tiny", field: {name: blob}}) == "file path must be relative"


@pytest.mark.parametrize("keyword", ["FROM", "ADAPTER", "DRAFT"])
@pytest.mark.parametrize("form", ["{file}", "./{name}", "../{folder}/{name}", "~/{name}", "{name}", "{blob}"])
def test_error_no_file_of_the_server_is_opened(
    server: FakeServer, tmp_path: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, keyword: str, form: str
) -> None:
    (tmp_path / "own.gguf").write_bytes(tiny_gguf.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    blob = tmp_path / "blobs" / f"sha256-{'0' * 64}"
    path = form.format(file=tmp_path / "own.gguf", name="own.gguf", folder=tmp_path.name, blob=blob)
    said = refused(server, {"model": "x", "modelfile": f"FROM tiny\n{keyword} {path}\n"})
    assert said == f"{keyword} {shown(path)}: {PATHS}"


def test_a_folder_does_not_stand_for_a_model(
    server: FakeServer, store: Cli, tmp_path: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path / "tiny", store.models / "tiny"):
        folder.mkdir()
        (folder / "other.gguf").write_bytes(tiny_gguf.read_bytes()[:-1] + b"\x01")
    monkeypatch.chdir(tmp_path)
    created(server, {"model": "named", "modelfile": "FROM tiny"})
    created(server, {"model": "again", "from": "tiny"})
    assert digest_of(server, "named") == digest_of(server, "again") == digest_of(server, "tiny")


def test_error_files_that_are_not_what_they_should_be(
    server: FakeServer, store: Cli, blob: str, tiny_gguf: Path
) -> None:
    junk, cut = upload(server, b"GGUF\x03\0\0\0"), upload(server, tiny_gguf.read_bytes()[:60])
    other = upload(server, tiny_gguf.read_bytes()[:-1] + b"\x02")
    texts = [
        refused(server, {"model": "x", "files": {"my.gguf": junk}}),
        refused(server, {"model": "x", "files": {"my": cut}}),
        refused(server, {"model": "x", "files": {"my.gguf": upload(server, b"hello")}}),
        refused(server, {"model": "x", "from": "tiny", "adapters": {"my.gguf": blob}}),
        refused(server, {"model": "x", "from": "tiny", "draft_files": {"my.gguf": junk}}),
    ]
    for said in texts:
        assert "my" in said
        assert "sha256-" not in said
        assert str(store.models) not in said
    assert refused(server, {"model": "x", "from": "tiny", "adapters": {"my": upload(server, b"hello")}}) == (
        "supplied file was not in GGUF format"
    )
    two = {"a": blob, "b": other}
    assert refused(server, {"model": "x", "from": "tiny", "adapters": two}) == "only one adapter is currently supported"
    reply = server.post("/api/create", {"model": "x", "files": two})
    assert json.loads(reply.text.splitlines()[-1])["error"] == (
        "FROM gives more than one model: a, b (FROM names one model GGUF, and perhaps its projector)"
    )


def test_error_bodies_meant_to_do_harm(server: FakeServer) -> None:
    base = b'{"model":"x","from":"tiny",'
    many = {f"{i}.gguf": "sha256:" + "0" * 64 for i in range(50_000)}
    bodies = [
        b"",
        b"[]",
        b"{",
        base + b'"parameters":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        base + b'"messages":' + b"[" * 100_000,
        base + b'"parameters":{"seed":' + b"9" * 100_000 + b"}}",
        base + b'"parameters":{"temperature":1e999}}',
        base + b'"parameters":{"temperature":NaN}}',
        base + json.dumps({"parameters": {f"p{i}": i for i in range(100_000)}}).encode()[1:],
        base + b'"license":3}',
        base + b'"files":["a"]}',
        json.dumps({"model": "x", "files": many}).encode(),
        json.dumps({"model": "x", "modelfile": "FROM tiny\n" + '"""' * 100_000}).encode(),
        json.dumps({"model": "x", "modelfile": "\0" * 100_000}).encode(),
    ]
    for body in bodies:
        reply = server.ask("POST", "/api/create", body)
        assert reply.status_code == 400, (body[:80], reply.text[:200])
        assert len(reply.text) < 2000
    assert server.post("/api/create", {"model": "fine", "from": "tiny", "stream": False}).status_code == 200
