"""How long the Go template engine takes, as a ratio to jinja2 on equivalent templates: five of them, with 50 messages.

Prints one JSON line. Limit: 1. Both are compiled before; what is measured is rendering, with each engine's values made ready.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import jinja2
from corral.modelfile.template.collate import render_chat
from corral.modelfile.template.conversation import ChatMessage, Conversation
from corral.modelfile.template.parser import Template

ROUNDS = 200

GO = {
    "chatml": (
        "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
    ),
    "llama3": (
        "{{ range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "gemma": (
        '{{ range $i, $m := .Messages }}{{ if eq .Role "assistant" }}<start_of_turn>model\n{{ .Content }}<end_of_turn>\n'
        "{{ else }}<start_of_turn>user\n{{ .Content }}<end_of_turn>\n{{ end }}{{ end }}<start_of_turn>model\n"
    ),
    "mistral": (
        '{{ range .Messages }}{{ if eq .Role "user" }}[INST] {{ .Content }} [/INST]'
        '{{ else if eq .Role "assistant" }} {{ .Content }}</s>{{ else }}{{ .Content }}{{ end }}{{ end }}'
    ),
    "vicuna": (
        "{{ if .System }}{{ .System }} {{ end }}"
        '{{ range .Messages }}{{ if ne .Role "system" }}{{ if eq .Role "user" }}USER: {{ .Content }} '
        "{{ else }}ASSISTANT: {{ .Content }}</s>{{ end }}{{ end }}{{ end }}ASSISTANT:"
    ),
}
JINJA = {
    "chatml": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    ),
    "llama3": (
        "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}<|eot_id|>{% endfor %}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "gemma": (
        "{% for m in messages %}{% if m.role == 'assistant' %}<start_of_turn>model\n{{ m.content }}<end_of_turn>\n"
        "{% else %}<start_of_turn>user\n{{ m.content }}<end_of_turn>\n{% endif %}{% endfor %}<start_of_turn>model\n"
    ),
    "mistral": (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
        "{% elif m.role == 'assistant' %} {{ m.content }}</s>{% else %}{{ m.content }}{% endif %}{% endfor %}"
    ),
    "vicuna": (
        "{% if system %}{{ system }} {% endif %}"
        "{% for m in messages %}{% if m.role != 'system' %}{% if m.role == 'user' %}USER: {{ m.content }} "
        "{% else %}ASSISTANT: {{ m.content }}</s>{% endif %}{% endif %}{% endfor %}ASSISTANT:"
    ),
}


def conversation() -> list[ChatMessage]:
    """A system message and 49 turns."""
    roles = ["system"] + ["user", "assistant"] * 24 + ["user"]
    return [ChatMessage(role, f"Message number {i}: the quick brown fox.") for i, role in enumerate(roles)]


def microseconds(render: Callable[[], str]) -> float:
    """The median of some runs."""
    times: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        render()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6


def main() -> None:
    """Measure by turns, after seeing that both print the same."""
    talk = Conversation(conversation())
    messages = talk.messages
    plain = [{"role": message.role, "content": message.content} for message in messages]
    ratios: dict[str, float] = {}
    environment = jinja2.Environment(autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    for name, text in GO.items():
        ours, theirs = Template(text), environment.from_string(JINJA[name])
        variables = {"messages": plain, "system": messages[0].content}
        assert render_chat(ours, talk) == theirs.render(variables), name
        go = microseconds(lambda ours=ours: render_chat(ours, talk))
        jinja = microseconds(lambda theirs=theirs, variables=variables: theirs.render(variables))
        ratios[name] = round(go / jinja, 2)
    print(json.dumps({"bench": "template", "ratio": max(ratios.values()), "limit": 1, **ratios}))


if __name__ == "__main__":
    main()
