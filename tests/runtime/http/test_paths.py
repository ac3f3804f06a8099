"""Paths: those that lead to a route by a detour."""

from __future__ import annotations

import http.client

import pytest

from tests.runtime.conftest import FakeServer


@pytest.mark.parametrize(
    ("method", "path", "status", "location"),
    [
        ("GET", "/api/tags/", 301, "/api/tags"),
        ("GET", "/api/tags/?a=b", 301, "/api/tags?a=b"),
        ("GET", "//api/tags", 307, "/api/tags"),
        ("GET", "/api/./tags", 307, "/api/tags"),
        ("DELETE", "/api/delete/", 307, "/api/delete"),
        ("HEAD", "/api/blobs/sha256:../../x", 307, "/api/blobs/x"),
        ("HEAD", "/api/blobs/sha256:..%2F..%2Fx", 404, None),
        ("GET", "//evil.example/", 404, None),
        ("GET", "/nope/", 404, None),
        ("DELETE", "/", 405, None),
        ("GET", "/api/pull", 405, None),
        ("HEAD", "/api/status", 405, None),
    ],
)
def test_paths_with_a_slash_too_many_lead_to_the_route(
    fake: FakeServer, method: str, path: str, status: int, location: str | None
) -> None:
    connection = http.client.HTTPConnection(fake.url.removeprefix("http://"), timeout=60)
    connection.request(method, path)
    reply = connection.getresponse()
    assert (reply.status, reply.getheader("Location")) == (status, location)
    words = {404: b"404 page not found", 405: b"405 method not allowed"}
    assert reply.read() == (words.get(status, b"") if method != "HEAD" else b"")
    assert (reply.getheader("Allow") is not None) == (status == 405)
    connection.close()
