"""The templates known by name print what the models' own chat templates do.

Those are in published/, in the words of this project, one for each prompt format: their first line has the model's name, the
BOS text that the template prints, and its EOS text. A golden file has the prompts of three conversations, each above a ruler.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from corral.modelfile.template.named import NAMED, NamedTemplate
from corral.modelfile.template.parser import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = Path(__file__).parent
GOLDEN = HERE.parent.parent / "golden" / "named"
RULER = "-" * 40 + "\n"
HEADER = re.compile(r"\{#- .+? \| (?P<bos>.*?) ?\| (?P<eos>.+) #\}\n")

NAMES = [
    "alfred",
    "alpaca",
    "chatml",
    "chatqa",
    "codellama-70b-instruct",
    "command-r",
    "falcon-instruct",
    "gemma-instruct",
    "gemma3-instruct",
    "granite-instruct",
    "llama2-chat",
    "llama3-instruct",
    "magicoder",
    "mistral-instruct",
    "openchat",
    "phi-3",
    "solar-instruct",
    "starcoder2-instruct",
    "vicuna",
    "zephyr",
]


@dataclass(frozen=True)
class Published:
    """A name, and a chat template that it stands for."""

    name: str
    file: str
    system: str = "printed"
    """What the published template does with a system message: it is printed, refused or ignored."""
    has_default: bool = False
    """Whether it prints a system message when there is none, where the named template does not."""


PUBLISHED = [
    Published("alfred", "alfred-40b"),
    Published("alpaca", "alpaca"),
    Published("chatml", "chatml"),
    Published("chatml", "qwen2.5-instruct", has_default=True),
    Published("chatml", "qwen3"),
    Published("chatml", "smollm2-instruct", has_default=True),
    Published("chatqa", "chatqa-1.5", system="ignored"),
    Published("codellama-70b-instruct", "codellama-70b-instruct"),
    Published("command-r", "command-r"),
    Published("falcon-instruct", "falcon-180b-chat"),
    Published("gemma-instruct", "gemma-2-it", system="refused"),
    Published("gemma-instruct", "gemma-3-it"),
    Published("gemma3-instruct", "gemma-3-it"),
    Published("granite-instruct", "granite-code-instruct"),
    Published("llama2-chat", "llama-2-chat"),
    Published("llama3-instruct", "llama-3-instruct"),
    Published("magicoder", "magicoder-s-ds", system="refused"),
    Published("mistral-instruct", "mixtral-8x7b-instruct-v0.1", system="refused"),
    Published("openchat", "openchat-3.5"),
    Published("phi-3", "phi-3-mini-instruct"),
    Published("phi-3", "phi-3-medium-instruct", system="ignored"),
    Published("solar-instruct", "solar-10.7b-instruct"),
    Published("starcoder2-instruct", "starcoder2-15b-instruct", system="refused"),
    Published("vicuna", "vicuna-1.5"),
    Published("zephyr", "zephyr-7b"),
]

ROLES = {"s": "system", "u": "user", "a": "assistant"}
CONTENTS = {
    "plain": ("Be brief.", "What is a heron?", "A bird.", "Where?"),
    "other scripts": ("Sei höflich — 请用中文回答", "你好，世界 🌍", "Καλημέρα\u00a0κόσμε, ñandú", "Что?"),
    "several lines": (
        "Rules:\n\n- be kind\n- be brief",
        "def f():\n    return '{{ x }}' <&>\n\n\nWhy?",
        "```\n{% endif %}\n```\n\nSo.",
        "a\r\n\n\tb",
    ),
}


def talk(shape: str, contents: tuple[str, ...]) -> list[dict[str, str]]:
    """The conversation of these roles; without a system message, the first of the contents is left out."""
    said = contents if shape.startswith("s") else contents[1:]
    return [{"role": ROLES[role], "content": content} for role, content in zip(shape, said, strict=False)]


TALKS = {f"{shape}, {kind}": talk(shape, CONTENTS[kind]) for shape in ("u", "uau", "su", "suau") for kind in CONTENTS}


def named(name: str, messages: list[dict[str, str]]) -> str:
    """The prompt by the template of this name."""
    (text,) = [template.text for template in NAMED if template.name == name]
    return Template(text).render(messages)


class RefusedError(Exception):
    """What a chat template raises."""


def refuse(reason: str) -> None:
    raise RefusedError(reason)


def published(file: str, messages: list[dict[str, str]]) -> str:
    """The prompt by a chat template as Hugging Face renders it, without the BOS text it begins with."""
    text = (HERE / "published" / f"{file}.jinja").read_text()
    header = HEADER.match(text)
    assert header, "its first line has name, BOS and EOS"
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(text)
    prompt = template.render(
        messages=messages,
        add_generation_prompt=True,
        bos_token=header["bos"],
        eos_token=header["eos"],
        raise_exception=refuse,
    )
    assert prompt.startswith(header["bos"])
    return prompt.removeprefix(header["bos"])


def test_all_twenty_are_there_once() -> None:
    assert [template.name for template in NAMED] == NAMES == sorted(set(NAMES))


def test_each_stands_for_a_published_one() -> None:
    assert {case.name for case in PUBLISHED} == set(NAMES)


@pytest.mark.parametrize("shape", TALKS)
@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: f"{case.name}={case.file}")
def test_prompt_is_the_published_one(case: Published, shape: str) -> None:
    messages = TALKS[shape]
    told = messages[0]["role"] == "system"
    if told and case.system == "refused":
        with pytest.raises(RefusedError):
            published(case.file, messages)
    elif told and case.system == "ignored":
        assert published(case.file, messages) == published(case.file, messages[1:])
    elif case.has_default and not told:
        default, prompt = published(case.file, messages).split("<|im_end|>\n", 1)
        assert default.startswith("<|im_start|>system\nYou are ")
        assert prompt == named(case.name, messages)
    else:
        assert published(case.file, messages) == named(case.name, messages)


@pytest.mark.parametrize("shape", TALKS)
def test_mistral_puts_the_system_message_where_its_later_template_does(shape: str) -> None:
    prompt = published("mistral-7b-instruct-v0.2", TALKS[shape])
    assert prompt.replace(" [INST]", "[INST]").replace("[/INST] ", "[/INST]") == named("mistral-instruct", TALKS[shape])


@pytest.mark.parametrize("name", NAMES)
def test_prompts_are_the_golden_ones(name: str) -> None:
    prompts = [named(name, talk(shape, CONTENTS["plain"])) for shape in ("u", "uau", "suau")]
    assert "".join(f"{prompt}\n{RULER}" for prompt in prompts) == (GOLDEN / f"{name}.txt").read_bytes().decode()


def test_each_golden_file_is_of_a_name() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_system_text_is_printed_once(name: str) -> None:
    messages = [*talk("su", ("first rule", "q1")), *talk("sua", ("second rule", "q2", "a2")), *talk("u", ("", "q3"))]
    prompt = named(name, messages)
    assert [prompt.count(message["content"]) for message in messages] == [1] * len(messages)


@pytest.mark.parametrize("template", NAMED, ids=lambda template: template.name)
def test_a_template_is_over_messages(template: NamedTemplate) -> None:
    parsed = Template(template.text)
    assert not parsed.is_legacy
    assert set(parsed.variables) <= {"messages", "role", "content", "system"}


@pytest.mark.parametrize("template", NAMED, ids=lambda template: template.name)
def test_each_stop_is_a_mark_of_the_format(template: NamedTemplate) -> None:
    assert template.stops
    assert len(set(template.stops)) == len(template.stops)
    prompt = Template(template.text).render(talk("suau", ("s", "u", "a", "v")))
    assert [stop for stop in template.stops if stop not in prompt] == []
