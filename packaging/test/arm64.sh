#!/bin/bash
# The package for arm64: the program is built by Debian sid's Rust in a root of its own, runs under
# qemu, and takes the place of the other one in the package; nothing else in it is of one machine.
#   arm64.sh PACKAGE_amd64.deb FOLDER      makes FOLDER/culvert_VERSION_arm64.deb
# Needs root, mmdebstrap, systemd-container, qemu-user, binutils, cargo's registry or a network.
# 2.5 GB of disk; as long as a release build takes, and 4 minutes the first time in a week.
#   QUICK=yes        without optimisation across crates: for a look whether it works, not for use
#   APT_OPTION=...   for apt in the root, where the mirror is an old one:
#                    'Acquire::Check-Valid-Until "false"'
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tree=$(cd "$here/../.." && pwd)
deb=$(readlink -f "$1") folder=$(readlink -f "$2")
target=aarch64-unknown-linux-gnu
# What Debian 12 has. A newer symbol in the program and it does not start there.
glibc_max=2.36
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

cache=${CULVERT_ROOTS:-/var/cache/culvert-roots}
root=$cache/arm64-$(date +%G-%V)
if [ ! -e "$root/etc/debian_version" ]; then
    mkdir -p "$cache"
    rm -rf "$cache"/arm64-20* "$cache/new-arm64"
    packages=rustc,cargo,libstd-rust-dev:arm64,gcc-aarch64-linux-gnu,libc6-dev-arm64-cross
    timeout 900 mmdebstrap --quiet --variant=minbase --architectures=amd64,arm64 \
        ${APT_OPTION:+--aptopt="$APT_OPTION"} --include=$packages,gcc,libc6-dev,make \
        sid "$cache/new-arm64.tar"
    mkdir "$cache/new-arm64"
    tar -xpf "$cache/new-arm64.tar" -C "$cache/new-arm64"
    rm "$cache/new-arm64.tar"
    mv "$cache/new-arm64" "$root"
fi

# The program is linked against Debian 12's C library: against a newer one it would ask for symbols
# that Debian 12 does not have.
libc=$cache/arm64-libc-$(date +%G-%V)
if [ ! -e "$libc/usr/include/stdio.h" ]; then
    rm -rf "$cache"/arm64-libc-*
    timeout 900 mmdebstrap --quiet --variant=extract --architectures=arm64 \
        --include=libc6-dev bookworm "$cache/new-libc.tar"
    mkdir "$libc"
    tar -xpf "$cache/new-libc.tar" -C "$libc"
    rm "$cache/new-libc.tar"
fi
# rustc knows by the name what kind of linker it is
cat >"$work/linker-gcc" <<'END'
#!/bin/sh
libs=/libc/usr/lib/aarch64-linux-gnu
exec aarch64-linux-gnu-gcc --sysroot=/libc -B$libs -L$libs "$@"
END
chmod 755 "$work/linker-gcc"

quick=
[ -z "${QUICK:-}" ] || quick="--setenv=CARGO_PROFILE_RELEASE_LTO=off
    --setenv=CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 --setenv=CARGO_PROFILE_RELEASE_OPT_LEVEL=1
    --setenv=CARGO_PROFILE_RELEASE_DEBUG=0"
builds=${CARGO_TARGET_DIR:-$tree/target}/arm64
registry=${CARGO_HOME:-$HOME/.cargo}/registry
commit=$(git -C "$tree" describe --always --exclude='*' --abbrev=12 --dirty=+ 2>/dev/null) || commit=
mkdir -p "$builds"
(cd "$tree" && cargo fetch --locked --quiet)
# shellcheck disable=SC2086  # one word an option
timeout 3600 systemd-nspawn --quiet --directory="$root" --register=no --keep-unit --private-network \
    --pipe --bind-ro="$tree:/tree" --bind="$builds:/builds" --bind-ro="$registry:/cargo/registry" \
    --setenv=CARGO_HOME=/cargo --setenv=CARGO_TARGET_DIR=/builds --setenv=CARGO_NET_OFFLINE=true \
    --setenv=CARGO_BUILD_TARGET=$target \
    --bind-ro="$libc:/libc" --bind-ro="$work/linker-gcc:/linker-gcc" \
    --setenv=CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=/linker-gcc \
    --setenv=CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc $quick \
    sh -c "rustc --version && make --silent -C /tree all RELEASE_COMMIT=$commit &&
    aarch64-linux-gnu-strip --strip-unneeded --remove-section=.comment --remove-section=.note \
        -o /builds/culvert /builds/$target/release/culvert" </dev/null 2>"$work/log" || {
    tail -n 40 "$work/log"
    exit 1
}
program=$builds/culvert

glibc=$(objdump -T "$program" | grep -oE 'GLIBC_[0-9.]+' | sed 's/GLIBC_//' | sort -Vu | tail -n 1)
echo "needs glibc $glibc"
[ "$(printf '%s\n' "$glibc" $glibc_max | sort -V | tail -n 1)" = $glibc_max ] || {
    echo "that is more than Debian 12 has ($glibc_max)" >&2
    exit 1
}
emulated() { timeout 300 qemu-aarch64 -L "$root/usr/aarch64-linux-gnu" "$program" "$@"; }
emulated --version
emulated demo --check
sed "s|/usr/share/culvert/|$tree/etc/|" "$tree/etc/culvert.toml" >"$work/culvert.toml"
emulated check --config "$work/culvert.toml"

dpkg-deb --raw-extract "$deb" "$work/package"
install -m 755 "$program" "$work/package/usr/sbin/culvert"
sum=$(md5sum <"$program" | cut -d' ' -f1)
sed -i "s|^[0-9a-f]*  usr/sbin/culvert\$|$sum  usr/sbin/culvert|" "$work/package/DEBIAN/md5sums"
size=$(du -sk --apparent-size --exclude=DEBIAN "$work/package" | cut -f1)
sed -i -e 's/^Architecture: .*/Architecture: arm64/' -e "s/^Installed-Size: .*/Installed-Size: $size/" \
    -e "s/libc6 (>= [0-9.]*)/libc6 (>= $glibc)/" "$work/package/DEBIAN/control"
version=$(dpkg-deb --field "$deb" Version)
# times of the other package, so that two builds are equal
find "$work/package" -newermt "@$(stat -c %Y "$work/package/etc/culvert/culvert.toml")" \
    -exec touch --no-dereference --reference="$work/package/etc/culvert/culvert.toml" {} +
SOURCE_DATE_EPOCH=$(stat -c %Y "$work/package/etc/culvert/culvert.toml") \
    dpkg-deb --root-owner-group --build "$work/package" "$folder/culvert_${version}_arm64.deb"
