#!/bin/sh
# Strict types. The checker goes by folders and does not know the package mapping, so it is shown a layout of links.
set -eu
cd "$(dirname "$0")/.."
rm -rf build/typing
mkdir -p build/typing/corral
for file in corral/*; do ln -s "../../../$file" "build/typing/corral/$(basename "$file")"; done
for room in cli modelfile registry runtime store; do ln -s "../../../$room" "build/typing/corral/$room"; done
for folder in tests bench tools; do ln -s "../../$folder" "build/typing/$folder"; done
cp tools/pyrightconfig.json build/typing/
cd build/typing
exec ../../.venv/bin/basedpyright --pythonpath ../../.venv/bin/python
