"""`corral registry serve` and `corral serve --registry`: what they are told, what they say, and real clients with logins."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.cli.conftest import Skopeo
from tests.conftest import BCRYPT, CORRAL, PASSWORD, USER, Cli
from tests.registry.serve.wire import Wire
from tests.runtime.http.test_server import make_certificate

PATIENCE = 60


@dataclass
class Started:
    """A running server, and what it said until it listened."""

    process: subprocess.Popen[str]
    first: str

    @property
    def host(self) -> str:
        found = re.fullmatch(r"Listening on ([^ ]*:[0-9]+) \(version [0-9.]+\)\n", self.first)
        assert found, self.first
        return found[1].replace("0.0.0.0", "127.0.0.1")

    def status(self, target: str, headers: Mapping[str, str] | None = None) -> int:
        """Of the reply to a GET."""
        with Wire(self.host) as wire:
            return wire.ask("GET", target, b"", headers).status

    def said(self) -> str:
        """What else it said; it is ended, and ends well."""
        assert self.process.stderr is not None
        self.process.terminate()
        rest = self.process.stderr.read()
        assert self.process.wait(PATIENCE) == 0
        return rest


@contextmanager
def started(cli: Cli, *arguments: str, **variables: str) -> Generator[Started]:
    environment = cli.environment | {"OLLAMA_HOST": "127.0.0.1:0", "CORRAL_REGISTRY_HOST": "127.0.0.1:0"} | variables
    with subprocess.Popen([CORRAL, *arguments], env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield Started(process, process.stderr.readline())
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(PATIENCE)


SERVING = {"alone": ("registry", "serve"), "with the API": ("serve", "--registry")}
BOTH = pytest.mark.parametrize("verb", SERVING.values(), ids=SERVING)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "htpasswd"
    path.write_text(f"{USER}:{BCRYPT}\nbob:{BCRYPT}\n")
    return str(path)


@pytest.fixture
def elsewhere(cli: Cli, tmp_path: Path) -> Cli:
    """Another machine, as it were, with logins of its own."""
    return Cli(tmp_path / "elsewhere", cli.folder)


@BOTH
def test_models_go_to_the_store_and_come_from_it(
    cli: Cli, elsewhere: Cli, tiny_gguf: Path, verb: tuple[str, ...]
) -> None:
    elsewhere.ok("create", "mine", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be brief.\n")
    with started(cli, *verb) as server:
        name = f"{server.host}/crew/brief:v1"
        elsewhere.ok("cp", "mine", name)
        elsewhere.ok("push", name)
        assert "crew/brief:v1" in cli.ok("list")
        assert "Be brief." in cli.ok("show", "crew/brief:v1", "--system")
        elsewhere.ok("rm", name)
        elsewhere.ok("pull", name)
        assert elsewhere.ok("remote", "tags", f"{server.host}/crew/brief").split() == ["v1"]
        assert requests.get(f"http://{server.host}/health", timeout=PATIENCE).json() == {"status": "ok"}
        assert server.said() == ""


@BOTH
def test_users_and_keys_with_real_clients(
    cli: Cli, elsewhere: Cli, tiny_gguf: Path, file: str, tmp_path: Path, skopeo: Skopeo, verb: tuple[str, ...]
) -> None:
    keys = {"CORRAL_KEYS": str(tmp_path / "keys.json")}
    secret = cli.ok("keys", "add", "ci", "--write", "crew/*", **keys).strip()
    options = ("--htpasswd", file, "--grant", "bob:read:open/*")
    variables = {"DOCKER_CONFIG": str(tmp_path / "docker"), **keys}
    with started(cli, *verb, *options, **variables) as server:
        host = server.host
        name = f"{host}/crew/brief:v1"
        elsewhere.ok("create", name, "-f", "-", stdin=f"FROM {tiny_gguf}\n")
        assert f"corral login {host}" in elsewhere.error(4, "push", name, **variables)
        for user, password in ((USER, PASSWORD), ("whoever", secret)):
            logging_in = ("login", host, "-u", user, "--password-stdin")
            assert "wrong user or password" in elsewhere.error(4, *logging_in, stdin="wrong", **variables)
            elsewhere.ok(*logging_in, stdin=password, **variables)
            elsewhere.ok("push", name, "--format", "oci", **variables)
            elsewhere.ok("pull", name, **variables)
            elsewhere.ok("logout", host, **variables)
        elsewhere.ok("login", host, "-u", "bob", "--password-stdin", stdin=PASSWORD, **variables)
        assert "403" in elsewhere.error(4, "push", name, **variables)

        for user, password, repository in ((USER, PASSWORD, "any/where"), ("x", secret, "crew/there")):
            login = ("--authfile", str(tmp_path / f"{user}.json"))
            skopeo("login", "--tls-verify=false", *login, "-u", user, "-p", password, host)
            image, layout = f"docker://{host}/crew/brief:v1", f"oci:{tmp_path}/{user}:v1"
            skopeo("copy", "--src-tls-verify=false", *login, image, layout)
            skopeo("copy", "--dest-tls-verify=false", *login, layout, f"docker://{host}/{repository}:v2")
            tags = skopeo("list-tags", "--tls-verify=false", *login, f"docker://{host}/{repository}")
            assert json.loads(tags)["Tags"] == ["v2"]
        assert {"any/where:v2", "crew/there:v2"} <= set(re.findall(r"^\S+", cli.ok("list"), re.MULTILINE))


@BOTH
def test_skopeo_without_a_login_gets_what_is_shared(
    cli: Cli, tiny_gguf: Path, file: str, tmp_path: Path, skopeo: Skopeo, verb: tuple[str, ...]
) -> None:
    cli.ok("create", "open/pub", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    cli.ok("create", "crew/brief", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    with started(cli, *verb, "--htpasswd", file, "--share", "open/*", "--share", "pub") as server:
        login = ("--tls-verify=false", "--authfile", str(tmp_path / "none.json"))
        got = skopeo("inspect", "--raw", *login, f"docker://{server.host}/open/pub:latest")
        assert json.loads(got)["schemaVersion"] == 2
        assert server.status("/v2/crew/brief/tags/list") == 401


def test_the_api_asks_for_keys_and_leaves_the_registry_to_itself(cli: Cli, file: str, tmp_path: Path) -> None:
    keys = {"CORRAL_KEYS": str(tmp_path / "keys.json")}
    secret = cli.ok("keys", "add", "ci", "--read", "crew/*", **keys).strip()
    shown = {"Authorization": f"Bearer {secret}"}
    with started(cli, "serve", "--registry", "--htpasswd", file, "--share", "open/*", **keys) as server:
        for target, anonymous, known in (
            ("/api/tags", 401, 403),
            ("/v2/", 401, 200),
            ("/v2", 401, 200),
            ("/v2/open/none/tags/list", 404, 404),
            ("/v2/crew/none/tags/list", 401, 404),
            ("/v2/else/none/tags/list", 401, 403),
            ("/v2x", 401, 403),
            ("//v2/", 401, 403),
            ("/registry", 401, 200),
            ("/registry/x", 401, 403),
            ("/v1/models", 401, 403),
        ):
            for headers, status in (({}, anonymous), (shown, known)):
                assert (target, server.status(target, headers)) == (target, status)


def test_without_the_option_a_server_is_no_registry(cli: Cli) -> None:
    with started(cli, "serve") as server:
        assert requests.get(f"http://{server.host}/v2/", timeout=PATIENCE).status_code == 404
        assert requests.get(f"http://{server.host}/registry", timeout=PATIENCE).status_code == 404
    with started(cli, "serve", CORRAL_REGISTRY="1") as server:
        assert requests.get(f"http://{server.host}/v2/", timeout=PATIENCE).status_code == 200
        assert requests.get(f"http://{server.host}/registry", timeout=PATIENCE).status_code == 200


def test_variables_say_what_options_say(cli: Cli, tiny_gguf: Path, file: str) -> None:
    cli.ok("create", "crew/brief", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    ways: list[tuple[list[str], dict[str, str]]] = [
        (["--htpasswd", file, "--grant", "bob:read:x", "--grant", "bob:write:y", "--read-only", "--max-blob", "9"], {}),
        (
            [],
            {
                "CORRAL_REGISTRY_HTPASSWD": file,
                "CORRAL_REGISTRY_GRANT": "bob:read:x, bob:write:y",
                "CORRAL_REGISTRY_READ_ONLY": "yes",
                "CORRAL_REGISTRY_MAX_BLOB": "9",
            },
        ),
    ]
    for arguments, variables in ways:
        with started(cli, "registry", "serve", *arguments, **variables) as server:
            for user, status in ((USER, 200), ("bob", 403)):
                url = f"http://{server.host}/v2/crew/brief/tags/list"
                assert requests.get(url, auth=(user, PASSWORD), timeout=PATIENCE).status_code == status
            url = f"http://{server.host}/v2/crew/brief/blobs/uploads/"
            assert "only read" in requests.post(url, auth=(USER, PASSWORD), timeout=PATIENCE).text


def test_error_who_pushes_to_what_is_only_read_is_not_told_to_log_in(cli: Cli, tiny_gguf: Path) -> None:
    with started(cli, "registry", "serve", "--read-only") as server:
        name = f"{server.host}/crew/refused"
        cli.ok("create", name, "-f", "-", stdin=f"FROM {tiny_gguf}\n")
        said = cli.error(4, "push", name)
    assert "DENIED: this registry is only read" in said
    assert "  hint: it refused without asking for a login" in said
    assert "corral login" not in said


@BOTH
def test_a_blob_may_be_too_large(cli: Cli, verb: tuple[str, ...]) -> None:
    with started(cli, *verb, "--max-blob", "1KB") as server:
        url = f"http://{server.host}/v2/crew/brief/blobs/uploads/?digest=sha256:{'0' * 64}"
        assert requests.post(url, data=b"x" * 1001, timeout=PATIENCE).status_code == 413


@BOTH
def test_uploads_that_expired_go_when_it_starts(cli: Cli, verb: tuple[str, ...]) -> None:
    with started(cli, *verb) as server:
        for _ in range(2):
            requests.post(f"http://{server.host}/v2/crew/brief/blobs/uploads/", timeout=PATIENCE)
    fresh, old = (cli.models / ".corral" / "oci" / "uploads").iterdir()
    os.utime(old, (1, 1))
    with started(cli, *verb, "--upload-expiry", "1h") as server:
        deadline = time.monotonic() + PATIENCE
        while old.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.said() == ""
    assert fresh.exists()
    assert not old.exists()


@BOTH
@pytest.mark.parametrize(
    ("has_key", "has_tls", "shared", "words"),
    [
        (False, False, (), "they may read nothing and write nothing"),
        (False, True, ("--share", "open/*", "--share", "x"), "they may read open/*, library/x and write nothing"),
        (True, False, (), "keys and passwords cross the network in plain"),
        (True, True, (), ""),
    ],
)
def test_who_opens_a_registry_to_others_is_warned(
    cli: Cli,
    tmp_path: Path,
    verb: tuple[str, ...],
    shared: tuple[str, ...],
    words: str,
    *,
    has_key: bool,
    has_tls: bool,
) -> None:
    variables = {"OLLAMA_HOST": "0.0.0.0:0", "CORRAL_REGISTRY_HOST": "0.0.0.0:0", "CORRAL_KEYS": str(tmp_path / "keys")}
    if has_key:
        cli.ok("keys", "add", "a", "--scope", "manage", **variables)
    pem, key = make_certificate(tmp_path, "server")
    tls = ("--tls-cert", str(pem), "--tls-key", str(key)) if has_tls else ()
    with started(cli, *verb, *tls, *shared, **variables) as server:
        said = [line for line in server.said().splitlines() if "API keys: whoever" not in line]
        assert len(said) == bool(words)
        assert not words or (said[0].startswith("warning: ") and words in said[0])


def test_the_address(cli: Cli, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "another address with --host" in cli.error(5, "registry", "serve", "--host", host)
        said = cli.error(5, "registry", "serve", CORRAL_REGISTRY_HOST=host)
        assert "another address with CORRAL_REGISTRY_HOST" in said
    path = tmp_path / "registry.sock"
    with started(cli, "registry", "serve", "--host", f"unix://{path}") as server:
        assert server.first.startswith(f"Listening on unix://{path} ")
        assert path.stat().st_mode & 0o777 == 0o600
        assert server.said() == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "tcp://x"], "--host"),
        (["--share", "Crew/*"], "--share"),
        (["--grant", "alice"], "--grant"),
        (["--grant", "alice:read:*"], "is no user"),
        (["--max-blob", "much"], "--max-blob"),
        (["--upload-expiry", "soon"], "--upload-expiry"),
        (["--upload-expiry", "1s"], "--upload-expiry"),
        (["--tls-cert", "absent.pem"], "TLS needs both"),
    ],
)
def test_error_options_that_mean_nothing(cli: Cli, arguments: list[str], words: str) -> None:
    assert words in cli.error(1, "registry", "serve", *arguments)
    if "--host" not in arguments:
        assert words in cli.error(1, "serve", "--registry", *arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "tcp://x"),
        ("SHARE", "Crew/*"),
        ("GRANT", "alice"),
        ("READ_ONLY", "perhaps"),
        ("MAX_BLOB", "much"),
        ("UPLOAD_EXPIRY", "soon"),
    ],
)
def test_error_variables_that_mean_nothing(cli: Cli, name: str, value: str) -> None:
    assert f"CORRAL_REGISTRY_{name}" in cli.error(1, "registry", "serve", **{f"CORRAL_REGISTRY_{name}": value})


def test_error_a_file_of_users_that_is_none(cli: Cli, file: str) -> None:
    path = Path(file)
    path.write_text("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
    said = cli.error(1, "registry", "serve", "--htpasswd", file)
    assert f"{file}:1: " in said
    assert "hint: set it anew: htpasswd -B" in said
    assert "cannot read" in cli.error(5, "registry", "serve", "--htpasswd", file + "x")


def test_error_a_registrys_options_without_one(cli: Cli) -> None:
    said = cli.error(1, "serve", "--share", "*", OLLAMA_HOST="127.0.0.1:0")
    assert "--share is for a registry" in said
    assert "--registry" in said


def test_it_loads_no_engine() -> None:
    code = "import sys; import corral.cli.registry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    loaded = set(done.stdout.split())
    assert "corral.runtime.http.registry_app" in loaded
    assert not loaded & {"llama_cpp", "numpy", "corral.runtime.engine.llama", "corral.runtime.http.app"}
