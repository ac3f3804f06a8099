"""OCI: the registry server on the wire, by the distribution spec 1.1 (part "Endpoints"), besides blobs and their uploads.

Under /v2/ paths are read here, not by the router: the name of a repository has slashes in it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...registry.formats.document import OCI_INDEX
from ...registry.serve.catalog import Catalog, Prefers, Served, read_digest
from ...registry.serve.errors import ServingError
from ...registry.serve.intake import Expects, Intake
from ...registry.serve.scopes import Action, Caller
from ...registry.serve.uploads import Uploads
from ...store.digest import Digest
from ...store.errors import CorralError
from ...store.manifest import MAX_MANIFEST_BYTES
from ...store.repository import Repository
from ..schedule.pool import BusyError
from .filebody import names_one
from .oci_blobs import BlobHandlers
from .oci_reply import HEADERS, page, refused
from .stream import BodyTooLargeError, read_body

_PATH = re.compile(
    r"/v2/?(?P<root>)|/v2/(?P<catalog>_catalog)|/v2/(?P<name>.+)/(?:manifests/(?P<manifest>[^/]+)"
    r"|blobs/uploads(?P<uploads>/?)|blobs/uploads/(?P<upload>[^/]+)|blobs/(?P<blob>[^/]+)"
    r"|referrers/(?P<referrers>[^/]+)|(?P<tags>tags/list))",
)
_READING = ("GET", "HEAD")
_METHODS = {
    "root": _READING,
    "catalog": _READING,
    "manifest": (*_READING, "PUT", "DELETE"),
    "blob": (*_READING, "DELETE"),
    "uploads": ("POST",),
    "upload": ("GET", "PATCH", "PUT", "DELETE"),
    "referrers": _READING,
    "tags": _READING,
}
_MOST_TYPES = 200
_ALL = {"*/*", "application/*"}
_PAGE_BYTES = 3 << 20
"""Of a list of referrers."""


@dataclass(frozen=True, slots=True)
class Door:
    """Who comes in: tells from a request's headers who asks. Raises ServingError for a key or password that is wrong.

    `cure` is what more is said to those who may not do something and could not say who they are.
    """

    caller: Callable[[Headers], Awaitable[Caller]]
    is_read_only: bool = False
    cure: str = ""


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
        try:
            return await self._answer(request, await self._door.caller(request.headers))
        except CorralError as error:
            return refused(error)

    async def _answer(self, request: Request, caller: Caller) -> Response:
        found = _PATH.fullmatch(request.scope["path"])
        kind = found and found.lastgroup
        if not found or not kind:
            raise ServingError("UNSUPPORTED", "a registry has nothing here", status=404)
        if request.method not in _METHODS[kind]:
            error = ServingError("UNSUPPORTED", f"{request.method} is not for this")
            return refused(error, {"Allow": ", ".join(_METHODS[kind])})
        if kind == "root":
            if caller.is_asked:
                raise ServingError("UNAUTHORIZED", "this registry wants to know who asks")
            return JSONResponse({}, headers=HEADERS)
        if kind == "catalog":
            return await asyncio.to_thread(self._listing, request, caller)
        is_reading = request.method in _READING and kind != "upload"
        # Ollama's clients write names as they like; two names that differ by case are one.
        repository = Repository.parse(found["name"].lower() if is_reading else found["name"])
        self._check(caller, "read" if is_reading else "write", repository)
        handled = found[kind]
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
            case "uploads":
                return await self._blobs.begin(request, repository, self._readable(caller))
            case _:
                return await self._blobs.upload(request, repository, handled)

    def _check(self, caller: Caller, action: Action, repository: Repository) -> None:
        if action == "write" and self._door.is_read_only:
            raise ServingError("DENIED", "this registry is only read")
        if caller.may(action, repository):
            return
        if caller.is_asked:
            raise ServingError("UNAUTHORIZED", f"{repository}: who may {action} it has to say who he is")
        cure = "" if caller.is_known else self._door.cure
        raise ServingError("DENIED", f"{repository}: not for you to {action}{cure}")

    def _readable(self, caller: Caller) -> Callable[[str | None], Iterator[Repository]]:
        """Of all repositories, or the one that is named, those that the caller may read."""

        def found(name: str | None) -> Iterator[Repository]:
            some = self._catalog.repositories() if name is None else [Repository.parse(name)]
            return (repository for repository in some if caller.may("read", repository))

        return found

    def _listing(self, request: Request, caller: Caller) -> Response:
        found = [str(one) for one in self._readable(caller)(None)]
        if not found and caller.is_asked:
            raise ServingError("UNAUTHORIZED", "nothing is shared here; say who you are")
        return page(request, "repositories", found)

    async def _manifest(self, request: Request, repository: Repository, reference: str) -> Response:
        match request.method:
            case "PUT":
                return await self._put(request, repository, reference)
            case "DELETE":
                await asyncio.to_thread(self._catalog.delete_manifest, repository, reference)
                return Response(status_code=202, headers=HEADERS)
            case _:
                prefers = _preference(request.headers.getlist("accept"))
                served = await asyncio.to_thread(self._catalog.manifest, repository, reference, prefers)
                return _given(request, served)

    async def _put(self, request: Request, repository: Repository, reference: str) -> Response:
        try:
            raw = await read_body(request, MAX_MANIFEST_BYTES)
        except BodyTooLargeError:
            why = f"a manifest has at most {MAX_MANIFEST_BYTES} bytes here"
            raise ServingError("SIZE_INVALID", why, status=413) from None
        except BusyError:
            raise ServingError("TOOMANYREQUESTS", "too many manifests are being sent; try again soon") from None
        media_type = request.headers.get("content-type", "").partition(";")[0].strip()
        tags = request.query_params.getlist("tag")
        expects = _condition(request.headers)
        taken = await asyncio.to_thread(self._intake.put, repository, reference, media_type, raw, tags, expects)
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
        last, wanted = request.query_params.get("last", ""), request.query_params.get("artifactType")
        headers = {**HEADERS, **({"OCI-Filters-Applied": "artifactType"} if wanted else {})}
        manifests, size = list[dict[str, object]](), 0
        for part in self._catalog.referrers(repository, read_digest(text), last):
            if wanted and part.artifact_type != wanted:
                continue
            words = [part.artifact_type, *part.annotations.keys(), *part.annotations.values()]
            size += sum(map(len, words)) + 512
            if size > _PAGE_BYTES and manifests:
                rest = request.url.include_query_params(last=manifests[-1]["digest"])
                headers["Link"] = f'<{rest.path}?{rest.query}>; rel="next"'
                break
            manifests.append(part.to_json())
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        return JSONResponse(index, headers=headers, media_type=OCI_INDEX)


def _given(request: Request, served: Served) -> Response:
    headers = {
        **HEADERS,
        "Docker-Content-Digest": str(served.digest),
        "ETag": f'"{served.digest}"',
        "Content-Type": served.media_type,
    }
    if names_one("if-none-match", {headers["ETag"]}, request.headers):
        return Response(status_code=304, headers=headers)
    return Response(served.raw, headers=headers)


def _condition(headers: Headers) -> Expects | None:
    """By If-Match and If-None-Match (RFC 9110, part 13.1); None without these."""
    if "if-match" not in headers and "if-none-match" not in headers:
        return None

    def expects(digests: set[Digest]) -> bool:
        etags = {f'"{digest}"' for digest in digests}
        is_same = "if-match" not in headers or names_one("if-match", etags, headers)
        return is_same and not names_one("if-none-match", etags, headers)

    return expects


def _preference(headers: list[str]) -> Prefers:
    """By a client's Accept headers: what it names first it wants most, and after that whatever there is, if it takes all."""
    words = ",".join(headers).lower().split(",")[:_MOST_TYPES]
    types = list(filter(None, (word.partition(";")[0].strip() for word in words)))
    takes_all = not types or not _ALL.isdisjoint(types)

    def prefers(candidates: Sequence[str]) -> str:
        named = {one.lower(): one for one in reversed(candidates)}
        wanted = next((named[one] for one in types if one in named), "")
        return wanted or (candidates[0] if takes_all else "")

    return prefers
