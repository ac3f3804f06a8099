"""What a model is given: `_debug_render_only` shows it, and the worker gets just that."""

from __future__ import annotations

import itertools
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.runtime.conftest import FakeServer, Serve, kill
from tests.runtime.weights import create
from tests.weights import chat_template

GO = (
    "{{ range .Tools }}<{{ .Function.Name }}>{{ end }}{{ range .Messages }}[{{ .Role }}|{{ .Content }}"
    "{{ with .Thinking }}|thought {{ . }}{{ end }}"
    "{{ range .ToolCalls }}|{{ .Function.Name }}{{ .Function.Arguments }}{{ end }}"
    "{{ with .ToolName }}|{{ . }}{{ end }}]{{ end }}"
    "{{ if .IsThinkSet }}think={{ .Think }}{{ .ThinkLevel }}{{ end }}"
)
PLAIN = "{{ range .Messages }}[{{ .Role }}|{{ .Content }}]{{ end }}"
JINJA = "{% for m in messages %}({{ m.role }}|{{ m.content }}){% endfor %}"
JINJA_ALL = (
    "{{ bos_token }}{% for t in tools or [] %}<{{ t.function.name }}>{% endfor %}"
    "{% for m in messages %}({{ m.role }}|{{ m.content }}"
    "{% for c in m.tool_calls or [] %}|{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "{% if m.name %}|{{ m.name }}{% endif %}){% endfor %}"
    "{% if enable_thinking is defined %}think={{ enable_thinking }}{{ reasoning_effort }}{% endif %}"
)
FIM = "{{ if .Suffix }}<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>{{ else }}{{ .Prompt }}{{ end }}"
FULL = "registry.ollama.ai/library/"
LOOK: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
CALL: dict[str, Any] = {"id": "call_1", "function": {"name": "look", "arguments": {"b": 1, "a": "€"}}}
CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of models that differ in their templates."""
    folder = tmp_path_factory.mktemp("rendering")
    cli = Cli(folder / "models", folder)
    own = "SYSTEM Be brief.\nMESSAGE user 1+1?\nMESSAGE assistant 2"
    create(cli, "go", modelfile=f'TEMPLATE """{GO}"""')
    create(cli, "plain", modelfile=f'TEMPLATE """{PLAIN}"""\n{own}')
    create(cli, "jinja", chat_template(JINJA), modelfile=own)
    create(cli, "beaten", chat_template(JINJA_ALL), modelfile=f'TEMPLATE """{PLAIN}"""')
    create(cli, "winner", chat_template(JINJA_ALL), modelfile=f'TEMPLATE """{GO}"""')
    create(cli, "cogito", chat_template(JINJA), modelfile=f'TEMPLATE """{GO}"""\nRENDERER cogito')
    create(cli, "gpt", chat_template(JINJA), modelfile=f'TEMPLATE """{GO}"""', architecture="gptoss")
    create(cli, "odd", chat_template(JINJA), modelfile=f'TEMPLATE """{GO}"""\nRENDERER zzz')
    create(cli, "bare")
    create(cli, "fim", chat_template(JINJA_ALL), modelfile=f'TEMPLATE """{FIM}"""\nSYSTEM Be brief.')
    create(cli, "seeing", modelfile=f'TEMPLATE """{PLAIN}"""', context=4096, with_projector=True)
    create(cli, "mllama", modelfile=f'TEMPLATE """{PLAIN}"""', architecture="mllama", with_projector=True)
    create(cli, "qwen", modelfile=f'TEMPLATE """{PLAIN}"""', architecture="qwen3")
    create(cli, "legacy", modelfile='TEMPLATE """{{ .System }}|{{ .Prompt }}|"""\nSYSTEM Be brief.')
    return cli.models


@pytest.fixture(scope="module")
def server(serve: Serve, models: Path) -> Generator[FakeServer]:
    """Their server."""
    with serve(models=models) as running:
        yield running


def chat(model: str, *messages: dict[str, Any] | str, **more: object) -> dict[str, Any]:
    """The body of a chat; a text is a question or, every second time, an answer."""
    roles = itertools.cycle(["user", "assistant"])
    turns = [{"role": next(roles), "content": said} if isinstance(said, str) else said for said in messages]
    return {"model": model, "messages": turns, **more}


def generate(model: str, prompt: str = "Hi.", **more: object) -> dict[str, Any]:
    """The body of a completion."""
    return {"model": model, "prompt": prompt, **more}


def path_of(body: dict[str, Any]) -> str:
    return "/api/chat" if "messages" in body else "/api/generate"


def shown(server: FakeServer, body: dict[str, Any]) -> str:
    """The prompt, of a reply that has the right shape."""
    reply = server.post(path_of(body), {**body, "_debug_render_only": True})
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"].startswith("application/json")
    whole = reply.json()
    said = {"message": {"role": "", "content": ""}} if "messages" in body else {"response": ""}
    assert CREATED.fullmatch(whole.pop("created_at"))
    text = whole["_debug_info"]["rendered_template"]
    assert whole == {"model": body["model"], **said, "done": False, "_debug_info": {"rendered_template": text}}
    return text


def refused(server: FakeServer, body: dict[str, Any]) -> str:
    """The error of a request that is the client's fault."""
    reply = server.post(path_of(body), body)
    assert reply.status_code == 400, reply.text
    return reply.json()["error"]


def fakes_answer(prompt: str, tokens: int) -> str:
    """What the fake model says to a prompt."""
    history, said = [256, *prompt.encode()], ""
    for _ in range(tokens):
        history.append(ord("a") + (sum(history) + len(history)) % 26)
        said += chr(history[-1])
    return said


BODIES = {
    "go": chat("go", "Hi."),
    "a model's own messages": chat("plain", "Hi."),
    "a prompt": generate("plain"),
    "jinja": chat("jinja", "Hi."),
    "jinja with tokens": chat("beaten", "Hi.", "Hello.", "So?"),
    "chatml": chat("bare", "Hi."),
    "nothing": generate("bare"),
    "raw": generate("plain", raw=True),
    "own template": generate("beaten", template="<{{ .Prompt }}>"),
    "suffix": generate("fim", suffix="end"),
    "calls": chat("go", "Hi.", {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "blue"}),
    "no thinking": chat("go", "Hi.", think=False),
    "too long": chat("plain", *[f"message {i}" for i in range(41)]),
    "cut short": chat("jinja", *[f"message {i}" for i in range(41)], options={"num_ctx": 100}),
}


@pytest.mark.parametrize("name", BODIES)
def test_the_model_is_given_what_is_shown(server: FakeServer, name: str) -> None:
    body = {**BODIES[name], "stream": False, "options": {"num_predict": 3, **BODIES[name].get("options", {})}}
    text = shown(server, body)
    reply = server.post(path_of(body), body).json()
    said = reply["message"]["content"] if "messages" in body else reply["response"]
    assert reply["prompt_eval_count"] == 1 + len(text.encode())
    assert said == fakes_answer(text, 3)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (chat("go", "Hi."), "[user|Hi.]think=truemedium"),
        (chat("go", "Hi.", think=False), "[user|Hi.]think=false"),
        (chat("go", "Hi.", think=True), "[user|Hi.]think=truemedium"),
        (chat("go", "Hi.", think="high"), "[user|Hi.]think=truehigh"),
        (chat("go", "Hi.", think="max", tools=[LOOK, LOOK]), "<look><look>[user|Hi.]think=truemax"),
        (generate("go", think="low"), "[user|Hi.]think=truelow"),
        (generate("go", system="Be long."), "[system|Be long.][user|Hi.]think=truemedium"),
        (chat("plain", "Hi."), "[system|Be brief.][user|1+1?][assistant|2][user|Hi.]"),
        (
            chat("plain", {"role": "System", "content": "Be long."}, "Hi."),
            "[user|1+1?][assistant|2][system|Be long.][user|Hi.]",
        ),
        (generate("plain"), "[system|Be brief.][user|1+1?][assistant|2][user|Hi.]"),
        (generate("plain", system="Be long."), "[system|Be long.][user|1+1?][assistant|2][user|Hi.]"),
        (generate("plain", raw=True), "Hi."),
        (generate("plain", template="{{ .System }}:{{ .Prompt }}"), "Be brief.:1+1?2:Hi."),
        (generate("go", template="{{ .Prompt }}{{ if .IsThinkSet }}!{{ end }}"), "Hi."),
        (generate("bare", template="{{ .Prompt }}{{ .Think }}", think=True), "Hi.true"),
        (chat("jinja", "Hi."), "(system|Be brief.)(user|1+1?)(assistant|2)(user|Hi.)"),
        (generate("jinja"), "(system|Be brief.)(user|1+1?)(assistant|2)(user|Hi.)"),
        (generate("jinja", template="{{ .Prompt }}!"), "1+1?!2Hi.!"),
        (chat("beaten", "Hi."), "<s>(user|Hi.)think=True"),
        (chat("beaten", "Hi.", think="low", tools=[LOOK]), "<s><look>(user|Hi.)think=Truelow"),
        (generate("beaten", think=False), "<s>(user|Hi.)think=False"),
        (chat("winner", "Hi."), "[user|Hi.]think=truemedium"),
        (chat("cogito", "Hi."), "(user|Hi.)"),
        (generate("cogito"), "(user|Hi.)"),
        (chat("gpt", "Hi."), "(user|Hi.)"),
        (generate("odd", raw=True), "Hi."),
        (generate("odd", template="{{ .Prompt }}!"), "Hi.!"),
        (chat("bare", "Hi."), "<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\n"),
        (generate("bare"), "Hi."),
        (generate("fim", "def f(", suffix="return"), "<pre>def f(<suf>return<mid>"),
        (generate("fim", "", suffix="return"), "<pre><suf>return<mid>"),
        (generate("bare", suffix="end", template="{{ .Prompt }}_{{ .Suffix }}"), "Hi._end"),
        (chat("legacy", "Hi.", "Hello.", "So?"), "Be brief.|Hi.|Hello.|So?|"),
        (chat("qwen", "Hi.", "<think>Hm.</think>Hello.", "So?"), "[user|Hi.][assistant|Hello.][user|So?]"),
        (
            chat("go", "Hi.", "<think>Hm.</think>Yo.", think=False),
            "[user|Hi.][assistant|<think>Hm.</think>Yo.]think=false",
        ),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_the_prompt_is_shown(server: FakeServer, body: dict[str, Any], text: str, *, stream: bool) -> None:
    assert shown(server, {**body, "stream": stream}) == text


@pytest.mark.parametrize(
    "arguments", [{"b": 1, "a": "€"}, '{"b": 1, "a": "€"}', '{"b":1,"a":"\\u20ac"}'], ids=["object", "text", "escaped"]
)
def test_calls_and_their_answers_are_part_of_the_history(server: FakeServer, arguments: object) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    history = [
        {"role": "user", "content": "What is up?"},
        {"role": "assistant", "content": None, "thinking": "Hm.", "tool_calls": [call, call]},
        {"role": "Tool", "content": "blue", "tool_name": "look", "tool_call_id": "call_1"},
    ]
    once = 'look{"a":"€","b":1}'
    expected = f"[user|What is up?][assistant||thought Hm.|{once}|{once}][tool|blue|look]"
    assert shown(server, chat("go", *history, think=False)) == expected + "think=false"
    once = 'look{"b": 1, "a": "€"}'
    expected = f"<s>(user|What is up?)(assistant||{once}|{once})(tool|blue|look)think=False"
    assert shown(server, chat("beaten", *history, think=False)) == expected


@pytest.mark.parametrize(
    "function", [{"name": "look"}, {"name": "look", "arguments": ""}, {"name": "look", "arguments": None}]
)
def test_a_call_may_have_no_arguments(server: FakeServer, function: dict[str, Any]) -> None:
    message = {"role": "assistant", "tool_calls": [{"function": function}]}
    assert shown(server, chat("go", message, think=False)) == "[assistant||look{}]think=false"


def test_in_openais_dialect_an_answer_of_a_tool_names_its_call(server: FakeServer) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": 5}'}}
    history = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    answer = {"role": "tool", "tool_call_id": "call_1", "content": "blue"}
    body = {"model": "go", "messages": [*history, answer], "max_tokens": 3, "reasoning_effort": "none"}
    reply = server.post("/v1/chat/completions", body).json()
    text = shown(server, chat("go", *history, answer | {"tool_name": "look"}, think=False))
    assert text == '[user|Hi.][assistant||look{"at":5}][tool|blue|look]think=false'
    assert reply["usage"]["prompt_tokens"] == 1 + len(text.encode())
    assert reply["choices"][0]["message"]["content"] == fakes_answer(text, 3)
    named = server.post("/v1/chat/completions", body | {"messages": [*history, answer | {"name": "look"}]}).json()
    assert named["choices"] == reply["choices"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (chat("plain", "Hi.", think=True), '"plain" does not support thinking'),
        (
            generate("registry.ollama.ai/library/plain", think="low"),
            '"registry.ollama.ai/library/plain" does not support thinking',
        ),
        (generate("go", template="{{ .Prompt }}", think=True), '"go" does not support thinking'),
        (chat("jinja", "Hi.", tools=[LOOK]), f"{FULL}jinja:latest does not support tools"),
        (chat("cogito", "Hi.", tools=[LOOK]), f"{FULL}cogito:latest does not support tools"),
        (generate("go", suffix="end"), f"{FULL}go:latest does not support insert"),
        (
            generate("fim", suffix="end", template="{{ .Prompt }}"),
            f"{FULL}fim:latest does not support insert",
        ),
        (chat("odd", "Hi."), 'unknown renderer "zzz"'),
        (generate("odd"), 'unknown renderer "zzz"'),
        (chat("go", "Hi.", tools=[{"function": {"parameters": 5}}]), "template: 'parameters' is an object"),
        (chat("plain", {"role": "user", "content": "a", "images": ["aGk="]}), "images are not supported by this model"),
        (generate("plain", images=["aGk="]), "images are not supported by this model"),
        (
            chat("mllama", {"role": "user", "content": "a", "images": ["aGk=", "aGk="]}),
            "this model only supports one image while more than one image requested",
        ),
    ],
)
def test_error_what_the_model_cannot_do(server: FakeServer, body: dict[str, Any], says: str) -> None:
    assert refused(server, {**body, "_debug_render_only": True}) == says
    assert refused(server, body) == says


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (chat("seeing", {"role": "user", "content": "a", "images": ["aGk="]}), "images are not supported yet"),
        (generate("seeing", images=["aGk="]), "images are not supported yet"),
    ],
)
def test_error_what_can_be_shown_but_not_yet_answered(server: FakeServer, body: dict[str, Any], says: str) -> None:
    assert refused(server, body) == says
    assert server.post(path_of(body), {**body, "_debug_render_only": True}).status_code == 200


@pytest.mark.parametrize(
    ("body", "text", "images"),
    [
        (generate("seeing", images=["aGk="]), "[user|[img-0]Hi.]", 1),
        (generate("seeing", "", images=["aGk=", "aGk="]), "[user|[img-0][img-1]]", 2),
        (generate("seeing", "Is it [img]?", images=["aGk=", "aGk="]), "[user|[img-1]Is it [img-0]?]", 2),
        (generate("seeing", raw=True, images=["aGk="]), "Hi.", 1),
        (
            chat(
                "seeing",
                {"role": "user", "content": "a", "images": ["aGk="]},
                "b",
                {"role": "user", "images": ["aGk="]},
            ),
            "[user|[img-0]a\n\nb\n\n[img-1]]",
            2,
        ),
        (chat("mllama", {"role": "user", "content": "a", "images": ["aGk="]}), "[user|[img-0]a]", 1),
    ],
)
def test_images_are_shown_and_counted(server: FakeServer, body: dict[str, Any], text: str, images: int) -> None:
    whole = server.post(path_of(body), {**body, "_debug_render_only": True}).json()
    assert whole["_debug_info"] == {"rendered_template": text, "image_count": images}


def test_an_image_takes_768_tokens_of_the_context(server: FakeServer) -> None:
    seen = {"role": "user", "content": "a", "images": ["aGk="]}
    body = chat("seeing", seen, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"})
    tokens = 1 + len("[user|a][assistant|b][user|c]") + 768  # and one is left to the answer
    assert shown(server, body | {"options": {"num_ctx": tokens}}) == "[assistant|b][user|c]"
    reply = server.post("/api/chat", {**body, "options": {"num_ctx": tokens + 1}, "_debug_render_only": True}).json()
    assert reply["_debug_info"]["image_count"] == 1


def test_of_a_long_chat_the_newest_is_kept_to_the_token(server: FakeServer) -> None:
    said = [f"message {i:02}" for i in range(21)]

    def kept(num_ctx: int) -> list[str]:
        text = shown(server, chat("go", *said, think=False, options={"num_ctx": num_ctx}))
        return re.findall(r"message \d\d", text)

    for count in range(1, 10):
        left = "".join(f"[{'assistant' if i % 2 else 'user'}|{text}]" for i, text in list(enumerate(said))[-count:])
        tokens = 1 + len(f"{left}think=false")
        assert kept(tokens + 1) == said[-count:]  # one is left to the answer
        assert kept(tokens) == said[-max(1, count - 1) :]


def test_a_chat_that_is_cut_keeps_its_system_message(server: FakeServer) -> None:
    said = [f"message {i:02}" for i in range(41)]
    text = shown(server, chat("plain", *said))
    assert text.startswith("[system|Be brief.][")
    assert text.endswith("|message 40]")
    assert "1+1?" not in text
    assert 200 < len(text) < 256
    own = {"role": "system", "content": "Be long."}
    text = shown(server, chat("plain", *said[:20], own, *said[20:]))
    assert text.startswith("[system|Be brief.\n\nBe long.][")
    assert "|message 19]" not in text


def test_a_model_is_loaded_only_where_its_tokens_matter(serve: Serve, models: Path) -> None:
    long = [f"message {i}" for i in range(41)]
    with serve(models=models) as fake:
        for body in (
            chat("go", "Hi."),
            generate("plain", raw=True),
            chat("jinja", "Hi."),
            generate("fim", suffix="end"),
        ):
            shown(fake, body)
        assert fake.starts == []
        shown(fake, chat("beaten", "Hi."))
        assert fake.starts == ["beaten:latest"]
        shown(fake, chat("go", *long))
        assert fake.starts == ["beaten:latest", "go:latest"]
        shown(fake, chat("qwen", *long, keep_alive=0))
        assert fake.starts == ["beaten:latest", "go:latest", "qwen:latest"]
        assert "qwen:latest" not in [model["name"] for model in fake.get("/api/ps")["models"]]


def test_a_model_that_died_meanwhile_is_loaded_again_to_count(serve: Serve, models: Path) -> None:
    long = chat("plain", *[f"message {i}" for i in range(41)])
    with serve(models=models) as fake:
        text = shown(fake, long)
        kill(fake.workers[0].pid)
        assert shown(fake, long) == text
        assert fake.starts == ["plain:latest"] * 2


def test_without_a_prompt_there_is_nothing_to_show(server: FakeServer) -> None:
    reply = server.post("/api/generate", {"model": "go", "_debug_render_only": True}).json()
    assert (reply["done"], reply["done_reason"]) == (True, "load")


def test_a_history_that_was_cut_leaves_room_for_an_answer(server: FakeServer) -> None:
    said = [f"message {i}" for i in range(41)]
    reply = server.post(
        "/api/chat", chat("go", *said, think=False, options={"num_ctx": 100}) | {"stream": False}
    ).json()
    assert reply["done_reason"] == "length"
    assert reply["eval_count"] >= 100
    assert reply["prompt_eval_count"] > 50
