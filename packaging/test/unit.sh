#!/bin/bash
# systemd's own judges on the unit, as the systemd of a root has them. Nothing is booted.
#   unit.sh ROOT PACKAGE.deb
set -eu
root=$1 deb=$2
# Exposure that must not be exceeded, times ten (systemd-analyze(1)).
limit=14
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dpkg-deb --extract "$deb" "$work/package"
in_root() {
    systemd-nspawn --quiet --directory="$root" --volatile=overlay --register=no --keep-unit \
        --private-network --pipe --bind-ro="$work/package:/package" "$@" </dev/null \
        2> >(grep -v nspawn/propagate >&2)
}
in_root sh -c '
    set -e
    cp -r /package/usr/. /usr/
    [ ! -d /package/lib ] || cp -r /package/lib/. /usr/lib/
    systemd-analyze verify --man=no culvert.service
    systemd-analyze security --offline=true --no-pager --threshold='"$limit"' culvert.service |
        grep -E "✗|Overall"'
