#!/bin/bash
# The package in a clean Debian that boots a real systemd: install, serve, reload, crash, restart
# and upgrade under load, faulty configurations, remove, purge. Every answer is counted.
#   e2e.sh ROOT PACKAGE.deb
# ROOT comes from root.sh. Needs root, bind9 (the backend), bind9-dnsutils, python3, openssl.
# RULES: rules of the transferred zone that every restart has to bring back (default 100000).
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/box.sh"
. "$here/checks.sh"
root=$1 old=$(readlink -f "$2")
rules=${RULES:-100000}
loads=0
work=$(mktemp -d)
jobs_of_ours=
finish() {
    # shellcheck disable=SC2086
    [ -z "$jobs_of_ours" ] || kill $jobs_of_ours 2>/dev/null
    box_halt
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

dig() { box_net dig +time=3 +tries=1 "$@"; }
unit() { box systemctl show -P "$1" culvert.service; }
apt() { box env DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@"; }
# What a package could leave behind.
tree() {
    box find /etc /usr /var /opt /run/systemd/system -xdev \
        \( -path /var/cache -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/log/apt \
        -o -path /var/log/journal -o -path /var/log/dpkg.log -o -path /var/log/alternatives.log \
        -o -path /var/lib/systemd -o -path /var/tmp -o -path /usr/share/man \) \
        -prune -o -print | sort
    box cut -d: -f1 /etc/passwd | sed 's/^/user /'
    box cut -d: -f1 /etc/group | sed 's/^/group /'
}

leftovers() {
    grep -Evx '(user|group) _culvert|group culvert' "$work/after" | diff "$work/before" -
}

# state of the service, and how often it was started again, once that would have been seen
once() {
    sleep 2
    echo "$(unit ActiveState) $(unit NRestarts)"
}

# load TEXT COMMAND...: the command under 500 UDP queries and 100 TCP connections a second.
# Every query asks for a name of its own, so that each one goes over DoH.
# Sets load_udp and load_tcp to what was not answered well.
load() {
    local text=$1 udp tcp
    shift
    rm -f "$work/done"
    loads=$((loads + 1))
    box_net_exec python3 "$here/dnsload.py" 127.0.0.1 --suffix "load$loads.lab.example" \
        --rate 500 --seconds 90 --until "$work/done" >"$work/udp" &
    udp=$!
    box_net_exec python3 "$here/dnsload.py" 127.0.0.1 --suffix "tcp$loads.lab.example" \
        --tcp --rate 100 --seconds 90 --until "$work/done" >"$work/tcp" &
    tcp=$!
    jobs_of_ours="$jobs_of_ours $udp $tcp"
    sleep 1
    check "$text" "$@"
    sleep 1
    touch "$work/done"
    wait "$udp" "$tcp"
    load_udp=$(lost "$work/udp") load_tcp=$(lost "$work/tcp")
    echo "     UDP $(cat "$work/udp")"
    echo "     TCP $(cat "$work/tcp")"
}
lost() { python3 -c 'import json, sys
told = json.load(open(sys.argv[1])); print(sum(told[key] for key in ("lost", "failed", "strange")))' "$1" 2>/dev/null || echo all; }

title "boot"
# a later version of the same program: only its number differs
new=$work/debs/new.deb
mkdir "$work/debs"
"$here/next-version.sh" "$old" "$new" || exit 1
cp "$old" "$work/debs/old.deb"
BOX_LOG=$work/console box_boot "$root" --bind-ro="$work/debs:/debs" || {
    cat "$work/console"
    exit 1
}
echo "     Debian $(box cat /etc/debian_version), $(box systemctl --version | head -n 1)"
box_net ip link add lan0 type veth peer name lan1
box_net ip link set lan1 up
box_net ip addr add 192.168.7.1/24 dev lan0
box_net ip link set lan0 up
box useradd commander
box useradd stranger
tree >"$work/before"

title "install"
check "apt install, no question asked" apt install /debs/old.deb
check "the service is active" box systemctl is-active culvert.service
check "and enabled" box systemctl is-enabled culvert.service
apt remove culvert >/dev/null 2>&1
check "removed and installed again, without anything of its own" apt install /debs/old.deb
check "it is active" box systemctl is-active culvert.service
check "no unit has failed" not says . box systemctl --failed --no-legend
check "apt remove" apt remove culvert
check "and again apt install" apt install /debs/old.deb
check "it is active again" wait_for 10 box systemctl is-active culvert.service
box systemctl stop culvert.service
check "an upgrade while it is stopped" apt install --reinstall /debs/old.deb
check "does not start it" says '^inactive$' box systemctl is-active culvert.service
box systemctl start culvert.service
check "it answers over UDP" says '^127\.0\.0\.1$' dig +short @127.0.0.1 localhost
check "it answers over TCP" says '^127\.0\.0\.1$' dig +tcp +short @127.0.0.1 localhost
check "it answers on the LAN's address" says '^127\.0\.0\.1$' dig +short @192.168.7.1 localhost
check "it blocks the test name, and says so" \
    says 'NXDOMAIN|EDE: 15' dig @127.0.0.1 blocked.culvert.test
check "systemctl status says what is served" says '[0-9]+ rules?' unit StatusText
check "the sockets are in systemd's store" says '^[1-9]' unit NFileDescriptorStore
check "the watchdog watches" says '^30s|30000000' unit WatchdogUSec
pid=$(unit MainPID)
check "it is not root" says '^_culvert$' box stat -c %U "/proc/$pid"
check "it has one capability" says '0000000000000400' box grep CapEff "/proc/$pid/status"
check "system calls are filtered" says '2' box grep '^Seccomp:' "/proc/$pid/status"
check "the configuration is not for everybody" \
    says '^640:root:_culvert$' box stat -c %a:%U:%G /etc/culvert/culvert.toml
check "the state is the relay's own" says '^700' box stat -c %a /var/lib/culvert

title "configure"
"$here/backend.sh" "$work/backend" "$rules" || exit 1
box_net_exec named -g -c "$work/backend/named.conf" >"$work/backend/log" 2>&1 &
jobs_of_ours="$jobs_of_ours $!"
wait_for 20 dig @127.0.0.1 -p 5355 q1.lab.example || cat "$work/backend/log"
box mkdir -p /etc/culvert/keys
box sh -c 'cat >/etc/culvert/keys/ca.pem' <"$work/backend/ca.pem"
box chgrp _culvert /etc/culvert/keys/ca.pem
box chmod 640 /etc/culvert/keys/ca.pem
check "culvert init writes the site's file" box culvert init --yes \
    --url https://doh.lab.example:8443/dns-query --address 127.0.0.1:8443 \
    --ca /etc/culvert/keys/ca.pem --network 192.168.7.0/24
box sh -c 'cat >/etc/culvert/culvert.d/20-test.toml' <<'END'
[[policy]]
zone = "big.policy"
primaries = ["127.0.0.1:5355"]
[canary]
resolves = ["q1.lab.example"]
END
check "reload" box systemctl reload culvert.service
check "reload keeps the process" [ "$(unit MainPID)" = "$pid" ]
check "answers come over DoH" wait_for 60 says '^10\.0\.0\.1$' dig +short @127.0.0.1 q1.lab.example
check "the zone of $rules rules is transferred" \
    wait_for 60 says 'EDE: 15' dig @127.0.0.1 "n$((rules - 1)).lab.example"
check "and its copy is written" wait_for 30 says 'big.policy' box ls /var/lib/culvert/zones
check "healthcheck is content" box culvert healthcheck

title "doors"
check "root asks for the status" says 'big.policy' box culvert status
box gpasswd --add commander culvert
check "a member of the group culvert, too" \
    says 'big.policy' box setpriv --reuid=commander --regid=commander --init-groups culvert status
check "nobody else" \
    not box setpriv --reuid=stranger --regid=stranger --init-groups culvert status

title "under load"
load "reload" box systemctl reload culvert.service
check "no query lost" [ "$load_udp/$load_tcp" = 0/0 ]
load "restart" box systemctl restart culvert.service
check "no query lost" [ "$load_udp/$load_tcp" = 0/0 ]
check "another process answers now" [ "$(unit MainPID)" != "$pid" ]
check "the zone was in force at once" \
    says 'EDE: 15' dig @127.0.0.1 "n$((rules - 1)).lab.example"
other() {
    local now
    now=$(unit MainPID)
    [ "$now" != "$1" ] && [ "$now" != 0 ] && box systemctl is-active culvert.service
}
# a minimal Debian has no program kill, but its shell can
crash() {
    local before
    before=$(unit MainPID)
    box bash -c "kill -9 $before" && wait_for 10 other "$before"
}
load "kill -9" crash
check "lost is at most what was being answered" [ "$load_udp" -le 8 -a "$load_tcp" -le 4 ]
pid=$(unit MainPID)
box sh -c "echo '# local change' >>/etc/culvert/culvert.toml"
load "apt upgrade" apt install /debs/new.deb
check "no query lost" [ "$load_udp/$load_tcp" = 0/0 ]
check "the new version is installed" says '\+next' box dpkg-query -W culvert
check "and another process answers" other "$pid"
check "the local change is kept" box grep -q 'local change' /etc/culvert/culvert.toml

title "faults of the operator"
pid=$(unit MainPID)
box sh -c "echo 'lisen = 1' >/etc/culvert/culvert.d/99-fault.toml"
check "reload refuses a faulty configuration" not box systemctl reload culvert.service
check "and names file, line and key" \
    says '99-fault.toml:1.*lisen' box journalctl -u culvert -n 50 --no-pager -o cat
check "the relay goes on" [ "$(unit MainPID)" = "$pid" ]
check "an upgrade with it does not fail" apt install --reinstall --allow-downgrades /debs/old.deb
check "and the relay goes on" [ "$(unit MainPID)" = "$pid" ]
check "and answers" says '^10\.0\.0\.1$' dig +short @127.0.0.1 q1.lab.example
check "a restart with it fails" not box systemctl restart culvert.service
check "once, and is not tried again" says '^failed 0$' once
box rm /etc/culvert/culvert.d/99-fault.toml
check "corrected, it restarts" box systemctl restart culvert.service

title "port 53 is taken"
box systemctl stop culvert.service
check "stopped, it listens nowhere" not dig @127.0.0.1 localhost
box systemd-run --quiet --unit=squatter perl -MSocket=:all -e '
    socket(S, PF_INET6, SOCK_DGRAM, 0) && bind(S, pack_sockaddr_in6(53, inet_pton(AF_INET6, "::"))) or die;
    sleep 600'
wait_for 10 says ':53 ' box_net ss -lun
check "then it does not start" not box systemctl start culvert.service
check "and names the unit that has the port" \
    says 'squatter\.service' box journalctl -u culvert -n 20 --no-pager -o cat
box systemctl stop squatter.service
box systemctl reset-failed culvert.service
check "the port is free again: it starts" box systemctl start culvert.service

title "the machine's own resolver"
box cat /etc/resolv.conf >"$work/resolv.before" 2>/dev/null
check "culvert resolver set" box culvert resolver set
check "programs of the machine ask the relay" \
    says '^10\.0\.0\.1 ' box getent ahostsv4 q2.lab.example
check "culvert resolver unset puts back what was there" box culvert resolver unset
box cat /etc/resolv.conf >"$work/resolv.after" 2>/dev/null
check "to the letter" cmp "$work/resolv.before" "$work/resolv.after"
box culvert resolver set >/dev/null 2>&1

title "tests for autopkgtest"
for script in $(sed -n 's/^Tests: //p' "$here/../../debian/tests/control"); do
    box sh -c 'cat >/root/test && chmod 755 /root/test' <"$here/../../debian/tests/$script"
    check "debian/tests/$script" box env AUTOPKGTEST_TMP=/tmp /root/test
    box rm /root/test
done

title "remove and purge"
check "apt remove" apt remove culvert
check "it is stopped" not box systemctl is-active culvert.service
check "the configuration stays" box test -e /etc/culvert/culvert.toml
check "the machine's resolver is as it was" \
    sh -c "nsenter -t $BOX_LEADER -a -- cat /etc/resolv.conf | cmp - '$work/resolv.before'"
check "apt purge" apt purge culvert
tree >"$work/after"
check "nothing is left but the locked user and the group" \
    leftovers
check "the user is locked" says '^!' box sed -n 's/^_culvert:\([^:]*\):.*/\1/p' /etc/shadow
summary
