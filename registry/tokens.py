"""Tokens: what goes into the Authorization header, by the token service that a registry names, or by Basic.

By docker's token specification (distribution/distribution v2.8 docs/spec/auth): GET with Basic or without, POST with an
identity token; or Ollama's way, with a signature, see signing.py. Credentials go to the registry itself, and to a token
service that trust.py takes for its own.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlencode

import requests

from ..store.errors import CorralError, shown
from .challenge import Challenge, merged, parse
from .credentials import Credential
from .errors import RegistryError
from .patience import PASSING, retry_after
from .remote import Access, Token
from .signing import knows_ollamas_keys, token_url
from .trust import Origin, may_see_credentials
from .wire import Wire

_MAX_REPLY = 1 << 20
_LIFETIME = 60.0
"""In seconds, of a token whose service does not say."""
_LONGEST = 24 * 3600.0
_TRIES = 4
"""Of one request; a token that another thread has just got may be used up by then."""


class Authorization:
    """The way in to some scopes of one registry."""

    def __init__(self, wire: Wire, access: Access, scopes: tuple[str, ...], repository: str = "") -> None:
        self._wire = wire
        self._access = access
        self._scopes = scopes
        self._repository = repository
        self._credential: Credential | None = None
        self._has_looked = False
        self._challenge: Challenge | None = None
        # Transfers run in threads: one renews what all use.
        self._guard = threading.RLock()
        self._basic: str | None = None
        self._has_signed = False
        self.withheld_from: str | None = None
        """A token service that did not get to see the credentials."""

    def _header(self) -> str | None:
        """The header's value for a request to the registry; a token that is about to expire is renewed first."""
        with self._guard:
            if self._challenge is None:
                return self._basic
            token = self._access.tokens.get(self._key)
            if token is None or token.expires <= time.monotonic():
                token = self._renew()
            return f"Bearer {token.text}"

    def _answer(self, www_authenticate: str, sent: str | None) -> bool:
        """Take up the challenge of a 401 to a request with `sent`; whether it is worth asking again. Raises RegistryError."""
        challenges = {challenge.scheme: challenge for challenge in reversed(parse(www_authenticate))}
        if "bearer" in challenges:
            self._challenge = challenges["bearer"]
            self._scopes = merged([*self._scopes, *self._challenge.scopes])
            token = self._access.tokens.get(self._key)
            if token is None or sent == f"Bearer {token.text}":
                self._renew()
            return True
        credential = self._find()
        if "basic" in challenges and credential and not credential.is_identity_token:
            self._basic, self._challenge = credential.basic, None
        return self._basic not in (None, sent)

    def send(self, method: str, url: str, *, headers: dict[str, str], **options: Any) -> requests.Response:
        """The registry's reply to a request with what it wants to see; a 401 is answered. Raises RegistryError."""
        is_renewed, tries = False, _TRIES
        while True:
            sent = self._header()
            reply = self._wire.send(method, url, headers=_with(headers, sent), **options)
            tries -= 1
            if reply.status_code != 401 or is_renewed or not tries:
                return reply
            try:
                with self._guard:
                    before = self._access.tokens.get(self._key)
                    is_worth_it = self._answer(reply.headers.get("WWW-Authenticate", ""), sent)
                    is_renewed = self._access.tokens.get(self._key) is not before or self._challenge is None
            except CorralError:
                reply.close()
                raise
            if not is_worth_it:
                return reply
            self._wire.drain(reply)

    @property
    def was_used(self) -> bool:
        """Whether the registry wanted to see anything."""
        return self._basic is not None or self._challenge is not None

    def hint(self) -> str:
        """What its user can do when the registry still refuses."""
        host = self._wire.host
        if self.withheld_from:
            return (
                f"no credentials were sent to its token service {self.withheld_from}, which is on another domain; "
                f'if it is the registry\'s, write realm = "{self.withheld_from}" under [registry."{host}"] in config.toml'
            )
        found = self._find()
        if found:
            return f"the login in {found.source} was refused or has no right to this; `corral login {host}` changes it"
        key = self._access.signing_key
        if not key or not self._takes_ollamas_key:
            return f"log in first: corral login {host}"
        if self._has_signed:
            return f"put the key {key.path}.pub into your account there, or log in: corral login {host}"
        return f"log in with `corral login {host}`, or have a key that your account there knows: {key.path}"

    @property
    def _takes_ollamas_key(self) -> bool:
        """Whether its user, or else its host, says that it knows Ollama's keys."""
        said = self._wire.remote.ollama_key
        return knows_ollamas_keys(self._wire.host) if said is None else said

    @property
    def _key(self) -> tuple[str, tuple[str, ...]]:
        return (f"{self._wire.base}{self._repository}", self._scopes)

    def _find(self) -> Credential | None:
        if not self._has_looked and self._access.logins:
            self._credential = self._access.logins.find(self._wire.host, self._repository)
        self._has_looked = True
        return self._credential

    def _renew(self) -> Token:
        self._access.tokens.pop(self._key, None)
        token = self._access.tokens[self._key] = self._fetch()
        return token

    def _fetch(self) -> Token:
        """A token from the service in the challenge."""
        assert self._challenge
        realm, service = (self._challenge.parameters.get(name, "") for name in ("realm", "service"))
        if not realm:
            raise RegistryError(f"{self._wire.identity}: {self._wire.host} wants a token and does not say whose")
        url = self._wire.joined(self._wire.base, realm)
        where = Origin.parse(url)
        credential = self._find()
        if credential and not may_see_credentials(where, self._wire.origin, self._wire.remote.realm):
            self.withheld_from, credential = where.host, None
        named = [("service", service)] if service else []
        signer = self._access.signing_key if self._credential is None and self._takes_ollamas_key else None
        if signer and signer.exists and where == self._wire.origin:
            signed = token_url(url, service, self._scopes)
            reply = self._wire.send("GET", signed, headers={"Authorization": signer.authorization("GET", signed)})
            self._has_signed = True
        elif credential and credential.is_identity_token:
            form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", credential.secret),
                ("client_id", "corral"),
                *named,
            ]
            reply = self._wire.send("POST", url, data=[*form, ("scope", " ".join(self._scopes))])
        else:
            query = urlencode([*named, *(("scope", scope) for scope in self._scopes)])
            joined = f"{url}{'&' if '?' in url else '?'}{query}" if query else url
            headers = {"Authorization": credential.basic} if credential else {}
            reply = self._wire.send("GET", joined, headers=headers)
        return self._read(reply, where.host)

    def _read(self, reply: requests.Response, where: str) -> Token:
        what = f"{self._wire.identity}: the token service {where}"
        raw = b"".join(self._wire.body(reply, _MAX_REPLY))
        if reply.status_code in (400, 401, 403):
            message = f"{what} refuses: {reply.status_code} {shown(reply.reason or '')[1:-1]}"
            raise RegistryError(message, status=401, hint=self.hint())
        if reply.status_code != 200:
            raise RegistryError(
                f"{what} answered {reply.status_code}",
                status=reply.status_code,
                is_passing=reply.status_code in PASSING,
                retry_after=retry_after(reply.headers),
            )
        try:
            answer = cast("dict[str, Any]", json.loads(raw))
            text = answer.get("token") or answer.get("access_token")
            if not isinstance(text, str) or not text.isascii() or not text.isprintable() or " " in text:
                raise TypeError
            lifetime = _lifetime(answer, reply.headers.get("Date", ""))
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise RegistryError(f"{what} answered with no token") from None
        following = answer.get("refresh_token")
        if self._credential and self._credential.is_identity_token and isinstance(following, str) and following:
            self._credential = replace(self._credential, secret=following)
        # Renewed a little early: it has to last until the registry has seen it.
        return Token(text, time.monotonic() + lifetime - min(30.0, lifetime / 4))


def _with(headers: dict[str, str], authorization: str | None) -> dict[str, str]:
    return headers | {"Authorization": authorization} if authorization else headers


def _lifetime(answer: dict[str, Any], date: str) -> float:
    """How long a token is good for from now, in seconds."""
    given = answer.get("expires_in")
    lifetime = float(min(given, _LONGEST)) if isinstance(given, int | float) and given > 0 else _LIFETIME
    try:
        # How old it is, both by the service's clock: this machine's may be wrong.
        issued = datetime.fromisoformat(str(answer.get("issued_at")))
        age = (parsedate_to_datetime(date) - issued).total_seconds()
    except (ValueError, TypeError):
        age = 0.0
    return lifetime - max(age, 0.0)
