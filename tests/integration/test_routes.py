# SPDX-License-Identifier: ISC
"""Which route a logon gets: the question from the shell, maps of users, what is done to names and passwords."""

import contextlib
import os
import signal
import time

import pytest
from rude import RudeClient, RudeServer, close, say
from sallyport import SANITIZERS, Configuration, find_binary, section_text
from support import eventually, free_port, run
from tls import Authority

pytestmark = pytest.mark.proxy


def log_on(front, user, password="p"):
    with RudeClient(front.host, front.port) as client:
        client.logon(user, password).quit()


def refused(front, user, password="p"):
    """Every answer up to the one that refuses the logon."""
    with RudeClient(front.host, front.port) as client:
        reply = client.ask(f"USER {user}")
        if reply.code == 331:
            reply = client.ask(f"PASS {password}")
        assert reply.code == 530, reply
        return reply


# ---------------------------------------------------------------------------------- asked from the shell


def ask(file, question):
    return run([find_binary(), "-t", "-c", file, "--route", question], env=os.environ | SANITIZERS)


def test_a_route_can_be_asked_from_the_shell(tmp_path):
    file = tmp_path / "sallyport.conf"
    configuration = Configuration(
        ["127.0.0.1:21"],
        extra='route { users = { "acme-*" } sources = { "198.51.100.0/24" } reject = yes }\n',
        route={"users": ["acme-*"]},
    )
    file.write_text(configuration.text(tmp_path))
    done = ask(file, "user=acme-1,source=203.0.113.1")
    assert done.returncode == 0, done.stderr
    assert "route 1: does not match: source 203.0.113.1 is not in 198.51.100.0/24" in done.stdout
    assert done.stdout.endswith("result: pool main, policy main (route 2)\n")
    assert ask(file, "user=acme-1,source=198.51.100.7").returncode == 3
    done = ask(file, "user=acme-1,place=here")
    assert done.returncode == 2 and "place" in done.stderr
    done = run([find_binary(), "-c", file, "--route", "user=a"], env=os.environ | SANITIZERS)
    assert done.returncode == 2 and "-t" in done.stderr


INPUTS = {  # what a route asks for: what gives it, and what does not
    "listeners": (["inner"], "listener=inner", "listener=main"),
    "sources": (["2001:db8::/32"], "source=2001:db8::7", "source=192.0.2.7"),
    "hosts": (["*.partner.test"], "host=ftp.partner.test", "host=partner.test"),
    "times": (["mon-fri 08:00-18:00"], "time=fri 17:59", "time=fri 18:00"),
    "users": (["acme-*"], "user=acme-1", "user=bcme-1"),
    "certificates": (["CN=robot,O=*"], "certificate=CN=robot,O=Partner", "certificate=CN=robot"),
}


@pytest.mark.parametrize("condition", sorted(INPUTS))
def test_every_condition_of_a_route_can_be_asked_for(tmp_path, condition):
    """As it would be at a logon: the pool by the one route, or by the other and why."""
    value, yes, no = INPUTS[condition]
    authority = Authority(tmp_path / "ca")
    pair = authority.issue("server.test")
    tls = {"tls": "explicit", "certificate": pair.certificate, "private_key": pair.key}
    tls |= {"client_certificates": "optional", "client_ca": authority.certificate}
    file = tmp_path / "sallyport.conf"
    text = Configuration(["127.0.0.1:21"], listener=tls).text(tmp_path)
    parts = [
        section_text("listener inner", {"bind": [f"127.0.0.1:{free_port()}"]} | tls),
        'pool special { server t { address = "127.0.0.1:22" } }\npolicy strict { }\n',
        section_text("route", {condition: value, "pool": "special", "policy": "strict"}),
    ]
    head, tail = text.split("route {", 1)
    file.write_text("\n".join([head, *parts, "route {" + tail]))
    user = "" if condition == "users" else "user=acme-1,"
    done = ask(file, user + yes)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("result: pool special, policy strict (route 1)\n"), done.stdout
    done = ask(file, user + no)
    assert "route 1: does not match: " in done.stdout and done.returncode == 0, done.stdout
    assert done.stdout.endswith("result: pool main, policy main (route 2)\n"), done.stdout


# ------------------------------------------------------------------------------------------ maps of users


def test_a_map_leads_each_user_to_a_pool_or_to_one_server(sallyport, tmp_path):
    users = tmp_path / "users.map"
    users.write_text("anna main/s1\nben other\n")
    with RudeServer() as s0, RudeServer() as s1, RudeServer() as other:
        front = sallyport(
            s0,
            s1,
            extra=f'pool other {{ server o {{ address = "{other.address}" }} }}\n',
            route={"user_map": str(users)},
        )
        for _ in range(3):
            log_on(front, "anna")
        log_on(front, "ben")
        assert refused(front, "carl").code == 530
        assert [s.verbs().count("PASS") for s in (s0, s1, other)] == [0, 3, 1]

        users.write_text("anna main/s0\ncarl\n")
        front.signal(signal.SIGHUP)
        front.wait_event("config_loaded", 2)
        log_on(front, "anna")
        log_on(front, "carl")
        assert refused(front, "ben").code == 530
        assert s0.verbs().count("PASS") + s1.verbs().count("PASS") == 5
        assert "USER anna" in s0.commands()

        users.write_text("anna main/s9\n")
        front.signal(signal.SIGHUP)
        event = front.wait_event("config_refused")
        assert "users.map:1: user_map:" in event["text"]
        log_on(front, "anna")  # the old map stays in force


def test_a_user_of_one_server_gets_no_other_one_when_it_is_gone(sallyport, tmp_path):
    users = tmp_path / "users.map"
    users.write_text("anna main/s1\n")
    with RudeServer() as s0, RudeServer(greeting="421 Not today") as s1:
        front = sallyport(s0, s1, route={"user_map": str(users)})
        with RudeClient(front.host, front.port) as client:
            assert client.ask("USER anna").code == 421
        assert s0.history == []
        assert len(s1.history) == 1


# ------------------------------------------------------------------------------- as whom a user is logged on


def names_at(server):
    return [command for command in server.commands() if command.split(" ", 1)[0] in ("USER", "PASS", "ACCT")]


def test_the_domain_is_taken_off_for_the_server_alone(sallyport):
    with RudeServer() as server:
        front = sallyport(server, route={"strip_domain": True})
        for user in ("anna@example.net", "ben", "x@y@example.net", "@example.net"):
            log_on(front, user)
        assert [name for name in names_at(server) if name.startswith("USER")] == [
            "USER anna",
            "USER ben",
            "USER x@y",
            "USER @example.net",
        ]
        front.wait_event("logon", 4)
        assert [event["user"] for event in front.events("logon")] == [
            "anna@example.net",
            "ben",
            "x@y@example.net",
            "@example.net",
        ]


def credentials_file(tmp_path, text, mode=0o600):
    file = tmp_path / "credentials"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_credentials_of_the_route_are_used_and_never_told(sallyport, tmp_path):
    file = credentials_file(tmp_path, 'acme-* acme "s3cret word" billing\n')
    with RudeServer(table={"PASS": "332 Account?", "ACCT": "230 In"}) as server, RudeServer() as plain:
        front = sallyport(
            server,
            plain,
            extra='route { users = { "other" } pool = main }\n',
            pool={"balance": "first"},
            route={"credentials": str(file)},
        )
        log_on(front, "acme-7", "whatever")
        assert names_at(server) == ["USER acme", "PASS s3cret word", "ACCT billing"]
        assert front.wait_event("logon")["user"] == "acme-7"
        with RudeClient(front.host, front.port) as client:
            client.ask("USER else", 331)
            client.ask("PASS hisown", 332)  # no entry is for him: he is who he says he is
            client.ask("ACCT hisaccount", 230)
        assert names_at(server)[3:] == ["USER else", "PASS hisown", "ACCT hisaccount"]
        log = front.out_path.read_text() + front.errors()
        for secret in ("s3cret", "billing", "whatever", "hisown", "hisaccount"):
            assert secret not in log


def test_credentials_that_others_may_read_are_refused(tmp_path):
    file = credentials_file(tmp_path, "a b c\n", 0o644)
    conf = tmp_path / "sallyport.conf"
    conf.write_text(Configuration(["127.0.0.1:21"], route={"credentials": str(file)}).text(tmp_path))
    done = run([find_binary(), "-t", "-c", conf], env=os.environ | SANITIZERS)
    assert done.returncode == 2 and "credentials" in done.stderr and "0600" in done.stderr


# ----------------------------------------------------------------------------------------- unknown users

GUARDED = {"unknown_user": "reject", "reject_delay": 0.4}


def conversation(front, user, password):
    """The answers to a logon, and how long the last one took."""
    with RudeClient(front.host, front.port) as client:
        replies = [client.ask(f"USER {user}").raw]
        before = time.monotonic()
        replies.append(client.ask(f"PASS {password}").raw)
        return replies, time.monotonic() - before


def test_an_unknown_user_gets_what_a_wrong_password_gets(sallyport):
    with RudeServer(table={"PASS": "530 No such luck"}) as server:
        front = sallyport(server, listener=GUARDED, route={"users": ["anna"]})
        known, known_took = conversation(front, "anna", "wrong")
        assert server.verbs().count("PASS") == 1
        unknown, unknown_took = conversation(front, "nobody", "wrong")
        assert unknown == known == [b"331 Password required.\r\n", b"530 Not logged on.\r\n"]
        # never sooner than the delay; how much later is the machine's business
        assert known_took >= 0.39 and unknown_took >= 0.39
        assert len(server.history) == 1  # nothing of the second one was seen there
        assert front.stats()["logons_refused"] == 1
        rejected = sallyport(server, listener=GUARDED, extra="route { users = { root } reject = yes }\n")
        assert conversation(rejected, "root", "x")[0] == known
        assert len(server.history) == 1


def test_the_delay_holds_up_nobody_else(sallyport):
    with RudeServer() as server:
        front = sallyport(server, listener=GUARDED | {"reject_delay": 30.0}, top={"workers": 1}, route={"users": ["anna"]})
        with contextlib.ExitStack() as stack:
            waiting = [stack.enter_context(RudeClient(front.host, front.port)) for _ in range(20)]
            for client in waiting:
                client.ask("USER nobody", 331)
                client.say("PASS x")
            log_on(front, "anna")
            waiting[0].close()
            eventually(lambda: front.stats()["sessions"] == 19)
        eventually(lambda: front.stats()["sessions"] == 0)


def test_a_known_user_is_logged_on_by_one_password_after_a_wrong_one(sallyport):
    def check(session, argument):
        session.say("230 In" if argument == b"right" else "530 No")

    with RudeServer(table={"PASS": check}) as server:
        front = sallyport(server, listener=GUARDED | {"reject_delay": 0.0}, route={"users": ["anna"]})
        with RudeClient(front.host, front.port) as client:
            client.ask("USER anna", 331)
            client.ask("PASS wrong", 530)
            client.ask("PASS right", 503)
            client.ask("USER nobody", 331)
            client.ask("PASS right", 530)
            client.say("USER anna")  # in one go, with what comes behind it
            client.say("PASS right")
            client.say("PWD")
            client.expect(331)
            client.expect(230)
            client.expect(257)
            client.quit()
        server.wait_gone()


# ---------------------------------------------------------------------------- servers that have no room


@pytest.mark.parametrize(
    "table",
    [
        {"USER": "530 Sorry, the maximum number of clients (2) for this user are already connected."},
        {"PASS": "530 Too many users logged in for this account. Try again later."},
        {"PASS": say("421 I can't accept more than 2 connections as the same user", close)},
        {"PASS": b"530-Too many users right now (limit 40).\r\n530 User access denied.\r\n"},
    ],
)
def test_a_logon_goes_on_to_a_server_that_has_room(sallyport, table):
    with RudeServer(table=table) as full, RudeServer() as free:
        front = sallyport(full, free, pool={"balance": "first"})
        for _ in range(5):  # more often than a server may fail
            with RudeClient(front.host, front.port) as client:
                client.ask("USER anna", 331)
                assert client.ask("PASS secret word").raw == b"230 Logged on\r\n"
                client.quit()
        assert names_at(free)[:2] == ["USER anna", "PASS secret word"]
        assert full.verbs().count("USER") == free.verbs().count("USER") == 5  # full is not down
        assert front.stats()["servers_busy"] == 5
        assert "secret" not in front.out_path.read_text()


def test_a_server_that_is_full_at_its_greeting_is_not_down(sallyport):
    with RudeServer(greeting=say("421 There are too many connected users, please try later.", close)) as full:
        with RudeServer() as free:
            front = sallyport(full, free, pool={"balance": "first"})
            for _ in range(5):
                log_on(front, "anna")
            assert len(full.history) == 5
            assert not front.events("server_down")


@pytest.mark.parametrize("text", ["530 Login incorrect.", "530 Too many login failures"])
def test_a_wrong_password_goes_to_no_other_server(sallyport, text):
    with RudeServer(table={"PASS": text}) as first, RudeServer(table={"PASS": text}) as second:
        front = sallyport(first, second, pool={"balance": "first"})
        assert refused(front, "anna").raw == text.encode() + b"\r\n"
        assert first.verbs().count("PASS") == 1 and not second.history


def test_when_all_are_full_the_client_is_told_so(sallyport):
    full = {"PASS": "530 Too many users"}
    with RudeServer(table=full) as one, RudeServer(table=full) as two, RudeServer(table=full) as three:
        front = sallyport(one, two, three, pool={"balance": "first", "tries": 2})
        with RudeClient(front.host, front.port) as client:
            client.ask("USER anna", 331)
            assert client.ask("PASS x").raw.startswith(b"421 All servers are busy")
        assert [len(server.history) for server in (one, two, three)] == [1, 1, 0]


def test_an_account_that_is_full_at_proftpd_is_taken_elsewhere(sallyport, fleet):
    proftpd = fleet("proftpd")
    with RudeServer(table={"PASS": "530 Sorry, the maximum number of clients (1) already connected."}) as full:
        front = sallyport(full, proftpd, pool={"balance": "first"})
        with RudeClient(front.host, front.port) as client:
            client.logon(proftpd.user, proftpd.password)
            client.ask("PWD", 257)
            client.quit()
        with RudeClient(front.host, front.port) as client:
            client.ask(f"USER {proftpd.user}", 331)
            client.ask("PASS wrong", 530)
