"""A service manager with a store of descriptors, as far as the relay sees one.

usage: pid_one.py NOTIFY_SOCKET LOG PROGRAM [ARGUMENT...]

One command a line on standard input, one line of JSON back for each:
  start              starts the program with all descriptors; answers when it is ready
  signal NAME        sends a signal and waits for the end
  restart NAME       both
  names              what is in the store
  socket KIND ADDRESS PORT NAME [reuse]   makes a socket as a socket unit does
  file NAME          passes a descriptor that is no socket; the store has one that begins with culvert.
"""

import fcntl
import json
import os
import select
import signal
import socket
import sys
import time

NOTIFY, LOG, PROGRAM = sys.argv[1], sys.argv[2], sys.argv[3:]
LIMIT = 30

manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(NOTIFY)
passed = []  # (name, descriptor) of socket units
store = []  # (name, descriptor)
ready = False
child = None


def same(a, b):
    a, b = os.fstat(a), os.fstat(b)
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def hear():
    """One message of the program."""
    global ready
    data, fds, _flags, _from = socket.recv_fds(manager, 4096, 16)
    lines = dict(line.split("=", 1) for line in data.decode().splitlines() if "=" in line)
    ready = ready or lines.get("READY") == "1"
    name = lines.get("FDNAME", "stored")
    if lines.get("FDSTORE") == "1":
        if lines.get("FDPOLL") != "0" or ":" in name or len(name) > 255:
            sys.exit("not as it should be stored: %r" % lines)
        for fd in fds:
            if any(same(fd, other) for _, other in store):
                os.close(fd)
            else:
                store.append((name, fd))
    elif lines.get("FDSTOREREMOVE") == "1":
        for entry in [entry for entry in store if entry[0] == name]:
            store.remove(entry)
            os.close(entry[1])


def hear_until(done):
    end = time.monotonic() + LIMIT
    while not done():
        if time.monotonic() > end:
            sys.exit("not within %d s" % LIMIT)
        if select.select([manager], [], [], 0.002)[0]:
            hear()


def hear_all():
    while select.select([manager], [], [], 0)[0]:
        hear()


def start():
    global child, ready
    ready, begun = False, time.monotonic()
    entries = passed + store
    child = os.fork()
    if child == 0:
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 1000) for _, fd in entries]
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 1000)
        for number, fd in enumerate(high):
            os.dup2(fd, 3 + number)
            os.close(fd)
        os.environ["NOTIFY_SOCKET"] = NOTIFY
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.environ["LISTEN_FDS"] = str(len(entries))
        os.environ["LISTEN_FDNAMES"] = ":".join(name for name, _ in entries)
        os.execvp("setpriv", ["setpriv", "--pdeathsig", "KILL", "--"] + PROGRAM)
    hear_until(lambda: ready or ended())
    return {"ready": ready, "pid": child, "passed": len(entries), "start": time.monotonic() - begun}


def ended():
    global child
    if child and os.waitpid(child, os.WNOHANG)[0]:
        child = None
    return child is None


def end(name):
    begun = time.monotonic()
    os.kill(child, getattr(signal, "SIG" + name))
    hear_until(ended)
    hear_all()
    return {"end": time.monotonic() - begun}


def make(kind, address, port, name, *more):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}[kind]
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, "reuse" in more)
    made.bind((address, int(port)))
    if kind == socket.SOCK_STREAM:
        made.listen(64)
    passed.append((name, made.detach()))
    return {}


def obey(words):
    command, rest = words[0], words[1:]
    if command == "start":
        return start()
    if command == "signal":
        return end(rest[0])
    if command == "restart":
        return {**end(rest[0]), **start()}
    if command == "names":
        hear_all()
        return {"names": sorted(name for name, _ in store)}
    if command == "socket":
        return make(*rest)
    if command == "file":
        entries = store if rest[0].startswith("culvert.") else passed
        entries.append((rest[0], os.open("/dev/null", os.O_RDONLY)))
        return {}
    sys.exit("what is %r?" % command)


def main():
    waiting = b""
    while True:
        readable, _, _ = select.select([0, manager], [], [])
        if manager in readable:
            hear()
        if 0 in readable:
            more = os.read(0, 4096)
            if not more:
                break
            waiting += more
            while b"\n" in waiting:
                line, waiting = waiting.split(b"\n", 1)
                print(json.dumps(obey(line.decode().split())), flush=True)
    if child:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


main()
