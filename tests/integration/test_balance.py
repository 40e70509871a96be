# SPDX-License-Identifier: ISC
"""Which server a logon gets: balancing, the next one when one fails, limits, names."""

import contextlib
import signal
import socket
import time

import pytest
from rude import FIN, RudeClient, RudeServer, close, reset_control, say
from support import eventually, free_port

pytestmark = pytest.mark.proxy


@contextlib.contextmanager
def servers(count, **options):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(RudeServer(**options)) for _ in range(count)]


def logons_at(servers):
    return [server.verbs().count("PASS") for server in servers]


def log_on_and_off(front, times, user="u"):
    for _ in range(times):
        with RudeClient(front.host, front.port) as client:
            client.logon(user).quit()


def test_round_robin_takes_turns(sallyport):
    with servers(3) as three:
        front = sallyport(*three, pool={"balance": "round_robin"})
        log_on_and_off(front, 12)
        assert logons_at(three) == [4, 4, 4]


def test_least_sessions_evens_out_what_is_there(sallyport):
    with servers(3) as three, contextlib.ExitStack() as stack:
        front = sallyport(*three, pool={"balance": "least_sessions"})
        clients = [stack.enter_context(RudeClient(front.host, front.port)).logon() for _ in range(9)]
        assert [server.sessions() for server in three] == [3, 3, 3]
        victims = [client for client in clients if client.sock.getsockname()[1] in at(front, "s1")]
        for client in victims:
            client.quit()
        three[1].wait_gone()
        eventually(lambda: front.stats()["sessions"] == 6)
        for _ in range(3):
            stack.enter_context(RudeClient(front.host, front.port)).logon()
        assert [server.sessions() for server in three] == [3, 3, 3]


def at(front, name):
    """Ports of the clients whose sessions are at this server."""
    return {int(row["client"].rsplit(":", 1)[1]) for row in front.sessions() if row["server_name"] == name}


def test_first_uses_the_next_one_only_when_the_first_is_full(sallyport):
    with servers(2) as two, contextlib.ExitStack() as stack:
        front = sallyport(*two, pool={"balance": "first"}, server={"max_sessions": 2})
        for _ in range(3):
            stack.enter_context(RudeClient(front.host, front.port)).logon()
        assert [server.sessions() for server in two] == [2, 1]


@pytest.mark.parametrize("how", ["refuses", "fin", "rst", "421", "500", "garbage"])
def test_server_that_fails_at_logon_is_passed_over(how, sallyport):
    greetings = {
        "fin": close,
        "rst": reset_control,
        "421": say("421 Full", close),
        "500": say("500 No", close),
        "garbage": say("SSH-2.0-OpenSSH_9.2", close),
    }
    with contextlib.ExitStack() as stack:
        if how == "refuses":
            bad = f"127.0.0.1:{free_port()}"
        else:
            bad = stack.enter_context(RudeServer(greeting=greetings[how]))
        good = stack.enter_context(RudeServer())
        front = sallyport(bad, good, pool={"balance": "first"})
        for _ in range(3):
            with RudeClient(front.host, front.port) as client:
                client.logon().ask("PWD", 257)
                client.quit()
        assert good.verbs().count("PASS") == 3
        assert front.wait_event("logon_retry")["server_name"] == "s0"


def test_server_that_says_421_to_user_is_passed_over(sallyport):
    with RudeServer(table={"USER": say("421 Too many users", close)}) as bad, RudeServer() as good:
        front = sallyport(bad, good, pool={"balance": "first"})
        log_on_and_off(front, 1)
        assert (bad.verbs()[0], good.verbs()) == ("USER", ["USER", "PASS", "QUIT"])


def test_when_no_server_is_left_the_client_is_told_421(sallyport):
    front = sallyport(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    with RudeClient(front.host, front.port) as client:
        started = time.monotonic()
        client.ask("USER u", 421)
        assert client.wait_end() == FIN
        assert time.monotonic() - started < 3
    assert front.wait_event("session_end")["reason"] == "no_server"


def test_server_that_comes_back_is_used_again(sallyport):
    port = free_port()
    with RudeServer() as good:
        front = sallyport(f"127.0.0.1:{port}", good, pool={"balance": "first"})
        log_on_and_off(front, 5)
        assert good.verbs().count("PASS") == 5
        with RudeServer(port=port) as back:

            def used():
                log_on_and_off(front, 1)
                return back.verbs().count("PASS") > 0

            eventually(used, 40)
        assert front.wait_event("server_down")["server_name"] == front.wait_event("server_up")["server_name"] == "s0"


def test_server_that_comes_back_is_up_when_it_refuses_a_password(sallyport):
    """A no is an answer: the one who tries the server first need not know his password."""
    port = free_port()
    front = sallyport(f"127.0.0.1:{port}", pool={"health": {"fall": 1}})
    with RudeClient(front.host, front.port) as client:
        client.ask("USER u", 421)
    assert front.ask("show pools")["servers"][0]["state"] == "down"
    with RudeServer(port=port, table={"PASS": "530 Login incorrect"}) as back, contextlib.ExitStack() as stack:

        def tried():
            client = stack.enter_context(RudeClient(front.host, front.port))
            if client.ask("USER u").code == 331:
                client.ask("PASS p", 530)
            return back.verbs().count("PASS") > 0

        eventually(tried, 40)
        assert front.wait_event("server_up")["text"] == "it answered a logon"
        assert front.ask("show pools")["servers"][0]["state"] == "up"


def test_full_server_makes_logons_wait_their_turn(sallyport):
    with RudeServer() as server, contextlib.ExitStack() as stack:
        front = sallyport(server, server={"max_sessions": 2}, pool={"queue_timeout": "20s"})
        inside = [stack.enter_context(RudeClient(front.host, front.port)).logon() for _ in range(2)]
        waiting = []
        for _ in range(3):
            waiting.append(stack.enter_context(RudeClient(front.host, front.port)))
            waiting[-1].say("USER u")
            eventually(lambda: front.ask("show pools")["pools"][0]["waiting"] == len(waiting))
        assert server.sessions() == 2
        for number, client in enumerate(inside + waiting[:1]):
            client.quit()
            waiting[number].expect(331)  # in the order of their coming
            waiting[number].ask("PASS p", 230)
        assert len(server.history) == 5


@pytest.mark.parametrize("end", ["quit", "fin"])
def test_full_server_is_given_the_next_session_when_it_has_closed_the_last_one(end, sallyport):
    """A server that counts its sessions would refuse it before: it is full until its own side is closed."""
    crowded = []

    def greet(session, _):
        crowded.append(session.server.sessions())
        session.say("220 Hello")

    def slow_quit(session, _):
        session.say("221 Bye")
        time.sleep(0.5)
        close(session, _)

    with RudeServer(greeting=greet, table={"QUIT": slow_quit}) as server, contextlib.ExitStack() as stack:
        front = sallyport(server, server={"max_sessions": 1}, pool={"queue_timeout": "20s"})
        first = stack.enter_context(RudeClient(front.host, front.port)).logon()
        second = stack.enter_context(RudeClient(front.host, front.port))
        second.say("USER u")
        eventually(lambda: front.ask("show pools")["pools"][0]["waiting"] == 1)
        if end == "quit":
            first.ask("QUIT", 221)
        else:
            first.close()
        second.expect(331)
        second.ask("PASS p", 230)
        assert crowded == [1, 1]


def test_queue_timeout_tells_the_client_421(sallyport):
    with RudeServer() as server:
        front = sallyport(server, server={"max_sessions": 1}, pool={"queue_timeout": "1s"})
        with RudeClient(front.host, front.port).logon(), RudeClient(front.host, front.port) as second:
            started = time.monotonic()
            second.ask("USER u", 421)
            assert 0.9 < time.monotonic() - started < 2.5
            assert second.wait_end() == FIN
        assert front.wait_event("session_end", reason="queue_timeout")
        assert len(server.history) == 1


def test_waiting_client_that_goes_away_gives_its_place_up(sallyport):
    with RudeServer() as server:
        front = sallyport(server, server={"max_sessions": 1}, pool={"queue_timeout": "20s"})
        with RudeClient(front.host, front.port) as first:
            first.logon()
            second = RudeClient(front.host, front.port)
            second.say("USER u")
            eventually(lambda: front.ask("show pools")["pools"][0]["waiting"] == 1)
            second.reset()
            eventually(lambda: front.ask("show pools")["pools"][0]["waiting"] == 0)
            with RudeClient(front.host, front.port) as third:
                third.say("USER u")
                first.quit()
                third.expect(331)
                third.ask("PASS p", 230)


def test_servers_name_that_does_not_exist_is_421_in_time(sallyport):
    front = sallyport("does-not-exist.invalid:21", policy={"connect_timeout": "3s"})
    with RudeClient(front.host, front.port) as client:
        started = time.monotonic()
        client.ask("USER u", 421, timeout=20)
        assert time.monotonic() - started < 18


def test_routes_send_users_to_their_pools_and_refuse_others_without_a_server(sallyport):
    with servers(2) as (one, two):
        extra = (
            f'pool second {{ server t0 {{ address = "{two.address}" }} }}\n'
            'route { users = { "acme-*" } pool = second policy = main }\n'
            'route { users = { "root" } reject = yes }\n'
        )
        front = sallyport(one, extra=extra)
        log_on_and_off(front, 1, "acme-1")
        log_on_and_off(front, 1, "somebody")
        assert (logons_at([one]), logons_at([two])) == ([1], [1])
        with RudeClient(front.host, front.port) as client:
            client.ask("USER root", 530, 331)
            if b"331" in client.raw:
                client.ask("PASS p", 530)
            client.logon("somebody").quit()
        assert (logons_at([one]), logons_at([two])) == ([2], [1])
        assert "USER root" not in one.commands() + two.commands()


def test_a_reload_that_is_refused_leaves_the_servers_as_they_were(sallyport):
    """Refused late, for a port that somebody else has: by then the pools must not have heard of it."""
    with servers(2) as (one, two), socket.create_server(("127.0.0.1", 0)) as taken:
        front = sallyport(one, server={"max_sessions": 3})
        port = taken.getsockname()[1]
        front.configuration.servers = (two,)
        front.configuration.extra = f'pool more {{ server m {{ address = "{two.address}" }} }}\n'
        front.configuration.extra += 'route { users = { "m" } pool = more }\n'
        front.configuration.server = [{"state": "drain"}]
        front.configuration.listener["passive_ports"] = f"pooled:{port}-{port}"
        front.write_configuration()
        front.signal(signal.SIGHUP)
        assert str(port) in front.wait_event("config_refused")["text"]
        log_on_and_off(front, 2)
        assert logons_at([one, two]) == [2, 0]
        (row,) = front.ask("show pools")["servers"]
        assert (row["state"], row["max_sessions"]) == ("up", 3)
        del front.configuration.listener["passive_ports"]
        front.configuration.server = [{"max_sessions": 1}]
        front.write_configuration()
        front.signal(signal.SIGHUP)
        front.wait_event("config_loaded", 2)
        log_on_and_off(front, 1)
        assert logons_at([one, two]) == [2, 1]


def test_two_workers_share_a_pools_turns(sallyport):
    """The ledger is one, however many workers there are."""
    with servers(2) as two, contextlib.ExitStack() as stack:
        front = sallyport(*two, pool={"balance": "least_sessions"}, top={"workers": 4})
        for _ in range(20):
            stack.enter_context(RudeClient(front.host, front.port)).logon()
        assert [server.sessions() for server in two] == [10, 10]
        rows = front.ask("show pools")["servers"]
        assert [(row["server"], row["sessions"]) for row in rows] == [("s0", 10), ("s1", 10)]
