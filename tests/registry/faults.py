"""What can go wrong with a registry, one fault each: what it does to a request, and what a client may make of it."""

from __future__ import annotations

import gzip
import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Literal, TypeAlias

from tests.registry.exchange import Data, Dropped, Piece, Reply, Request
from tests.registry.faulty import Elsewhere, refusal

FOREVER = 3600.0
"""Seconds; the test has ended long before."""

Outcome: TypeAlias = Literal["either", "passes", "fatal"]


@dataclass(frozen=True)
class Moment:
    """When a fault strikes."""

    request: Request
    act: Callable[[], Reply]
    """Gives the sound reply."""
    chance: random.Random
    elsewhere: Elsewhere
    memory: dict[str, int]
    """What the fault keeps from time to time."""


@dataclass(frozen=True)
class Kind:
    """One fault."""

    change: Callable[[Moment], Reply]
    outcome: Outcome = "either"
    """What must come of it: all is right in the end if it strikes twice at most; never, if it always does; or either."""
    where: Callable[[Request], bool] = lambda _: True
    always: bool = False
    """Whether it is a registry's manner, and not a mishap."""
    sizes: tuple[int, ...] = ()
    """Of the layers that show it; any if empty."""

    def at(self, chance: random.Random, elsewhere: Elsewhere) -> Strikes:
        """The fault, at a time and as often as chance will have it."""
        times = math.inf if self.always else chance.choice((1, 2, math.inf))
        first = 0 if self.always else chance.choice((0, 0, 1, 2))
        return Strikes(self, first, times, chance, elsewhere)


class Strikes:
    """A fault that strikes some of the requests it is for, one after the other."""

    def __init__(
        self,
        kind: Kind,
        first: int,
        times: float,
        chance: random.Random | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """From the `first` of them, `times` times."""
        self.kind, self.times, self.struck = kind, times, 0
        self._chance, self._elsewhere, self._first = chance or random.Random(1), elsewhere or Elsewhere(), first
        self._count = itertools.count()
        self._memory: dict[str, int] = {}

    def __call__(self, request: Request, act: Callable[[], Reply]) -> Reply:
        if not self.kind.where(request) or not self._first <= next(self._count) < self._first + self.times:
            return act()
        self.struck += 1
        return self.kind.change(Moment(request, act, self._chance, self._elsewhere, self._memory))

    @property
    def must_pass(self) -> bool:
        return not self.struck or (self.kind.outcome == "passes" and (self.kind.always or self.times < math.inf))

    @property
    def must_fail(self) -> bool:
        return self.struck > 0 and self.kind.outcome == "fatal" and self.times == math.inf


def is_read(request: Request) -> bool:
    return request.method == "GET"


def is_blob(request: Request) -> bool:
    return request.method == "GET" and "/blobs/sha256:" in request.url


def is_manifest(request: Request) -> bool:
    return request.method == "GET" and "/manifests/" in request.url


def place_in(data: Data | bytearray, chance: random.Random) -> int:
    """Somewhere in it."""
    return chance.randrange(len(data)) if data else 0


def _ending(at: Moment, place: int) -> Reply:
    """The reply, its body cut there."""
    reply = at.act()
    body = reply.body

    def pieces() -> Iterator[Piece]:
        yield body[:place]
        if place < len(body):
            raise Dropped(is_hard=at.chance.random() < 0.5)

    reply.pieces, reply.length = pieces(), len(body)
    return reply


def cut(at: Moment) -> Reply:
    reply = at.act()
    return _ending(replace(at, act=lambda: reply), place_in(reply.body, at.chance))


def cut_everywhere(at: Moment) -> Reply:
    """At every k-th byte, where k is enough for a client that goes on."""
    return _ending(at, at.memory.setdefault("k", at.chance.randint(70_000, 900_000)))


def cut_soon(at: Moment) -> Reply:
    """The same for a k that is too small for anything."""
    return _ending(at, at.memory.setdefault("k", at.chance.randint(0, 9_000)))


def short(at: Moment) -> Reply:
    reply = at.act()
    reply.body = reply.body[: place_in(reply.body, at.chance)]
    return reply


def unmeasured(at: Moment) -> Reply:
    """The same, and only the connection's end says where it is over."""
    reply = short(at)
    reply.length = None
    return reply


def flipped(at: Moment) -> Reply:
    reply = at.act()
    damaged = bytearray(reply.body or b"!")
    damaged[place_in(damaged, at.chance)] ^= 1 << at.chance.randrange(8)
    reply.body = bytes(damaged)
    return reply


def longer(at: Moment) -> Reply:
    reply = at.act()
    reply.body = bytes(reply.body) + at.chance.randbytes(at.chance.randint(1, 100))
    return reply


def endless(at: Moment) -> Reply:
    reply = at.act()
    reply.length = at.chance.choice((None, 1 << 40))
    reply.pieces = itertools.chain([reply.body], itertools.repeat(bytes(1 << 16)))
    return reply


def another_range(at: Moment) -> Reply:
    """The right bytes under a Content-Range that names others."""
    reply = at.act()
    size = len(reply.body)
    start, end, total = 0, max(size - 1, 0), size
    said = reply.headers.get("Content-Range")
    if said:
        bounds, _, whole = said.removeprefix("bytes ").partition("/")
        start, end, total = *map(int, bounds.split("-")), int(whole)
    by = at.chance.randint(1, 9)
    start, end, total = at.chance.choice(((start + by, end, total), (start, end + by, total), (start, end, total + by)))
    reply.status = 206
    reply.headers["Content-Range"] = at.chance.choice(
        (f"bytes {start}-{end}/{total}", "bytes 5", f"bytes {end}-{start}/x")
    )
    return reply


def other_bytes(at: Moment) -> Reply:
    """Bytes of another range under the Content-Range that was asked for."""
    reply = at.act()
    by = 1 + place_in(reply.body, at.chance)
    reply.body = bytes(reply.body[by:]) + bytes(reply.body[:by])
    return flipped(replace(at, act=lambda: reply)) if len(set(bytes(reply.body))) < 2 else reply


def fewer(at: Moment) -> Reply:
    """Less than was asked for, and it says so."""
    reply = at.act()
    said = reply.headers.get("Content-Range")
    if said and len(reply.body) > 1:
        reply.body = reply.body[: 1 + place_in(reply.body[1:], at.chance)]
        start, total = said.removeprefix("bytes ").partition("-")[0], said.partition("/")[2]
        reply.headers["Content-Range"] = f"bytes {start}-{int(start) + len(reply.body) - 1}/{total}"
    return reply


def unranged(at: Moment) -> Reply:
    """All of it, whatever was asked for."""
    at.request.headers.pop("range", None)
    reply = at.act()
    reply.headers.pop("Accept-Ranges", None)
    return reply


def stalled(at: Moment) -> Reply:
    reply = at.act()
    if at.chance.random() < 0.3:
        reply.head = [FOREVER]
    else:
        reply.length = len(reply.body)
        reply.pieces = [reply.body[: place_in(reply.body, at.chance)], FOREVER]
    return reply


def dripping(at: Moment) -> Reply:
    reply = at.act()
    reply.length = len(reply.body)
    drops = at.chance.randint(1, 200)
    one_by_one = itertools.chain.from_iterable(
        (reply.body[i : i + 1], 0.001) for i in range(min(drops, len(reply.body)))
    )
    reply.pieces = itertools.chain(one_by_one, [reply.body[drops:]])
    return reply


def silent(at: Moment) -> Reply:
    """It hangs up before it says anything."""
    raise Dropped(is_hard=at.chance.random() < 0.5)


def babbling(at: Moment) -> Reply:
    """What no HTTP server says, and what one says half."""
    lines = (
        b"",
        b"\r\n\r\n",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"220 mail\r\n",
        at.chance.randbytes(300),
    )
    return Reply(200, head=[at.chance.choice(lines)])


def endless_headers(at: Moment) -> Reply:
    more = at.chance.choice((b"X: y\r\n" * 1000, b"x" * 10_000))
    return Reply(200, head=itertools.chain([b"HTTP/1.1 200 OK\r\nX: "], itertools.repeat(more)))


def packed(at: Moment) -> Reply:
    reply = at.act()
    reply.body = gzip.compress(bytes(reply.body))
    reply.headers["Content-Encoding"] = at.chance.choice(("gzip", "deflate", "gzip, gzip", "br"))
    return reply


def another_digest(at: Moment) -> Reply:
    reply = at.act()
    reply.headers["Docker-Content-Digest"] = f"sha256:{at.chance.randbytes(32).hex()}"
    return reply


def busy(at: Moment) -> Reply:
    """It wants to be asked later: in seconds, at a date that is past or near, or it does not say when."""
    date = datetime.now(UTC) + timedelta(seconds=at.chance.choice((-100, 0, 1)))
    near = ("1", format_datetime(date, usegmt=True))
    later = at.chance.choice((*near, "0", "0", "0", None, "soon", "-5", "1.5", ""))
    return refusal(at.chance.choice((429, 503)), "TOOMANYREQUESTS", {} if later is None else {"Retry-After": later})


def much_later(at: Moment) -> Reply:
    date = format_datetime(datetime.now(UTC) + timedelta(days=3), usegmt=True)
    later = at.chance.choice(("86400", "9" * 30, date))
    return refusal(at.chance.choice((429, 503)), "TOOMANYREQUESTS", {"Retry-After": later})


def failing(at: Moment) -> Reply:
    return refusal(at.chance.choice((408, 500, 502, 503, 504)), "UNKNOWN")


def refusing(at: Moment) -> Reply:
    return refusal(at.chance.choice((400, 403, 404, 405, 410, 416, 451, 501)), "DENIED")


def logged_out(at: Moment) -> Reply:
    """As a registry does whose token has come to its end."""
    return refusal(401, "UNAUTHORIZED", {"WWW-Authenticate": f'Basic realm="{at.request.path}"'})


def odd_status(at: Moment) -> Reply:
    """Another one for what went well."""
    reply = at.act()
    if reply.status < 400:
        reply.status = at.chance.choice((201, 202, 203, 204, 205, 300, 304, 305))
    return reply


def sent_elsewhere(at: Moment) -> Reply:
    status = at.chance.choice((301, 302, 303, 307, 308))
    digest = at.request.path.rpartition("/")[2]
    return Reply(
        status, {"Location": f"http://{at.elsewhere.host}/direct/{digest}?signature={at.chance.randbytes(8).hex()}"}
    )


def in_circles(at: Moment) -> Reply:
    """Again and again, to itself or to ever new places."""
    status = at.chance.choice((301, 302, 303, 307, 308))
    return Reply(status, {"Location": at.chance.choice((at.request.url, f"{at.request.path}?{at.chance.random()}"))})


def astray(at: Moment) -> Reply:
    """To where no registry may lead."""
    places = (
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/x",
        "http://[::ffff:169.254.169.254]/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        f"http://u:p@{at.elsewhere.host}/x",
        f"http://{at.elsewhere.host}\\@127.0.0.1/x",
        "http://[::1",
        "",
    )
    return Reply(at.chance.choice((301, 302, 303, 307, 308)), {"Location": at.chance.choice(places)})


PULLS: dict[str, Kind] = {
    "cut": Kind(cut, "passes", is_blob),
    "cut everywhere": Kind(cut_everywhere, "passes", is_blob, always=True),
    "cut soon": Kind(cut_soon, "either", is_blob, always=True),
    "a manifest cut": Kind(cut, "passes", is_manifest),
    "short": Kind(short, "either", is_read),
    "unmeasured and short": Kind(unmeasured, "either", is_read),
    "flipped": Kind(flipped, "fatal", is_read),
    "longer": Kind(longer, "either", is_read),
    "endless": Kind(endless, "either", is_read),
    "another range": Kind(another_range, "either", is_blob),
    "other bytes": Kind(other_bytes, "fatal", is_blob),
    "fewer": Kind(fewer, "either", is_blob),
    "unranged": Kind(unranged, "passes", is_blob, always=True),
    "stalled": Kind(stalled, "passes", is_read),
    "dripping": Kind(dripping, "passes", is_read, always=True),
    "silent": Kind(silent, "passes", is_read),
    "babbling": Kind(babbling, "either", is_read),
    "endless headers": Kind(endless_headers, "either", is_read),
    "packed": Kind(packed, "either", is_read),
    "another digest": Kind(another_digest, "either", is_read),
    "busy": Kind(busy, "passes", is_read),
    "much later": Kind(much_later, "either", is_read),
    "failing": Kind(failing, "passes", is_read),
    "refusing": Kind(refusing, "fatal", is_read),
    "logged out": Kind(logged_out, "fatal", is_read),
    "an odd status": Kind(odd_status, "either", is_read),
    "sent elsewhere": Kind(sent_elsewhere, "passes", is_blob, always=True),
    "in circles": Kind(in_circles, "fatal", is_read),
    "astray": Kind(astray, "fatal", is_read),
}
AFAR = (
    "cut",
    "short",
    "flipped",
    "another range",
    "other bytes",
    "unranged",
    "stalled",
    "silent",
    "busy",
    "failing",
    "packed",
)
"""The pulls' faults that strike also on the host that the registry leads to."""
