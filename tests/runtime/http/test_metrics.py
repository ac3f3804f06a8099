"""What /metrics and /health say."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from corral.runtime.http.metrics import Counter, Histogram, Metrics
from corral.store.errors import BugError, InputError, IntegrityError, MachineError, ModelNotFoundError, RemoteError

from tests.runtime.conftest import FakeServer, Serve, eventually
from tests.runtime.http.running import fake_app, running

LINE = re.compile(r'[a-z_]+(\{[a-z]+="(\\.|[^"\\])*"(,[a-z]+="(\\.|[^"\\])*")*\})? (\d+(\.\d+)?(e-\d+)?|\+Inf)')
ENDLESS = {"model": "tiny", "prompt": "endless"}


def scraped(server: FakeServer) -> dict[str, float]:
    """Every sample by its name and labels, each of them well-formed and after its family's two lines."""
    reply = server.ask("GET", "/metrics")
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(reply.text)


def parsed(text: str) -> dict[str, float]:
    samples: dict[str, float] = {}
    family, kind = "", ""
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert not any(name.startswith(f"{family}{{") or name == family for name in samples)
        elif line.startswith("# TYPE "):
            _, _, named, kind = line.split()
            assert named == family
        else:
            assert LINE.fullmatch(line), line
            name, _, value = line.rpartition(" ")
            bare = name.partition("{")[0]
            assert bare in (
                {f"{family}_{end}" for end in ("bucket", "count", "sum")} if kind == "histogram" else {family}
            )
            assert name not in samples
            samples[name] = float(value)
    return samples


def test_requests_are_counted_by_route_method_and_status(serve: Serve) -> None:
    with serve() as server:
        for _ in range(3):
            server.get("/api/version")
        server.ask("GET", "/v1/models/tiny")
        server.ask("GET", "/v1/models/no/such")
        server.post("/api/chat", {"model": "nope"})
        server.ask("GET", "/api/chat")
        server.ask("GET", "/api/tags", Host="evil.example")
        for number in range(20):
            server.ask("GET", f"/nowhere/{number}")
            server.ask(f"ODD{number}", "/api/version")
        found = scraped(server)
    assert found['corral_requests_total{route="/api/version",method="GET",status="200"}'] == 3
    assert found['corral_requests_total{route="/v1/models/{model:path}",method="GET",status="200"}'] == 1
    assert found['corral_requests_total{route="/v1/models/{model:path}",method="GET",status="404"}'] == 1
    assert found['corral_requests_total{route="/api/chat",method="POST",status="404"}'] == 1
    assert found['corral_requests_total{route="/api/chat",method="GET",status="405"}'] == 1
    assert found['corral_requests_total{route="other",method="GET",status="403"}'] == 1
    assert found['corral_requests_total{route="other",method="GET",status="404"}'] == 20
    assert found['corral_request_seconds_count{route="/api/version"}'] >= 3
    assert not [name for name in found if "ODD" in name or "nowhere" in name]


def test_gauges_are_of_the_moment(serve: Serve) -> None:
    with serve(seconds=0.3, slots=1) as server:
        before = scraped(server)
        assert [before[f"corral_{name}"] for name in ("requests_waiting", "requests_running", "models_loaded")] == [
            0
        ] * 3
        assert not [name for name in before if name.startswith("corral_model_bytes")]
        with ThreadPoolExecutor(1) as client, server.stream("/api/generate", ENDLESS) as stream:
            lines = stream.iter_lines()
            assert next(lines)
            client.submit(server.post, "/api/generate", {"model": "tiny", "prompt": "say:x;", "stream": False})
            eventually(lambda: server.waiting() == 1)
            found = scraped(server)
            assert found["corral_models_loaded"] == 1
            assert found["corral_requests_waiting"] == 1
            assert found["corral_requests_running"] == 1
            assert found['corral_model_bytes{model="tiny:latest"}'] >= 0
            assert found['corral_model_vram_bytes{model="tiny:latest"}'] >= 0


def test_health_is_told_while_a_model_loads(serve: Serve) -> None:
    with serve(seconds=0.3, slots=1) as server, server.stream("/api/generate", ENDLESS) as busy:
        assert next(busy.iter_lines())
        assert server.get("/health") == {"status": "ok"}
        assert server.ask("HEAD", "/health").content == b""


def test_answers_are_counted_by_model() -> None:
    metrics = Metrics()
    metrics.answered("tiny:latest", prompt_tokens=10, cached=4, tokens=7, seconds_to_first=0.03)
    metrics.answered("tiny:latest", prompt_tokens=1, cached=0, tokens=0, seconds_to_first=None)
    metrics.waited(0.2)
    metrics.truncated("tiny:latest")
    found = parsed(metrics.render())
    label = '{model="tiny:latest"}'
    assert found[f"corral_prompt_tokens_total{label}"] == 11
    assert found[f"corral_cached_prompt_tokens_total{label}"] == 4
    assert found[f"corral_generated_tokens_total{label}"] == 7
    assert found[f"corral_first_token_seconds_count{label}"] == 1
    assert found[f"corral_truncated_total{label}"] == 1
    assert found["corral_queue_seconds_sum"] == 0.2


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InputError("x"), "input"),
        (ModelNotFoundError("x"), "input"),
        (IntegrityError("x"), "integrity"),
        (RemoteError("x"), "remote"),
        (MachineError("x"), "machine"),
        (BugError("x"), "bug"),
    ],
)
def test_failures_are_counted_by_whose_fault_they_are(error: InputError, kind: str) -> None:
    metrics = Metrics()
    metrics.failed(error)
    assert parsed(metrics.render())[f'corral_errors_total{{kind="{kind}"}}'] == 1


def test_however_many_models_there_are_the_metrics_stay_small() -> None:
    metrics = Metrics()
    for number in range(5000):
        metrics.answered(f"m{number}", prompt_tokens=1, cached=0, tokens=1, seconds_to_first=0.1)
    found = parsed(metrics.render())
    assert len(found) < 5000
    assert found['corral_generated_tokens_total{model="other"}'] == 4800


@pytest.mark.parametrize(
    ("seconds", "first"), [(0.0, "0.005"), (0.005, "0.005"), (0.0051, "0.01"), (2.5, "2.5"), (1e9, "+Inf")]
)
def test_a_histogram_counts_up_to_each_bound(seconds: float, first: str) -> None:
    histogram = Histogram("h", "x")
    histogram.observe(seconds)
    samples = [line.rpartition(" ") for line in histogram.samples()]
    bounds = {name.split('"')[1]: int(count) for name, _, count in samples if name.startswith("h_bucket")}
    assert next(bound for bound, count in bounds.items() if count) == first
    assert list(bounds.values()) == sorted(bounds.values())
    assert list(bounds)[-1] == "+Inf"


def test_labels_are_escaped() -> None:
    counter = Counter("c", "x", ("name",))
    counter.add(1, 'a"b\\c\nd')
    assert list(counter.samples()) == [r'c{name="a\"b\\c\nd"} 1']


def test_nothing_of_a_request_is_left_in_the_metrics(fake_models: Path) -> None:
    with running(fake_app(fake_models)) as run:
        body = {"model": "tiny", "prompt": "say:precious;", "stream": False}
        assert run.fake.ask("POST", "/api/generate?secret", body, Authorization="Bearer secret").status_code == 200
        text = run.fake.ask("GET", "/metrics").text
        assert "secret" not in text
        assert "precious" not in text
        eventually(lambda: scraped(run.fake)["corral_requests_running"] == 0)
