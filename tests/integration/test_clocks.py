# SPDX-License-Identifier: ISC
"""The clocks: each fires when its time has come, says so by its name, and does not fire early.

Every row of tbl/clocks.def has a test that makes it fire and one that shows that it holds still. T is what the clock
is set to; all others stay at their defaults of a minute and more.
"""

import contextlib
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from rude import FIN, RST, TIMEOUT, RudeClient, RudeServer, drain, freeze, hang, never_read, receive_content, say, stalled
from sallyport import REPOSITORY
from support import black_hole, eventually, listens

pytestmark = pytest.mark.proxy

T = 2.0
EARLY, LATE = 0.05, 15.0  # [T - EARLY, T + LATE]: not early, and before any other clock; the machine may be slow


@pytest.fixture
def setting(sallyport):
    """setting(policy, table) → (rude server, Sallyport before it)."""
    with contextlib.ExitStack() as stack:

        def make(policy, table=None, files=None, **settings):
            server = stack.enter_context(RudeServer(table=table, files=files or {b"f": b"content"}))
            return server, sallyport(server, policy=policy, **settings)

        yield make


def client_of(front, **options):
    return RudeClient(front.host, front.port, **options)


class Stopwatch:
    def __init__(self):
        self.started = time.monotonic()

    def elapsed(self):
        return time.monotonic() - self.started

    def assert_fired(self, after=T):
        assert after - EARLY <= self.elapsed() <= after + LATE


def assert_told(client, watch, clock, code=421, after=T):
    """The client gets the code, the clock's name in its text, at the right time."""
    reply = client.reply(timeout=after + 10)
    watch.assert_fired(after)
    assert reply.code == code and clock in reply.text, reply
    return reply


def assert_ended(front, server, client, reason):
    """Both sides are closed, the server has seen QUIT, the log and the counters say why."""
    assert client.wait_end(5) == FIN
    assert front.wait_event("session_end")["reason"] == reason
    assert front.stats()["sessions_ended_by"][reason] == 1
    if server.history:
        server.wait_gone(5)
        assert server.last().verbs()[-1] == "QUIT"


def keep_busy(client, command, seconds, code):
    """Say the command again and again."""
    watch = Stopwatch()
    while watch.elapsed() < seconds:
        client.ask(command, code)
        time.sleep(0.1)


def test_every_clock_of_the_table_has_its_tests():
    table = (REPOSITORY / "include/sallyport/tbl/clocks.def").read_text()
    clocks = re.findall(r"^CLOCK\(\w+,\s*(\w+),", table, re.MULTILINE)
    assert len(clocks) >= 13
    tests = Path(__file__).read_text()
    elsewhere = {"tls_timeout": "test_tls.py"}
    for clock, file in elsewhere.items():
        assert f'"{clock}"' in (Path(__file__).parent / file).read_text()
    for clock in set(clocks) - set(elsewhere):
        assert f"def test_{clock}_fires" in tests, clock
        assert f"def test_{clock}_holds" in tests, clock


# ---------------------------------------------------------------------------------------- login_timeout


def test_login_timeout_fires_whatever_the_client_says(setting):
    _, front = setting({"login_timeout": T})
    watch = Stopwatch()
    with client_of(front) as silent, client_of(front) as busy:
        done = threading.Thread(target=chatter, args=(busy,))
        done.start()
        assert_told(silent, watch, "login_timeout")
        assert silent.wait_end(5) == FIN
        done.join(10)
        watch.assert_fired()
        assert b"login_timeout" in busy.raw
    eventually(lambda: front.stats()["sessions_ended_by"]["login_timeout"] == 2)


def chatter(client):
    """NOOP until the end."""
    with contextlib.suppress(Exception):
        while True:
            client.ask("NOOP", 200)
            time.sleep(0.05)


def test_login_timeout_fires_while_the_server_is_slow(setting):
    server, front = setting({"login_timeout": T}, {"PASS": hang})
    watch = Stopwatch()
    with client_of(front) as client:
        client.ask("USER u", 331)
        client.say("PASS p")
        assert_told(client, watch, "login_timeout")
        assert_ended(front, server, client, "login_timeout")


def test_login_timeout_holds_still_once_logged_on(setting):
    _, front = setting({"login_timeout": T})
    with client_of(front) as client:
        time.sleep(T * 0.7)
        client.logon()
        time.sleep(T * 0.8)
        client.ask("PWD", 257)
        client.quit()


# -------------------------------------------------------------------------------------- command_timeout


def test_command_timeout_fires_on_a_slow_drip(setting):
    server, front = setting({"command_timeout": T})
    with client_of(front) as client:
        client.logon()
        watch = Stopwatch()
        with contextlib.suppress(OSError):
            while watch.elapsed() < T - 0.3:
                client.send(b"x")
                time.sleep(0.1)
        assert_told(client, watch, "command_timeout")
        assert_ended(front, server, client, "command_timeout")


def test_command_timeout_holds_still_between_lines(setting):
    _, front = setting({"command_timeout": T})
    with client_of(front) as client:
        client.logon()
        for _ in range(2):
            client.send(b"PW")
            time.sleep(T * 0.8)
            client.send(b"D\r\n")
            client.expect(257)
        time.sleep(T * 1.2)
        client.ask("PWD", 257)
        client.quit()


def test_command_timeout_is_each_lines_own(setting):
    """A client that pipelines may end one line and begin the next in every segment, for ever."""
    _, front = setting({"command_timeout": T})
    with client_of(front) as client:
        client.logon()
        watch = Stopwatch()
        client.send(b"PW")
        while watch.elapsed() < 2 * T:
            client.send(b"D\r\nPW")
            client.expect(257)
            time.sleep(0.2)
        client.send(b"D\r\n")
        client.expect(257)
        client.quit()


# ----------------------------------------------------------------------------------------- idle_timeout


def test_idle_timeout_fires_and_the_server_sees_quit(setting):
    idle = 2 * T
    server, front = setting({"idle_timeout": idle})
    with client_of(front) as client, client_of(front) as other:
        client.logon()
        other.logon()
        watch = Stopwatch()
        worker = threading.Thread(target=keep_busy, args=(other, "PWD", idle + 2, 257))
        worker.start()
        assert_told(client, watch, "idle_timeout", after=idle)
        assert client.wait_end(5) == FIN
        eventually(server.history[0].ended.is_set, 5)
        assert server.history[0].verbs()[-1] == "QUIT"
        worker.join()
        other.ask("PWD", 257)  # an uninvolved session goes on
        assert front.stats()["sessions_ended_by"]["idle_timeout"] == 1
        assert front.wait_event("timeout")["clock"] == "idle_timeout"
        other.quit()


def test_idle_timeout_fires_counted_from_the_last_command(setting):
    server, front = setting({"idle_timeout": T})
    with client_of(front) as client:
        client.logon()
        keep_busy(client, "NOOP", T * 1.5, 200)
        client.ask("NOOP", 200)
        watch = Stopwatch()
        assert_told(client, watch, "idle_timeout")
        assert_ended(front, server, client, "idle_timeout")


@pytest.mark.parametrize("resets, command, code", [
    ("useful", "NOOP", 200), ("useful", "PWD", 257), ("useful", "STAT", 211), ("useful", "TYPE I", 200),
    ("useful", "REST 0", 350), ("transfer", "CWD a", 250), ("transfer", "NOOP", 200),
])  # fmt: skip
def test_idle_timeout_fires_in_spite_of_commands_that_do_not_reset_it(resets, command, code, setting):
    _, front = setting({"idle_timeout": T, "idle_resets": resets})
    with client_of(front) as client:
        client.logon()
        watch = Stopwatch()
        keep_busy(client, command, T * 0.8, code)
        assert_told(client, watch, "idle_timeout")


@pytest.mark.parametrize("resets, command, code", [("any", "NOOP", 200), ("useful", "CWD a", 250)])
def test_idle_timeout_holds_still_for_what_resets_it(resets, command, code, setting):
    _, front = setting({"idle_timeout": T, "idle_resets": resets})
    with client_of(front) as client:
        client.logon()
        keep_busy(client, command, T * 1.6, code)
        client.quit()


@pytest.mark.parametrize("resets", ["any", "useful", "transfer"])
def test_idle_timeout_holds_still_in_a_slow_upload(resets, setting):
    """RFC 1123 section 4.1.3.2: a transfer that goes on is activity, however slow."""
    server, front = setting({"idle_timeout": T, "idle_resets": resets})
    with client_of(front) as client:
        client.logon()
        with client.open_data() as data:
            client.ask("STOR slow", 150)
            for _ in range(8):
                data.sendall(b"drop by drop ")
                time.sleep(T * 0.25)
        client.expect(226)
        assert server.wait_upload().content == b"drop by drop " * 8
        watch = Stopwatch()
        assert_told(client, watch, "idle_timeout")  # and it counts from the transfer's end


def test_idle_timeout_holds_still_while_the_server_thinks(setting):
    _, front = setting({"idle_timeout": T}, {"CWD": lambda s, a: (time.sleep(T * 1.3), s.say("250 At last"))})
    with client_of(front) as client:
        client.logon()
        client.ask("CWD a", 250)
        client.quit()


# ---------------------------------------------------------------------------------- no_transfer_timeout


def test_no_transfer_timeout_fires_in_spite_of_commands(setting):
    server, front = setting({"no_transfer_timeout": T})
    with client_of(front) as client:
        client.logon()
        watch = Stopwatch()
        keep_busy(client, "CWD a", T * 0.8, 250)
        assert_told(client, watch, "no_transfer_timeout")
        assert_ended(front, server, client, "no_transfer_timeout")


def test_no_transfer_timeout_holds_still_after_a_transfer(setting):
    _, front = setting({"no_transfer_timeout": T})
    with client_of(front) as client:
        client.logon()
        for _ in range(3):
            time.sleep(T * 0.7)
            assert client.download("RETR f")[2].code == 226
        client.quit()


# --------------------------------------------------------------- data_accept_timeout, data_connect_timeout


@pytest.mark.parametrize("command", ["RETR f", "STOR f"])
def test_data_accept_timeout_fires_when_the_client_does_not_come(command, setting):
    def refuse_late(session, _):
        session.say("150 Waiting")
        with contextlib.suppress(Exception):
            drain(session.open_data(T + 5))
        session.say("425 Nobody came")

    server, front = setting({"data_accept_timeout": T}, {"RETR": refuse_late, "STOR": refuse_late})
    with client_of(front) as client:
        client.logon()
        host, port = client.passive_port()
        watch = Stopwatch()
        client.say(command)
        reply = client.reply()
        while reply.code == 150:
            reply = client.reply()
        watch.assert_fired()
        assert reply.code == 425
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, port), 5)
        client.ask("PWD", 257)
        assert front.stats()["clocks_expired"]["data_accept_timeout"] == 1
        client.quit()
    server.wait_gone(5)


def test_data_accept_timeout_fires_on_a_port_that_nobody_uses(setting):
    _, front = setting({"data_accept_timeout": T})
    with client_of(front) as client:
        client.logon()
        host, port = client.passive_port()
        watch = Stopwatch()
        assert front.stats()["held"]["passive listener"] == 1
        eventually(lambda: front.stats()["held"]["passive listener"] == 0, T + 5)
        watch.assert_fired()
        assert not listens(host, port)
        client.ask("PWD", 257)
        client.quit()


def test_data_accept_timeout_holds_still_for_a_client_that_is_late_but_comes(setting):
    server, front = setting({"data_accept_timeout": T})
    with client_of(front) as client:
        client.logon()
        address = client.passive_port()
        client.say("RETR f")
        time.sleep(T * 0.7)
        with socket.create_connection(address, 5) as data:
            assert drain(data) == (server.files[b"f"], FIN)
        client.expect(150)
        client.expect(226)
        client.quit()


def test_data_connect_timeout_fires_when_the_servers_data_port_does_not_answer(setting):
    with black_hole() as (_, port):
        table = {
            "EPSV": [f"229 Extended ({'|' * 3}{port}|)", lambda s, a: s.server.on_epsv(s, a)],
            "RETR": [say("150 Waiting", lambda s, a: None), lambda s, a: s.server.on_retr(s, a)],
        }
        server, front = setting({"data_connect_timeout": T}, table)
        with client_of(front) as client:
            client.logon()
            with client.open_data() as data:
                watch = Stopwatch()
                client.say("RETR f")
                reply = client.reply()
                while reply.code == 150:
                    reply = client.reply()
                watch.assert_fired()
                assert reply.code == 425
                drain(data)
            assert front.stats()["clocks_expired"]["data_connect_timeout"] == 1


def test_data_connect_timeout_holds_still_while_the_server_takes_its_time_to_accept(setting):
    """The kernel of the server answers; that its program accepts late is not dialling."""

    def late(session, argument):
        time.sleep(T * 1.2)
        session.server.on_retr(session, argument)

    server, front = setting({"data_connect_timeout": T}, {"RETR": late})
    with client_of(front) as client:
        client.logon()
        content, end, reply = client.download("RETR f")
        assert (content, end, reply.code) == (server.files[b"f"], FIN, 226)
        client.quit()


# ---------------------------------------------------------------------------------------- stall_timeout


@pytest.mark.parametrize("direction", ["down", "up", "unread"])
def test_stall_timeout_fires_and_the_session_stays(direction, setting):
    """No byte moves: the server stops sending, the client stops sending, the client stops reading."""

    def aborted(session, _):
        session.data.close()
        session.say("426 Aborted")
        session.say("226 ABOR done")

    table = {"RETR": stalled(1000) if direction == "down" else None, "STOR": never_read, "ABOR": aborted}
    if direction == "unread":
        table["RETR"] = lambda s, a: stalled_sender(s)
    server, front = setting({"stall_timeout": T}, table)
    with client_of(front) as client:
        client.logon()
        with client.open_data() as data:
            watch = Stopwatch()
            client.ask("STOR f" if direction == "up" else "RETR f", 150)
            if direction == "up":
                data.sendall(b"x")
            elif direction == "down":
                data.recv(1000)
            assert_told(client, watch, "stall_timeout", 426)
            if direction != "up":
                assert drain(data)[1] == RST
        client.ask("PWD", 257)
        assert front.stats()["clocks_expired"]["stall_timeout"] == 1
        assert "ABOR" in server.verbs()
        client.quit()


def stalled_sender(session):
    """Fill the connection until nothing more fits, and answer ABOR."""
    session.say("150 Here it comes")
    session.data = session.open_data()
    session.data.setblocking(False)
    with contextlib.suppress(OSError):
        while True:
            session.data.send(b"x" * 65536)


def test_stall_timeout_holds_still_while_bytes_move(setting):
    server, front = setting({"stall_timeout": T})
    with client_of(front) as client:
        client.logon()
        with client.open_data() as data:
            client.ask("STOR slow", 150)
            for _ in range(4):
                data.sendall(b"x")
                time.sleep(T * 0.6)
        client.expect(226)
        assert server.wait_upload().content == b"xxxx"
        client.quit()


# ----------------------------------------------------------------------------------- final_reply_timeout


@pytest.mark.parametrize("command", ["RETR f", "STOR f"])
def test_final_reply_timeout_fires_when_the_server_never_says_how_it_went(command, setting):
    def silent_down(session, _):
        session.say("150 Here it comes")
        with session.open_data() as data:
            data.sendall(b"all of it")

    def silent_up(session, argument):
        receive_content(session, "STOR", argument, final=b"")

    server, front = setting({"final_reply_timeout": T}, {"RETR": silent_down, "STOR": silent_up})
    with client_of(front) as client:
        client.logon()
        with client.open_data() as data:
            client.ask(command, 150)
            if command.startswith("STOR"):
                data.sendall(b"x")
                data.shutdown(socket.SHUT_WR)
            else:
                assert data.recv(9, socket.MSG_WAITALL) == b"all of it"
            watch = Stopwatch()
            reply = client.reply(timeout=T + 5)
            watch.assert_fired()
            assert reply.code == 451
            if command.startswith("RETR"):
                assert drain(data)[1] == RST  # it may be truncated, for all that anybody said
        client.expect(421)
        assert client.wait_end(5) == FIN
        assert front.wait_event("session_end")["reason"] == "final_reply_timeout"
        assert front.stats()["clocks_expired"]["final_reply_timeout"] == 1
    server.wait_gone(5)


def test_final_reply_timeout_holds_still_for_a_server_that_is_slow_to_say_it(setting):
    def slow(session, argument):
        receive_content(session, "STOR", argument, final=b"")
        time.sleep(T * 0.7)
        session.say("226 At last")

    _, front = setting({"final_reply_timeout": T}, {"STOR": slow})
    with client_of(front) as client:
        client.logon()
        assert client.upload("STOR f", b"content").code == 226
        client.quit()


# ----------------------------------------------------------------------------------------- reply_timeout


def test_reply_timeout_fires_when_the_server_does_not_answer(setting):
    server, front = setting({"reply_timeout": T}, {"CWD": hang})
    with client_of(front) as client:
        client.logon()
        watch = Stopwatch()
        client.say("CWD a")
        assert_told(client, watch, "reply_timeout")
        assert_ended(front, server, client, "reply_timeout")


def test_reply_timeout_fires_before_logon_and_the_next_server_is_tried(sallyport):
    with RudeServer(table={"USER": hang}) as bad, RudeServer() as good:
        front = sallyport(bad, good, policy={"reply_timeout": "2s"}, pool={"balance": "first"})
        with client_of(front) as client:
            watch = Stopwatch()
            client.ask("USER u", 331)
            watch.assert_fired()
            client.ask("PASS p", 230)
            client.quit()
        bad.wait_gone(5)
        assert good.verbs() == ["USER", "PASS", "QUIT"]
        front.wait_event("logon_retry")


def test_reply_timeout_holds_still_for_a_server_that_is_slow(setting):
    _, front = setting({"reply_timeout": T}, {"CWD": lambda s, a: (time.sleep(T * 0.7), s.say("250 At last"))})
    with client_of(front) as client:
        client.logon()
        for _ in range(2):
            client.ask("CWD a", 250)
        client.quit()


# --------------------------------------------------------------------------------------- connect_timeout


def test_server_that_says_120_gets_the_time_that_it_asks_for(sallyport):
    def slow(session, _):
        session.say("120 Ready in 1 minutes")
        assert session.wait_end(3.5) == TIMEOUT
        session.say("220 Now")

    with RudeServer(greeting=slow) as server:
        front = sallyport(server, policy={"connect_timeout": "2s"})
        with RudeClient(front.host, front.port) as client:
            client.logon().ask("PWD", 257)
        assert front.stats()["clocks_expired"]["connect_timeout"] == 0


def test_server_that_says_120_for_ever_is_left(sallyport):
    def never(session, _):
        session.say("120 Wait")
        while session.wait_end(0.2) == TIMEOUT:
            session.say("120 Ready in 999 minutes")

    with RudeServer(greeting=never) as bad, RudeServer() as good:
        front = sallyport(
            bad, good, policy={"connect_timeout": "2s", "reply_timeout": "2s"}, pool={"balance": "first"}
        )
        with RudeClient(front.host, front.port) as client:
            client.logon().ask("PWD", 257)
        assert front.stats()["clocks_expired"]["connect_timeout"] == 1
        assert "USER" not in bad.verbs()


@pytest.mark.parametrize("trouble", ["no SYN-ACK", "no greeting"])
def test_connect_timeout_fires_and_the_next_server_is_tried(trouble, sallyport):
    with contextlib.ExitStack() as stack:
        if trouble == "no greeting":
            bad = stack.enter_context(RudeServer(greeting=freeze)).address
        else:
            bad = "{}:{}".format(*stack.enter_context(black_hole()))
        good = stack.enter_context(RudeServer())
        front = sallyport(bad, good, policy={"connect_timeout": "2s"}, pool={"balance": "first"})
        with client_of(front) as client:
            watch = Stopwatch()
            client.ask("USER u", 331)
            watch.assert_fired()
            client.ask("PASS p", 230)
            client.quit()
        assert front.stats()["clocks_expired"]["connect_timeout"] == 1


def test_connect_timeout_fires_for_each_server_and_then_the_client_is_told(sallyport):
    with RudeServer(greeting=freeze) as one, RudeServer(greeting=freeze) as two:
        front = sallyport(one, two, policy={"connect_timeout": "1s"})
        with client_of(front) as client:
            watch = Stopwatch()
            client.ask("USER u", 421, timeout=10)
            watch.assert_fired(2.0)
            assert client.wait_end(5) == FIN
        assert front.wait_event("session_end")["reason"] == "no_server"


def test_connect_timeout_holds_still_for_a_server_that_greets_late(setting):
    server, front = setting({"connect_timeout": T})
    server.greeting = lambda session, _: (time.sleep(T * 0.7), session.say("220 Sorry"))
    with client_of(front) as client:
        client.logon()
        time.sleep(T * 0.5)
        client.ask("PWD", 257)
        client.quit()


# --------------------------------------------------------------------------------------- session_timeout


def test_session_timeout_fires_in_spite_of_everything(setting):
    server, front = setting({"session_timeout": T})
    with client_of(front) as client:
        client.logon()
        watch = Stopwatch()
        keep_busy(client, "CWD a", T * 0.8, 250)
        assert_told(client, watch, "session_timeout")
        assert_ended(front, server, client, "session_timeout")


def test_session_timeout_holds_still_until_a_running_transfer_has_ended(setting):
    server, front = setting({"session_timeout": T})
    with client_of(front) as client:
        client.logon()
        with client.open_data() as data:
            client.ask("STOR slow", 150)
            for _ in range(6):
                data.sendall(b"x")
                time.sleep(T * 0.3)
        client.expect(226)
        assert server.wait_upload().content == b"x" * 6
        reply = client.expect(421, timeout=2)
        assert "session_timeout" in reply.text
        assert client.wait_end(5) == FIN


# ----------------------------------------------------------------------------------------- close_timeout


def test_close_timeout_fires_on_peers_that_do_not_close(setting):
    """The client does not read its 421 nor close, the server ignores QUIT: both sockets are gone all the same."""
    server, front = setting({"close_timeout": T, "idle_timeout": 1.0}, {"QUIT": freeze})
    with client_of(front) as client:
        client.logon()
        watch = Stopwatch()
        eventually(lambda: front.stats()["sessions"] == 0, 5)
        assert watch.elapsed() < 1.0 + LATE  # the session is gone at once; its last words need not be
        eventually(lambda: sum(front.stats()["farewells_held"].values()) == 0, T + 5)
        watch.assert_fired(1.0 + T)
        client.expect(421)
        assert client.wait_end(1) in (FIN, RST)


def test_close_timeout_holds_still_so_that_a_slow_client_still_gets_its_421(setting):
    server, front = setting({"close_timeout": T, "idle_timeout": 1.0})
    with client_of(front) as client:
        client.logon()
        eventually(lambda: front.stats()["sessions"] == 0, 5)
        time.sleep(T * 0.5)
        client.expect(421)
        assert client.wait_end(1) == FIN
    server.wait_gone(5)


# ------------------------------------------------------------------------------------------------- all


def test_notice_that_is_due_for_many_at_once_reaches_each(setting):
    """200 sessions with the same deadline, a busy one among them that must not be cut."""
    server, front = setting({"idle_timeout": T})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client_of(front)).logon() for _ in range(200)]
        survivor = stack.enter_context(client_of(front)).logon()
        keep_busy(survivor, "PWD", T + 1.5, 257)
        for client in clients:
            client.expect(421, timeout=3)
        survivor.ask("PWD", 257)
        assert front.stats()["sessions"] == 1
        survivor.quit()
    server.wait_gone(10)
    assert all(session.verbs()[-1] == "QUIT" for session in server.history)
