"""A headless Chromium in which every host name leads to this machine, and pages for it to show."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.runtime.conftest import PATIENCE
from tests.runtime.conftest import fake_models as fake_models
from tests.runtime.conftest import serve as serve

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HEADERS: Mapping[str, tuple[str, str]] = {
    "/opaque": ("Content-Security-Policy", "sandbox allow-scripts allow-forms"),
    "/unreferred": ("Referrer-Policy", "no-referrer"),
}
"""What the page of a path is sent with: it has no origin, or does not say where its requests come from."""


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    """A browser; without one the tests fail in CI, and elsewhere are skipped with this reason.

    It is one module's, because while it is driven this thread has an event loop, and asyncio.run would fail.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        reason = "no Chromium: apt-get install chromium-headless-shell, or have Chrome on PATH"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with sync_playwright() as playwright:
        names = "--host-resolver-rules=MAP * 127.0.0.1"
        with playwright.chromium.launch(executable_path=program, args=[names], timeout=PATIENCE * 1000) as browser:
            yield browser


@pytest.fixture
def page(browser: Browser) -> Generator[Page]:
    """A tab that shares nothing, no remembered preflight either, with those of other tests."""
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE * 1000)
        yield context.new_page()


@dataclass(frozen=True)
class Site:
    """Somebody's web site, whose pages are empty. It has every host name there is."""

    port: int

    def url(self, host: str, path: str = "/") -> str:
        """The page of HEADERS, or a plain one, at such a host; different hosts are different origins."""
        return f"http://{host}:{self.port}{path}"


class _EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        if self.path in HEADERS:
            self.send_header(*HEADERS[self.path])
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>A page</title>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on standard error."""


@pytest.fixture(scope="session")
def site() -> Generator[Site]:
    """One that runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _EmptyPage) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Site(server.server_port)
        server.shutdown()
        thread.join()
