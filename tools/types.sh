#!/bin/sh
# Strict types. The checker goes by folders and does not know the package mapping, so it is shown a layout of links.
set -eu
cd "$(dirname "$0")/.."
rm -rf build/typing
mkdir -p build/typing
link() { cp -rs "$PWD/$1" "build/typing/$2"; }
link corral .
for room in cli modelfile registry runtime store; do link "$room" corral/; done
for folder in tests bench tools; do link "$folder" .; done
cp tools/pyrightconfig.json build/typing/
cd build/typing
exec ../../.venv/bin/basedpyright --pythonpath ../../.venv/bin/python
