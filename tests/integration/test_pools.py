# SPDX-License-Identifier: ISC
"""A pool of real servers: shares by weight, checks of all kinds, TLS with session reuse."""

import contextlib
import os
import tempfile
import threading
import time
from ftplib import FTP
from ftplib import Error as FTPError
from pathlib import Path

import pytest
from sallyport import find_release_binary
from servers import ALL, PASSWORD, Unavailable
from support import eventually, run
from test_health import checked, row, wait_checks, wait_state
from tls import Authority, TlsProftpd, TlsVsftpd

pytestmark = pytest.mark.proxy

LOGONS = int(os.environ.get("SALLYPORT_TEST_LOGONS", "3000"))
WEIGHTS = (3, 2, 1)  # the quickest server has the most to do


def secret(tmp_path):
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    return file


def three(fleet):
    servers = [fleet(name) for name in ("pyftpdlib", "vsftpd", "proftpd")]
    if len({server.user for server in servers}) > 1:
        pytest.skip("the servers have no user in common here")
    return servers


@pytest.mark.slow
def test_three_real_servers_get_their_shares_by_weight(sallyport, fleet, logons, tmp_path):
    """To within 2 % of the logons, with checks going on beside them."""
    servers = three(fleet)
    before = [len(server.commands()) for server in servers]
    credentials = tmp_path / "credentials"  # the load program is anonymous
    credentials.write_text(f'* {servers[0].user} "{servers[0].password}"\n')
    credentials.chmod(0o600)
    front = sallyport(
        *servers,
        pool=checked("greeting"),
        server=[{"weight": weight} for weight in WEIGHTS],
        route={"credentials": str(credentials)},
        binary=find_release_binary(),
    )
    done = run([logons, "client", front.host, front.port, LOGONS, 8], timeout=220)
    assert done.stdout.split()[1:] == [str(LOGONS), "0"], done
    user = f"USER {servers[0].user}".upper()
    seen = [
        sum(line.upper().startswith(user) for line in server.commands()[since:])
        for server, since in zip(servers, before)
    ]
    assert sum(seen) == LOGONS
    for got, weight in zip(seen, WEIGHTS):
        assert abs(got / LOGONS - weight / sum(WEIGHTS)) <= 0.02, seen
    stats = front.stats()
    assert (stats["logons"], stats["logon_retries"]) == (LOGONS, 0)


class Crowd:
    """Clients that log on, list, and log off, again and again."""

    def __init__(self, front, server, count=4):
        self.front, self.server = front, server
        self.refused = []  # (when it began, why): its logon
        self.lost = []  # the same: its session, behind the 230
        self.served = 0
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.come_and_go) for _ in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def come_and_go(self):
        while not self.stop.is_set():
            began, complaints = time.monotonic(), self.refused
            try:
                with contextlib.closing(FTP()) as client:
                    client.connect(self.front.host, self.front.port, timeout=60)
                    client.login(self.server.user, self.server.password)
                    complaints = self.lost
                    client.retrlines("LIST", lambda line: None)
                    client.quit()
                self.served += 1
            except (FTPError, EOFError, OSError) as error:
                complaints.append((began, repr(error)))

    def works(self, times=20):
        before = self.served
        eventually(lambda: self.served >= before + times, 60, lambda: (self.refused[:3], self.lost[:3]))


@pytest.mark.parametrize(("kind", "tries"), [("pyftpdlib", 2), ("vsftpd", 3), ("proftpd", 0), ("pyftpdlib", 1)])
def test_a_real_server_is_killed_and_comes_back_under_load(sallyport, fleet, kind, tries):
    """With a second try no logon fails, with one none does that began when the server was known to be down."""
    others = [server for server in three(fleet) if server.name != kind]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sp-kill-")))
        folder.chmod(0o755)
        victim = ALL[kind](folder / "server").start()
        stack.callback(victim.stop)
        front = sallyport(*others, victim, pool=checked("greeting", timeout="60s") | {"tries": tries})
        with Crowd(front, victim) as crowd:
            eventually(lambda: row(front, 2)["logons"] > 5)
            crowd.works()
            victim.kill()
            wait_state(front, "down", 2)
            noticed = time.monotonic()
            at_victim = row(front, 2)["logons"]
            crowd.works()
            assert row(front, 2)["logons"] == at_victim
            victim.start(victim.port)
            wait_state(front, "up", 2)
            eventually(lambda: row(front, 2)["logons"] > at_victim + 5)
            crowd.works()
    assert not [why for began, why in crowd.refused if tries != 1 or began > noticed], crowd.refused
    assert not [why for began, why in crowd.lost if began > noticed], crowd.lost
    eventually(lambda: front.stats()["sessions"] == 0)
    # nobody else's session was lost, and of those that were nothing is left
    cut = [e for e in front.events("session_end") if e["reason"] not in ("client_quit", "client_closed")]
    assert all(e["server_name"] == "s2" for e in cut), cut
    eventually(lambda: [row(front, n)["sessions"] for n in range(3)] == [0, 0, 0])
    assert front.wait_event("server_down")["server_name"] == front.wait_event("server_up")["server_name"] == "s2"


def test_real_servers_pass_a_transfer_check_whichever_way_the_data_goes(sallyport, server, tmp_path):
    server.put("health.txt", b"all is well\n")
    ways = ("auto", "pasv", "eprt", "port")
    front = sallyport(
        *[server] * len(ways),
        pool=checked("transfer", user=server.user, password_file=secret(tmp_path), probe="health.txt", timeout="60s"),
        server=[{"data": way} for way in ways],
    )
    for number, way in enumerate(ways):
        wait_checks(front, 1, number)
        assert (row(front, number)["state"], row(front, number)["checks_failed"]) == ("up", 0), row(front, number)


@pytest.mark.parametrize("kind", [TlsVsftpd, TlsProftpd], ids=lambda kind: kind.name)
def test_transfer_check_goes_over_tls_and_resumes_the_session(sallyport, kind, tmp_path):
    """Both refuse data connections that do not."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sp-pool-")))
        folder.chmod(0o755)
        server = kind(folder / "server")
        server.pair = Authority(folder / "ca").issue("server.test", "IP:127.0.0.1")
        try:
            server.start()
        except Unavailable as why:
            if os.environ.get("SALLYPORT_TEST_STRICT") == "1":
                raise
            pytest.skip(str(why))
        stack.callback(server.stop)
        front = sallyport(
            server,
            server,
            pool=checked("transfer", user=server.user, password_file=secret(tmp_path), timeout="60s"),
            server=[{"tls": "explicit", "tls_verify": False, "data": data} for data in ("auto", "port")],
        )
        for number in range(2):
            wait_checks(front, 2, number)
            assert (row(front, number)["state"], row(front, number)["checks_failed"]) == ("up", 0), row(front, number)
