# SPDX-License-Identifier: ISC
"""How servers are looked after: checks, what logons show, states by order, slow start, backups."""

import contextlib
import signal
import socket
import threading

import pytest
from rude import Closed, RudeClient, RudeServer, hang, say
from support import eventually, free_port

pytestmark = pytest.mark.proxy

FAST = {"every": "100ms", "fall": 2, "rise": 2}


def checked(kind, **more):
    user = {"user": "monitor"} if kind in ("logon", "transfer") else {}
    return {"health": FAST | {"check": kind} | user | more}


def row(front, number=0):
    return front.ask("show pools")["servers"][number]


def wait_state(front, state, number=0):
    eventually(lambda: row(front, number)["state"] == state, what=lambda: row(front, number))
    return row(front, number)


def wait_checks(front, count, number=0):
    """So many checks more than now have ended."""
    before = row(front, number)["checks"]
    eventually(lambda: row(front, number)["checks"] >= before + count, what=lambda: row(front, number))
    return row(front, number)


def log_on_and_off(front, times=1):
    for _ in range(times):
        with RudeClient(front.host, front.port) as client:
            client.logon().quit()


def passwords(server):
    """Logons of clients, not of checks."""
    return [s for s in server.history if "PASS p" in s.commands]


def dead_port(session, _):
    """229 with a port that nobody listens on."""
    session.say(f"229 Entering Extended Passive Mode (|||{free_port()}|)")


FAULTS = {
    "greeting-421": ("connect", "greeting", {"greeting": "421 out of order"}, "greeting: 421 out of order"),
    "greeting-hangs": ("connect", "greeting", {"greeting": hang}, "greeting: no answer in time"),
    "user": ("greeting", "logon", {"table": {"USER": "530 no"}}, "USER: 530 no"),
    "password": ("greeting", "logon", {"table": {"PASS": "530 Login incorrect"}}, "PASS: 530 Login incorrect"),
    "epsv": ("logon", "transfer", {"table": {"EPSV": "500 ?", "PASV": "425 out of ports"}}, "425 out of ports"),
    "dead-data": ("logon", "transfer", {"table": {"EPSV": dead_port}}, "data connection: Connection refused"),
    "no-226": ("logon", "transfer", {"table": {"LIST": say("150 Here", hang)}}, "transfer: no answer in time"),
    "451": ("logon", "transfer", {"table": {"LIST": "451 disk broken"}}, "LIST: 451 disk broken"),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_each_kind_of_check_sees_what_the_ones_before_it_cannot(sallyport, fault):
    """On a busy machine a step before the one in question may take too long now and then, so this waits."""
    blind, seeing, options, text = FAULTS[fault]
    user = {"user": "monitor"} if seeing in ("logon", "transfer") else {}
    with RudeServer(**options) as server:
        front = sallyport(
            server,
            server,
            pool=checked("none", timeout="1s" if "in time" in text else "60s", **user),
            server=[{"check": blind}, {"check": seeing}],
            top={"workers": 1},
        )
        wait_state(front, "down", 1)
        eventually(lambda: text in row(front, 1)["last_check"], what=lambda: row(front, 1))
        assert row(front, 1)["last_check"].startswith(f"check {seeing} failed at ")
        down = row(front, 1)
        front.wait_event("server_down", pool="main", server_name="s1", text=down["reason"])
        assert front.stats()["server_checks_failed"] >= 2
        eventually(lambda: (row(front)["state"], row(front)["last_check"]) == ("up", f"check {blind} passed"))
        assert "in time" in text or row(front)["checks_failed"] == 0


WAYS = {
    "auto": "EPSV",
    "epsv": "EPSV",
    "pasv": "PASV",
    "eprt": "EPRT",
    "port": "PORT",
}


@pytest.mark.parametrize("data", sorted(WAYS))
def test_transfer_check_goes_the_way_of_the_sessions(sallyport, data):
    with RudeServer() as server:
        front = sallyport(server, pool=checked("transfer"), server={"data": data}, top={"workers": 1})
        wait_checks(front, 2)
        eventually(lambda: row(front)["last_check"] == "check transfer passed", what=lambda: row(front))
        assert WAYS[data] in server.verbs()
        assert not (set(WAYS.values()) - {WAYS[data]}) & set(server.verbs())


@pytest.mark.parametrize(("host", "last"), [("127.0.0.1", "PORT"), ("::1", "EPRT")])
def test_transfer_check_finds_the_way_that_a_server_knows(sallyport, host, last):
    known = {"EPSV": "500 ?", "PASV": "502 ?"} | ({"EPRT": "500 ?"} if last == "PORT" else {})
    with RudeServer(host=host, table=known) as server:
        front = sallyport(server, pool=checked("transfer"), top={"workers": 1})
        wait_checks(front, 2)
        eventually(lambda: row(front)["last_check"] == "check transfer passed", what=lambda: row(front))
        wanted = ["EPSV", "PASV", "EPRT", "PORT"] if last == "PORT" else ["EPSV", "EPRT"]
        assert [verb for verb in server.history[0].commands if verb.split()[0] in WAYS.values()][-1].startswith(last)
        assert [c.split()[0] for c in server.history[0].commands if c.split()[0] in WAYS.values()] == wanted


def from_elsewhere(session, _):
    """Somebody who is not the server connects to our port."""
    with contextlib.suppress(OSError), socket.create_connection(session.target, 20, ("127.0.0.9", 0)) as stranger:
        session.say("150 Here")
        stranger.settimeout(20)
        with contextlib.suppress(OSError):
            stranger.recv(1)
    hang(session, _)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"LIST": say("150 Here", hang)}, "transfer: no answer in time"),
        ({"LIST": "226 Nothing to see"}, "transfer: no answer in time"),
        ({"LIST": from_elsewhere}, "transfer: no answer in time"),
        ({"PORT": "500 PORT is for others"}, "500 PORT is for others"),
        ({"LIST": "425 Cannot connect to you"}, "425 Cannot connect to you"),
    ],
)
def test_a_server_that_does_not_come_to_our_port_is_down(sallyport, table, text):
    with RudeServer(table=table) as server:
        pool = checked("transfer", timeout="1s" if "in time" in text else "60s")
        front = sallyport(server, pool=pool, server={"data": "port"}, top={"workers": 1})
        wait_state(front, "down")
        eventually(lambda: text in row(front)["last_check"], what=lambda: row(front))
        server.table.clear()
        wait_state(front, "up")


def test_nobody_there_is_seen_by_every_check(sallyport):
    front = sallyport(f"127.0.0.1:{free_port()}", pool=checked("connect"))
    assert "connecting: Connection refused" in wait_state(front, "down")["reason"]
    with RudeClient(front.host, front.port) as client:
        client.ask("USER u", 421)


def test_server_that_is_well_again_comes_up_by_its_checks(sallyport):
    with RudeServer() as server:
        front = sallyport(server, pool=checked("transfer", probe="/file"), top={"workers": 1})
        assert "550 No such file" in wait_state(front, "down")["reason"]
        with RudeClient(front.host, front.port) as client:
            client.ask("USER u", 421)
        assert not passwords(server)
        server.files[b"/file"] = b"x" * 100000
        wait_state(front, "up")
        front.wait_event("server_up", server_name="s0")
        log_on_and_off(front)
        assert "RETR /file" in server.commands() and "TYPE I" in server.commands()


def test_password_comes_from_a_file_and_appears_nowhere(sallyport, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("very secret\n")
    secret.chmod(0o600)
    with RudeServer() as server:
        front = sallyport(server, pool=checked("logon", password_file=secret))
        wait_checks(front, 1)
        server.wait_verb("PASS")
        assert {c for c in server.commands() if c.startswith("PASS")} == {"PASS very secret"}
        assert "very secret" not in str(front.ask("show config")) + str(front.log())
        assert str(secret) in str(front.ask("show config"))


def test_a_server_is_checked_once_however_many_workers_there_are(sallyport):
    with RudeServer() as server:
        front = sallyport(server, pool=checked("greeting", every="1h"), top={"workers": 4})
        eventually(lambda: row(front)["checks"] == 1)
        log_on_and_off(front, 4)
        server.wait_gone()
        assert row(front)["checks"] == 1 and len(server.history) == 5


def test_failing_logon_has_the_server_checked_at_once(sallyport):
    with RudeServer() as good, RudeServer() as bad:
        front = sallyport(bad, good, pool=checked("greeting", every="1h", fall=1000) | {"balance": "first"})
        eventually(lambda: row(front)["checks"] == 1)
        bad.greeting = "421 later"
        log_on_and_off(front)
        eventually(lambda: row(front)["checks"] >= 2)
        assert len(passwords(good)) == 1 and not passwords(bad)


def test_what_logons_show_takes_a_server_out_and_checks_bring_it_back(sallyport):
    """A check that is not deep enough to see the fault: the server comes back, and goes again."""
    with RudeServer(table={"USER": "421 database is down"}) as bad, RudeServer() as good:
        front = sallyport(bad, good, pool=checked("greeting") | {"balance": "first"}, top={"workers": 1})
        log_on_and_off(front, 2)
        front.wait_event("server_down", server_name="s0", text="server said 421 at logon")
        assert len(passwords(good)) == 2
        front.wait_event("server_up", server_name="s0")
        del bad.table["USER"]
        wait_state(front, "up")
        log_on_and_off(front)
        assert len(passwords(bad)) == 1


class Licensed(RudeServer):
    """Counts its users as an old server does, and never forgives."""

    def __init__(self, limit, **options):
        super().__init__(**options)
        self.limit, self.most, self.own = limit, 0, self.greeting
        self.greeting = self.greet

    def greet(self, session, _):
        self.most = max(self.most, self.sessions())
        session.say(self.own if self.sessions() <= self.limit else "421 Too many users")


def test_checks_never_cost_a_licence_and_a_full_server_is_not_down(sallyport):
    with Licensed(3) as server, contextlib.ExitStack() as stack:
        front = sallyport(server, pool=checked("logon", fall=1), server={"max_sessions": 3})
        wait_checks(front, 2)
        clients = [stack.enter_context(RudeClient(front.host, front.port)).logon() for _ in range(3)]
        eventually(lambda: row(front)["last_check"] == "skipped: no place to spare", what=lambda: row(front))
        assert row(front)["state"] == "up" and row(front)["checks_failed"] == 0
        for client in clients:
            client.quit()
        wait_checks(front, 2)
        assert server.most <= 3 and row(front)["state"] == "up"


def test_single_licence_is_checked_while_nobody_uses_it(sallyport):
    with Licensed(1) as server:
        front = sallyport(server, pool=checked("logon"), server={"max_sessions": 1})
        for _ in range(3):
            wait_checks(front, 1)
            log_on_and_off(front)
        assert server.most == 1


def test_server_full_of_others_users_is_not_down_while_ours_are_on_it(sallyport):
    with RudeServer() as server:
        front = sallyport(server, pool=checked("logon", fall=1), top={"workers": 1})
        with RudeClient(front.host, front.port) as client:
            client.logon()
            server.table["PASS"] = "530 Sorry, the maximum number of clients is on"
            assert "maximum number" in wait_checks(front, 3)["last_check"]
            assert row(front)["state"] == "up"
            client.quit()
        wait_state(front, "down")


def test_backup_serves_only_while_nobody_else_can(sallyport):
    port = free_port()
    with RudeServer() as backup:
        with RudeServer(port=port) as proper:
            front = sallyport(backup, proper, pool=checked("connect"), server=[{"backup": True}, {}])
            log_on_and_off(front, 4)
            assert (len(passwords(proper)), len(passwords(backup))) == (4, 0)
        wait_state(front, "down", 1)
        log_on_and_off(front, 3)
        assert len(passwords(backup)) == 3
        with RudeServer(port=port) as proper:
            wait_state(front, "up", 1)
            log_on_and_off(front, 3)
            assert (len(passwords(proper)), len(passwords(backup))) == (3, 3)


def test_server_that_came_up_gets_its_share_slowly(sallyport):
    with RudeServer() as old, RudeServer(table={"USER": "530 no"}) as new:
        pool = checked("logon") | {"slow_start": "1h", "balance": "least_sessions"}
        front = sallyport(old, new, pool=pool, top={"workers": 1})
        wait_state(front, "down", 1)
        del new.table["USER"]
        assert wait_state(front, "up", 1)["share"] == 1
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(RudeClient(front.host, front.port)).logon()
            assert len(passwords(old)) >= 19


def test_drain_ends_no_session_and_stays_through_a_reload(sallyport):
    with RudeServer() as one, RudeServer() as two:
        front = sallyport(one, two, pool={"balance": "first"})
        with RudeClient(front.host, front.port) as client:
            client.logon()
            assert front.ctl("drain", "main/s0").returncode == 0
            drained = row(front)
            assert (drained["state"], drained["sessions"]) == ("drain", 1)
            assert drained["reason"].startswith("by order of uid") and drained["changed_ms"] >= 0
            front.wait_event("server_state", pool="main", server_name="s0", outcome="drain")
            log_on_and_off(front, 2)
            assert len(passwords(two)) == 2
            front.signal(signal.SIGHUP)
            front.wait_event("config_loaded", count=2)
            assert row(front)["state"] == "drain"
            client.ask("PWD", 257)
            content, end, final = client.download("LIST")
            assert final.code == 226
            client.quit()
        assert front.ctl("up", "main/s0").returncode == 0
        log_on_and_off(front)
        assert len(passwords(one)) == 2 and row(front)["state"] == "up"
        assert front.ctl("drain", "main/s9").returncode != 0
        assert front.ctl("drain", "main").returncode != 0


@pytest.mark.parametrize("ends", ["never", "maintenance"])
def test_maintenance_leaves_the_server_alone_and_ends_sessions_by_policy(sallyport, ends):
    with RudeServer() as one, RudeServer() as two:
        pool = checked("connect") | {"balance": "first", "end_sessions": ends}
        front = sallyport(one, two, pool=pool)
        with RudeClient(front.host, front.port) as client:
            client.logon()
            assert front.ctl("maintenance", "main/s0").returncode == 0
            log_on_and_off(front)
            assert len(passwords(two)) == 1 and len(passwords(one)) == 1
            before = row(front)["checks"]
            wait_checks(front, 3, 1)
            assert row(front)["checks"] <= before + 1  # one may have been under way
            if ends == "never":
                client.ask("PWD", 257)
                client.quit()
            else:
                client.expect(421)
                front.wait_event("session_end", reason="server_away")


def test_state_in_the_file_is_an_order_when_it_changes(sallyport):
    with RudeServer() as one, RudeServer() as two:
        front = sallyport(one, two, server=[{"state": "drain"}, {}])
        assert row(front)["state"] == "drain"
        log_on_and_off(front, 2)
        assert not passwords(one)
        front.configuration.server = [{"state": "up"}, {"state": "maintenance"}]
        front.write_configuration()
        front.signal(signal.SIGHUP)
        front.wait_event("config_loaded", count=2)
        assert (row(front)["state"], row(front, 1)["state"]) == ("up", "maintenance")
        log_on_and_off(front, 2)
        assert len(passwords(one)) == 2


def test_sessions_of_a_server_that_is_down_end_where_that_is_wanted(sallyport):
    with RudeServer() as server:
        front = sallyport(server, pool=checked("logon") | {"end_sessions": "down"}, top={"workers": 1})
        with RudeClient(front.host, front.port) as client:
            client.logon()
            server.table["USER"] = "530 broken"
            client.expect(421)
        front.wait_event("session_end", reason="server_away")


def test_no_logon_fails_when_a_server_is_killed_and_restarted_under_load(sallyport):
    port = free_port()
    failures, logons, stop = [], [], threading.Event()

    def load():
        while not stop.is_set():
            try:
                log_on_and_off(front)
                logons.append(1)
            except (AssertionError, Closed, OSError) as error:
                failures.append(error)

    with RudeServer() as one, RudeServer() as two:
        victim = RudeServer(port=port).__enter__()
        front = sallyport(one, two, f"127.0.0.1:{port}", pool=checked("greeting") | {"tries": 3})
        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: passwords(victim))
            # its port first, so that those that are logging on find out at USER or PASS
            victim.listener.shutdown(socket.SHUT_RDWR)
            victim.listener.close()
            wait_state(front, "down", 2)
            before = len(logons)
            eventually(lambda: len(logons) > before + 20)
            with RudeServer(port=port) as back:
                wait_state(front, "up", 2)
                eventually(lambda: passwords(back))
                stop.set()
                for thread in threads:
                    thread.join()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            victim.stop()
    assert not failures, failures[:3]
