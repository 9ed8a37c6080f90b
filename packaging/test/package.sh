#!/bin/bash
# What every change of the package has to pass: lintian, systemd's own judges, and the whole life
# of the package in Debian 12 and 13.
#   package.sh FOLDER        the folder that holds the package
set -eu
here=$(cd "$(dirname "$0")" && pwd)
shopt -s nullglob
packages=("$1"/culvert_*.deb)
deb=$(readlink -f "${packages[0]}")
faults=0
step() {
    echo "== $*"
}

step "lintian $(lintian --print-version)"
lintian --fail-on error,warning --info --allow-root "$1"/culvert*.deb || faults=$((faults + 1))

for suite in bookworm trixie; do
    step "$suite: exposure by systemd-analyze security"
    root=$("$here/root.sh" "$suite" bind9-dnsutils iproute2)
    "$here/unit.sh" "$root" "$deb" || faults=$((faults + 1))
    step "$suite: from installation to purge"
    "$here/e2e.sh" "$root" "$deb" || faults=$((faults + 1))
done
[ "$faults" = 0 ] || {
    echo "$faults of the steps above failed" >&2
    exit 1
}
