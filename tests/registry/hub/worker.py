"""A process that runs `corral` again and again: huggingface_hub takes longer to import than a pull from a double takes.

It reads a line of JSON for each command, with its arguments and its store, and answers with one.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout

from corral.cli.main import run


def main() -> None:
    """Run commands until there are no more."""
    for line in sys.stdin:
        job = json.loads(line)
        os.environ["OLLAMA_MODELS"] = job["models"]
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            code = run(job["arguments"])
        sys.stdout.write(json.dumps([code, out.getvalue(), err.getvalue()]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
