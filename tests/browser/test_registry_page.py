"""The registry's page in a browser: what it says, that everybody can read it, also on a telephone and without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from corral.runtime.http.oci import Door
from corral.runtime.http.registry_app import anybody, make_registry_app
from corral.store.name import Name
from playwright.sync_api import Browser, Page

from corral import Store
from tests import weights
from tests.conftest import Cli
from tests.registry.serve.documents import EMPTY, EMPTY_TYPE, MANIFEST, described, digest, image, index
from tests.registry.serve.documents import INDEX as INDEX_TYPE
from tests.registry.serve.wire import Wire, located
from tests.runtime.http.running import running

MARKUP = 'application/<script>document.title="x"</script>"\'&'
LONG = "a" * 60 + "/" + "b" * 120


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A registry with models of the store's, with an artifact and an index that clients gave, and with very long names."""
    folder = tmp_path_factory.mktemp("shown")
    cli = Cli(folder / "models", folder)
    (folder / "tiny.gguf").write_bytes(weights.gguf())
    for name in ("brief", "crew/pirate:v1", "crew/pirate:v2"):
        cli.ok("create", name, "-f", "-", stdin="FROM ./tiny.gguf\nSYSTEM Be brief.\n")
    with running(make_registry_app(Store(cli.models), Door(anybody))) as server:
        wire = Wire(f"127.0.0.1:{server.port}")
        empty = described(EMPTY, EMPTY_TYPE)
        odd = image(config=empty, layers=[{**empty, "mediaType": MARKUP}])
        give(wire, "crew/notes", "v1", odd, MANIFEST)
        give(wire, "crew/notes", "all", index(odd), INDEX_TYPE)
        give(wire, LONG, "t" * 128, odd, MANIFEST)
        wire.close()
        yield f"127.0.0.1:{server.port}"


def give(wire: Wire, repository: str, tag: str, manifest: bytes, media_type: str) -> None:
    """A manifest, and the one blob that all name."""
    begun = wire.ask("POST", f"/v2/{repository}/blobs/uploads/")
    assert wire.ask("PUT", f"{located(begun)}?digest={digest(EMPTY)}", EMPTY).status == 201
    reply = wire.ask("PUT", f"/v2/{repository}/manifests/{tag}", manifest, {"Content-Type": media_type})
    assert reply.status == 201, reply.body


def opened(page: Page) -> None:
    """Show everything that is folded."""
    for summary in page.locator("summary").all():
        summary.click()


def test_it_shows_what_there_is_and_how_to_pull_it(page: Page, host: str) -> None:
    page.goto(f"http://{host}/")
    opened(page)
    assert page.locator("h2").all_inner_texts() == [LONG, "crew/notes", "crew/pirate", "library/brief"]
    said = page.locator("main").inner_text()
    for tag in ("v1", "v2"):
        assert f"corral pull {host}/crew/pirate:{tag}" in said
        assert f"ollama pull {host}/crew/pirate:{tag}" in said
    assert f"oras pull --plain-http {host}/crew/notes:v1" in said
    assert "application/vnd.ollama.image.system" in said
    assert "9 Bytes" in said
    assert MARKUP in said
    assert page.title() == f"Models on {host}"


def test_the_command_that_it_shows_works(page: Page, host: str, cli: Cli) -> None:
    page.goto(f"http://{host}/")
    opened(page)
    command = page.locator("code", has_text="corral pull").first.inner_text().split()
    assert command[:2] == ["corral", "pull"]
    cli.ok(*command[1:])
    assert json.loads(cli.ok("show", command[2], "--json"))["system"] == "Be brief."


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits_the_screen(browser: Browser, host: str, width: int, scheme: str) -> None:
    with browser.new_context(viewport={"width": width, "height": 700}) as context:
        page = context.new_page()
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.goto(f"http://{host}/")
        opened(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(page)
        assert found.response["passes"], "it looked at something"
        assert found.response["violations"] == []


def test_it_needs_no_javascript(browser: Browser, host: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        reply = page.goto(f"http://{host}/")
        assert reply
        assert "script" not in reply.headers["content-security-policy"]
        page.locator("summary").first.click()
        assert page.locator("details[open]").count() == 1
        assert page.locator("details[open] code").first.is_visible()


def test_many_repositories_are_on_several_pages(page: Page, tmp_path: Path) -> None:
    cli = Cli(tmp_path / "models", tmp_path)
    (tmp_path / "tiny.gguf").write_bytes(weights.gguf())
    cli.ok("create", "m00", "-f", "-", stdin="FROM ./tiny.gguf\n")
    store = Store(cli.models)
    for number in range(1, 45):
        store.copy(Name.parse("m00"), Name.parse(f"m{number:02}"))
    with running(make_registry_app(store, Door(anybody))) as server:
        page.goto(f"http://127.0.0.1:{server.port}/")
        seen = page.locator("h2").all_inner_texts()
        while page.locator("a[rel=next]").count():
            page.locator("a[rel=next]").click()
            seen += page.locator("h2").all_inner_texts()
    assert seen == [f"library/m{number:02}" for number in range(45)]
