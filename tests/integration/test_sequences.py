# SPDX-License-Identifier: ISC
"""What follows what: 421 at any moment, replies of which there is one too few, errors and floods, ends of which only one comes."""

import socket
import threading

import pytest
from rude import FIN, Closed, RudeClient, RudeServer, drain
from rude_pair import CONTENT, assert_still_in_step, pair  # noqa: F401 (a fixture)
from support import eventually

pytestmark = pytest.mark.proxy

# -------------------------------------------------------------------------------------------------- 421


@pytest.mark.parametrize("verb", ["USER", "PASS", "EPSV", "REST", "RETR", "STOR", "ABOR", "STAT", "FEAT", "QUIT"])
def test_421_may_answer_any_command(verb, pair):
    """RFC 959 section 4.2.1: if the service knows it must shut down."""
    server, _, client = pair({verb: "421 Going down"}, logon=False)
    commands = {"REST": "REST 1", "RETR": "RETR good", "STOR": "STOR x"}
    if verb not in ("USER", "PASS"):
        client.logon()
    elif verb == "PASS":
        client.ask("USER u", 331)
    if verb in ("RETR", "STOR"):
        client.passive_port()
    client.say({"USER": "USER u", "PASS": "PASS p"}.get(verb, commands.get(verb, verb)))
    assert client.expect(421, *([221] if verb == "QUIT" else []))
    assert client.wait_end() == FIN
    server.wait_gone()


def test_server_that_shuts_down_at_pass_is_followed_by_the_next(sallyport):
    with RudeServer(table={"PASS": "421 Going down"}) as bad, RudeServer() as good:
        front = sallyport(bad, good, pool={"balance": "first"})
        with RudeClient(front.host, front.port) as client:
            client.logon().ask("PWD", 257)
            client.quit()
        assert "PASS p" in bad.commands() and "PASS p" in good.commands()


# ------------------------------------------------------------------------------- one reply more, one less


def test_as_many_preliminary_replies_as_the_server_likes(pair):
    """RFC 959 section 4.2.2: 110 may come in the middle of the data."""

    def marks(session, _):
        session.say("150 Here it comes")
        with session.open_data() as data:
            for start in range(0, 5000, 1000):
                data.sendall(CONTENT[start : start + 1000])
                session.say(f"110 MARK {start} = {start}")
        session.say("226 Sent")

    _, _, client = pair({"RETR": [marks, lambda s, a: s.server.on_retr(s, a)]})
    with client.open_data() as data:
        client.ask("RETR file", 150)
        assert drain(data) == (CONTENT[:5000], FIN)
    for _ in range(5):
        client.expect(110)
    client.expect(226)
    assert_still_in_step(client)


@pytest.mark.parametrize("only", ["426 Aborted", "226 ABOR done"])
def test_server_that_gives_one_reply_for_an_aborted_transfer(only, pair):
    """The client gets the two that RFC 959 promises it all the same."""

    def once(session, _):
        session.say("150 Here it comes")
        session.data = session.open_data()
        session.data.sendall(b"some")
        eventually(lambda: session.command_waiting() == b"ABOR")
        session.next_command()
        session.data.close()
        session.say(only)

    _, _, client = pair({"RETR": [once, lambda s, a: s.server.on_retr(s, a)]})
    with client.open_data() as data:
        client.ask("RETR file", 150)
        assert data.recv(4, socket.MSG_WAITALL) == b"some"
        client.ask("ABOR", 426)
        client.expect(225, 226)
    assert_still_in_step(client)


def test_server_that_says_226_and_never_ends_its_data_connection(pair):
    """Nobody knows whether that was all: it is no whole file, and the session goes on."""
    held = []

    def act(session, _):
        session.say("150 Here it comes")
        data = session.open_data()
        held.append(data)
        data.sendall(b"some")
        session.say("226 Sent")

    _, front, client = pair({"RETR": [act, lambda s, a: s.server.on_retr(s, a)]}, policy={"stall_timeout": "2s"})
    with client.open_data() as data:
        client.ask("RETR file", 150)
        content, end = drain(data)
        assert content == b"some" and end != FIN
    client.expect(426)
    assert front.wait_event("transfer")["outcome"] == "stalled"
    assert_still_in_step(client)
    held[0].close()


# ----------------------------------------------------------------------------------------------- floods


@pytest.mark.parametrize("noise", [b"FROB\r\n", b"x" * 5000 + b"\r\n", b"a\rb\r\n"], ids=["unknown", "too_long", "bad"])
@pytest.mark.parametrize("logged_on", [False, True], ids=["before", "behind"])
def test_noise_is_ended_before_the_logon_and_behind_it(logged_on, noise, pair):
    server, front, client = pair(logon=logged_on, policy={"max_errors": 5})
    with pytest.raises((Closed, BrokenPipeError, ConnectionResetError)):
        for _ in range(20):
            client.send(noise)
            client.expect(500, 501, 421)
    assert front.wait_event("session_end")["reason"] == "too_many_errors"
    assert len(server.history) == logged_on


def test_client_that_says_more_than_can_wait_is_not_read_on(pair):
    """The server thinks; what waits for it is some lines and not a hundred megabytes."""
    done = threading.Event()
    server, front, client = pair({"CWD": lambda s, a: (done.wait(30), s.say("250 At last"))})
    client.say("CWD a")
    server.wait_verb("CWD")
    client.sock.settimeout(1.5)
    with pytest.raises(TimeoutError):
        for _ in range(1000):
            client.sock.sendall(b"NOOP\r\n" * 20_000)
    with RudeClient(front.host, front.port) as other:  # and nobody else notices
        other.logon().quit()
    done.set()
