"""OCI: the registry server on the wire, by the distribution spec 1.1 (part "Endpoints"), besides blobs and their uploads.

Under /v2/ paths are read here, not by the router: the name of a repository has slashes in it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...registry.formats.document import OCI_INDEX
from ...registry.serve.catalog import Catalog, Served, read_digest
from ...registry.serve.errors import ServingError
from ...registry.serve.intake import Intake
from ...registry.serve.scopes import Action, Caller
from ...registry.serve.uploads import Uploads
from ...store.digest import Digest
from ...store.errors import CorralError
from ...store.manifest import MAX_MANIFEST_BYTES
from ...store.repository import Repository
from .oci_blobs import BlobHandlers
from .oci_reply import HEADERS, page, refused

_PATH = re.compile(
    r"/v2/(?P<name>.+)/(?:manifests/(?P<manifest>[^/]+)|blobs/uploads(?:/(?P<upload>[^/]*))?|blobs/(?P<blob>[^/]+)"
    r"|referrers/(?P<referrers>[^/]+)|(?P<tags>tags/list))"
)
_METHODS = {
    "manifest": ("GET", "HEAD", "PUT", "DELETE"),
    "blob": ("GET", "HEAD", "DELETE"),
    "upload": ("GET", "POST", "PATCH", "PUT", "DELETE"),
    "referrers": ("GET", "HEAD"),
    "tags": ("GET", "HEAD"),
}
_READING = ("GET", "HEAD")
_MOST_TYPES = 200
_PAGE_BYTES = 3 << 20
"""Of a list of referrers."""


@dataclass(frozen=True, slots=True)
class Door:
    """Who comes in: tells from a request's headers who asks. Raises ServingError for a key or password that is wrong.

    `challenge` is how one may say who one is, "" where nobody can.
    """

    caller: Callable[[Headers], Awaitable[Caller]]
    challenge: str = ""
    is_read_only: bool = False


class OCIDialect:
    """The handlers."""

    def __init__(self, catalog: Catalog, uploads: Uploads, door: Door) -> None:
        self._catalog = catalog
        self._intake = Intake(catalog)
        self._blobs = BlobHandlers(catalog, uploads)
        self._door = door

    def routes(self) -> list[Route]:
        """Every path below /v2/."""
        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
        return [Route("/v2", self.answer, methods=methods), Route("/v2/{rest:path}", self.answer, methods=methods)]

    async def answer(self, request: Request) -> Response:
        """The reply to whatever is asked of the registry."""
        challenge: dict[str, str] = {}
        try:
            try:
                caller = await self._door.caller(request.headers)
                return await self._answer(request, caller)
            except ServingError as error:
                if error.code == "UNAUTHORIZED" and self._door.challenge:
                    challenge["WWW-Authenticate"] = self._door.challenge
                raise
        except CorralError as error:
            return refused(error, challenge)

    async def _answer(self, request: Request, caller: Caller) -> Response:
        path: str = request.scope["path"]
        if path.rstrip("/") == "/v2":
            if self._door.challenge and not caller.is_known:
                raise ServingError("UNAUTHORIZED", "this registry wants to know who asks")
            return JSONResponse({}, headers=HEADERS)
        if path == "/v2/_catalog":
            return await asyncio.to_thread(self._listing, request, caller)
        found = _PATH.fullmatch(path)
        if not found or not found.lastgroup:
            raise ServingError("UNSUPPORTED", "a registry has nothing here", status=404)
        kind = "upload" if found.lastgroup == "name" else found.lastgroup
        if request.method not in _METHODS[kind]:
            raise ServingError("UNSUPPORTED", f"{request.method} is not for this")
        # Ollama's clients write names as they like; two names that differ by case are one.
        name = found["name"].lower() if request.method in _READING and kind != "upload" else found["name"]
        repository = Repository.parse(name)
        self._check(caller, "read" if request.method in _READING and kind != "upload" else "write", repository)
        handled = found[kind] or ""
        match kind:
            case "manifest":
                return await self._manifest(request, repository, handled)
            case "referrers":
                return await asyncio.to_thread(self._referrers, request, repository, handled)
            case "tags":
                tags = await asyncio.to_thread(self._catalog.tags, repository)
                return page(request, "tags", tags, name=found["name"])
            case "blob":
                return await self._blobs.blob(request, repository, handled)
            case _:
                readable = self._readable(caller)
                return await self._blobs.upload(request, repository, handled, readable)

    def _check(self, caller: Caller, action: Action, repository: Repository) -> None:
        if action == "write" and self._door.is_read_only:
            raise ServingError("DENIED", "this registry is only read")
        if caller.may(action, repository):
            return
        if caller.is_known or not self._door.challenge:
            raise ServingError("DENIED", f"{repository}: not for you to {action}")
        raise ServingError("UNAUTHORIZED", f"{repository}: who may {action} it has to say who he is")

    def _readable(self, caller: Caller) -> Callable[[str | None], Iterator[Repository]]:
        """Of all repositories, or the one that is named, those that the caller may read."""

        def found(name: str | None) -> Iterator[Repository]:
            some = self._catalog.repositories() if name is None else [Repository.parse(name)]
            return (repository for repository in some if caller.may("read", repository))

        return found

    def _listing(self, request: Request, caller: Caller) -> Response:
        if request.method not in _READING:
            raise ServingError("UNSUPPORTED", f"{request.method} is not for this")
        return page(request, "repositories", [str(one) for one in self._readable(caller)(None)])

    async def _manifest(self, request: Request, repository: Repository, reference: str) -> Response:
        match request.method:
            case "PUT":
                return await self._put(request, repository, reference)
            case "DELETE":
                await asyncio.to_thread(self._catalog.delete_manifest, repository, reference)
                return Response(status_code=202, headers=HEADERS)
            case _:
                accepts = _accepts(request.headers.getlist("accept"))
                served = await asyncio.to_thread(self._catalog.manifest, repository, reference, accepts)
                return _given(request, served)

    async def _put(self, request: Request, repository: Repository, reference: str) -> Response:
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_MANIFEST_BYTES:
                why = f"a manifest has at most {MAX_MANIFEST_BYTES} bytes here"
                raise ServingError("SIZE_INVALID", why, status=413)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip()
        tags = request.query_params.getlist("tag")
        taken = await asyncio.to_thread(self._intake.put, repository, reference, media_type, bytes(raw), tags)
        headers = {
            **HEADERS,
            "Location": f"/v2/{repository}/manifests/{taken.digest}",
            "Docker-Content-Digest": str(taken.digest),
        }
        if taken.subject:
            headers["OCI-Subject"] = str(taken.subject)
        reply = Response(status_code=201, headers=headers)
        for tag in tags:
            reply.headers.append("OCI-Tag", tag)
        return reply

    def _referrers(self, request: Request, repository: Repository, text: str) -> Response:
        digest: Digest = read_digest(text)
        found = self._catalog.referrers(repository, digest)
        headers = {**HEADERS}
        if wanted := request.query_params.get("artifactType"):
            found = [part for part in found if part.artifact_type == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        last = request.query_params.get("last", "")
        manifests, size = list[dict[str, object]](), 0
        for part in found:
            if str(part.descriptor.digest) <= last:
                continue
            one = part.to_json()
            size += sum(len(key) + len(value) for key, value in part.annotations.items()) + 512
            if size > _PAGE_BYTES and manifests:
                rest = request.url.include_query_params(last=manifests[-1]["digest"])
                headers["Link"] = f'<{rest.path}?{rest.query}>; rel="next"'
                break
            manifests.append(one)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        return JSONResponse(index, headers=headers, media_type=OCI_INDEX)


def _given(request: Request, served: Served) -> Response:
    headers = {
        **HEADERS,
        "Docker-Content-Digest": str(served.digest),
        "ETag": f'"{served.digest}"',
        "Content-Type": served.media_type,
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(served.raw, headers=headers)


def _accepts(headers: list[str]) -> Callable[[str], bool]:
    """Whether a client takes a media type, by its Accept headers; who says nothing takes all."""
    words = ",".join(headers).lower().split(",")[:_MOST_TYPES]
    types = {word.partition(";")[0].strip() for word in words} - {""}
    takes_all = not types or not types.isdisjoint({"*/*", "application/*"})
    return lambda media_type: takes_all or media_type.lower() in types
