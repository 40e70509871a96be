# SPDX-License-Identifier: ISC
"""Q131241: sessions that end in every bad way leave nothing behind: no descriptor, no logon at the server, no memory.

Each way is taken by 1,000 sessions, a hundred at a time, with the binary that has no sanitizers, so that memory can
be measured, and by some more with the sanitizers' one.
"""

import contextlib
import os
import re
import time

import pytest
from rude import (
    Closed,
    Crowd,
    RudeServer,
    close,
    freeze,
    hang,
    never_read,
    receive_content,
    reset_control,
    say,
    stalled,
)
from sallyport import find_release_binary, section_text
from support import abort, eventually, free_port, reset

pytestmark = pytest.mark.proxy

AT_ONCE = 100
ROUNDS = 10
BURST = 1000
PARTS = 4  # the ways are dealt to as many tests, which may run at the same time


# Each way gets the crowd (connected, nothing read) and the server, and ends all of its sessions.


def client_before_greeting(crowd, _, end):
    end(crowd)


def client_in_a_line(crowd, _, end):
    crowd.expect(220)
    for member in crowd.members:
        member.send(b"USER half of a li")
    end(crowd)


def client_in_logon(crowd, server, end):
    """The server owes its reply to USER."""
    crowd.expect(220)
    for member in crowd.members:
        member.say("USER u")
    server.wait_verb("USER", server.expected(1))
    end(crowd)


def client_in_connect(crowd, server, end):
    """The server accepted and does not greet."""
    crowd.expect(220)
    before = len(server.history)
    for member in crowd.members:
        member.say("USER u")
    eventually(lambda: len(server.history) >= min(before + 1, len(crowd.members)))
    end(crowd)


def client_before_password(crowd, _, end):
    crowd.expect(220).ask("USER u", 331)
    end(crowd)


def client_idle(crowd, _, end):
    crowd.logon()
    end(crowd)


def client_in_command(crowd, server, end):
    """The server owes its reply to CWD."""
    crowd.logon()
    for member in crowd.members:
        member.say("CWD a")
    server.wait_verb("CWD", server.expected(1))
    end(crowd)


def client_with_passive_port(crowd, _, end):
    crowd.logon().ask("EPSV", 229)
    end(crowd)


def client_with_data_connection(crowd, _, end):
    """Connected, but no transfer command came."""
    crowd.logon().open_data()
    end(crowd)


def client_in_download(crowd, _, end):
    crowd.logon().open_data().ask("RETR f", 150)
    end(crowd)


def client_in_upload(crowd, _, end):
    crowd.logon().open_data().ask("STOR f", 150)
    for data in crowd.data:
        data.sendall(b"x" * 5000)
    end(crowd)


def client_data_reset_in_upload(crowd, _, end):
    crowd.logon().open_data().ask("STOR f", 150)
    for data in crowd.data:
        data.sendall(b"x" * 5000)
        reset(data)
    crowd.data.clear()
    crowd.expect(426)
    end(crowd)


def server_in_logon(crowd, _, end):
    """The server ends it: the next one is tried, there is none, 421."""
    crowd.expect(220).ask("USER u", 421)
    assert set(crowd.ends()) == {"fin"}
    end(crowd)


def server_at_password(crowd, _, end):
    crowd.expect(220)
    for member in crowd.members:
        member.say("USER u")
    for member in crowd.members:
        if member.expect(331, 421).code == 331:  # 421: the server failed others so often that it is left alone
            member.ask("PASS p", 421)
        assert member.wait_end() == "fin"
    end(crowd)


def server_idle(crowd, server, end):
    crowd.logon()
    for session in list(server.history):
        if not session.ended.is_set():
            server.end(session)
    crowd.expect(421)
    assert set(crowd.ends()) == {"fin"}
    end(crowd)


def server_in_command(crowd, _, end):
    crowd.logon().ask("CWD a", 421)
    assert set(crowd.ends()) == {"fin"}
    end(crowd)


def server_surplus(crowd, _, end):
    crowd.logon().ask("CWD a", 250).expect(421)
    assert set(crowd.ends()) == {"fin"}
    end(crowd)


def server_in_transfer(crowd, _, end):
    crowd.logon().open_data()
    for member in crowd.members:
        member.say("RETR f")
    for member in crowd.members:
        member.expect(150, 426)
    for member in crowd.members:
        assert member.wait_end() == "fin"
        # 451 when all that the server sent had arrived: it never said that this was all
        assert re.search(rb"\r\n(426|451) ", member.raw) and b"\r\n421 " in member.raw
    end(crowd)


def kicked(crowd, server, end):
    crowd.logon().open_data().ask("RETR f", 150)
    for session in server.front.sessions():
        server.front.ask(f"kick {session['id']}")
    for member in crowd.members:
        assert member.wait_end() == "fin" and b"421" in member.raw
    end(crowd)


def timed_out(crowd, _, end):
    crowd.logon().expect(421)
    assert set(crowd.ends()) == {"fin"}
    end(crowd)


def fin(crowd):
    crowd.close()


def rst(crowd):
    crowd.reset()


def dies_in_transfer(session, _):
    session.say("150 Here it comes")
    with session.open_data() as data:
        data.sendall(b"x" * 1000)
        session.reset()
    raise ConnectionError


def shut(session):
    session.sock.shutdown(2)


WAYS = {
    "client_rst_before_greeting": (client_before_greeting, rst, {}),
    "client_fin_before_greeting": (client_before_greeting, fin, {}),
    "client_rst_in_a_line": (client_in_a_line, rst, {}),
    "client_rst_in_logon": (client_in_logon, rst, {"USER": hang}),
    "client_fin_in_logon": (client_in_logon, fin, {"USER": hang, "close_timeout": 0.3}),
    "client_fin_before_password": (client_before_password, fin, {}),
    "client_rst_idle": (client_idle, rst, {}),
    "client_fin_idle": (client_idle, fin, {}),
    "client_rst_in_command": (client_in_command, rst, {"CWD": hang}),
    "client_fin_in_command": (client_in_command, fin, {"CWD": hang, "close_timeout": 0.3}),
    "client_rst_with_passive_port": (client_with_passive_port, rst, {}),
    "client_fin_with_passive_port": (client_with_passive_port, fin, {}),
    "client_rst_with_data_connection": (client_with_data_connection, rst, {}),
    "client_rst_in_download": (client_in_download, rst, {"RETR": stalled(1000)}),
    "client_fin_in_download": (client_in_download, fin, {"RETR": stalled(1000)}),
    "client_rst_in_upload": (client_in_upload, rst, {"STOR": lambda s, a: receive_content(s, "STOR", a)}),
    "client_fin_in_upload": (client_in_upload, fin, {"STOR": never_read}),
    "client_data_rst_in_upload": (client_data_reset_in_upload, fin, {}),
    "server_rst_at_greeting": (server_in_logon, fin, {"greeting": reset_control}),
    "server_fin_at_greeting": (server_in_logon, fin, {"greeting": close}),
    "server_421_at_greeting": (server_in_logon, fin, {"greeting": say("421 Full", close)}),
    "server_fin_in_logon": (server_in_logon, fin, {"USER": close}),
    "server_rst_at_password": (server_at_password, fin, {"PASS": reset_control}),
    "server_hangs_at_greeting": (client_in_connect, rst, {"greeting": freeze, "close_timeout": 0.3}),
    "server_fin_idle": (server_idle, fin, {"end": shut}),
    "server_rst_idle": (server_idle, fin, {"end": lambda session: abort(session.sock)}),
    "server_rst_in_command": (server_in_command, fin, {"CWD": reset_control}),
    "server_garbage_in_command": (server_in_command, fin, {"CWD": b"\0\1\2 what\r\n"}),
    "server_surplus_reply": (server_surplus, fin, {"CWD": b"250 mine\r\n250 whose?\r\n"}),
    "server_dies_in_transfer": (server_in_transfer, fin, {"RETR": dies_in_transfer}),
    "server_ignores_quit": (client_idle, fin, {"QUIT": freeze, "close_timeout": 0.3}),
    "kicked_in_download": (kicked, fin, {"RETR": stalled(1000)}),
    "timed_out": (timed_out, fin, {"idle_timeout": 0.3}),
}


class OrphanServer(RudeServer):
    """Knows what a way wants of its server."""

    def __init__(self, settings):
        settings = dict(settings)
        self.end = settings.pop("end", None)
        self.policy = {key: settings.pop(key) for key in list(settings) if key.endswith("_timeout")}
        greeting = settings.pop("greeting", "220 rude server")
        super().__init__(table=settings, greeting=greeting, files={b"f": b"content"}, backlog=4096)
        self.front = None
        self.crowds = 0

    def expected(self, each):
        """How often a command must have come when all members of all crowds so far have said it."""
        return self.crowds * each


def at_baseline(way, front, server):
    """Wait until nothing is left of the sessions: here, at the server, in the books."""

    def left():
        stats = front.stats()
        kept = {key: stats[key] for key in ("sessions", "held", "farewells_held")}
        return {
            "sessions": kept["sessions"],
            "held": sum(kept["held"].values()),
            "farewells": sum(kept["farewells_held"].values()),
            "at the server": server.sessions(),
        }

    # a session that the server ignores is closed after close_timeout, 2 s
    eventually(lambda: not any(left().values()), 10, lambda: f"{way}: {left()}")


def assert_no_orphans(front):
    found = front.ask("show orphans --now")
    assert found["orphans"] == [], found
    assert found["findings"] == 0
    assert_sums(found)
    assert found["slots_held"] == found["slots_given"] == 0


def assert_sums(found):
    """Both sides of the books agree on every kind of descriptor."""
    rows = [row for row in found["sums"] if row["by_descriptors"] is not None]
    assert rows and all(row["by_ledgers"] == row["by_descriptors"] for row in rows), rows


def take(way, gate, count):
    act, end, _ = WAYS[way]
    gate.server.crowds += count
    with Crowd(count, gate.front.host, gate.port) as crowd:
        act(crowd, gate.server, end)
    at_baseline(way, gate.front, gate.server)


class Gate:
    """A listener of its own for one way, with its own pool, policy and server, in a Sallyport that others share."""

    def __init__(self, way, stack):
        self.server = stack.enter_context(OrphanServer(WAYS[way][2]))
        self.port = free_port()
        self.front = None
        self.text = (
            section_text(f"listener {way}", {"bind": [f"127.0.0.1:{self.port}"]})
            + f"pool {way} {{ server s {{ address = \"{self.server.address}\" }} }}\n"
            + section_text(f"policy {way}", self.server.policy)
            + section_text("route", {"listeners": [way], "pool": way, "policy": way})
        )


@contextlib.contextmanager
def gates(part, sallyport, **settings):
    """{way: gate} for the ways of one part, all before one Sallyport, and that Sallyport."""
    with contextlib.ExitStack() as stack:
        found = {way: Gate(way, stack) for way in list(WAYS)[part::PARTS]}
        front = sallyport("127.0.0.1:1", extra="".join(gate.text for gate in found.values()), **settings)
        for gate in found.values():
            gate.front = gate.server.front = front
        yield found, front


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_thousand_sessions_that_end_in_each_way_leave_nothing(part, sallyport):
    """Ten rounds of a hundred sessions in each way; memory after the tenth is that after the second."""
    with gates(part, sallyport, binary=find_release_binary(), log_file="/dev/null") as (ways, front):
        baseline = front.sockets()
        fill_queues(front, next(iter(ways.values())))
        tenths = [ten_rounds(ways, front)]
        eventually(lambda: front.sockets() == baseline, what=lambda: (baseline, front.descriptors()))
        assert_no_orphans(front)
        stats = front.stats()
        assert stats["sessions_accepted"] == stats["sessions_ended"] == BURST + AT_ONCE * ROUNDS * len(ways)
        # What grows once (an arena of malloc, a queue that was never so full before) is no leak: a leak grows again.
        while not is_flat(tenths[-1]) and len(tenths) < 3:
            tenths.append(ten_rounds(ways, front))
        assert is_flat(tenths[-1]), tenths


def fill_queues(front, gate):
    """A burst, so that the rings of events and messages have been used as deep as they will be."""
    with Crowd(BURST, front.host, gate.port) as crowd:
        crowd.expect(220).reset()
    at_baseline("burst", front, gate.server)


def ten_rounds(ways, front):
    """Memory and pipes after each round."""
    after = []
    for _ in range(ROUNDS):
        for way, gate in ways.items():
            take(way, gate, AT_ONCE)
        after.append((front.memory_kib("Rss"), front.pipe_ends()))
    return after


def is_flat(after):
    (memory_2, pipes_2), (memory_10, pipes_10) = after[1], after[9]
    return memory_10 <= memory_2 * 1.01 and pipes_10 <= pipes_2


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_way_with_sanitizers_leaves_nothing(part, sallyport):
    """The same, fewer sessions, with the sanitizers' build."""
    with gates(part, sallyport) as (ways, front):
        baseline = front.sockets()
        for _ in range(2):
            for way, gate in ways.items():
                take(way, gate, 25)
        eventually(lambda: front.sockets() == baseline, what=lambda: (baseline, front.descriptors()))
        assert_no_orphans(front)


def test_sessions_in_progress_are_in_the_books_and_are_no_orphans(sallyport):
    """The auditor does not cry wolf: connected, logged on, waiting, transferring sessions are all accounted for."""
    with RudeServer(table={"RETR": stalled(1000), "CWD": hang}) as server, contextlib.ExitStack() as stack:
        front = sallyport(server)
        crowds = [stack.enter_context(Crowd(10, front.host, front.port)) for _ in range(5)]
        crowds[0].expect(220)
        crowds[1].logon()
        crowds[2].logon().ask("EPSV", 229)
        crowds[3].logon().open_data().ask("RETR f", 150)
        for member in crowds[4].logon().members:
            member.say("CWD a")
        server.wait_verb("CWD", 10)
        found = front.ask("show orphans --now")
        assert (found["orphans"], found["findings"]) == ([], 0)
        assert found["slots_held"] == found["slots_given"] == 40
        sums = {row["kind"]: row for row in found["sums"]}
        assert sums["control connection"]["by_ledgers"] == 90
        assert sums["data connection"]["by_ledgers"] == 20
        assert_sums(found)
        places = {}
        for session in front.sessions():
            places[session["place"]] = places.get(session["place"], 0) + 1
        assert sum(places.values()) == 50 and len(places) >= 4, places


def test_many_transfers_in_one_session_keep_no_memory(sallyport):
    """2,000 small transfers over one session: what each took is given back when it ends, not when the session does."""
    with RudeServer(files={b"f": b"x" * 1000}) as server:
        # without an event for each, of which more or fewer wait at a time
        front = sallyport(server, binary=find_release_binary(), log={"level": "warning"})
        with Crowd(1, front.host, front.port) as crowd:
            client = crowd.logon().members[0]
            memory = []
            for _ in range(4):
                for _ in range(500):
                    assert client.download("RETR f")[2].code == 226
                memory.append(front.memory_kib("Rss"))
        assert memory[3] <= memory[1] * 1.01, memory


def test_descriptors_that_run_out_refuse_new_clients_and_old_sessions_go_on(sallyport):
    """EMFILE: new ones are told 421 or wait, nobody spins, and all is well when descriptors are free again."""
    with RudeServer() as server:
        front = sallyport(server, namespace=["prlimit", "--nofile=120:120"])
        with contextlib.ExitStack() as stack:
            good, refused = [], 0
            for _ in range(120):
                try:
                    crowd = stack.enter_context(Crowd(1, front.host, front.port, timeout=2))
                    reply = crowd.members[0].reply()
                    if reply.code == 220:
                        reply = crowd.members[0].ask("USER u")
                        if reply.code == 331:
                            reply = crowd.members[0].ask("PASS p")
                except (OSError, Closed):
                    refused += 1
                    if refused > 3:
                        break
                    continue
                if reply.code == 230:
                    good.append(crowd.members[0])
                else:
                    assert reply.code == 421
                    refused += 1
                    if refused > 3:
                        break
            assert refused and len(good) > 20
            for client in good:
                client.ask("PWD", 257)
            before = front.cpu_seconds()
            time.sleep(1)
            assert front.cpu_seconds() - before < 0.5
        eventually(lambda: logon_works(front))
        server.wait_gone(10)


def logon_works(front):
    with contextlib.suppress(Exception), Crowd(1, front.host, front.port, timeout=2) as crowd:
        crowd.logon().ask("QUIT", 221)
        return True
    return False


def test_process_keeps_nothing_in_the_file_system_when_it_ends(sallyport):
    with RudeServer() as server:
        front = sallyport(server)
        assert (front.folder / "admin.sock").exists()
        front.stop()
        assert not (front.folder / "admin.sock").exists()
        assert sorted(os.listdir(front.folder)) == ["sallyport.conf", "stderr", "stdout"]
