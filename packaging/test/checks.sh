# What a test script counts and prints; source this file. POSIX shell.
#
#   title TEXT               a heading
#   check TEXT COMMAND...    runs the command: "ok" or "FAIL" with the end of what it printed
#   not COMMAND...           the other way round
#   says PATTERN COMMAND...  the command prints it (extended regular expression)
#   wait_for SECONDS COMMAND...
#   summary                  how many, and whether all were good

good=0 bad=0
checks_out=$(mktemp)
title() { echo "-- $*"; }
check() {
    checks_text=$1
    shift
    if "$@" >"$checks_out" 2>&1; then
        good=$((good + 1))
        echo "ok   $checks_text"
    else
        bad=$((bad + 1))
        echo "FAIL $checks_text"
        sed 's/^/     | /' "$checks_out" | tail -n 20
    fi
}
not() { ! "$@"; }
says() {
    checks_pattern=$1
    shift
    checks_said=$("$@" 2>&1)
    printf '%s\n' "$checks_said"
    printf '%s\n' "$checks_said" | grep -Eq -- "$checks_pattern"
}
wait_for() {
    checks_until=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$(date +%s)" -ge "$checks_until" ]; then
            "$@" # so that it is seen what it says
            return
        fi
        sleep 0.1
    done
}
summary() {
    rm -f "$checks_out"
    echo "$good passed, $bad failed"
    [ "$bad" = 0 ]
}
