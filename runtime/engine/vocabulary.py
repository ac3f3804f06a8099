"""Counting tokens in a process of its own, so that neither the engine nor what a hostile vocabulary does to it is in ours.

`python -m corral.runtime.engine.vocabulary FILE` reads text from standard input and prints the number of tokens.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

_TIMEOUT = 60


def count_tokens(path: Path, text: str) -> int | None:
    """How many tokens the model in a GGUF file makes of a text; None where no engine can say."""
    if find_spec("llama_cpp") is None:
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(path.absolute())],
            input=text.encode("utf-8", "replace"),
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdigit() else None


def main(arguments: list[str]) -> int:
    """Count the tokens of standard input."""
    from .llama import LlamaVocabulary

    tokens = LlamaVocabulary.load(arguments[0]).tokenize(sys.stdin.buffer.read().decode())
    sys.stdout.write(f"{len(tokens)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
