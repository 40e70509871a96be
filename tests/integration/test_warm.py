# SPDX-License-Identifier: ISC
"""Connections that are kept ready for logons, connected and greeted."""

import contextlib
import signal
import threading

import pytest
from rude import RudeClient, RudeServer
from support import eventually
from test_health import Licensed, checked, row, wait_state

pytestmark = pytest.mark.proxy


def wait_warm(front, count, number=0):
    eventually(lambda: row(front, number)["warm"] == count, what=lambda: row(front, number))


def test_logon_takes_a_connection_that_waits_and_another_one_takes_its_place(sallyport):
    with RudeServer() as server:
        front = sallyport(server, server={"warm": 2})
        wait_warm(front, 2)
        assert len(server.history) == 2 and row(front)["sessions"] == 0
        with RudeClient(front.host, front.port) as client:
            client.logon()
            client.ask("PWD", 257)
            assert sum("USER u" in s.commands for s in server.history[:2]) == 1
            wait_warm(front, 2)
            stats = front.stats()
            assert stats["warm_used"] == 1 and stats["server_connects"] == 0
            assert client.download("LIST")[2].code == 226
            client.quit()
        assert "QUIT" in server.verbs()
        front.stop()
        server.wait_gone()


def test_connection_that_the_server_closed_is_replaced_and_nobody_sees_it(sallyport):
    with RudeServer() as server:
        front = sallyport(server, server={"warm": 3})
        wait_warm(front, 3)
        for session in list(server.history):
            session.say("421 Timeout")
            session.sock.shutdown(2)
        with RudeClient(front.host, front.port) as client:
            client.logon()
            client.ask("PWD", 257)
            client.quit()
        eventually(lambda: len(server.history) >= 6)  # three, three in their place, and perhaps a fresh one
        wait_warm(front, 3)
        assert row(front)["failures"] == 0 and row(front)["state"] == "up"


@pytest.mark.parametrize("how", ["421", "close", "reset"])
def test_connection_that_dies_while_user_is_on_its_way_is_made_anew(sallyport, how):
    """The server cannot be known to be gone before it is spoken to."""

    def user(session, argument):
        if session.number > 0:
            session.say("331 Password")
        elif how == "421":
            session.say("421 You were silent for too long")
            session.sock.shutdown(2)
        elif how == "close":
            session.sock.shutdown(2)
        else:
            session.reset()

    with RudeServer(table={"USER": user}) as server:
        front = sallyport(server, server={"warm": 1, "max_sessions": 3})
        wait_warm(front, 1)
        with RudeClient(front.host, front.port) as client:
            client.logon()
            client.ask("PWD", 257)
            client.quit()
        assert row(front)["failures"] == 0
        assert front.stats()["warm_dead"] == 1
        assert not front.events("logon_retry")


def test_limit_holds_and_warm_connections_take_no_place_from_a_logon(sallyport):
    with Licensed(4) as server, contextlib.ExitStack() as stack:
        front = sallyport(server, server={"warm": 3, "max_sessions": 4}, top={"workers": 4})
        wait_warm(front, 3)
        clients = [stack.enter_context(RudeClient(front.host, front.port)).logon() for _ in range(4)]
        assert row(front)["sessions"] == 4 and row(front)["warm"] == 0
        with RudeClient(front.host, front.port) as fifth:
            fifth.say("USER u")
            eventually(lambda: front.stats()["sessions_in"]["queued"] == 1)
            clients[0].quit()
            fifth.expect(331)
            fifth.ask("PASS p", 230)
        for client in clients[1:]:
            client.quit()
        wait_warm(front, 3)
        assert server.most <= 4


def test_limit_holds_under_a_crowd(sallyport):
    with Licensed(5) as server:
        front = sallyport(server, pool=checked("greeting"), server={"warm": 3, "max_sessions": 5}, top={"workers": 2})
        failures = []

        def come_and_go():
            try:
                for _ in range(10):
                    with RudeClient(front.host, front.port) as client:
                        client.logon().quit()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=come_and_go) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[:3]
        assert server.most <= 5 and row(front)["failures"] == 0


def test_old_ones_are_replaced_with_a_goodbye(sallyport):
    with RudeServer() as server:
        front = sallyport(server, server={"warm": 1, "warm_age": "1s"})
        wait_warm(front, 1)
        server.wait_verb("QUIT")
        eventually(lambda: len(server.history) >= 2)
        wait_warm(front, 1)


def test_drained_server_and_one_that_left_the_file_keep_none(sallyport):
    with RudeServer() as one, RudeServer() as two:
        front = sallyport(one, two, server={"warm": 1})
        wait_warm(front, 1, 0)
        wait_warm(front, 1, 1)
        assert front.ctl("drain", "main/s0").returncode == 0
        one.wait_gone()
        front.configuration.servers = (one,)
        front.write_configuration()
        front.signal(signal.SIGHUP)
        two.wait_gone()
        assert front.ctl("up", "main/s0").returncode == 0
        wait_warm(front, 1)


def test_pool_that_left_the_file_keeps_none(sallyport):
    with RudeServer() as one, RudeServer() as two:
        pool = f'pool other {{ server t {{ address = "{two.address}" warm = 2 }} }}\n'
        extra = pool + 'route { users = { "x" } pool = other }\n'
        front = sallyport(one, extra=extra)
        eventually(lambda: two.sessions() == 2)
        front.configuration.extra = ""
        front.write_configuration()
        front.signal(signal.SIGHUP)
        two.wait_gone()


def test_server_that_is_down_gets_no_connections(sallyport):
    with RudeServer(greeting="421 no") as server:
        front = sallyport(server, pool=checked("greeting"), server={"warm": 2})
        wait_state(front, "down")
        server.wait_gone()
        server.greeting = "220 well again"
        wait_state(front, "up")
        wait_warm(front, 2)


def test_server_that_moves_leaves_its_connections_behind(sallyport):
    """A logon behind the reload is at the new address, although the old one was warm."""
    with RudeServer() as old, RudeServer() as new:
        front = sallyport(old, server={"warm": 2, "warm_age": "1h"})
        wait_warm(front, 2)
        front.configuration.servers = (new,)
        front.write_configuration()
        front.signal(signal.SIGHUP)
        front.wait_event("config_loaded", 2)
        front.wait_event("server_state", server_name="s0", text="another address")
        with RudeClient(front.host, front.port) as client:
            client.logon("mover").quit()
        assert "USER mover" in new.commands() and "USER mover" not in old.commands()
        old.wait_gone()
        assert "QUIT" in old.verbs()
        wait_warm(front, 2)
        assert row(front)["address"] == new.address and row(front)["failures"] == 0
