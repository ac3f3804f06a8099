"""The twenty templates that Ollama knows by name: a prompt format as a Go template, and where its replies stop. Pure data.

Each gives what the chat template gives that the format's model was published with, asked to continue the conversation, but
for the BOS token at the very beginning, which the tokenizer adds. Where that one refuses system messages, or heeds only its
own, ours puts them where the format has room: before the first message of the user, or in place of its own. Contents are
printed as they are; some of the published ones trim them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NamedTemplate:
    """A prompt format."""

    name: str
    """Ollama's name for it."""
    text: str
    """A Go template over `.Messages`."""
    stops: tuple[str, ...]
    """What marks a turn: a reply that comes to one of these is over."""


_ALFRED = "{{ range .Messages }}<start_{{ .Role }}>{{ .Content }}<end_message>{{ end }}<start_assistant>"

_ALPACA = """\
{{ if .System }}{{ .System }}{{ else }}Below is an instruction that describes a task. \
Write a response that appropriately completes the request.{{ end }}

{{ range .Messages }}{{ if eq .Role "user" }}### Instruction:
{{ .Content }}

{{ else if eq .Role "assistant" }}### Response:
{{ .Content }}

{{ end }}{{ end }}### Response:
"""

_CHATML = """\
{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""

_CHATQA = """\
System: {{ if .System }}{{ .System }}{{ else }}\
This is a chat between a user and an artificial intelligence assistant. \
The assistant gives helpful, detailed, and polite answers to the user's questions based on the context. \
The assistant should also indicate when the answer cannot be found in the context.{{ end }}

{{ range .Messages }}{{ if eq .Role "user" }}User: {{ .Content }}

{{ else if eq .Role "assistant" }}Assistant: {{ .Content }}

{{ end }}{{ end }}Assistant:"""

_CODELLAMA_70B = """\
{{ range .Messages }}Source: {{ .Role }}

 {{ .Content }} <step> {{ end }}Source: assistant
Destination: user

 """

_COMMAND_R = """\
{{ if .System }}<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{{ .System }}<|END_OF_TURN_TOKEN|>{{ end }}
{{- range .Messages }}
{{- if eq .Role "user" }}<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{{ .Content }}<|END_OF_TURN_TOKEN|>
{{- else if eq .Role "assistant" }}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{{ .Content }}<|END_OF_TURN_TOKEN|>
{{- end }}
{{- end }}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"""

_FALCON = """\
{{ range .Messages }}{{ if eq .Role "system" }}System: {{ .Content }}
{{ else if eq .Role "user" }}User: {{ .Content }}
{{ else if eq .Role "assistant" }}Falcon: {{ .Content }}
{{ end }}{{ end }}Falcon:"""

_GEMMA = """\
{{- $system := .System }}
{{- range .Messages }}{{ if eq .Role "user" }}<start_of_turn>user
{{ if $system }}{{ $system }}

{{ $system = "" }}{{ end }}{{ .Content }}<end_of_turn>
{{ else if eq .Role "assistant" }}<start_of_turn>model
{{ .Content }}<end_of_turn>
{{ end }}{{ end }}<start_of_turn>model
"""

_GRANITE = """\
{{ range .Messages }}{{ if eq .Role "system" }}System:
{{ .Content }}

{{ else if eq .Role "user" }}Question:
{{ .Content }}

{{ else if eq .Role "assistant" }}Answer:
{{ .Content }}

{{ end }}{{ end }}Answer:
"""

_LLAMA_2 = """\
{{- $system := .System }}
{{- $begun := false }}
{{- range .Messages }}
{{- if eq .Role "user" }}{{ if $begun }}<s>{{ end }}[INST] {{ if $system }}<<SYS>>
{{ $system }}
<</SYS>>

{{ $system = "" }}{{ end }}{{ .Content }} [/INST]{{ $begun = true }}
{{- else if eq .Role "assistant" }} {{ .Content }} </s>
{{- end }}
{{- end }}"""

_LLAMA_3 = """\
{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>

{{ .Content }}<|eot_id|>
{{- end }}<|start_header_id|>assistant<|end_header_id|>

"""

_MAGICODER = """\
{{ if .System }}{{ .System }}{{ else }}You are an exceptionally intelligent coding assistant that consistently \
delivers accurate and reliable responses to user instructions.{{ end }}

{{ range .Messages }}{{ if eq .Role "user" }}@@ Instruction
{{ .Content }}

{{ else if eq .Role "assistant" }}@@ Response
{{ .Content }}<｜end▁of▁sentence｜>

{{ end }}{{ end }}@@ Response
"""

_MISTRAL = """\
{{- $system := .System }}
{{- range .Messages }}
{{- if eq .Role "user" }}[INST] {{ if $system }}{{ $system }}

{{ $system = "" }}{{ end }}{{ .Content }} [/INST]
{{- else if eq .Role "assistant" }}{{ .Content }}</s>
{{- end }}
{{- end }}"""

_OPENCHAT = """\
{{- range .Messages }}
{{- if eq .Role "system" }}GPT4 Correct System: {{ .Content }}<|end_of_turn|>
{{- else if eq .Role "user" }}GPT4 Correct User: {{ .Content }}<|end_of_turn|>
{{- else if eq .Role "assistant" }}GPT4 Correct Assistant: {{ .Content }}<|end_of_turn|>
{{- end }}
{{- end }}GPT4 Correct Assistant:"""

_PHI_3 = """\
{{- range .Messages }}<|{{ .Role }}|>
{{ .Content }}<|end|>
{{ end }}<|assistant|>
"""

_SOLAR = """\
{{ range .Messages }}{{ if eq .Role "system" }}{{ if .Content }}### System:
{{ .Content }}

{{ end }}{{ else if eq .Role "user" }}### User:
{{ .Content }}

{{ else if eq .Role "assistant" }}### Assistant:
{{ .Content }}{{ end }}{{ end }}### Assistant:
"""

_STARCODER_2 = _MAGICODER.replace("@@", "###").replace("<｜end▁of▁sentence｜>", "<|endoftext|>")

_VICUNA = """\
{{ if .System }}{{ .System }}{{ else }}\
A chat between a curious user and an artificial intelligence assistant. \
The assistant gives helpful, detailed, and polite answers to the user's questions.{{ end }} {{ range .Messages }}
{{- if eq .Role "user" }}USER: {{ .Content }} {{ else if eq .Role "assistant" }}ASSISTANT: {{ .Content }}</s>{{ end }}
{{- end }}ASSISTANT:"""

_ZEPHYR = """\
{{- range .Messages }}<|{{ .Role }}|>
{{ .Content }}</s>
{{ end }}<|assistant|>
"""

NAMED: tuple[NamedTemplate, ...] = (
    NamedTemplate("alfred", _ALFRED, ("<start_system>", "<start_user>", "<start_assistant>", "<end_message>")),
    NamedTemplate("alpaca", _ALPACA, ("### Instruction:", "### Response:")),
    NamedTemplate("chatml", _CHATML, ("<|im_start|>", "<|im_end|>")),
    NamedTemplate("chatqa", _CHATQA, ("System:", "User:", "Assistant:")),
    NamedTemplate("codellama-70b-instruct", _CODELLAMA_70B, ("Source:", "Destination:", "<step>")),
    NamedTemplate("command-r", _COMMAND_R, ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>")),
    NamedTemplate("falcon-instruct", _FALCON, ("System:", "User:", "Falcon:")),
    NamedTemplate("gemma-instruct", _GEMMA, ("<start_of_turn>", "<end_of_turn>")),
    NamedTemplate("gemma3-instruct", _GEMMA, ("<start_of_turn>", "<end_of_turn>")),
    NamedTemplate("granite-instruct", _GRANITE, ("System:", "Question:", "Answer:")),
    NamedTemplate("llama2-chat", _LLAMA_2, ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")),
    NamedTemplate("llama3-instruct", _LLAMA_3, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")),
    NamedTemplate("magicoder", _MAGICODER, ("@@ Instruction", "@@ Response", "<｜end▁of▁sentence｜>")),
    NamedTemplate("mistral-instruct", _MISTRAL, ("[INST]", "[/INST]")),
    NamedTemplate("openchat", _OPENCHAT, ("<|end_of_turn|>", "GPT4 Correct")),
    NamedTemplate("phi-3", _PHI_3, ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")),
    NamedTemplate("solar-instruct", _SOLAR, ("### System:", "### User:", "### Assistant:")),
    NamedTemplate("starcoder2-instruct", _STARCODER_2, ("### Instruction", "### Response", "<|endoftext|>")),
    NamedTemplate("vicuna", _VICUNA, ("USER:", "ASSISTANT:")),
    NamedTemplate("zephyr", _ZEPHYR, ("<|system|>", "<|user|>", "<|assistant|>", "</s>")),
)
"""All of them, in the order of their names."""
