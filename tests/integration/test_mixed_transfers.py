# SPDX-License-Identifier: ISC
"""Many transfers of all kinds at random sizes, some of them broken off at random: each is whole or seen to have failed,
and nothing is left behind. SALLYPORT_TEST_TRANSFERS says how many (1,000 when it is not set)."""

import contextlib
import hashlib
import os
import random
import socket
import threading

import pytest
from rude import FIN, RudeClient, RudeServer, drain
from support import eventually, pooled_ports, random_bytes, reset

pytestmark = pytest.mark.proxy

TRANSFERS = int(os.environ.get("SALLYPORT_TEST_TRANSFERS", "1000"))
CLIENTS = 8
MODES = ["auto", "epsv", "pasv", "eprt", "port", "client"]
CASES = [(mode, "any") for mode in MODES] + [("auto", "pooled"), ("port", "pooled")]
WAYS = ["PASV", "EPSV", "PORT", "EPRT"]
BREAKS = ["abor", "reset", "refused", "no data connection"]
SIZES = [0, 1, 1000, 65536, 300_000]
CONTENT = random_bytes(1 << 20)


def digest(data):
    return hashlib.sha256(data).digest()


class Worker(threading.Thread):
    """One client: its share of the transfers in one session after another."""

    def __init__(self, number, front, server, count):
        super().__init__(daemon=True)
        self.random = random.Random(number)
        self.number, self.front, self.server, self.count = number, front, server, count
        self.whole = self.failed = self.raced = 0
        self.error = None

    def run(self):
        try:
            while self.count:
                with RudeClient(self.front.host, self.front.port, timeout=60).logon() as client:
                    for _ in range(min(self.count, self.random.randrange(1, 40))):
                        self.transfer(client)
                        self.count -= 1
                    client.quit()
        except BaseException as error:  # shown by the test's thread
            self.error = error

    def transfer(self, client):
        size = self.random.choice(SIZES) + self.random.randrange(1 + self.random.choice(SIZES))
        start = self.random.randrange(len(CONTENT) - size)
        content = CONTENT[start : start + size]
        way = self.random.choice(WAYS)
        broken = self.random.choice(BREAKS) if self.random.random() < 0.3 else None
        if broken == "no data connection":
            way = self.random.choice(WAYS[:2])  # a listener's backlog is a data connection
        name = f"{self.number}.{self.count}"
        if self.random.random() < 0.5:
            self.download(client, way, name, content, broken)
        else:
            self.upload(client, way, name, content, broken)

    @contextlib.contextmanager
    def data(self, client, way):
        """A function that gives the data connection."""
        if way in ("PASV", "EPSV"):
            address = client.passive_port(way)
            yield lambda: socket.create_connection(address, client.timeout)
            return
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(client.timeout)
            port = listener.getsockname()[1]
            text = f"PORT 127,0,0,1,{port // 256},{port % 256}" if way == "PORT" else f"EPRT |1|127.0.0.1|{port}|"
            client.ask(text, 200)
            yield lambda: listener.accept()[0]

    def break_off(self, client, data, broken):
        if broken == "abor":
            client.say("ABOR")
            data.close()
        else:
            reset(data)

    def final(self, client, broken):
        """The transfer's reply; behind an ABOR that one's reply too."""
        reply = client.expect(226, 426, 425, 451)
        if broken == "abor":
            client.expect(225, 226)
        return reply.code

    def download(self, client, way, name, content, broken):
        if broken == "refused":
            with self.data(client, way):
                client.ask("RETR nothing", 550)
            self.failed += 1
            return
        self.server.files[name.encode()] = content
        with self.data(client, way) as connect:
            if broken == "no data connection":
                client.say("RETR " + name)
                client.expect(150)
                client.say("ABOR")
                client.expect(426, 425)
                client.expect(225, 226)
                self.failed += 1
                return
            client.ask("RETR " + name, 150)
            with connect() as data:
                if broken:
                    with contextlib.suppress(ConnectionError):
                        data.recv(self.random.randrange(1, 5000))
                    self.break_off(client, data, broken)
                    code = self.final(client, broken)
                    self.settle(code == 226)
                    return
                got, end = drain(data, 60)
        assert client.reply().code == 226
        assert (digest(got), end) == (digest(content), FIN), f"{name}: {len(got)} of {len(content)}"
        self.whole += 1

    def upload(self, client, way, name, content, broken):
        if broken == "refused":
            with self.data(client, way):
                client.ask("STOR refused", 553)
            self.failed += 1
            return
        with self.data(client, way) as connect:
            client.ask("STOR " + name, 150)
            if broken == "no data connection":
                client.say("ABOR")
                client.expect(426, 425)
                client.expect(225, 226)
                self.failed += 1
                return
            with connect() as data:
                if broken:
                    with contextlib.suppress(ConnectionError):
                        data.sendall(content[: self.random.randrange(1 + len(content))])
                    self.break_off(client, data, broken)
                    code = self.final(client, broken)
                    assert code != 226, (name, broken)
                    assert name.encode() not in self.server.files, (name, broken)
                    self.failed += 1
                    return
                data.sendall(content)
        assert client.reply().code == 226
        assert digest(self.server.files[name.encode()]) == digest(content), name
        self.whole += 1

    def settle(self, complete):
        """A download that was broken off may have been whole before: then all of it was on its way already."""
        if complete:
            self.raced += 1
        else:
            self.failed += 1


def transfer_of(name):
    """What the rude server does, but an active one that finds nobody is not shocked: the ABOR comes behind."""

    def act(session, argument):
        if argument == b"refused":
            session.say("553 Not that name")
            return
        try:
            getattr(session.server, name)(session, argument)
        except ConnectionError:
            session.say("425 Nobody there")

    return act


def quiet(front):
    """What is left when nobody is there: descriptors, by what they are."""
    eventually(lambda: not front.sessions(), 30)
    eventually(lambda: not any(front.stats()["farewells_held"].values()), 30)
    return sorted(name.split(":")[0] for name in front.descriptors().values())


@pytest.mark.slow
@pytest.mark.parametrize("mode, ports", CASES)
def test_each_of_many_transfers_is_whole_or_seen_to_have_failed_and_nothing_leaks(mode, ports, sallyport):
    share = -(-TRANSFERS // (CLIENTS * len(CASES)))
    listener = {"passive_ports": pooled_ports(CLIENTS)} if ports == "pooled" else {}
    with RudeServer(table={"STOR": transfer_of("on_stor"), "RETR": transfer_of("on_retr")}) as server:
        front = sallyport(server, listener=listener, server={"data": mode})
        with RudeClient(front.host, front.port).logon() as client:
            client.quit()
        before = quiet(front)
        workers = [Worker(number, front, server, share) for number in range(CLIENTS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(200)
        for worker in workers:
            if worker.error:
                raise worker.error
            assert not worker.is_alive()
        done = sum(worker.whole + worker.failed + worker.raced for worker in workers)
        assert done == share * CLIENTS
        assert sum(worker.whole for worker in workers) > done / 2
        # pipes for splice are kept for the next transfer
        after = quiet(front)
        assert [name for name in after if name != "pipe"] == [name for name in before if name != "pipe"]
        assert front.ask("show orphans")["findings"] == 0
        stats = front.stats()
        assert not any(stats["held"].values())
        assert stats["transfers_ok"] + stats["transfers_failed"] == done == stats["transfers_started"]
        assert stats["transfers_ok"] == sum(worker.whole + worker.raced for worker in workers)
        assert stats["desyncs"] == 0
