#!/bin/bash
# What a release has to pass beside package.sh; docs/RELEASING.md says what each step is for.
#   release.sh FOLDER        the folder that holds the package; the one for arm64 is put there, too
# Needs root, 10 GB of disk and Debian's mirror. About an hour on two cores: three of the steps
# build the program. STEPS="lint apparmor" takes some of: lint apparmor apt-repo piuparts arm64
# reproducible. A step that fails does not stop the others.
set -u
here=$(cd "$(dirname "$0")" && pwd)
shopt -s nullglob
packages=("$1"/culvert_*_amd64.deb)
[ "${#packages[@]}" = 1 ] || {
    echo "$1 holds ${#packages[@]} packages for amd64, not one" >&2
    exit 1
}
deb=$(readlink -f "${packages[0]}")
"$here/../../tests/install-tools" qemu-system-x86 e2fsprogs apt-utils gpg xz-utils piuparts \
    qemu-user binutils lintian mmdebstrap systemd-container openssl python3 bind9-dnsutils git ||
    exit 1
steps=${STEPS:-lint apparmor apt-repo piuparts arm64 reproducible}
verdicts=""
step() { # step NAME COMMAND...
    local name=$1 started=$SECONDS verdict=ok
    shift
    echo "== $name"
    "$@" || verdict=FAILED
    verdicts="$verdicts$verdict $name, $((SECONDS - started)) s"$'\n'
}
wanted() { case " $steps " in *" $1 "*) ;; *) return 1 ;; esac; }
# with_root SCRIPT "SUITE PACKAGE..." ARGUMENT...: the script with the root as first argument
with_root() {
    local script=$1 root
    # shellcheck disable=SC2086  # a list of words is what is meant
    root=$("$here/root.sh" $2) || return 1
    shift 2
    "$here/$script" "$root" "$@"
}

kernel="apparmor linux-image-cloud-amd64 bind9 bind9-dnsutils iproute2"
wanted lint && step "lintian of Debian 13" with_root lint.sh "trixie lintian" "$1"/culvert*_amd64.deb
for suite in bookworm trixie; do
    wanted apparmor && step "AppArmor on the kernel of $suite" \
        with_root apparmor.sh "$suite $kernel" "$deb"
    wanted apt-repo && step "apt repository, $suite" \
        with_root apt-repo.sh "$suite bind9-dnsutils iproute2" "$deb"
    wanted piuparts && step "piuparts, $suite" "$here/piuparts.sh" "$suite" "$deb"
done
wanted arm64 && step "package for arm64" "$here/arm64.sh" "$deb" "$1"
wanted reproducible && step "two builds are equal" "$here/reproducible.sh"
echo "== result"
printf '%s' "$verdicts"
case $verdicts in *FAILED*) exit 1 ;; esac
