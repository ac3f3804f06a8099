"""Ollama's way in: a token for a signature, asked of the registry's own host and of nobody else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from corral.registry.credentials import Credential
from corral.registry.errors import RegistryError
from corral.registry.remote import Access, Remote
from corral.registry.signing import SigningKey, knows_ollamas_keys, signed_text, token_url
from corral.registry.transport import Registry
from corral.store.errors import CorralError, FileError, InputError
from corral.store.name import Name
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)

TOKEN = "good-for-one"


def pem(body: str) -> bytes:
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n".encode()


MADE_BY_SSH_KEYGEN = pem("""\
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACC9gwnwxNLm1TWCwVjDeD7CrvAIBMlUbkpXoejmolwpUQAAAIgkPA8qJDwP
KgAAAAtzc2gtZWQyNTUxOQAAACC9gwnwxNLm1TWCwVjDeD7CrvAIBMlUbkpXoejmolwpUQ
AAAEB2LHFx5gi2a4GZJhxQbpoKNiahWIMbsQrS4zAJXSJ3jr2DCfDE0ubVNYLBWMN4PsKu
8AgEyVRuSleh6OaiXClRAAAABHRlc3QB""")
ITS_PUBLIC_HALF = "AAAAC3NzaC1lZDI1NTE5AAAAIL2DCfDE0ubVNYLBWMN4PsKu8AgEyVRuSleh6OaiXClR"
WITH_A_PASSPHRASE = pem("""\
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABALhTaN04
cmPzXp88HQHB8hAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIBkWQC+ENzI3bcf6
tdBfyLd7Bhao7edmIdShE9INdrptAAAAkLqGvvfrKR4VXCH9JYQWEqr4tc12QDb0PjEAe3
uot2rOlWbA0DXUyvS/ggi9L5jJwtPdth2YPEjWao+lLaq4T0dVWF+gccq7M9ZzcQMViPId
hMn7jXW5Q6K40140O0RWZ4BqoUlykM+apmwbKrU4CvhUYpALOL+6kwnbNquJvRRRH9IDrJ
p6j2xT2KwciVRTwQ==""")


@dataclass
class Account:
    """A registry that lets in whoever signs with the key it knows."""

    public: str
    """In base64, as in the .pub file."""
    host: str = ""
    realm: str = ""
    """Where it sends one for a token, when not to itself."""
    tokens: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """What came to the token service: the path and the Authorization."""

    def admits(self, path: str, authorization: str) -> bool:
        """As Ollama's registry: the signature is over the whole address, and the request is not old."""
        public, _, signature = authorization.partition(":")
        query = parse_qs(urlsplit(path).query)
        if public != self.public or abs(int(query["ts"][0]) - time.time()) > 300 or len(query["nonce"][0]) != 22:
            return False
        key = load_ssh_public_key(f"ssh-ed25519 {public}".encode())
        assert isinstance(key, Ed25519PublicKey)
        nothing = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
        try:
            key.verify(base64.b64decode(signature), f"GET,http://{self.host}{path},{nothing}".encode())
        except InvalidSignature:
            return False
        return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    account: Account

    def do_GET(self) -> None:
        account, authorization = self.account, self.headers.get("Authorization", "")
        if self.path.startswith("/token"):
            account.tokens.append((self.path, authorization))
            is_in = account.admits(self.path, authorization) if ":" in authorization else False
            self._reply(200 if is_in else 401, json.dumps({"token": TOKEN}).encode() if is_in else b"")
        elif authorization == f"Bearer {TOKEN}":
            self._reply(200, b'{"name": "crew/x", "tags": ["v1"]}')
        else:
            realm = account.realm or f"http://{account.host}/token?z=1&a=b%20c"
            self._reply(
                401, b"", f'Bearer realm="{realm}",service="{account.host}",scope="repository:crew/x:pull a:b:c"'
            )

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""

    def _reply(self, status: int, body: bytes, challenge: str = "") -> None:
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(public: str) -> Generator[Account]:
    account = Account(public)
    kind = type("Serving", (_Handler,), {"account": account})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        server.daemon_threads = True
        account.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield account
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    """As `ssh-keygen` and Ollama write one."""
    private = Ed25519PrivateKey.generate()
    path = tmp_path / "id_ed25519"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    path.with_suffix(".pub").write_bytes(public + b" me@here\n")
    return SigningKey(path)


@pytest.fixture
def account(key: SigningKey) -> Generator[Account]:
    with serving(key.path.with_suffix(".pub").read_text().split()[1]) as running:
        yield running


def access(account: Account, key: SigningKey | None, remote: Remote | None = None) -> Access:
    return Access({account.host: remote or Remote(ollama_key=True)}, signing_key=key)


def ask(account: Account, known: Access) -> int:
    with Registry(Name.parse(f"{account.host}/crew/x"), access=known) as registry:
        return registry.ask("GET", "tags/list").status_code


def test_a_signature_opens_the_registry(account: Account, key: SigningKey) -> None:
    assert ask(account, access(account, key)) == 200
    ((path, _),) = account.tokens
    query = urlsplit(path).query
    names = [pair.partition("=")[0] for pair in query.split("&")]
    assert names == ["a", "nonce", "scope", "scope", "service", "ts", "z"]
    assert parse_qs(query)["scope"] == ["a:b:c", "repository:crew/x:pull"]
    assert parse_qs(query)["a"] == ["b c"]


def test_no_nonce_comes_twice(account: Account, key: SigningKey) -> None:
    for _ in range(3):
        ask(account, access(account, key))
    assert len({parse_qs(urlsplit(path).query)["nonce"][0] for path, _ in account.tokens}) == 3


def test_a_key_that_ssh_keygen_made(key: SigningKey) -> None:
    key.path.write_bytes(MADE_BY_SSH_KEYGEN)
    public, _, signature = key.authorization("GET", "https://x/").partition(":")
    assert public == ITS_PUBLIC_HALF
    known = load_ssh_public_key(f"ssh-ed25519 {public}".encode())
    assert isinstance(known, Ed25519PublicKey)
    known.verify(base64.b64decode(signature), signed_text("GET", "https://x/"))


def test_what_is_signed_is_what_ollama_signs() -> None:
    nothing = "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="
    assert signed_text("GET", "https://h/t?a=b") == f"GET,https://h/t?a=b,{nothing}".encode()


def test_the_address_is_written_as_go_writes_it() -> None:
    url = token_url("https://h/t?x=a b", "s/~t", ["repository:a/b:pull,push"])
    tail = r"scope=repository%3Aa%2Fb%3Apull%2Cpush&service=s%2F~t&ts=\d+&x=a\+b"
    assert re.fullmatch(rf"https://h/t\?nonce=[A-Za-z0-9_-]{{22}}&{tail}", url)


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("registry.ollama.ai", True),
        ("Registry.Ollama.AI", True),
        ("ollama.com", True),
        ("hf.co", True),
        ("huggingface.co", True),
        ("evilollama.ai", False),
        ("registry.ollama.ai.evil.com", False),
        ("registry.ollama.ai:8443", False),
        ("localhost:5000", False),
    ],
)
def test_whose_registries_know_such_keys(host: str, *, is_known: bool) -> None:
    assert knows_ollamas_keys(host) is is_known


@pytest.mark.parametrize("remote", [Remote(), Remote(ollama_key=False)])
def test_a_registry_that_is_not_said_to_know_keys_sees_no_signature(
    account: Account, key: SigningKey, remote: Remote
) -> None:
    with pytest.raises(RegistryError) as caught:
        ask(account, access(account, key, remote))
    assert caught.value.hint == f"log in first: corral login {account.host}"
    assert [authorization for _, authorization in account.tokens] == [""]


def test_another_host_sees_no_signature(account: Account, key: SigningKey) -> None:
    """Neither one of another name nor this machine's other port; for CVE-2025-51471 Ollama does the same."""
    with serving(account.public) as stranger:
        for realm in (stranger.host, stranger.host.replace("127.0.0.1", "localhost")):
            account.realm = f"http://{realm}/token"
            with pytest.raises(RegistryError):
                ask(account, access(account, key, Remote(ollama_key=True, realm="localhost")))
    assert [authorization for _, authorization in stranger.tokens] == ["", ""]
    assert account.tokens == []


@dataclass(frozen=True)
class Holds:
    credential: Credential

    def find(self, host: str, repository: str = "") -> Credential:  # noqa: ARG002
        return self.credential


def test_a_login_comes_first(account: Account, key: SigningKey) -> None:
    known = replace(access(account, key), logins=Holds(Credential("me", "secret", source="a file")))
    with pytest.raises(RegistryError):
        ask(account, known)
    assert [authorization.split()[0] for _, authorization in account.tokens] == ["Basic"]


def test_error_a_key_that_no_account_knows(account: Account, key: SigningKey) -> None:
    account.public = "AAAA"
    with pytest.raises(RegistryError, match="refuses: 401") as caught:
        ask(account, access(account, key))
    assert caught.value.hint
    assert f"put the key {key.path}.pub into your account there" in caught.value.hint


def test_error_no_key(account: Account, tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as caught:
        ask(account, access(account, SigningKey(tmp_path / "absent")))
    assert caught.value.hint
    assert str(tmp_path / "absent") in caught.value.hint
    assert [authorization for _, authorization in account.tokens] == [""]


def rsa() -> bytes:
    made = generate_private_key(65537, 2048)
    return made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: b"", "cannot be used as a key"),
        (lambda: pem("AAAA"), "cannot be used as a key"),
        (lambda: MADE_BY_SSH_KEYGEN[:200], "cannot be used as a key"),
        (lambda: WITH_A_PASSPHRASE, "cannot be used as a key"),
        (rsa, "is not an ed25519 key"),
        (lambda: bytes(1 << 20), "cannot be used as a key"),
    ],
    ids=["empty", "no key", "cut", "with a passphrase", "rsa", "large"],
)
def test_error_a_key_of_another_form(key: SigningKey, made: Callable[[], bytes], words: str) -> None:
    key.path.write_bytes(made())
    with pytest.raises(InputError, match=words) as caught:
        key.authorization("GET", "https://h/")
    assert str(key.path) in str(caught.value)
    assert caught.value.hint


def test_error_a_key_that_cannot_be_read(key: SigningKey) -> None:
    with pytest.raises(FileError):
        SigningKey(key.path.parent / "absent").authorization("GET", "https://h/")
    folder = SigningKey(key.path.parent)
    assert not folder.exists
    with pytest.raises(CorralError):
        folder.authorization("GET", "https://h/")


def test_nothing_secret_is_shown(key: SigningKey) -> None:
    middle = "".join(key.path.read_text().splitlines()[1:-1])
    assert middle[60:100] not in repr(key) + key.authorization("GET", "https://h/")
