#!/usr/bin/env python3
"""The smallest upstream: answers every A query over UDP with 198.51.100.1, TTL 1 s.

    answers.py ADDRESS PORT
"""

import socket
import struct
import sys


def main():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    server.bind((sys.argv[1], int(sys.argv[2])))
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton("198.51.100.1")
    while True:
        packet, client = server.recvfrom(4096)
        end = packet.find(b"\0", 12) + 5
        if len(packet) < 17 or end < 17:
            continue
        is_a = packet[end - 4 : end - 2] == b"\0\1"
        counts = struct.pack("!HHHH", 1, 1 if is_a else 0, 0, 0)
        answer = packet[:2] + b"\x81\x80" + counts + packet[12:end] + (record if is_a else b"")
        server.sendto(answer, client)


if __name__ == "__main__":
    main()
