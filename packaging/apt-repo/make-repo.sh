#!/bin/sh
# Makes a signed apt repository of the packages in a folder, with Debian's apt-ftparchive.
#   make-repo.sh FOLDER KEY [URL]
#
#   FOLDER   holds pool/main/*.deb; gets dists/stable, culvert-archive.pgp and culvert.sources
#   KEY      secret key of the archive in gpg's key ring: fingerprint or address (GNUPGHOME)
#   URL      where FOLDER is served; written into culvert.sources
#
# Packages of older versions may stay in pool/main: apt takes the newest. Run it again after
# every change there. Nothing is served half-made: the new dists takes the old one's place.
# Clients:   cp culvert-archive.pgp /etc/apt/keyrings/
#            cp culvert.sources /etc/apt/sources.list.d/
#            apt update && apt install culvert
# Needs apt-utils, gpg, xz-utils.
set -eu
cd "$1"
key=$2
url=${3:-https://packages.culvert.example/debian}
ls pool/main/*.deb >/dev/null
new=$(mktemp -d -p .)
chmod 755 "$new"
trap 'rm -rf "$new"' EXIT INT TERM

for arch in amd64 arm64; do
    part=$new/stable/main/binary-$arch
    mkdir -p "$part"
    apt-ftparchive --arch "$arch" packages pool/main >"$part/Packages"
    xz --keep "$part/Packages"
done
listed=$(cat "$new"/stable/main/binary-*/Packages | grep -c '^Package: ') || true
there=$(find pool/main -name '*.deb' | wc -l)
if [ "$listed" != "$there" ]; then
    echo "$there packages are in pool/main, $listed are listed: names must end in" \
        "_amd64.deb or _arm64.deb" >&2
    exit 1
fi
apt-ftparchive \
    -o APT::FTPArchive::Release::Origin=Culvert \
    -o APT::FTPArchive::Release::Label=Culvert \
    -o APT::FTPArchive::Release::Suite=stable \
    -o APT::FTPArchive::Release::Codename=stable \
    -o APT::FTPArchive::Release::Components=main \
    -o APT::FTPArchive::Release::Architectures="amd64 arm64" \
    -o APT::FTPArchive::Release::Acquire-By-Hash=no \
    release "$new/stable" >"$new/Release"
mv "$new/Release" "$new/stable/Release"
gpg --batch --yes --local-user "$key" --clearsign --output "$new/stable/InRelease" \
    "$new/stable/Release"
gpg --batch --yes --local-user "$key" --armor --detach-sign --output "$new/stable/Release.gpg" \
    "$new/stable/Release"

gpg --batch --yes --output culvert-archive.pgp --export "$key"
cat >culvert.sources <<END_OF_SOURCES
Types: deb
URIs: $url
Suites: stable
Components: main
Signed-By: /etc/apt/keyrings/culvert-archive.pgp
END_OF_SOURCES
rm -rf dists.old
[ ! -e dists ] || mv dists dists.old
mv "$new" dists
rm -rf dists.old
trap - EXIT INT TERM
