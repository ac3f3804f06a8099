#!/bin/sh
# Debian's skopeo for the tests: the installed one, else the package's binary under build/tools with the libraries that this
# machine lacks. Nothing is installed on the system. Where it cannot be had, the tests that need it say so.
set -eu
cd "$(dirname "$0")/.."
{ command -v skopeo >/dev/null || [ -x build/tools/usr/bin/skopeo ]; } && exit 0
command -v apt-get >/dev/null || { echo "skopeo: no skopeo here, and no apt-get to fetch it with" >&2; exit 0; }
mkdir -p build/tools/skopeo
cd build/tools/skopeo
fetch() {
    libraries=$(apt-get install -s --no-install-recommends skopeo 2>/dev/null |
        sed -n 's/^Inst \(lib\(gpgme\|assuan\|gpg-error\|devmapper\)[^ ]*\) .*/\1/p')
    # shellcheck disable=SC2086 # a list
    apt-get download -qq skopeo $libraries 2>/dev/null
}
if ! fetch; then
    [ "$(id -u)" -ne 0 ] || apt-get update -qq || true
    fetch || { echo "skopeo: apt-get cannot fetch skopeo" >&2; exit 0; }
fi
for package in *.deb; do
    dpkg -x "$package" ..
done
