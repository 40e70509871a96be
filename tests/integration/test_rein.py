# SPDX-License-Identifier: ISC
"""REIN: the logon is taken back, the session goes on as behind its greeting."""

import pytest

from rude import FIN, RudeClient, RudeServer, drain
from support import eventually

pytestmark = pytest.mark.proxy

FILE = b"reinitialised\n" * 4000


@pytest.fixture
def server():
    with RudeServer(files={b"f": FILE}) as rude:
        yield rude


def test_the_client_is_logged_off_and_the_server_told_goodbye(sallyport, server):
    front = sallyport(server, server={"max_sessions": 1})
    with RudeClient(front.host, front.port).logon() as client:
        client.ask("REIN", 220)
        server.wait_gone()
        assert server.last().verbs() == ["USER", "PASS", "QUIT"]
        client.ask("PWD", 530)
        client.ask("RETR f", 530)
        front.wait_event("logoff", user="u")
        # its place at the server is free for the next logon, which may be its own
        client.logon(user="v")
        client.ask("PWD", 257)
        client.quit()
    assert len(server.history) == 2 and "USER v" in server.last().commands
    assert front.stats()["logons"] == 2


def test_the_next_user_is_routed_anew(sallyport, server):
    extra = """
pool other {{ server o {{ address = "{}"  ask_features = no }} }}
route {{ users = {{ "o*" }}  pool = other  policy = main }}
route {{ hosts = {{ "other.test" }}  pool = other  policy = main }}
"""
    with RudeServer() as other:
        front = sallyport(server, extra=extra.format(other.address))
        with RudeClient(front.host, front.port).logon() as client:
            client.ask("HOST other.test", 503)
            client.ask("REIN", 220)
            client.logon(user="other")
            client.ask("REIN", 220)
            client.ask("HOST other.test", 220)
            client.logon(user="u")
            client.ask("REIN", 220)
            client.logon(user="u")  # HOST went with REIN
            client.quit()
        assert [s.commands[0] for s in server.history] == ["USER u", "USER u"]
        assert [s.commands[0] for s in other.history] == ["USER other", "USER u"]


def test_a_running_transfer_may_end(sallyport, server):
    front = sallyport(server)
    with RudeClient(front.host, front.port).logon() as client, client.open_data() as data:
        client.say("RETR f")
        client.say("REIN")
        client.expect(150)
        assert drain(data) == (FILE, FIN)
        client.expect(226)
        client.expect(220)
        client.ask("PWD", 530)


def test_what_was_arranged_is_forgotten(sallyport, server):
    front = sallyport(server)
    with RudeClient(front.host, front.port).logon() as client:
        client.ask("EPSV ALL", 200)
        client.passive_port()
        client.ask("REIN", 220)
        client.logon()
        client.ask("RETR f", 425)
        assert client.download("RETR f", how="PASV")[0] == FILE


def test_behind_user_and_before_anything(sallyport, server):
    front = sallyport(server)
    with RudeClient(front.host, front.port) as client:
        client.ask("REIN", 220)
        client.ask("USER u", 331)
        client.ask("REIN", 220)
        client.ask("PASS p", 503)
        client.logon()
        for _ in range(3):
            client.ask("REIN", 220)
            client.logon()
        client.quit()
    server.wait_gone()
    assert not front.events("orphan")


def test_a_client_that_is_not_logged_on_gains_no_time_by_it(sallyport, server):
    front = sallyport(server, policy={"login_timeout": 1.0})
    with RudeClient(front.host, front.port) as client:
        client.ask("REIN", 220)
        client.expect(421)
    with RudeClient(front.host, front.port).logon() as client:
        client.ask("REIN", 220)
        client.expect(421)  # the time for the next logon begins here, and ends
    front.wait_event("session_end", 2, reason="login_timeout")


def test_an_early_connection_is_made_anew(sallyport, server):
    front = sallyport(server, pool={"early_connect": True})
    with RudeClient(front.host, front.port) as client:
        client.ask("REIN", 220)
        client.logon()
        client.ask("REIN", 220)
        client.logon()
        client.quit()
    server.wait_gone()


def test_a_policy_may_deny_it(sallyport, server):
    front = sallyport(server, policy={"deny_commands": ["REIN"]})
    with RudeClient(front.host, front.port).logon() as client:
        client.ask("REIN", 550)
        client.ask("PWD", 257)
