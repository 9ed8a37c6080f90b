# A box: a Debian root with a real systemd as PID 1 and a network of its own. Source this file.
#
#   box_boot ROOT [systemd-nspawn options]   boots, sets BOX_LEADER; what changes is thrown away
#   box COMMAND...                           runs a command of the box inside
#   box_net COMMAND...                       runs a command of this machine in the box's network
#   box_net_exec COMMAND... &                the same in the background: $! is the command itself
#   box_halt                                 powers off, within 20 s
#
# Needs root, systemd-container, util-linux and procps. Where this machine is booted with the
# older control groups the box gets the newer ones, which systemd 257 wants.

box_boot() {
    local root=$1 network=--private-network state _
    shift
    case " $* " in *" --network-"*) network= ;; esac
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --directory="$root" --boot \
        --volatile=overlay --register=no --keep-unit --console=pipe --link-journal=no \
        --resolv-conf=off $network "$@" </dev/null >"${BOX_LOG:-/dev/null}" 2>&1 &
    BOX_PID=$!
    for _ in $(seq 1 400); do
        BOX_LEADER=$(pgrep -P "$BOX_PID" -x systemd | head -n 1)
        if [ -n "$BOX_LEADER" ]; then
            state=$(box systemctl is-system-running 2>/dev/null)
            case $state in running | degraded) return 0 ;; esac
        fi
        kill -0 "$BOX_PID" 2>/dev/null || break
        sleep 0.05
    done
    echo "box: systemd did not come up (${state:-no state}); its console: ${BOX_LOG:-not kept}" >&2
    return 1
}

box() { nsenter -t "$BOX_LEADER" -a -- "$@"; }

box_net() { nsenter -t "$BOX_LEADER" -n -- "$@"; }

box_net_exec() { exec nsenter -t "$BOX_LEADER" -n -- "$@"; }

box_halt() {
    local _
    [ -n "${BOX_PID:-}" ] || return 0
    # what systemd takes for "power off" (systemd(1))
    [ -z "${BOX_LEADER:-}" ] || kill -s RTMIN+4 "$BOX_LEADER" 2>/dev/null
    for _ in $(seq 1 200); do
        kill -0 "$BOX_PID" 2>/dev/null || break
        sleep 0.1
    done
    kill -9 "$BOX_PID" 2>/dev/null
    # the container goes with its process 1, which outlives systemd-nspawn
    if [ "$(cat "/proc/${BOX_LEADER:-none}/comm" 2>/dev/null)" = systemd ]; then
        kill -9 "$BOX_LEADER" 2>/dev/null
    fi
    wait "$BOX_PID" 2>/dev/null
    BOX_PID= BOX_LEADER=
}
