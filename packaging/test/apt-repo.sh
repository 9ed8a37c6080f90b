#!/bin/bash
# The way of most machines: a signed repository, apt install, later apt upgrade; and that a changed
# package or a wrong signature is refused. Everything in a box, with a throw-away key.
#   apt-repo.sh ROOT PACKAGE.deb
# ROOT comes from root.sh. Needs root, apt-utils, gpg, python3. Two minutes at most.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/box.sh"
. "$here/checks.sh"
root=$1 deb=$(readlink -f "$2")
work=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null
    box_halt
    GNUPGHOME=$work/key gpgconf --kill all 2>/dev/null
    rm -rf "$work" "$checks_out"
}
trap finish EXIT
trap 'exit 1' INT TERM

export GNUPGHOME=$work/key
mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key throw-away@culvert.example ed25519 sign 1d \
    2>/dev/null || exit 1
repository=$work/repository
make_repository() {
    "$here/../apt-repo/make-repo.sh" "$repository" throw-away@culvert.example \
        http://127.0.0.1:8080 >"$work/made" 2>&1 || cat "$work/made"
}
apt() {
    box env DEBIAN_FRONTEND=noninteractive timeout 60 apt-get -y --no-install-recommends \
        -o Dpkg::Use-Pty=0 "$@"
}
version() { box dpkg-query -W -f '${Version}' culvert; }
active() { box systemctl is-active culvert.service; }
answers() { box_net dig +time=3 +tries=1 +short @127.0.0.1 localhost; }

mkdir -p "$repository/pool/main"
arch=$(dpkg-deb --field "$deb" Architecture)
cp "$deb" "$repository/pool/main/culvert_first_$arch.deb"
make_repository
BOX_LOG=$work/console box_boot "$root" || {
    cat "$work/console"
    exit 1
}
echo "     Debian $(box cat /etc/debian_version), $(box apt-get --version | head -n 1)"
# no other sources: the box has no way out
box sh -c 'rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* && mkdir -p /etc/apt/keyrings'
box_net_exec python3 -m http.server --bind 127.0.0.1 --directory "$repository" 8080 \
    >"$work/requests" 2>&1 &
server=$!
wait_for 10 box_net python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8080))'

title "install"
box sh -c 'cat >/etc/apt/sources.list.d/culvert.sources' <"$repository/culvert.sources"
check "without the key apt refuses the repository" not apt update --error-on=any
box sh -c 'cat >/etc/apt/keyrings/culvert-archive.pgp' <"$repository/culvert-archive.pgp"
check "with it, it has nothing to complain about" apt update --error-on=any
check "apt install culvert" apt install culvert
first=$(version)
check "the service is active" wait_for 20 active
check "and answers" wait_for 20 says '^127\.0\.0\.1$' answers
check "nothing to upgrade" says '^0 upgraded' apt upgrade

title "upgrade"
"$here/next-version.sh" "$deb" "$work/next.deb"
cp "$work/next.deb" "$repository/pool/main/culvert_next_$arch.deb"
make_repository
check "apt update" apt update --error-on=any
check "apt upgrade takes the next version" says '^1 upgraded' apt upgrade
check "it is installed" [ "$(version)" = "$first+next" ]
check "the service is active" wait_for 20 active
check "and answers" wait_for 20 says '^127\.0\.0\.1$' answers

title "faults"
"$here/next-version.sh" "$work/next.deb" "$repository/pool/main/culvert_next_$arch.deb"
check "a package that the repository does not name is not taken" \
    says '^0 upgraded' apt upgrade
make_repository
check "apt update" apt update --error-on=any
echo more >>"$repository/pool/main/culvert_next_$arch.deb"
check "a package that was changed is refused" not apt upgrade
check "the version stays" [ "$(version)" = "$first+next" ]
sed -i 's/^Suite: stable/Suite: other/' "$repository/dists/stable/InRelease"
# HTTP has whole seconds: what changes in the same one looks unchanged
touch -d '1 minute' "$repository/dists/stable/InRelease"
check "a list with a wrong signature is refused" not apt update --error-on=any
summary
