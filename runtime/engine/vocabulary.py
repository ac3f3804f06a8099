"""A model's tokenizer in a process of its own, so that neither the engine nor what a hostile vocabulary does is in ours.

`python -m corral.runtime.engine.vocabulary FILE` reads text from standard input and prints its tokens as JSON: pairs of the
token's number and its text, where the bytes of half a character are written `\\xe4`.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import msgspec

_TIMEOUT = 60
_Tokens = list[tuple[int, str]]


def cut(path: Path, text: str) -> _Tokens | None:
    """The tokens the model in a GGUF file makes of a prompt, each with its text; None where no engine can say."""
    if find_spec("llama_cpp") is None:
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(path.absolute())],
            input=text.encode("utf-8", "replace"),
            capture_output=True,
            timeout=_TIMEOUT,
            check=True,
        )
        return msgspec.json.decode(done.stdout, type=_Tokens)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError):
        return None


def count_tokens(path: Path, text: str) -> int | None:
    """How many tokens the model in a GGUF file makes of a text; None where no engine can say."""
    tokens = cut(path, text)
    return None if tokens is None else len(tokens)


def main(arguments: list[str]) -> int:
    """Print the tokens of standard input."""
    from .llama.vocabulary import LlamaVocabulary

    vocabulary = LlamaVocabulary.load(arguments[0])
    tokens = vocabulary.tokenize(sys.stdin.buffer.read().decode())
    spelled = [(token, vocabulary.spelling(token).decode("utf-8", "backslashreplace")) for token in tokens]
    sys.stdout.buffer.write(msgspec.json.encode(spelled))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
