#!/bin/bash
# The part of apparmor.sh that runs in the guest, on a kernel that enforces profiles. The service
# does everything that it does in its life; the kernel must not have denied anything.
set -u
. /opt/test/checks.sh
unit() { systemctl show -P "$1" culvert.service; }
ask() { dig +time=10 +tries=2 "$@"; }
# by policy: NXDOMAIN alone is what every name without a backend gets under .invalid
blocked() { says 'EDE: 15' ask "@127.0.0.1" "$1"; }
confined() { says '^culvert \(enforce\)$' cat "/proc/$(unit MainPID)/attr/current"; }
other() { [ "$(unit MainPID)" != "$1" ] && [ "$(unit MainPID)" != 0 ] && systemctl is-active culvert; }
journal() { journalctl -u culvert --no-pager -o cat -n "${1:-1000}"; }
http() { # http PATH
    exec 3<>/dev/tcp/127.0.0.1/8053 || return 1
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$1" >&3
    cat <&3
    exec 3>&-
}
# The kernel tells on its log what it refused, with or without audit's socket.
denied() {
    { dmesg; journalctl --no-pager -o cat _TRANSPORT=audit; } |
        grep -E 'apparmor="DENIED".*profile="culvert'
}
none_denied() { ! denied; }

title "boot"
echo "     Debian $(cat /etc/debian_version), Linux $(uname -r)"
check "the kernel has AppArmor" says '^Y' cat /sys/module/apparmor/parameters/enabled
check "the profile is loaded" grep -q '^culvert (enforce)$' /sys/kernel/security/apparmor/profiles
check "the service is active" wait_for 120 systemctl is-active culvert.service
check "and confined by it" confined
check "it answers over UDP" wait_for 60 says '^127\.0\.0\.1$' ask +short @127.0.0.1 localhost
check "it answers over TCP" says '^127\.0\.0\.1$' ask +tcp +short @127.0.0.1 localhost
check "it answers over IPv6" says '^127\.0\.0\.1$' ask +short @::1 localhost
check "it blocks the test name" blocked blocked.culvert.test
check "and says so in the journal" wait_for 30 says 'blocked\.culvert\.test' journal
ip link add lan0 type dummy
ip address add 192.168.7.1/24 dev lan0
ip link set lan0 up
check "it answers on an address that came later" \
    wait_for 60 says '^127\.0\.0\.1$' ask +short @192.168.7.1 localhost
check "the control socket is for the group culvert" \
    says '^_culvert:culvert 660$' stat -c '%U:%G %a' /run/culvert/control.sock
check "metrics over HTTP" says '^culvert_' http /metrics
check "nothing was denied" none_denied

title "backend, policy and logs"
check "the backend is there" wait_for 60 says '^10\.0\.0\.1$' \
    ask +short @127.0.0.1 -p 5355 q1.lab.example
cp /opt/test/backend/ca.pem /etc/culvert/keys/ca.pem
chgrp _culvert /etc/culvert/keys/ca.pem
chmod 640 /etc/culvert/keys/ca.pem
cat >/etc/culvert/culvert.d/20-test.toml <<'TOML'
[[upstream]]
name = "service"
url = "https://doh.lab.example:8443/dns-query"
addresses = ["127.0.0.1:8443"]
ca = "/etc/culvert/keys/ca.pem"
[[policy]]
zone = "big.policy"
primaries = ["127.0.0.1:5355"]
[[policy]]
zone = "own.test"
file = "own.rpz"
[log]
hits = "/var/log/culvert/hits.log"
TOML
cat >/etc/culvert/own.rpz <<'ZONE'
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
own.invalid CNAME .
ZONE
pid=$(unit MainPID)
check "reload" systemctl reload culvert.service
check "reload keeps the process" [ "$(unit MainPID)" = "$pid" ]
check "answers come over HTTPS" \
    wait_for 60 says '^10\.0\.0\.1$' ask +short @127.0.0.1 q1.lab.example
check "a zone comes by transfer" \
    wait_for 60 blocked n9.lab.example
check "its copy is written" wait_for 60 says 'big\.policy' ls /var/lib/culvert/zones
check "a zone's file in /etc/culvert is read" blocked own.invalid
check "a name blocked by hand" culvert block by-hand.invalid --reason test
check "is blocked" blocked by-hand.invalid
check "root asks for the status" says 'big\.policy' culvert status
check "nothing was denied" none_denied

title "restarts"
pid=$(unit MainPID)
check "restart" systemctl restart culvert.service
check "another process answers" other "$pid"
check "confined" confined
check "the transferred zone is in force" blocked n9.lab.example
check "and what was blocked by hand" blocked by-hand.invalid
check "hits go to a file now" wait_for 30 grep -q by-hand.invalid /var/log/culvert/hits.log
check "answers come over HTTPS" \
    wait_for 60 says '^10\.0\.0\.1$' ask +short @127.0.0.1 q2.lab.example
pid=$(unit MainPID)
kill -9 "$pid"
check "after kill -9 another process comes" wait_for 60 other "$pid"
check "confined" confined
check "and answers" wait_for 60 says '^127\.0\.0\.1$' ask +short @127.0.0.1 localhost
systemctl stop culvert.service
cat >/opt/test/squatter.pl <<'PERL'
use Socket;
socket(S, PF_INET, SOCK_DGRAM, 0) && bind(S, pack_sockaddr_in(53, INADDR_ANY)) or die $!;
sleep 600;
PERL
systemd-run --quiet --unit=squatter perl /opt/test/squatter.pl
wait_for 30 says ':53 ' ss -lun
systemctl start culvert.service
check "with port 53 taken it names the unit that has it" says 'squatter\.service' journal 20
systemctl stop squatter.service culvert.service
# a socket that belongs to no unit: then the daemon looks through /proc, as far as it sees that
bash -c 'echo $$ >/sys/fs/cgroup/cgroup.procs && exec perl /opt/test/squatter.pl' &
squatter=$!
wait_for 30 says ':53 ' ss -lun
systemctl start culvert.service
check "and says so if that is in no unit" says 'not listening.*0\.0\.0\.0:53' journal 15
kill "$squatter"
systemctl stop culvert.service
systemctl reset-failed culvert.service
check "nothing was denied" none_denied

title "upgrade and a new installation"
check "a start before the upgrade" systemctl start culvert.service
pid=$(unit MainPID)
check "dpkg --install of the next version" dpkg --install /opt/test/next.deb
check "another process answers" wait_for 60 other "$pid"
check "confined" confined
check "dpkg --purge" dpkg --purge culvert
check "it is stopped" not systemctl is-active culvert.service
check "dpkg --install" dpkg --install /opt/test/culvert.deb
check "the service is active" wait_for 60 systemctl is-active culvert.service
check "and confined" confined
check "it answers" wait_for 60 says '^127\.0\.0\.1$' ask +short @127.0.0.1 localhost
check "nothing was denied" none_denied

title "the test itself"
echo secret >/root/secret
check "a file of somebody else is denied to the profile" \
    not systemd-run --quiet --wait --pipe -p AppArmorProfile=culvert culvert check-zone /root/secret
check "and the denial is seen" denied
journalctl --no-pager -u culvert -u backend >/dev/ttyS0
summary && echo "all is well"
systemctl poweroff --force
