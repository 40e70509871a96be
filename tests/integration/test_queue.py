# SPDX-License-Identifier: ISC
"""What a pool remembers of logons, and logons that wait for a server."""

import contextlib
import signal
import time

import pytest
from rude import RudeClient, RudeServer
from support import eventually

pytestmark = pytest.mark.proxy


def log_on(front, user, source=None):
    with RudeClient(front.host, front.port, source=source) as client:
        client.logon(user).quit()


def users_at(server):
    return [command[5:] for command in server.commands() if command.startswith("USER ")]


# ------------------------------------------------------------------------------------ what is remembered


def test_a_user_stays_at_his_server(sallyport):
    with RudeServer() as s0, RudeServer() as s1, RudeServer() as s2:
        front = sallyport(s0, s1, s2, pool={"sticky": "user"})
        for _ in range(3):
            for user in ("anna", "ben", "carl"):
                log_on(front, user)
        assert sorted(users_at(s) for s in (s0, s1, s2)) == [["anna"] * 3, ["ben"] * 3, ["carl"] * 3]
        front.signal(signal.SIGHUP)
        front.wait_event("config_loaded", 2)
        for user in ("carl", "anna", "ben"):
            log_on(front, user)
        assert sorted(users_at(s) for s in (s0, s1, s2)) == [["anna"] * 4, ["ben"] * 4, ["carl"] * 4]


def test_a_source_stays_at_its_server_and_goes_on_when_it_is_gone(sallyport):
    with RudeServer() as s0, RudeServer() as s1:
        front = sallyport(s0, s1, pool={"sticky": "source"})
        for n in range(4):
            log_on(front, f"u{n}", source="127.0.0.2")
            log_on(front, f"v{n}", source="127.0.0.3")
        assert sorted([users_at(s0), users_at(s1)]) == [["u0", "u1", "u2", "u3"], ["v0", "v1", "v2", "v3"]]
        first, second = (s0, s1) if "u0" in users_at(s0) else (s1, s0)
        first.stop()
        log_on(front, "u4", source="127.0.0.2")
        assert "u4" in users_at(second)


def test_what_was_remembered_expires(sallyport):
    with RudeServer() as s0, RudeServer() as s1:
        front = sallyport(s0, s1, pool={"sticky": "user", "sticky_for": 0.001})
        for _ in range(8):
            log_on(front, "anna")
        assert len(users_at(s0)) > 0 and len(users_at(s1)) > 0


def test_a_sticky_server_that_is_full_is_passed_over(sallyport):
    with RudeServer() as s0, RudeServer() as s1:
        front = sallyport(s0, s1, pool={"sticky": "user", "balance": "first"}, server={"max_sessions": 1})
        log_on(front, "anna")
        with RudeClient(front.host, front.port) as one, RudeClient(front.host, front.port) as two:
            one.logon("anna")
            two.logon("anna")
            assert (len(users_at(s0)), len(users_at(s1))) == (2, 1)


def test_a_refused_password_is_refused_again_without_a_server(sallyport):
    def check(session, argument):
        session.say("230 In" if argument == b"right" else "530 No")

    with RudeServer(table={"PASS": check}) as server:
        front = sallyport(
            server,
            listener={"unknown_user": "reject", "reject_delay": 0.0},
            pool={"refused_cache": "1h"},
        )
        for user, password, code, seen in (
            ("anna", "wrong", 530, 1),
            ("anna", "wrong", 530, 1),
            ("ben", "wrong", 530, 2),
            ("anna", "other", 530, 3),
            ("anna", "right", 230, 4),
            ("anna", "wrong", 530, 4),
            ("anna", "right", 230, 5),
        ):
            with RudeClient(front.host, front.port) as client:
                client.ask(f"USER {user}", 331)
                client.ask(f"PASS {password}", code)
            assert server.verbs().count("PASS") == seen
        assert len(server.history) == 5
        assert "wrong" not in front.out_path.read_text()


def test_the_server_that_answers_sooner_gets_the_logons(sallyport):
    def slow(session, _):
        session.server.stopping.wait(0.15)
        session.say("230 Logged on")

    def brisk(session, _):
        session.server.stopping.wait(0.02)
        session.say("230 Logged on")

    with RudeServer(table={"PASS": slow}) as s0, RudeServer(table={"PASS": brisk}) as s1:
        front = sallyport(s0, s1, pool={"balance": "least_response_time"})
        for n in range(12):
            log_on(front, f"u{n}")
        assert len(users_at(s0)) < len(users_at(s1))


# ----------------------------------------------------------------------------------------- the queue


@contextlib.contextmanager
def holding_the_only_place(front):
    with RudeClient(front.host, front.port) as holder:
        holder.logon("holder")
        yield holder


def waiting(front, count):
    eventually(lambda: sum(row["place"] == "queued" for row in front.sessions()) == count, what=front.sessions)


def test_those_of_a_higher_priority_go_first(sallyport):
    with RudeServer() as server:
        front = sallyport(
            server,
            server={"max_sessions": 1},
            extra='policy high { queue_priority = 5 }\nroute { users = { "vip-*" } pool = main policy = high }\n',
        )
        with contextlib.ExitStack() as stack, holding_the_only_place(front) as holder:
            clients = {}
            for n, user in enumerate(("a", "b", "vip-1", "c", "vip-2")):
                clients[user] = stack.enter_context(RudeClient(front.host, front.port))
                clients[user].say(f"USER {user}")
                waiting(front, n + 1)
            holder.quit()
            for user in ("vip-1", "vip-2", "a", "b", "c"):
                clients[user].expect(331)
                clients[user].ask("PASS x", 230)
                clients[user].quit()
        assert users_at(server) == ["holder", "vip-1", "vip-2", "a", "b", "c"]


TALKING = {"queue_keepalive": 0.1}


def lines_of_text(client, count):
    for _ in range(count):
        assert client.line().startswith(b"331-All servers are busy")


def test_who_waits_is_told_that_he_waits(sallyport):
    with RudeServer() as server:
        front = sallyport(server, server={"max_sessions": 1}, policy=TALKING)
        with holding_the_only_place(front) as holder, RudeClient(front.host, front.port) as client:
            client.say("USER anna")
            lines_of_text(client, 3)
            holder.quit()
            reply = client.line()
            while reply.startswith(b"331-"):
                reply = client.line()
            assert reply == b"331 Password, please\r\n"
            client.ask("PASS x", 230)
            client.quit()
        assert server.commands()[-3:] == ["USER anna", "PASS x", "QUIT"]


@pytest.mark.parametrize(
    ("table", "code"), [({"USER": "230 Welcome"}, 230), ({"USER": "530 Not you"}, 530), ({"USER": "332 Account?"}, 332)]
)
def test_an_answer_that_the_text_does_not_allow_comes_with_pass(sallyport, table, code):
    with RudeServer() as server:
        front = sallyport(server, server={"max_sessions": 1}, policy=TALKING)
        with holding_the_only_place(front) as holder, RudeClient(front.host, front.port) as client:
            client.say("USER anna")
            lines_of_text(client, 1)
            server.table.update(table | {"ACCT": "230 Fine"})
            holder.quit()
            reply = client.line()
            while reply.startswith(b"331-"):
                reply = client.line()
            assert reply == b"331 Password required.\r\n"
            client.ask("PASS anything", code)
            if code == 332:
                client.ask("ACCT x", 230)
            if code != 530:
                client.ask("PWD", 257)
            client.quit()
        assert "PASS anything" not in server.commands()


def test_when_the_wait_is_too_long_the_text_ends_before_the_421(sallyport):
    with RudeServer() as server:
        front = sallyport(server, server={"max_sessions": 1}, pool={"queue_timeout": 0.5}, policy=TALKING)
        with holding_the_only_place(front), RudeClient(front.host, front.port) as client:
            client.say("USER anna")
            assert client.expect(331).raw.endswith(b"331 Password required.\r\n")
            assert client.reply().raw.startswith(b"421 All servers are busy")


def test_without_the_key_who_waits_hears_nothing(sallyport):
    with RudeServer() as server:
        front = sallyport(server, server={"max_sessions": 1}, pool={"queue_timeout": 0.5})
        with holding_the_only_place(front), RudeClient(front.host, front.port) as client:
            assert client.ask("USER anna").code == 421
            assert bytes(client.raw).count(b"\r\n") == 2  # the greeting and the 421


def test_who_waits_for_one_server_is_not_passed_over_there(sallyport, tmp_path):
    """However busy the other one is: its room is not for him, and his own server's is for nobody before him."""
    users = tmp_path / "users.map"
    users.write_text("anna main/s1\nholder main/s1\n")
    with RudeServer() as s0, RudeServer() as s1, contextlib.ExitStack() as stack:
        front = sallyport(
            s0,
            s1,
            server={"max_sessions": 1},
            extra=f'route {{ user_map = "{users}" }}\nroute {{ pool = main policy = main }}\n',
            route={"users": ["nobody-else"]},
        )
        holder = stack.enter_context(RudeClient(front.host, front.port)).logon("holder")
        busy = stack.enter_context(RudeClient(front.host, front.port)).logon("busy")
        clients = []
        for n, user in enumerate(("anna", "b", "c")):
            clients.append(stack.enter_context(RudeClient(front.host, front.port)))
            clients[-1].say(f"USER {user}")
            waiting(front, n + 1)
        busy.quit()
        holder.quit()
        for client in clients[:2]:
            client.expect(331)
            client.ask("PASS x", 230)
        assert (users_at(s0), users_at(s1)) == (["busy", "b"], ["holder", "anna"])
        waiting(front, 1)
        clients[1].quit()
        clients[2].expect(331)
        clients[2].ask("PASS x", 230)
        assert users_at(s0) == ["busy", "b", "c"]


def test_a_route_to_a_backup_has_its_turn_there(sallyport, tmp_path):
    users = tmp_path / "users.map"
    users.write_text("anna main/s1\nholder main/s1\nproper main/s0\n")
    with RudeServer() as s0, RudeServer() as s1:
        front = sallyport(
            s0,
            s1,
            server=[{"max_sessions": 1}, {"max_sessions": 1, "backup": True}],
            route={"user_map": str(users)},
        )
        with RudeClient(front.host, front.port) as proper, RudeClient(front.host, front.port) as anna:
            proper.logon("proper")
            with holding_the_only_place(front) as holder:
                anna.say("USER anna")
                waiting(front, 1)
                holder.quit()
                anna.expect(331)
                anna.ask("PASS x", 230)
        assert (users_at(s0), users_at(s1)) == (["proper"], ["holder", "anna"])


def test_how_long_a_client_thinks_is_not_the_servers_time(sallyport):
    """A client that takes its time over the password: the server has answered at once."""
    with RudeServer() as server:
        front = sallyport(server, pool={"balance": "least_response_time"}, top={"workers": 1})
        with RudeClient(front.host, front.port) as client:
            began = time.monotonic()
            client.ask("USER anna", 331)
            asked = time.monotonic()
            time.sleep(0.3)
            said = time.monotonic()
            client.ask("PASS x", 230)
            waited = asked - began + time.monotonic() - said
            client.quit()
        # what the client has waited for is the most that it can have been, whatever the machine adds
        assert 0 < front.ask("show pools")["servers"][0]["response_us"] <= waited * 1e6 + 5000


def test_who_waits_for_a_server_that_a_reload_has_taken_away_is_told_so(sallyport):
    """At once, not when its time is over; whoever comes then is at the new one."""
    with RudeServer() as old, RudeServer() as new:
        front = sallyport(old, server={"max_sessions": 1}, pool={"queue_timeout": "1h"}, policy={"login_timeout": "2h"})
        with holding_the_only_place(front) as holder, RudeClient(front.host, front.port) as client:
            client.say("USER anna")
            waiting(front, 1)
            front.configuration.servers = (new,)
            text = front.configuration.text(front.folder).replace("server s0", "server t0")
            front.write_configuration(text)
            front.signal(signal.SIGHUP)
            client.expect(421)
            log_on(front, "anna")
            holder.ask("PWD", 257)  # who is there stays
        assert users_at(new) == ["anna"] and users_at(old) == ["holder"]
        eventually(lambda: [row["server"] for row in front.ask("show pools")["servers"]] == ["t0"])
