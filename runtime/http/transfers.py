"""Transfers: POST /api/pull and /api/push (spec part 7.12) onto the registries' client.

What several clients pull at once comes once: whoever is second waits for the blobs that the first one fetches, and goes on
where they are when that one hangs up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...store.errors import CorralError, InputError, InvalidNameError
from ...store.local import Store
from ...store.name import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, Name
from ...store.progress import Progress, Report
from .discretion import discreetly, unreadable
from .errors import ForbiddenError, answering, managing_error
from .statuses import Operations
from .stream import read_body
from .types import TransferRequest, decode

if TYPE_CHECKING:
    from ...registry.remote import Access


class Transfers:
    """The handlers. `registries` says how registries are reached now; `pull_from` which may be pulled from, all if none."""

    def __init__(
        self,
        store: Store,
        operations: Operations,
        *,
        registries: Callable[[], Access | None] = lambda: None,
        pull_from: Collection[str] = (),
    ) -> None:
        self._store = store
        self._operations = operations
        self._registries = registries
        self._pull_from = frozenset(host.lower() for host in pull_from)

    def routes(self) -> list[Route]:
        """Method and path of every handler."""
        return [
            Route("/api/pull", answering(self.pull, managing_error), methods=["POST"]),
            Route("/api/push", answering(self.push, managing_error), methods=["POST"]),
        ]

    async def pull(self, request: Request) -> Response:
        """A model from a registry."""
        asked = await _asked(request)
        name = read_name(asked.model or asked.name or "")
        work = partial(self.fetch, name, insecure=bool(asked.insecure))
        return await self._operations.respond(request, work, streams=asked.stream is not False)

    async def push(self, request: Request) -> Response:
        """A model to a registry."""
        asked = await _asked(request)
        wanted = asked.model or asked.name or ""
        if not wanted:
            raise InputError("model is required")
        work = partial(self._send, wanted, insecure=bool(asked.insecure))
        return await self._operations.respond(request, work, streams=asked.stream is not False)

    def fetch(self, name: Name, report: Report, *, insecure: bool = False) -> None:
        """Bring a model into the store. Raises ForbiddenError, and what the registries' client raises."""
        from ...registry.pull import pull

        with self._access() as access:
            host = access.host(name.host).lower()
            if self._pull_from and host not in self._pull_from:
                allowed = ", ".join(sorted(self._pull_from))
                raise ForbiddenError(
                    f"models are not pulled from {host} here, only from {allowed}; CORRAL_PULL_FROM of the server says so"
                )
            pull(name, self._store, insecure=insecure, access=access, report=report)

    def _send(self, wanted: str, report: Report, *, insecure: bool) -> None:
        from ...registry.push import push

        try:
            name = Name.parse(wanted)
        except InvalidNameError as error:
            report(Progress("retrieving manifest"))  # as in Ollama, it is the stream that says what is wrong
            raise InputError(f"unqualified name: {_qualified(wanted)}", hint=error.hint) from None
        with self._access() as access:
            push(name, self._store, insecure=insecure, access=access, report=report)

    @contextmanager
    def _access(self) -> Generator[Access]:
        """How registries are reached now. Raises MachineError where this server's settings are what is wrong."""
        from ...registry.loginfile import Logins
        from ...registry.remote import Access

        try:
            access = self._registries() or Access()
        except CorralError as error:
            raise unreadable(error) from None
        remotes = [access.otherwise, *access.remotes.values()]
        files = [file for remote in remotes for file in (remote.ca_file, remote.client_cert, remote.client_key)]
        files += access.logins.paths if isinstance(access.logins, Logins) else ()
        files += [access.signing_key.path] if access.signing_key else []
        with discreetly([self._store.root, *filter(None, files)]):
            yield access


def read_name(text: str) -> Name:
    """A model's name. Raises InputError in Ollama's words."""
    try:
        return Name.parse(text)
    except InvalidNameError as error:
        raise InputError("invalid model name", hint=f"{error.why}; {error.hint}") from None


def _qualified(text: str) -> str:
    """What Ollama makes of a name that is none: its defaults stand where there is nothing."""
    parts = text.split("/")
    whole = "/".join([DEFAULT_HOST, DEFAULT_NAMESPACE][: max(3 - len(parts), 0)] + parts)
    return whole if ":" in parts[-1] else f"{whole}:{DEFAULT_TAG}"


async def _asked(request: Request) -> TransferRequest:
    return decode(await read_body(request), TransferRequest)
