"""The published `ollama` package makes, fetches and sends models by a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Iterator
from pathlib import Path

import ollama
import pytest

from tests.conftest import Cli, DockerRegistry, serving


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The server's store, for whoever comes by the command line."""
    folder = tmp_path_factory.mktemp("managing")
    return Cli(folder / "models", folder)


@pytest.fixture(scope="module")
def url(store: Cli) -> Generator[str]:
    with serving(store) as running:
        yield running


@pytest.fixture
def client(url: str) -> Generator[ollama.Client]:
    client = ollama.Client(url)
    yield client
    client.close()


def names(client: ollama.Client) -> set[str | None]:
    return {model.model for model in client.list().models}


def statuses(steps: Iterator[ollama.ProgressResponse]) -> list[str | None]:
    return [step.status for step in steps]


def test_a_file_is_uploaded_and_made_a_model(client: ollama.Client, store: Cli, tiny_gguf: Path) -> None:
    digest = client.create_blob(tiny_gguf)
    assert client.create_blob(str(tiny_gguf)) == digest
    steps = client.create(
        model="made",
        files={"tiny.gguf": digest},
        template="{{ .System }} {{ .Prompt }}",
        system="Be brief.",
        license=["MIT", "BSD"],
        parameters={"temperature": 0.6, "num_ctx": 64, "stop": ["a", "b"]},
        messages=[ollama.Message(role="user", content="hi"), {"role": "assistant", "content": "hello"}],
        stream=True,
    )
    said = statuses(steps)
    assert said[:2] == ["parsing GGUF", f"using existing layer {digest}"]
    assert said[-2:] == ["writing manifest", "success"]
    modelfile = f"""FROM {tiny_gguf}
TEMPLATE {{{{ .System }}}} {{{{ .Prompt }}}}
SYSTEM Be brief.
LICENSE MIT
LICENSE BSD
PARAMETER temperature 0.6
PARAMETER num_ctx 64
PARAMETER stop a
PARAMETER stop b
MESSAGE user hi
MESSAGE assistant hello
"""
    same = json.loads(store.ok("create", "same", "-f", "-", "--json", stdin=modelfile))
    digests = {model.model: model.digest for model in client.list().models}
    assert digests["made:latest"] == digests["same:latest"] == same["digest"].removeprefix("sha256:")


def test_a_model_is_made_of_another(client: ollama.Client, tiny_gguf: Path) -> None:
    client.create(model="base", files={"tiny.gguf": client.create_blob(tiny_gguf)}, system="Be brief.")
    reply = client.create(model="derived", from_="base", parameters={"seed": 1})
    assert reply.status == "success"
    assert "SYSTEM Be brief." in (client.show("derived").modelfile or "")


def test_a_model_is_pushed_and_pulled(
    client: ollama.Client, store: Cli, tiny_gguf: Path, docker_registry: DockerRegistry
) -> None:
    name = f"{docker_registry.host}/crew/python:v1"
    store.ok("create", name, "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be kind.\n")
    pushed = statuses(client.push(name, stream=True))
    assert (pushed[0], pushed[-2:]) == ("retrieving manifest", ["pushing manifest", "success"])
    assert client.delete(name).status == "success"
    assert name not in names(client)
    steps = list(client.pull(name, insecure=True, stream=True))
    assert (steps[0].status, steps[-1].status) == ("pulling manifest", "success")
    moved = [step for step in steps if step.digest]
    assert moved
    assert all((step.status or "").startswith("pulling ") for step in moved)
    assert all(0 <= (step.completed or 0) <= (step.total or 0) for step in moved)
    assert name in names(client)
    assert client.pull(name).status == "success"
    assert client.push(name).status == "success"


def test_the_async_client_does_so_too(url: str, tiny_gguf: Path) -> None:
    async def run() -> None:
        client = ollama.AsyncClient(url)
        async with asyncio.timeout(120):
            digest = await client.create_blob(tiny_gguf)
            said = [step.status async for step in await client.create("async", files={"a": digest}, stream=True)]
            assert said[-1] == "success"
            assert (await client.show("async")).details is not None
        await client.close()

    asyncio.run(run())


def test_error_what_cannot_be_made_or_found(client: ollama.Client, tiny_gguf: Path) -> None:
    digest = client.create_blob(tiny_gguf)
    with pytest.raises(ollama.ResponseError, match="neither 'from' or 'files' was specified") as caught:
        client.create(model="no")
    assert caught.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="unknown parameter 'warmth'"):
        list(client.create(model="no", files={"a": digest}, parameters={"warmth": 1}, stream=True))
    with pytest.raises(ollama.ResponseError, match="file path must be relative"):
        client.create(model="no", files={"../a": digest})
    with pytest.raises(ollama.ResponseError, match=r"cannot reach 127.0.0.1:1"):
        list(client.pull("127.0.0.1:1/crew/x", stream=True))
    with pytest.raises(ollama.ResponseError, match="invalid model name") as caught:
        client.pull("a b")
    assert caught.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="model 'nope:latest' not found"):
        list(client.push("nope", stream=True))
    assert "no:latest" not in names(client)
