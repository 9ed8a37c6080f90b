#!/bin/bash
# The AppArmor profile of the package, enforced by Debian's own kernel: qemu boots the root with
# the package in it, and the service lives there. Prints what the guest says; 15 minutes at most.
#   apparmor.sh ROOT PACKAGE.deb
# ROOT comes from root.sh SUITE apparmor linux-image-cloud-amd64 bind9 bind9-dnsutils iproute2.
# Needs root, qemu-system-x86, e2fsprogs, openssl, systemd-container; KVM is not needed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$1 deb=$(readlink -f "$2")
work=$(mktemp -d)
finish() {
    [ -z "${qemu:-}" ] || kill "$qemu" 2>/dev/null || true
    if mountpoint -q "$work/root"; then umount "$work/root"; fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

mkdir "$work/root" "$work/upper" "$work/overlay"
mount -t overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/overlay" overlay "$work/root"
test=$work/root/opt/test
mkdir -p "$test"
cp "$deb" "$test/culvert.deb"
"$here/next-version.sh" "$deb" "$test/next.deb"
cp "$here/checks.sh" "$here/apparmor-guest.sh" "$test/"
"$here/backend.sh" "$test/backend" 1000
sed -i "s|$test/backend|/opt/test/backend|" "$test/backend/named.conf"
# other profiles cost minutes at boot: only the one of the package is looked at
find "$work/root/etc/apparmor.d" -maxdepth 1 -type f -delete
systemd-nspawn --quiet --directory="$work/root" --register=no --keep-unit --pipe \
    dpkg --install /opt/test/culvert.deb </dev/null >"$work/install" 2>&1 || {
    cat "$work/install"
    exit 1
}
cat >"$work/root/etc/systemd/system/backend.service" <<'UNIT'
[Service]
ExecStart=/usr/sbin/named -f -c /opt/test/backend/named.conf
UNIT
cat >"$work/root/etc/systemd/system/guest.service" <<'UNIT'
[Unit]
Wants=backend.service
After=culvert.service
[Service]
ExecStart=/bin/bash /opt/test/apparmor-guest.sh
StandardOutput=file:/dev/ttyS1
UNIT
system=$work/root/etc/systemd/system
mkdir -p "$system/multi-user.target.wants"
ln -s ../guest.service "$system/multi-user.target.wants/"
for unused in named e2scrub_reap systemd-networkd-wait-online; do
    ln -sf /dev/null "$system/$unused.service"
done
ln -sf /dev/null "$system/timers.target"
echo '/dev/vda / ext4 rw 0 1' >"$work/root/etc/fstab"
cp "$work/root"/boot/vmlinuz-* "$work/kernel"
cp "$work/root"/boot/initrd.img-* "$work/initrd"
mke2fs -q -t ext4 -d "$work/root" "$work/disk" 3G >/dev/null
umount "$work/root"

# Denials are told one by one: without the limits of the kernel's log.
timeout --kill-after=5 900 qemu-system-x86_64 -machine pc,accel=tcg -cpu max -smp 1 -m 1024 \
    -display none -monitor none -nic none -no-reboot \
    -kernel "$work/kernel" -initrd "$work/initrd" \
    -append "root=/dev/vda rw console=ttyS0 quiet sysctl.kernel.printk_ratelimit=0 \
lsm=lockdown,yama,apparmor systemd.getty_auto=no systemd.show_status=no" \
    -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" \
    -serial "file:$work/console" -serial "file:$work/result" </dev/null &
qemu=$!
touch "$work/result"
tail -n +1 --follow --pid="$qemu" "$work/result" | sed -u 's/\r$//' &
told=$!
wait "$qemu" || true
qemu=
wait "$told"
[ -z "${CONSOLE:-}" ] || cp "$work/console" "$CONSOLE"
grep -q '^all is well' "$work/result" || {
    echo "-- the end of the guest's console"
    tail -n 60 "$work/console" | tr -d '\r'
    exit 1
}
