"""Keychain: the programs `docker-credential-X` that keep logins for docker, by its protocol: JSON over stdin and stdout.

oras-py can ask them too, but takes a failure for "no login" and an identity token for a password, and waits for ever.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass

from ..store.errors import MachineError, shown
from .credentials import IDENTITY_TOKEN_USER, Credential

_PROGRAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_ABSENT = "credentials not found"
_TIMEOUT = 120.0
"""It may have to ask a person."""


@dataclass(frozen=True, slots=True)
class Keychain:
    """One such program, as a login file names it."""

    name: str
    named_in: str

    def get(self, server: str) -> Credential | None:
        """The login it keeps for a server. Raises MachineError when the program cannot be asked."""
        said = self._ask("get", server)
        if said is None:
            return None
        try:
            answer = json.loads(said)
            user, secret = answer["Username"], answer["Secret"]
            if not isinstance(user, str) or not isinstance(secret, str):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise self._failure("its answer is not of the form that docker wants") from None
        is_token = user == IDENTITY_TOKEN_USER
        if not secret:
            return None
        return Credential("" if is_token else user, secret, is_identity_token=is_token, source=self._program)

    def store(self, server: str, credential: Credential) -> None:
        """Have it keep a login. Raises MachineError."""
        user = IDENTITY_TOKEN_USER if credential.is_identity_token else credential.user
        self._ask("store", json.dumps({"ServerURL": server, "Username": user, "Secret": credential.secret}))

    def erase(self, server: str) -> None:
        """Have it forget a login. Raises MachineError."""
        self._ask("erase", server)

    @property
    def _program(self) -> str:
        return f"docker-credential-{self.name}"

    def _ask(self, verb: str, text: str) -> str | None:
        """What it prints; None when it knows no such login."""
        if not _PROGRAM.fullmatch(self.name):
            raise self._failure("this is no program's name")
        try:
            done = subprocess.run(
                [self._program, verb], input=text, capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
        except FileNotFoundError:
            raise self._failure("it is not installed") from None
        except (OSError, UnicodeError, subprocess.TimeoutExpired) as cause:
            # Not str(cause): a timeout's holds what the program had printed.
            why = cause.strerror if isinstance(cause, OSError) else "no answer"
            raise self._failure(why or type(cause).__name__) from None
        if done.returncode == 0:
            return done.stdout
        said = done.stdout.strip() or done.stderr.strip()
        if verb != "store" and _ABSENT in said:
            return None
        raise self._failure(f"{verb} failed: {shown(said, 200)[1:-1] or f'exit code {done.returncode}'}")

    def _failure(self, why: str) -> MachineError:
        hint = f"{self.named_in} names it: install it, or take it out there"
        return MachineError(f"{shown(self._program)[1:-1]}: {why}", hint=hint)
