#!/bin/sh
# Debian's docker-registry for the tests: the installed one, else the package's binary under build/tools. Nothing is
# installed on the system. Where it cannot be had, the tests that need it say so.
set -eu
cd "$(dirname "$0")/.."
command -v docker-registry >/dev/null && exit 0
command -v apt-get >/dev/null || { echo "registry: no docker-registry here, and no apt-get to fetch it with" >&2; exit 0; }
mkdir -p build/tools/package
cd build/tools/package
if ! apt-get download -qq docker-registry 2>/dev/null; then
    [ "$(id -u)" -ne 0 ] || apt-get update -qq || true
    apt-get download -qq docker-registry || { echo "registry: apt-get cannot fetch docker-registry" >&2; exit 0; }
fi
dpkg -x docker-registry_*.deb ..
