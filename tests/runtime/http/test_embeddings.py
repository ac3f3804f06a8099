"""Embeddings by HTTP, in every dialect: on the double, and MiniLM's against what numpy makes of its safetensors."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openai
import pytest
import requests
from corral.runtime.embedding import MAX_TEXTS, cut
from corral.runtime.engine.fake_embedder import LENGTH
from gguf import PoolingType

from tests.conftest import Cli
from tests.runtime.conftest import FakeServer, Serve, eventually, kill
from tests.runtime.engine.minilm import CONTEXT, MiniLM, installed
from tests.runtime.weights import create, create_embedder

TOO_LONG = "x" * 200


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `embed`, whose texts have 64 tokens at most, and `talk`, which generates."""
    folder = tmp_path_factory.mktemp("embeds")
    cli = Cli(folder / "models", folder)
    create_embedder(cli, "embed")
    create(cli, "talk")
    return cli.models


@pytest.fixture(scope="module")
def server(serve: Serve, stored: Path) -> Generator[FakeServer]:
    with serve(models=stored) as running:
        yield running


def embed(server: FakeServer, given: object = ..., **more: object) -> Any:
    """The reply of /api/embed, which must succeed."""
    body = {"model": "embed", **({} if given is ... else {"input": given}), **more}
    reply = server.post("/api/embed", body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def refusal(reply: requests.Response, status: int) -> str:
    """The text of an error, in either dialect's shape."""
    assert reply.status_code == status, reply.text
    error: Any = reply.json()["error"]
    return error if isinstance(error, str) else error["message"]


def length_of(vector: Sequence[float]) -> float:
    return round(math.hypot(*vector), 6)


def test_a_text_and_a_list_of_one_are_the_same(server: FakeServer) -> None:
    one, listed = embed(server, "hello"), embed(server, ["hello"])
    assert one["embeddings"] == listed["embeddings"]
    assert one["model"] == "embed"
    assert one["prompt_eval_count"] == 7
    assert one["total_duration"] >= one["load_duration"] >= 0
    (vector,) = one["embeddings"]
    assert len(vector) == LENGTH
    assert length_of(vector) == 1
    assert server.options[-1].embeds


def test_an_empty_text_among_others_has_a_vector_too(server: FakeServer) -> None:
    reply = embed(server, ["a", ""])
    assert [length_of(vector) for vector in reply["embeddings"]] == [1, 1]
    assert reply["prompt_eval_count"] == 5


@pytest.mark.parametrize("given", [..., None, "", []])
def test_nothing_to_embed_loads_the_model(server: FakeServer, given: object) -> None:
    assert embed(server, given) == {"model": "embed", "embeddings": []}
    assert "embed:latest" in [entry["name"] for entry in server.get("/api/ps")["models"]]


def test_keep_alive_0_unloads(serve: Serve, stored: Path) -> None:
    with serve(models=stored) as own:
        embed(own, "a", keep_alive=0)
        eventually(own.is_idle)
        embed(own, [], keep_alive="0")
        eventually(own.is_idle)
        assert len(own.starts) == 2


def test_dimensions_cut_and_make_the_length_one_again(server: FakeServer) -> None:
    (whole,) = embed(server, "hello")["embeddings"]
    (short,) = embed(server, "hello", dimensions=3)["embeddings"]
    scale = math.hypot(*whole[:3])
    assert short == pytest.approx([number / scale for number in whole[:3]], abs=1e-6)
    for harmless in (0, -1, LENGTH, 10**30):
        assert embed(server, "hello", dimensions=harmless)["embeddings"] == [whole]


def test_a_vector_whose_beginning_is_zero_stays_so() -> None:
    assert cut(struct.pack("<3f", 0, 0, 1), 2) == bytes(8)


PATHS = pytest.mark.parametrize(
    ("path", "field"), [("/api/embed", "input"), ("/api/embeddings", "prompt"), ("/v1/embeddings", "input")]
)


@PATHS
def test_a_text_that_is_too_long_is_cut_unless_that_is_refused(server: FakeServer, path: str, field: str) -> None:
    assert embed(server, TOO_LONG)["prompt_eval_count"] == 64
    refused = server.post(path, {"model": "embed", field: TOO_LONG, "truncate": False})
    assert refused.status_code == 400
    assert (
        "model 'embed:latest': the input length exceeds the context length: "
        "the text has 202 tokens, at most 64 are taken"
    ) in refused.text
    assert embed(server, "x" * 62, truncate=False)["prompt_eval_count"] == 64


@PATHS
def test_what_is_cut_of_a_text_is_told(server: FakeServer, path: str, field: str) -> None:
    cut = server.post(path, {"model": "embed", field: TOO_LONG})
    assert (cut.status_code, cut.headers["X-Corral-Truncated"]) == (200, "messages=0, tokens=138")
    assert "corral_truncated_total" in server.ask("GET", "/metrics").text
    assert cut.json()["truncated"] == {"messages": 0, "tokens": 138}
    whole = server.post(path, {"model": "embed", field: "x"})
    assert "X-Corral-Truncated" not in whole.headers
    assert "truncated" not in whole.json()


@PATHS
def test_error_a_model_may_want_no_text_cut(serve: Serve, stored: Path, path: str, field: str) -> None:
    text = "FROM embed\nPARAMETER truncate false\n"
    Cli(stored, stored.parent).ok("create", "strict", "-f", "-", stdin=text)
    with serve(models=stored) as own:
        reply = own.post(path, {"model": "strict", field: TOO_LONG})
        assert reply.status_code == 400
        assert "at most 64 are taken" in reply.text


def test_a_smaller_context_cuts_earlier(serve: Serve, stored: Path) -> None:
    with serve(models=stored) as own:
        assert embed(own, TOO_LONG, options={"num_ctx": 16})["prompt_eval_count"] == 16


@pytest.mark.parametrize("given", [1, True, {"a": 1}, ["a", None], [["a"], "b"]])
def test_error_of_an_input_that_is_no_text(server: FakeServer, given: object) -> None:
    said = refusal(server.post("/api/embed", {"model": "nope", "input": given}), 400)
    assert said.startswith("invalid input type")
    assert refusal(server.post("/v1/embeddings", {"model": "nope", "input": given}), 400).startswith("invalid input")


@pytest.mark.parametrize("given", [[1, 2], [[1, 2], [3]]])
def test_error_of_token_numbers_says_what_to_send(server: FakeServer, given: object) -> None:
    said = refusal(server.post("/v1/embeddings", {"model": "embed", "input": given}), 400)
    assert said == "invalid input: token numbers are not taken, since each model has its own; send the text"


def test_error_of_more_than_a_request_may_have(server: FakeServer) -> None:
    said = refusal(server.post("/api/embed", {"model": "embed", "input": [""] * (MAX_TEXTS + 1)}), 400)
    assert said == "8193 texts, at most 8192 are taken at once"
    said = refusal(server.post("/api/embed", {"model": "embed", "input": ["x" * (5 << 20)] * 2}), 400)
    assert said == "the texts have 10485760 characters, at most 8388608 are taken at once"


def test_error_of_a_model_that_is_not_there(server: FakeServer) -> None:
    unknown = 'model "nope" not found, try pulling it first'
    assert refusal(server.post("/api/embed", {"model": "nope", "input": "a"}), 404) == unknown
    assert refusal(server.post("/api/embeddings", {"model": "nope", "prompt": "a"}), 404) == unknown
    assert refusal(server.post("/v1/embeddings", {"model": "nope", "input": "a"}), 404) == unknown
    assert refusal(server.post("/api/embeddings", {"prompt": "a"}), 400) == "model is required"
    assert refusal(server.post("/api/embed", {"input": "a"}), 404) == "model '' not found"
    assert refusal(server.post("/api/embed", {"model": "a b", "input": "a"}), 400) == "invalid model name"


@pytest.mark.parametrize(
    ("path", "field"), [("/api/embed", "input"), ("/api/embeddings", "prompt"), ("/v1/embeddings", "input")]
)
def test_error_of_a_model_that_generates(server: FakeServer, path: str, field: str) -> None:
    said = refusal(server.post(path, {"model": "talk", field: "a"}), 501)
    assert said == '"talk" does not support embeddings: ask an embedding model, e.g. all-minilm'


@pytest.mark.parametrize("given", [{}, {"input": ""}, {"input": []}])
def test_asked_for_nothing_any_model_is_only_loaded(serve: Serve, stored: Path, given: dict[str, object]) -> None:
    with serve(models=stored) as server:
        reply = server.post("/api/embed", {"model": "talk", "keep_alive": 60, **given})
        assert (reply.status_code, reply.json()) == (200, {"model": "talk", "embeddings": []})
        assert server.post("/api/embeddings", {"model": "talk"}).json() == {"embedding": []}
        assert server.starts == ["talk:latest"]


@pytest.mark.parametrize(("text", "words"), [("nan;", "NaN or Inf"), ("fail;", "code -3")])
def test_error_of_the_engine(server: FakeServer, text: str, words: str) -> None:
    assert words in refusal(server.post("/api/embed", {"model": "embed", "input": ["a", text]}), 500)
    assert len(embed(server, ["a"])["embeddings"]) == 1


def test_the_older_route_gives_one_vector(server: FakeServer) -> None:
    reply = server.post("/api/embeddings", {"model": "embed", "prompt": "hello"}).json()
    assert list(reply) == ["embedding"]
    assert reply["embedding"] == pytest.approx(embed(server, "hello")["embeddings"][0], abs=1e-7)
    assert server.post("/api/embeddings", {"model": "embed"}).json() == {"embedding": []}


def test_openai_shape_with_numbers_and_as_base64(server: FakeServer) -> None:
    body = {"model": "embed", "input": ["one", "two"], "dimensions": 4}
    reply = server.post("/v1/embeddings", body).json()
    assert reply["object"] == "list"
    assert reply["model"] == "embed"
    assert reply["usage"] == {"prompt_tokens": 10, "total_tokens": 10}
    assert [(entry["object"], entry["index"]) for entry in reply["data"]] == [("embedding", 0), ("embedding", 1)]
    coded = server.post("/v1/embeddings", body | {"encoding_format": "base64"}).json()
    for plain, entry in zip(reply["data"], coded["data"], strict=True):
        assert struct.unpack("<4f", base64.b64decode(entry["embedding"])) == pytest.approx(plain["embedding"])


def test_error_in_openai_shape(server: FakeServer) -> None:
    said = refusal(server.post("/v1/embeddings", {"model": "embed", "input": "a", "encoding_format": "x"}), 400)
    assert said == "Invalid value for 'encoding_format' = x. Supported values: ['float', 'base64']."
    empties: tuple[object, ...] = (None, "", [])
    for empty in empties:
        assert refusal(server.post("/v1/embeddings", {"model": "embed", "input": empty}), 400) == "invalid input"


def test_openai_client(server: FakeServer) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
    found = client.embeddings.create(model="embed", input=["one", "two"])
    assert found.data[1].embedding == pytest.approx(embed(server, "two")["embeddings"][0], abs=1e-6)


def test_more_texts_than_a_frame_has_come_in_order(server: FakeServer) -> None:
    texts = [f"text {number}" for number in range(700)]
    found = embed(server, texts)["embeddings"]
    assert found[613] == embed(server, texts[613])["embeddings"][0]
    assert len(found) == 700


def test_many_clients_at_once_get_their_own(server: FakeServer) -> None:
    texts = [[f"{number} {'z' * (number % 7)}", str(number)] for number in range(80)]

    def vectors(given: list[str]) -> Any:
        return embed(server, given)["embeddings"]

    alone = [vectors(given) for given in texts]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(vectors, texts))
    assert together == alone


def test_a_worker_that_died_while_idle_is_nothing_to_the_next_client(serve: Serve, stored: Path) -> None:
    with serve(models=stored) as own:
        embed(own, "a")
        kill(own.workers[0].pid)
        assert len(embed(own, "a")["embeddings"]) == 1


TEXTS = [
    "a",
    "",
    "The quick brown fox jumps over the lazy dog.",
    "Größe & naïve café! $5 + 3 = 8, unbelievably antidisestablishmentarianism",
    "hello world " * 300,
    "A man is eating food.",
]


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return installed()


@pytest.fixture(scope="module")
def reference(minilm: MiniLM) -> tuple[int, npt.NDArray[Any]]:
    """How many tokens TEXTS have when they are cut, and their vectors by numpy."""
    tokens = [minilm.tokenize(text) for text in TEXTS]
    tokens = [text if len(text) <= CONTEXT else text[: CONTEXT - 1] + text[-1:] for text in tokens]
    return sum(map(len, tokens)), np.array([minilm.embed(text) for text in tokens])


@pytest.fixture(scope="module")
def real(serve: Serve, minilm: MiniLM, tmp_path_factory: pytest.TempPathFactory) -> Generator[FakeServer]:
    """A server with MiniLM in 16 and in 32 bits."""
    folder = tmp_path_factory.mktemp("minilm")
    cli = Cli(folder / "models", folder)
    for name in ("f16", "f32"):
        minilm.convert(folder / f"{name}.gguf", halved=name == "f16")
        cli.ok("create", name, "-f", "-", stdin=f"FROM ./{name}.gguf\n")
    with serve(models=cli.models, num_thread=1, is_real=True) as running:
        yield running


@pytest.mark.parametrize("name", ["f16", "f32"])
def test_minilm_gives_what_numpy_does(real: FakeServer, reference: tuple[int, npt.NDArray[Any]], name: str) -> None:
    count, expected = reference
    reply = embed(real, TEXTS, model=name)
    assert reply["prompt_eval_count"] == count
    together = np.array(reply["embeddings"])
    assert np.abs(together - expected).max() <= 1e-3
    assert (together * expected).sum(axis=1).min() >= 1 - 1e-5
    alone = np.array([embed(real, [text], model=name)["embeddings"][0] for text in TEXTS])
    # Which texts share a batch changes the last of the 16 bits that the engine's attention keeps.
    assert np.abs(together - alone).max() <= 5e-4
    assert (together * alone).sum(axis=1).min() >= 1 - 1e-5


def test_minilm_knows_what_is_alike(real: FakeServer) -> None:
    texts = ["A man is eating food.", "Somebody has a meal.", "The stock market fell."]
    man, meal, market = np.array(embed(real, texts, model="f16")["embeddings"])
    assert man @ meal > 0.5 > 0.2 > abs(man @ market)


def test_minilm_loaded_shows_its_size(real: FakeServer) -> None:
    embed(real, "a", model="f16")
    entry = next(entry for entry in real.get("/api/ps")["models"] if entry["name"] == "f16:latest")
    assert entry["size"] > 40e6
    assert entry["context_length"] == 512


def test_error_a_reranker_gives_no_embeddings(
    serve: Serve, minilm: MiniLM, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("reranker")
    cli = Cli(folder / "models", folder)
    minilm.convert(folder / "rank.gguf", halved=True, pooling=PoolingType.RANK)
    cli.ok("create", "rank", "-f", "-", stdin="FROM ./rank.gguf\n")
    with serve(models=cli.models, num_thread=1, is_real=True) as own:
        said = refusal(own.post("/api/embed", {"model": "rank", "input": "a"}), 500)
    assert "gives no embeddings" in said
