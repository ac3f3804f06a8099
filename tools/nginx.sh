#!/bin/sh
# Debian's nginx for the tests: the installed one, else the package's binary under build/tools with the library that a bare
# machine lacks. Nothing is installed on the system, and none is started here. Where it cannot be had, the tests that need
# it say so.
set -eu
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin"
{ command -v nginx >/dev/null || [ -x build/tools/usr/sbin/nginx ]; } && exit 0
command -v apt-get >/dev/null || { echo "nginx: no nginx here, and no apt-get to fetch it with" >&2; exit 0; }
mkdir -p build/tools/nginx
cd build/tools/nginx
fetch() {
    # Of the packages that the binary is linked with; the configuration is the tests' own.
    libraries=$(apt-get install -s --no-install-recommends nginx 2>/dev/null |
        sed -n 's/^Inst \(lib\(pcre2-8\|ssl3\|crypt1\)[^ ]*\) .*/\1/p')
    # shellcheck disable=SC2086 # a list
    apt-get download -qq nginx $libraries 2>/dev/null
}
if ! fetch; then
    [ "$(id -u)" -ne 0 ] || apt-get update -qq || true
    fetch || { echo "nginx: apt-get cannot fetch nginx" >&2; exit 0; }
fi
for package in *.deb; do
    dpkg -x "$package" ..
done
