#!/bin/bash
# Two clones in two folders, each with a build of its own: every package has the same SHA-256.
#   reproducible.sh
# As long as two release builds take; looks at what is committed. Needs what `make deb` needs.
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
git -C "$tree" diff --quiet HEAD || echo "note: changes that are not committed are not looked at"
for place in one another-place/of-a-longer-name; do
    mkdir -p "$work/$place"
    git clone --quiet "$tree" "$work/$place/culvert"
    CARGO_TARGET_DIR="$work/$place/target" timeout 3600 make -C "$work/$place/culvert" deb \
        >"$work/log" 2>&1 || {
        tail -n 40 "$work/log"
        exit 1
    }
    (cd "$work/$place/target/package" && sha256sum -- *.deb) >"$work/$place/sums"
    cat "$work/$place/sums"
done
diff "$work/one/sums" "$work/another-place/of-a-longer-name/sums"
echo "both are equal"
