"""Signing: Ollama's way in to its own registry, and to Hugging Face's: a request for a token, signed with a key that Ollama
made. As in Ollama 0.33, auth/auth.go and server/auth.go.

The registry knows whose key it is because its owner has put the public half into an account there. Nothing secret leaves
this machine, and only the registry's own host gets to see a signature.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ..store.errors import InputError
from ..store.files import open_regular

_MAX_BYTES = 64 << 10
_OLLAMAS = (".ollama.ai", ".ollama.com")
_OTHERS = {"ollama.com", "hf.co", "huggingface.co"}
_HINT = "it must be an ed25519 key in OpenSSH's format, without a passphrase: ssh-keygen -t ed25519 -N ''"


def knows_ollamas_keys(host: str) -> bool:
    """Whether a registry lets in whoever has put the public half of Ollama's key into an account there."""
    return host.lower() in _OTHERS or host.lower().endswith(_OLLAMAS)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The file of an ed25519 key; read when a registry asks for it."""

    path: Path

    @property
    def exists(self) -> bool:
        """Whether there is one. Ollama makes it when its server first starts; nothing here does."""
        return self.path.is_file()

    def authorization(self, method: str, url: str) -> str:
        """The Authorization header for a request without a body. Raises InputError for a key of another form, FileError."""
        # It takes its time to load, and is seldom needed.
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

        with open_regular(self.path) as file:
            raw = file.read(_MAX_BYTES)
        try:
            key = load_ssh_private_key(raw, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # Without the cause, which might show some of it.
            raise InputError(f"{self.path}: cannot be used as a key", hint=_HINT) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise InputError(f"{self.path}: the key is not an ed25519 key", hint=_HINT)
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1].decode()
        return f"{public}:{base64.b64encode(key.sign(signed_text(method, url))).decode()}"


def signed_text(method: str, url: str) -> bytes:
    """What is signed for a request without a body."""
    of_nothing = hashlib.sha256(b"").hexdigest()
    return f"{method},{url},{base64.b64encode(of_nothing.encode()).decode()}".encode()


def token_url(realm: str, service: str, scopes: Iterable[str]) -> str:
    """The address that is asked for a token: the realm's with its query sorted, as Go writes one."""
    parts = urlsplit(realm)
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("service", service)]
    query += [("scope", scope) for scope in scopes]
    # So that nobody can use it again.
    nonce = base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()
    query += [("ts", str(int(time.time()))), ("nonce", nonce)]
    ordered = urlencode(sorted(query, key=lambda pair: pair[0]))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, ordered, ""))
