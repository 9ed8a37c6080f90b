#!/bin/sh
# Makes a package of the next version of the same program: only the number differs.
#   next-version.sh PACKAGE.deb NEW.deb
set -eu
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
dpkg-deb --raw-extract "$1" "$tree"
sed -i 's/^Version: .*/&+next/' "$tree/DEBIAN/control"
dpkg-deb --build "$tree" "$2" >/dev/null
