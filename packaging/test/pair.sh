#!/bin/sh
# Two relays, one address that keepalived moves, and a client that asks all the time: how many
# queries are lost when the address moves, and whether it moves at all when it has to.
#
#   CULVERT=target/debug/culvert packaging/test/pair.sh        (as root; about two minutes)
#
#     client 192.0.2.100 ─── bridge ──┬── a 192.0.2.11   relay, its upstream, keepalived
#                                     └── b 192.0.2.12   relay, its upstream, keepalived
#                                 192.0.2.53: on a or on b
#
# Everything is in network namespaces of its own. keepalived runs with etc/examples/keepalived.conf.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
culvert=$(realpath "${CULVERT:-$here/../../target/debug/culvert}")
tag=cv$$
vip=192.0.2.53
rate=500
tcp_rate=50
work=$(mktemp -d)
pids=""

# What may be lost, in seconds of the load. A planned move takes hundredths of a second, if the
# machine is not busy. Otherwise: fall x interval and the checks' time-outs (4 s), three times
# advert_int (1.5 s), and some for a busy machine.
planned=0.5
unplanned=7

say() { printf '%s\n' "$*"; }
fail() {
    say "FAIL: $*"
    tail -n 15 "$work"/*.log 2>/dev/null || true
    exit 1
}

clean() {
    status=$?
    trap - EXIT INT TERM
    for pid in $pids; do kill -CONT "$pid" 2>/dev/null || true; done
    for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
    for name in a b client net; do
        # keepalived's children go with their namespace
        for pid in $(ip netns pids "$tag-$name" 2>/dev/null); do
            kill -KILL "$pid" 2>/dev/null || true
        done
        ip netns del "$tag-$name" 2>/dev/null || true
    done
    rm -rf "$work"
    exit "$status"
}
trap clean EXIT
trap 'exit 1' INT TERM

tools() {
    command -v keepalived >/dev/null && command -v ip >/dev/null && return
    policy=/usr/sbin/policy-rc.d
    made=""
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
        made=1
    fi
    code=0
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -o DPkg::Lock::Timeout=200 install -y -qq \
        --no-install-recommends keepalived iproute2 >/dev/null || code=$?
    [ -z "$made" ] || rm -f "$policy"
    [ "$code" -eq 0 ] || fail "keepalived cannot be installed"
}

inside() {
    space=$1
    shift
    ip netns exec "$tag-$space" "$@"
}

# start NAME LOG COMMAND...: in the background, in a namespace; its pid is in $started
start() {
    space=$1 log=$2
    shift 2
    ip netns exec "$tag-$space" timeout -k 5 600 "$@" >> "$work/$log.log" 2>&1 &
    started=$!
    pids="$pids $started"
}

# child PID: the process that runs below timeout
child() {
    timeout 5 sh -c "until pgrep -P $1; do sleep 0.05; done" | head -1
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
    limit=$1 what=$2
    shift 2
    end=$(( $(date +%s) + limit ))
    until "$@"; do
        [ "$(date +%s)" -lt "$end" ] || fail "not within $limit s: $what"
        sleep 0.1
    done
}

network() {
    for name in a b client net; do
        ip netns add "$tag-$name"
        inside "$name" ip link set lo up
    done
    inside net ip link add br0 type bridge
    inside net ip link set br0 up
    for name in a b client; do
        inside net ip link add "to-$name" type veth peer name eth0 netns "$tag-$name"
        inside net ip link set "to-$name" master br0 up
        inside "$name" ip link set eth0 up
    done
    inside a ip address add 192.0.2.11/24 dev eth0
    inside b ip address add 192.0.2.12/24 dev eth0
    inside client ip address add 192.0.2.100/24 dev eth0
}

# configure SIDE ADDRESS PEER
configure() {
    mkdir -p "$work/$1/state"
    cat > "$work/$1/block.rpz" <<END
\$TTL 60
@ IN SOA localhost. root.localhost. 7 3600 600 86400 60
@ IN NS localhost.
blocked.culvert.test CNAME .
END
    cat > "$work/$1/culvert.toml" <<END
[server]
listen = ["interfaces:53", "$vip:53"]
allow = ["192.0.2.0/24", "127.0.0.0/8", "::1"]
state = "$work/$1/state"
control = "$work/$1/control.sock"
[log]
hits = "stderr"
[status]
listen = "$2:8053"
allow = ["$3"]
[[upstream]]
name = "service"
servers = ["127.0.0.9:5353"]
[[policy]]
zone = "test.culvert"
file = "block.rpz"
log = false
[canary]
resolves = ["canary.example.com"]
blocked = ["blocked.culvert.test"]
END
    sed -e "s,192\.0\.2\.11 .*,$2," -e "s,192\.0\.2\.12 .*,$3," \
        -e "s,/usr/sbin/culvert healthcheck,$culvert healthcheck --config $work/$1/culvert.toml," \
        "$here/../../etc/examples/keepalived.conf" > "$work/$1/keepalived.conf"
    chmod 600 "$work/$1/keepalived.conf"
}

# The pids of each side's servers are in files, by side.
run_relay() {
    start "$1" "relay-$1" "$culvert" run --config "$work/$1/culvert.toml"
    child "$started" > "$work/$1/relay.pid"
}

run_upstream() {
    start "$1" "upstream-$1" python3 "$here/answers.py" 127.0.0.9 5353
    child "$started" > "$work/$1/upstream.pid"
}

run_keepalived() {
    start "$1" "keepalived-$1" keepalived --dont-fork --log-console --log-detail --vrrp \
        --use-file "$work/$1/keepalived.conf" --pid "$work/$1/k.pid" --vrrp_pid "$work/$1/v.pid"
    child "$started" > "$work/$1/keepalived.pid"
}

of() { cat "$work/$1/$2.pid"; }

healthy() { inside "$1" "$culvert" healthcheck --quiet --config "$work/$1/culvert.toml"; }

has() { inside "$1" ip -4 address show dev eth0 | grep -q "inet $vip/"; }
only() { has "$1" && ! has "$(other "$1")"; }
settled() { only a || only b; }
holder() { if has a; then echo a; else echo b; fi; }
other() { if [ "$1" = a ]; then echo b; else echo a; fi; }

# load NAME: UDP and TCP until $work/NAME.stop is there
load() {
    for mode in udp tcp; do
        each=$rate flag=""
        if [ "$mode" = tcp ]; then each=$tcp_rate flag=--tcp; fi
        # shellcheck disable=SC2086  # no flag is no argument
        inside client timeout -k 5 120 python3 "$here/dnsload.py" "$vip" --rate "$each" $flag \
            --until "$work/$1.stop" > "$work/$1.$mode" 2>> "$work/load.log" &
        eval "$mode=$!"
        pids="$pids $!"
    done
}

value() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }

# judge NAME SECONDS: what was lost is no more than SECONDS of the load
judge() {
    touch "$work/$1.stop"
    # shellcheck disable=SC2154  # set by load
    wait "$udp" "$tcp" || fail "$1: the load did not end well"
    for mode in udp tcp; do
        file=$work/$1.$mode
        lost=$(( $(value "$file" lost) + $(value "$file" failed) ))
        say "  $mode: $(value "$file" sent) sent, $(value "$file" lost) lost," \
            "$(value "$file" failed) failed, in $(value "$file" outage_s) s;" \
            "slowest $(value "$file" slowest_ms) ms"
        each=$rate
        if [ "$mode" = tcp ]; then each=$tcp_rate; fi
        most=$(python3 -c "print(int($2 * $each) + 1)")
        [ "$(value "$file" answered)" -gt $(( each * 2 )) ] || fail "$1: $mode was hardly answered"
        [ "$lost" -le "$most" ] || fail "$1: $lost $mode queries lost or failed; $most allowed"
        [ "$(value "$file" strange)" -eq 0 ] || fail "$1: answers from another address"
    done
}

# moves NAME SECONDS COMMAND...: the address moves away from its holder after COMMAND HOLDER
moves() {
    name=$1 most=$2
    shift 2
    from=$(holder)
    load "$name"
    sleep 2
    say "$name (from $from)"
    "$@" "$from"
    wait_for 30 "$vip moves to $(other "$from")" only "$(other "$from")"
    sleep 2
    judge "$name" "$most"
}

stop_keepalived() { kill -TERM "$(of "$1" keepalived)"; }
kill_relay() { kill -KILL "$(of "$1" relay)"; }
silence_upstream() { kill -STOP "$(of "$1" upstream)"; }

stays() {
    sleep 6
    only "$1" || fail "$vip left $1, which was fit to serve"
}

compare() {
    inside a timeout 20 "$culvert" pair compare 192.0.2.12 --config "$work/a/culvert.toml"
}

[ "$(id -u)" -eq 0 ] || fail "network namespaces and keepalived need root"
[ -x "$culvert" ] || fail "no program at $culvert; set CULVERT"
tools
network
configure a 192.0.2.11 192.0.2.12
configure b 192.0.2.12 192.0.2.11
for side in a b; do
    run_upstream "$side"
    run_relay "$side"
done
for side in a b; do wait_for 20 "the relay on $side is healthy" healthy "$side"; done

say "the two relays side by side, from a"
compare || fail "they should agree"
code=$(inside client timeout 20 python3 - <<'END'
import urllib.error, urllib.request
try:
    print(urllib.request.urlopen("http://192.0.2.12:8053/status", timeout=5).status)
except urllib.error.HTTPError as error:
    print(error.code)
END
)
[ "$code" = 403 ] || fail "a client that status.allow does not name gets HTTP $code"

for side in a b; do run_keepalived "$side"; done
wait_for 30 "one of them has $vip" settled
sleep 4
settled || fail "$vip is on both"

from=$(holder)
moves "planned move: keepalived stops" "$planned" stop_keepalived
run_keepalived "$from"
stays "$(other "$from")"

from=$(holder)
moves "the relay is killed and not restarted" "$unplanned" kill_relay
run_relay "$from"
wait_for 20 "the relay on $from is healthy" healthy "$from"
stays "$(other "$from")"

from=$(holder)
moves "the upstream of one relay falls silent" "$unplanned" silence_upstream
silence_upstream "$(other "$from")"
say "both upstreams are silent: the address stays"
sleep 8
settled || fail "nobody has $vip, or both"
say "pair: all is well"
