#!/bin/sh
# Makes the root of a box with Debian's mmdebstrap, once a week, and prints its folder.
#   root.sh SUITE [PACKAGE...]
# Roots are kept in CULVERT_ROOTS (default: /var/cache/culvert-roots), older ones are removed.
set -eu
suite=$1
shift
packages="systemd,systemd-sysv,dbus,ca-certificates$(printf ',%s' "$@")"
packages=${packages%,}
cache=${CULVERT_ROOTS:-/var/cache/culvert-roots}
kind=$suite-$(printf %s "$packages" | cksum | cut -d' ' -f1)
root=$cache/$kind-$(date +%G-%V)
if [ ! -e "$root/etc/debian_version" ]; then
    mkdir -p "$cache"
    rm -rf "$cache/$kind"-*
    new=$(mktemp -d -p "$cache")
    chmod 755 "$new"
    trap 'rm -rf "$new"' EXIT
    echo "making a root of Debian $suite (about a minute)" >&2
    mmdebstrap --quiet --variant=minbase --include="$packages" "$suite" "$new.tar" >&2
    tar -xpf "$new.tar" -C "$new"
    rm -f "$new.tar"
    mv "$new" "$root"
    trap - EXIT
fi
echo "$root"
