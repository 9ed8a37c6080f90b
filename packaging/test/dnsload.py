#!/usr/bin/env python3
"""Steady DNS load that counts every answer which does not come.

    dnsload.py ADDRESS [--port N] [--rate N] [--seconds S] [--tcp] [--until FILE] [--wait S]

Asks for names that were never asked before (A, class IN), at a steady rate, each over a socket of
its own with --tcp, else over a few UDP sockets. With --until it goes on until FILE exists, but for
--seconds at most. Then it waits --wait seconds for late answers, and prints one line of JSON:

    sent        queries sent, or tried to
    answered    good answers, NOERROR with the right id and question, from the address asked
    failed      answers with another code (SERVFAIL, say)
    lost        queries without an answer
    strange     packets from another address, or that answer nothing asked
    slowest_ms  the slowest good answer
    outage_s    from the first to the last query that was lost or failed, by the time it was sent

Exit code 0 whatever was lost: whoever starts it decides how much is too much.
"""

import argparse
import asyncio
import json
import os
import random
import select
import socket
import struct
import time

QUESTION_TAIL = struct.pack("!HH", 1, 1)
SOCKETS = 8


def query(number, ident, suffix):
    labels = [b"q%d" % number] + suffix.encode().split(b".")
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    question = name + QUESTION_TAIL
    return struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0) + question


class Books:
    """What became of each query."""

    def __init__(self):
        self.sent = []  # time of each
        self.ended = {}  # number: (code, seconds)
        self.strange = 0

    def begin(self):
        self.sent.append(time.monotonic())
        return len(self.sent) - 1

    def end(self, number, packet):
        if number in self.ended:
            self.strange += 1
            return
        self.ended[number] = (packet[3] & 15, time.monotonic() - self.sent[number])

    def report(self):
        good = [took for code, took in self.ended.values() if code == 0]
        numbers = range(len(self.sent))
        bad = [self.sent[n] for n in numbers if self.ended.get(n, (None, 0))[0] != 0]
        return {
            "sent": len(self.sent),
            "answered": len(good),
            "failed": len(self.ended) - len(good),
            "lost": len(self.sent) - len(self.ended),
            "strange": self.strange,
            "slowest_ms": round(max(good, default=0) * 1000, 1),
            "outage_s": round(max(bad) - min(bad), 2) if bad else 0,
        }


class Clock:
    """When the next query is due, and whether there is one."""

    def __init__(self, args):
        self.step = 1 / args.rate
        self.begin = time.monotonic()
        self.end = self.begin + args.seconds
        self.until = args.until

    def due(self, number):
        return self.begin + number * self.step

    def is_over(self):
        over = self.until and os.path.exists(self.until)
        return bool(over) or time.monotonic() >= self.end


def over_udp(args, books):
    family = socket.AF_INET6 if ":" in args.address else socket.AF_INET
    sockets = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(SOCKETS)]
    for each in sockets:
        each.setblocking(False)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    waiting = {}  # (socket, id): (number, query)

    def take(limit):
        ready, _, _ = select.select(sockets, [], [], max(0, limit))
        for each in ready:
            while True:
                try:
                    packet, source = each.recvfrom(4096)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # an ICMP error of an earlier query, which counts as lost
                key = (each.fileno(), int.from_bytes(packet[:2], "big"))
                number, asked = waiting.get(key, (None, b""))
                right = source[:2] == (args.address, args.port) and len(packet) >= len(asked)
                if number is None or not right or packet[12 : len(asked)] != asked[12:]:
                    books.strange += 1
                    continue
                del waiting[key]
                books.end(number, packet)

    clock = Clock(args)
    while not clock.is_over():
        pause = clock.due(len(books.sent)) - time.monotonic()
        if pause > 0:
            take(min(pause, 0.1))
            continue
        number = books.begin()
        each = sockets[number % SOCKETS]
        ident = (number // SOCKETS) & 0xFFFF
        packet = query(number, ident, args.suffix)
        waiting[(each.fileno(), ident)] = (number, packet)
        try:
            each.sendto(packet, (args.address, args.port))
        except OSError:
            pass  # no way there just now: it counts as lost
    end = time.monotonic() + args.wait
    while waiting and time.monotonic() < end:
        take(min(0.1, end - time.monotonic()))


async def over_tcp(args, books):
    async def one(number, packet):
        reader, writer = await asyncio.open_connection(args.address, args.port)
        try:
            writer.write(struct.pack("!H", len(packet)) + packet)
            length = int.from_bytes(await reader.readexactly(2), "big")
            reply = await reader.readexactly(length)
            if reply[:2] == packet[:2] and reply[12 : len(packet)] == packet[12:]:
                books.end(number, reply)
            else:
                books.strange += 1
        finally:
            writer.close()

    async def bounded(number, packet):
        try:
            await asyncio.wait_for(one(number, packet), args.wait)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            pass  # it counts as lost

    tasks, clock = set(), Clock(args)
    while not clock.is_over():
        pause = clock.due(len(books.sent)) - time.monotonic()
        if pause > 0:
            await asyncio.sleep(min(pause, 0.1))
            continue
        number = books.begin()
        task = asyncio.create_task(bounded(number, query(number, number & 0xFFFF, args.suffix)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("address")
    parser.add_argument("--port", type=int, default=53)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--wait", type=float, default=5)
    parser.add_argument("--until")
    parser.add_argument("--suffix", default="r%08x.example.com" % random.getrandbits(32))
    parser.add_argument("--tcp", action="store_true")
    args = parser.parse_args()
    books = Books()
    if args.tcp:
        asyncio.run(over_tcp(args, books))
    else:
        over_udp(args, books)
    print(json.dumps(books.report()))


if __name__ == "__main__":
    main()
