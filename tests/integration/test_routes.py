# SPDX-License-Identifier: ISC
"""Which route a logon gets: the question from the shell, maps of users, what is done to names and passwords."""

import os
import signal

import pytest
from rude import RudeClient, RudeServer
from sallyport import SANITIZERS, Configuration, find_binary
from support import run

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
