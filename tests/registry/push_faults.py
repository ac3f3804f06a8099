"""What can go wrong with a registry that is pushed to; what can go wrong with any registry is in faults.py."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.registry.exchange import Dropped, Reply, Request
from tests.registry.faults import (
    FOREVER,
    Kind,
    Moment,
    another_digest,
    astray,
    babbling,
    busy,
    endless,
    endless_headers,
    failing,
    in_circles,
    logged_out,
    much_later,
    odd_status,
    packed,
    refusing,
    silent,
)
from tests.registry.faulty import refusal

_GITHUBS_LIMIT = 4 << 20
_PROXYS_LIMIT = 5 << 20
_LEAST = 400_000
_LARGE = (9 << 20, 300)


def is_any(request: Request) -> bool:
    return request.method != "GET" or "/uploads/" in request.url


def is_asked_for(request: Request) -> bool:
    """Whether the registry has a blob."""
    return request.method == "HEAD"


def is_begin(request: Request) -> bool:
    return request.method == "POST"


def is_part(request: Request) -> bool:
    return request.method == "PATCH"


def is_body(request: Request) -> bool:
    """An upload's bytes."""
    return request.method in ("PATCH", "PUT") and "/uploads/" in request.url


def is_stored(request: Request) -> bool:
    return request.method == "PUT" and "/manifests/" in request.url


def cut(at: Moment) -> Reply:
    """The connection ends in mid-upload."""
    left = at.chance.randrange(max(at.request.length, 1))

    def some(pieces: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal left
        for piece in pieces:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                break
        raise Dropped(is_hard=at.chance.random() < 0.5)

    at.request.on_the_way = some
    return at.act()


def deaf(at: Moment) -> Reply:
    """The registry takes a part and then reads no more."""
    place = at.chance.randrange(max(at.request.length, 1))

    def some(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            if at.request.came > place:
                at.elsewhere.stopped.wait(FOREVER)
                raise Dropped

    at.request.on_the_way = some
    return at.act()


def unanswered(at: Moment) -> Reply:
    """All is done, and nothing said."""
    at.act()
    raise Dropped(is_hard=at.chance.random() < 0.5)


def speechless(at: Moment) -> Reply:
    """All is done, and nothing said for ever."""
    at.act()
    return Reply(200, head=[FOREVER])


def flipped(at: Moment) -> Reply:
    place = at.chance.randrange(max(at.request.length, 1))

    def other(pieces: Iterator[bytes]) -> Iterator[bytes]:
        seen = 0
        for piece in pieces:
            damaged = bytearray(piece)
            if seen <= place < seen + len(piece):
                damaged[place - seen] ^= 1
            seen += len(piece)
            yield bytes(damaged)

    at.request.on_the_way = other
    return at.act()


def swallowing(at: Moment) -> Reply:
    """It keeps only a part of what it gets, and says so in its Range if it has one."""
    left = at.chance.randrange(max(at.request.length, 1))

    def some(pieces: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal left
        for piece in pieces:
            yield piece[: max(left, 0)]
            left -= len(piece)

    at.request.on_the_way = some
    return at.act()


def lying(at: Moment) -> Reply:
    """It says that it has more or less than it has."""
    reply = at.act()
    said = re.fullmatch(r"0-(\d+)", reply.headers.get("Range", ""))  # unless another fault was here before
    end = int(said[1]) if said else 0
    reply.headers["Range"] = f"0-{max(end + at.chance.choice((-1000, -1, 1, 1000)), 0)}"
    return reply


def mute(at: Moment) -> Reply:
    """It does not say how much it has, or not in a way that anybody understands."""
    reply = at.act()
    odd = at.chance.choice((None, "", "bytes", "0-", "5-9", "-1", "0-" + "9" * 30))
    reply.headers.pop("Range", None)
    if odd is not None:
        reply.headers["Range"] = odd
    return reply


def forgotten(at: Moment) -> Reply:
    """The upload is gone."""
    return refusal(404, at.chance.choice(("BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID")), {"X-Upload": at.request.path})


def in_one_part(at: Moment) -> Reply:
    """As AWS: the first part is the blob, and 201; there is no second."""
    if re.match(r"[1-9]", at.request.headers.get("content-range", "")):
        return refusal(405, "UNSUPPORTED")
    reply = at.act()
    reply.status = 201 if reply.status == 202 else reply.status
    return reply


def in_small_parts(at: Moment) -> Reply:
    """As GitHub: a part has 4 MiB at most."""
    return refusal(416, "BLOB_UPLOAD_INVALID") if at.request.length > _GITHUBS_LIMIT else at.act()


def small(at: Moment) -> Reply:
    """As a proxy in front of it: no body is longer than 100 MB, here much less."""
    page = b"<html><head><title>413 Request Entity Too Large</title></head></html>\r\n"
    return Reply(413, {"Content-Type": "text/html"}, page) if at.request.length > _PROXYS_LIMIT else at.act()


def in_large_parts(at: Moment) -> Reply:
    """It wants parts of a certain size, the last one excepted."""
    if at.request.method == "PATCH":
        upload = at.request.path
        if at.memory.get(upload, 1 << 62) < _LEAST:
            return refusal(400, "SIZE_INVALID")
        at.memory[upload] = at.request.length
    reply = at.act()
    reply.headers["OCI-Chunk-Min-Length"] = str(_LEAST)
    return reply


def elsewhere(at: Moment) -> Reply:
    """The bytes are to go to another host."""
    reply = at.act()
    name = at.request.path.removeprefix("/v2/").partition("/blobs/")[0]
    reply.headers["Location"] = f"http://{at.elsewhere.host}/upload/{name}?signature={at.chance.randbytes(8).hex()}"
    return reply


def nowhere(at: Moment) -> Reply:
    reply = at.act()
    reply.headers.pop("Location")
    return reply


def led_astray(at: Moment) -> Reply:
    reply = at.act()
    return Reply(reply.status, astray(at).headers)


def pretending(at: Moment) -> Reply:
    """It has everything, it says."""
    return Reply(200, {"X-Asked": at.request.path})


def denying(at: Moment) -> Reply:
    """It has nothing, it says."""
    return refusal(404, "BLOB_UNKNOWN", {"X-Asked": at.request.path})


PUSHES: dict[str, Kind] = {
    "cut": Kind(cut, "passes", is_body),
    "deaf": Kind(deaf, "passes", is_body),
    "silent": Kind(silent, "passes", is_any),
    "unanswered": Kind(unanswered, "passes", is_any),
    "speechless": Kind(speechless, "passes", is_any),
    "flipped": Kind(flipped, "fatal", is_body),
    "swallowing": Kind(swallowing, "either", is_body),
    "lying": Kind(lying, "either", is_part),
    "mute": Kind(mute, "either", is_part, always=True),
    "forgotten": Kind(forgotten, "passes", is_body),
    "in one part": Kind(in_one_part, "passes", is_part, always=True),
    "in small parts": Kind(in_small_parts, "passes", is_part, always=True, sizes=_LARGE),
    "in large parts": Kind(
        in_large_parts, "either", lambda request: is_begin(request) or is_part(request), always=True
    ),
    "small": Kind(small, "either", is_body, always=True),
    "elsewhere": Kind(elsewhere, "passes", is_begin, always=True),
    "nowhere": Kind(nowhere, "either", is_begin),
    "led astray": Kind(led_astray, "fatal", is_begin),
    "in circles": Kind(in_circles, "fatal", is_any),
    "pretending": Kind(pretending, "fatal", is_asked_for),
    "denying": Kind(denying, "passes", is_asked_for, always=True),
    "another digest": Kind(another_digest, "either", is_any),
    "busy": Kind(busy, "passes", is_any),
    "much later": Kind(much_later, "either", is_any),
    "failing": Kind(failing, "passes", is_any),
    "refusing": Kind(refusing, "fatal", is_body),
    "logged out": Kind(logged_out, "fatal", is_any),
    "an odd status": Kind(odd_status, "either", is_any),
    "babbling": Kind(babbling, "either", is_any),
    "endless": Kind(endless, "either", is_any),
    "endless headers": Kind(endless_headers, "either", is_any),
    "packed": Kind(packed, "either", is_any),
}
