#!/bin/bash
# Debian's piuparts: install, remove, purge, and upgrade from the package to its next version, in a
# small root of a release; nothing may be left behind, nothing else be touched.
#   piuparts.sh SUITE PACKAGE.deb
# Needs root, piuparts, mmdebstrap, apt-utils and Debian's mirror. Ten minutes at most.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
suite=$1 deb=$(readlink -f "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
# systemd leaves folders behind when it is purged itself: it stays
timeout 300 mmdebstrap --quiet --variant=minbase --include=systemd "$suite" "$work/root.tar.gz"
# the version to upgrade from comes from a repository, as piuparts wants it
mkdir "$work/old"
cp "$deb" "$work/old/culvert.deb"
(cd "$work/old" && apt-ftparchive packages . >Packages)
"$here/next-version.sh" "$deb" "$work/next.deb"
status=0
# tmp.ci is debconf's own, of ca-certificates' questions
timeout --kill-after=20 600 piuparts --basetgz="$work/root.tar.gz" --distribution="$suite" \
    --mirror='http://deb.debian.org/debian main' --bindmount="$work/old" \
    --extra-repo="deb [trusted=yes] file:$work/old ./" --log-level=dump --log-file="$work/log" \
    --ignore-regex='^/var/cache/debconf/tmp.ci' --tmpdir="$work" "$work/next.deb" >"$work/out" 2>&1 || status=$?
grep -E 'PASS:|FAIL:|ERROR:|WARN:' "$work/log" | sed 's/^[0-9m.s ]*//' || true
if [ "$status" != 0 ]; then
    grep -vE '^ *$|DEBUG: (Command ok|Starting)' "$work/log" | tail -n 60
    exit 1
fi
