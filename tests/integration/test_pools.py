# SPDX-License-Identifier: ISC
"""A pool of real servers: shares by weight, checks of all kinds, TLS with session reuse."""

import contextlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from ftplib import FTP
from pathlib import Path

import pytest
from servers import PASSWORD, Unavailable
from test_health import checked, row, wait_checks
from tls import Authority, TlsProftpd, TlsVsftpd

pytestmark = pytest.mark.proxy

# 3,000 when it is to be shown once more; a few are enough for every day.
LOGONS = int(os.environ.get("SALLYPORT_TEST_LOGONS", "120"))
WEIGHTS = (1, 2, 3)


def secret(tmp_path):
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    return file


def come_and_go(front, server, times):
    for _ in range(times):
        with contextlib.closing(FTP()) as client:
            client.connect(front.host, front.port, timeout=60)
            client.login(server.user, server.password)
            client.quit()


def test_three_real_servers_get_their_shares_by_weight(sallyport, fleet):
    """To within 2 % of the logons, with checks going on beside them."""
    servers = [fleet(name) for name in ("pyftpdlib", "vsftpd", "proftpd")]
    before = [len(server.commands()) for server in servers]
    front = sallyport(
        *servers,
        pool=checked("greeting"),
        server=[{"weight": weight} for weight in WEIGHTS],
    )
    with ThreadPoolExecutor(4) as crowd:
        list(crowd.map(lambda _: come_and_go(front, servers[0], LOGONS // 4), range(4)))
    seen = [
        sum(line.upper().startswith("USER") for line in server.commands()[since:])
        for server, since in zip(servers, before)
    ]
    total = sum(seen)
    assert total == LOGONS // 4 * 4
    for got, weight in zip(seen, WEIGHTS):
        assert abs(got / total - weight / sum(WEIGHTS)) <= 0.02, seen
    stats = front.stats()
    assert (stats["logons"], stats["logon_retries"]) == (total, 0)


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
