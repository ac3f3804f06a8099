"""From what models, requests and the environment say to how a model is loaded."""

from __future__ import annotations

import pytest
from corral.modelfile.parameters import Value
from corral.runtime.options import EngineDefaults, load_options, merged_options, most_tokens
from corral.runtime.schedule.policy import Wanted
from corral.runtime.served import ModelFacts

from tests.conftest import Cli
from tests.runtime.weights import create

TRAINED = 100_000


@pytest.fixture
def model(cli: Cli) -> ModelFacts:
    return create(cli, "model", context=TRAINED)


def wanted(model: ModelFacts, defaults: EngineDefaults | None = None, **options: Value) -> Wanted:
    return load_options(model, merged_options(model, options), defaults or EngineDefaults())


def test_the_longest_context_nobody_asked_for_is_the_models_own(model: ModelFacts) -> None:
    found = wanted(model)
    assert found.options.num_ctx == TRAINED
    assert found.is_elastic


def test_whoever_asks_for_a_context_gets_it(cli: Cli, model: ModelFacts) -> None:
    environment = EngineDefaults(num_ctx=1000)
    own = create(cli, "own", modelfile="PARAMETER num_ctx 2000", context=TRAINED)
    for found, num_ctx in [
        (wanted(model, environment), 1000),
        (wanted(own, environment), 2000),
        (wanted(own, environment, num_ctx=3000), 3000),
        (wanted(own, num_ctx=0), 2000),
        (wanted(model, num_ctx=10 * TRAINED), TRAINED),
    ]:
        assert found.options.num_ctx == num_ctx
        assert not found.is_elastic


def test_the_environment_decides_what_no_request_can(model: ModelFacts) -> None:
    defaults = EngineDefaults(slots=7, flash_attention=True, kv_cache_type="q8_0", deterministic=True)
    options = wanted(model, defaults).options
    assert (options.slots, options.flash_attention, options.kv_cache_type) == (7, True, "q8_0")
    assert options.deterministic
    assert wanted(model).options.flash_attention is None


def test_a_gpu_that_is_named_is_known_from_one_that_is_not(model: ModelFacts) -> None:
    assert wanted(model).main_gpu is None
    assert wanted(model, main_gpu=0).main_gpu == 0
    assert wanted(model, main_gpu=0).options == wanted(model).options
    assert wanted(model, num_gpu=-7).options.num_gpu == -1


def test_cores_are_counted_only_for_who_asks_for_threads(model: ModelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def three() -> int:
        counted.append(3)
        return 3

    monkeypatch.setattr("corral.runtime.options.available_cores", three)
    assert [wanted(model, num_thread=asked).options.num_thread for asked in (0, -1)] == [0, 0]
    assert counted == []
    assert [wanted(model, num_thread=asked).options.num_thread for asked in (2, 5)] == [2, 3]


@pytest.mark.parametrize(
    ("asked", "tokens"), [(None, 1000), (-1, 1000), (-2, 1000), (0, 0), (1, 1), (1000, 1000), (1001, 1000)]
)
def test_an_answer_has_at_most_ten_contexts_of_tokens(asked: int | None, tokens: int) -> None:
    assert most_tokens({} if asked is None else {"num_predict": asked}, 100) == tokens
