"""Where this server's own files are, and what is wrong in them, is not for its clients."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from corral.cli.settings import Settings
from corral.cli.wiring import registry_access
from corral.runtime.http.app import make_app
from corral.runtime.http.discretion import discreetly
from corral.runtime.inference import EngineDefaults
from corral.store.errors import InputError, MachineError, RemoteError
from starlette.testclient import TestClient

from corral import Store
from tests.registry.exchange import served
from tests.registry.faulty import FaultyRegistry

UNUSABLE = "this server cannot use its settings of registries; its log says why"


@dataclass
class Home:
    """A server's user, whose settings are as a test wants them, and a registry that wants a login."""

    folder: Path
    registry: FaultyRegistry
    variables: dict[str, str]

    def replies(self, path: str) -> Generator[dict[str, Any]]:
        """What a client is told, streaming and not, of a transfer that this server cannot do."""
        access = partial(registry_access, Settings(self.variables | {"CORRAL_RETRIES": "0"}))
        app = make_app(Store(self.folder / "models"), EngineDefaults(), registries=access)
        name = f"{self.registry.host}/crew/big:v1"
        with TestClient(app, base_url="http://localhost") as client:
            for streams in (True, False):
                reply = client.post(path, json={"model": name, "from": name, "stream": streams})
                last = json.loads(reply.text.splitlines()[-1])
                assert str(self.folder) not in reply.text
                assert "error" in last
                assert reply.status_code == 500 or (streams and reply.status_code == 200)
                yield last

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Home]:
    folder = tmp_path / "whoever"
    (folder / ".ollama").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    registry = FaultyRegistry()
    with served(registry):
        variables = {"CORRAL_CONFIG": str(folder / "own.toml"), "DOCKER_CONFIG": str(folder)}
        (folder / "own.toml").touch()
        yield Home(folder, registry, variables)


@pytest.mark.parametrize(
    ("path", "file", "text"),
    [
        ("/api/pull", "own.toml", "nonsense"),
        ("/api/push", "own.toml", "wrong = 1"),
        ("/api/create", "own.toml", "wrong = 1"),
        ("/api/pull", "config.json", "{"),
        ("/api/create", "config.json", "{"),
        ("/api/pull", "config.json", '{"auths": 1}'),
        ("/api/pull", "config.json", '{"auths": {"HOST": {"auth": "!"}}}'),
        ("/api/pull", "ca.pem", "no PEM"),
    ],
)
def test_error_broken_settings_are_not_the_clients_fault(
    home: Home, caplog: pytest.LogCaptureFixture, path: str, file: str, text: str
) -> None:
    home.write(file, text.replace("HOST", home.registry.host))
    if file == "ca.pem":
        home.variables["CORRAL_CA_FILE"] = str(home.folder / file)
    for told in home.replies(path):
        assert told == {"error": UNUSABLE, "kind": "machine"}
        assert str(home.folder / file) in caplog.messages[-1]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_error_hints_name_files_without_their_folders(home: Home) -> None:
    host = home.registry.host
    home.variables["CORRAL_OLLAMA_KEY"] = host
    for login, kind, hint in (
        ({}, "remote", "have a key that your account there knows: id_ed25519"),
        ({"auths": {host: {"auth": "YTpi"}}}, "remote", "the login in config.json was refused"),
        ({"credsStore": "absent"}, "machine", "config.json names it: install it"),
    ):
        home.write("config.json", json.dumps(login))
        for told in home.replies("/api/pull"):
            assert told["kind"] == kind
            assert hint in told["hint"]


def test_names_are_not_mistaken_for_files() -> None:
    with pytest.raises(RemoteError) as caught, discreetly([Path("/"), Path(), Path("models"), Path("/a/b.c")]):
        raise RemoteError("models/x.y: /a/b.cd.e/ /a/b", hint="./models")
    assert (str(caught.value), caught.value.hint) == ("models/x.y: b.cd.e/ /a/b", "./models")


def test_error_an_odd_name_is_found_too() -> None:
    path = Path("/a\nb/c")
    with pytest.raises(MachineError, match="its log says why"), discreetly([path]):
        raise InputError(f"{path}: broken")
