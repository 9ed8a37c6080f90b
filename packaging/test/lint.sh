#!/bin/bash
# lintian of a Debian release other than this machine's: no error, no warning. A minute at most.
#   lint.sh ROOT PACKAGE.deb...
# ROOT comes from root.sh SUITE lintian. Needs root and systemd-container.
set -eu
root=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$@" "$work"
echo "Debian $(cat "$root/etc/debian_version")"
timeout 300 systemd-nspawn --quiet --directory="$root" --volatile=overlay --register=no --keep-unit \
    --private-network --pipe --bind-ro="$work:/packages" sh -c \
    'lintian --version && exec lintian --fail-on error,warning --info --allow-root /packages/*.deb' \
    </dev/null
echo "no error, no warning"
