# SPDX-License-Identifier: ISC
"""A name server for tests: UDP on a loopback port, with names that the test changes while it runs."""

import contextlib
import socket
import struct
import threading

A, AAAA, SRV = 1, 28, 33
NO_ERROR, SERVER_FAILURE, NO_NAME = 0, 2, 3


class NameServer:
    """names: {"ftp.test": ["127.0.0.1", "::1"]}, and for SRV {"_ftp._tcp.test": [(priority, weight, port, "ftp.test")]};
    an unknown name does not exist. Use as a context manager."""

    def __init__(self, names=None, ttl=1, host="127.0.0.1"):
        self.names = names or {}
        self.ttl = ttl
        self.silent = self.failing = False
        self.asked = []  # (name, type)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.address = f"{host}:{self.sock.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.sock.close()

    def _serve(self):
        while True:
            try:
                question, client = self.sock.recvfrom(4096)
            except OSError:
                return
            if not question:
                return
            answer = self._answer(question)
            if answer and not self.silent:
                with contextlib.suppress(OSError):
                    self.sock.sendto(answer, client)

    def _answer(self, question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        (kind,) = struct.unpack_from("!H", question, at + 1)
        section = question[12 : at + 5]
        name = ".".join(labels).lower()
        self.asked.append((name, kind))
        known = self.names.get(name)
        records = [
            struct.pack("!HHHIH", 0xC00C, kind, 1, self.ttl, len(packed)) + packed
            for address in known or ()
            for packed in [self._pack(address, kind)]
            if packed
        ]
        code = SERVER_FAILURE if self.failing else NO_ERROR if known is not None else NO_NAME
        if self.failing:
            records = []
        return question[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, len(records), 0, 0) + section + b"".join(records)

    @staticmethod
    def _pack(address, kind):
        if isinstance(address, tuple):
            *numbers, target = address
            labels = [label.encode() for label in target.split(".") if label]
            return struct.pack("!HHH", *numbers) + b"".join(bytes([len(x)]) + x for x in labels) + b"\0" if kind == SRV else b""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.inet_pton(family, address) if kind == {socket.AF_INET: A, socket.AF_INET6: AAAA}[family] else b""
