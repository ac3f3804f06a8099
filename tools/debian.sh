#!/bin/sh
# sh tools/debian.sh PROGRAM [LIBRARIES]: a program of Debian's for the tests: the installed one, else that of the package of
# this name, under build/tools, with those libraries that match and that this machine lacks. Nothing is installed on the
# system. Where it cannot be had, the tests that need it say so.
set -eu
cd "$(dirname "$0")/.."
program=$1 wanted=${2:-}
PATH="$PATH:/usr/sbin:$PWD/build/tools/usr/bin:$PWD/build/tools/usr/sbin"
command -v "$program" >/dev/null && exit 0
command -v apt-get >/dev/null || { echo "$program: not here, and no apt-get to fetch it with" >&2; exit 0; }
mkdir -p "build/tools/packages/$program"
cd "build/tools/packages/$program"
fetch() {
    libraries=
    [ -z "$wanted" ] || libraries=$(apt-get install -s --no-install-recommends "$program" 2>/dev/null |
        sed -nE "s/^Inst (lib($wanted)[^ ]*) .*/\1/p")
    # shellcheck disable=SC2086 # a list
    apt-get download -qq "$program" $libraries 2>/dev/null
}
if ! fetch; then
    [ "$(id -u)" -ne 0 ] || apt-get update -qq || true
    fetch || { echo "$program: apt-get cannot fetch it" >&2; exit 0; }
fi
for package in *.deb; do
    dpkg -x "$package" ../..
done
