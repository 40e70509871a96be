# SPDX-License-Identifier: ISC
"""The harness itself: what the rude peers say they do, they do. No Sallyport in between."""

import socket

import pytest
import rude
from rude import FIN, RST, Crowd, RudeClient, RudeServer, drain, say, stalled, truncated
from support import random_bytes, reset

CONTENT = random_bytes(400_000)


@pytest.fixture
def pair():
    with RudeServer(files={b"f": CONTENT}) as server, RudeClient(server.host, server.port) as client:
        yield server, client.logon()


def test_rude_server_is_a_good_server_when_nobody_says_otherwise(pair):
    server, client = pair
    for how in ("EPSV", "PASV"):
        assert client.download("RETR f", how)[:2] == (CONTENT, FIN)
    assert client.upload("STOR g", CONTENT).code == 226
    assert client.upload("APPE g", b"more").code == 226
    assert server.files[b"g"] == CONTENT + b"more"
    client.ask("REST 399000", 350)
    # REST belongs right before its transfer; here PASV comes first, as clients do it
    assert client.download("LIST")[0].count(b"\r\n") == 2
    client.quit()
    server.wait_gone()
    assert server.verbs()[-1] == "QUIT"


def test_truncated_download_is_seen_as_a_reset(pair):
    server, client = pair
    server.table["RETR"] = truncated(100_000, final="426 Broken")
    content, end, reply = client.download("RETR f")
    assert (end, reply.code) == (RST, 426) and len(content) <= 100_000


def test_reset_upload_is_recorded_as_such(pair):
    server, client = pair
    data = client.open_data()
    client.ask("STOR g", 150)
    data.sendall(b"x" * 1000)
    reset(data)
    client.expect(426)
    assert server.wait_upload().end == RST and b"g" not in server.files


def test_abor_is_seen_in_the_middle_of_a_download(pair):
    server, client = pair
    server.files[b"f"] = b"x" * 50_000_000
    with client.open_data() as data:
        client.ask("RETR f", 150)
        data.recv(1000)
        client.say("ABOR")
        assert drain(data)[1] == RST
    client.expect(426)
    client.expect(226)


def test_list_of_actions_is_taken_in_turn(pair):
    server, client = pair
    server.table["CWD"] = ["550 First", b"250-second\r\n250 of it\r\n", say("250 Last")]
    assert client.ask("CWD a").code == 550
    assert client.ask("CWD a").raw == b"250-second\r\n250 of it\r\n"
    assert [client.ask("CWD a").raw for _ in range(2)] == [b"250 Last\r\n"] * 2


def test_control_connection_that_is_reset_is_told_from_one_that_is_closed(pair):
    server, client = pair
    server.table |= {"CWD": rude.close, "PWD": rude.reset_control}
    client.say("CWD a")
    assert client.wait_end() == FIN
    with RudeClient(server.host, server.port) as other:
        other.logon().say("PWD")
        assert other.wait_end() == RST


def test_mistake_in_a_script_fails_the_test():
    with pytest.raises(ZeroDivisionError):
        with RudeServer(table={"CWD": lambda s, a: 1 // 0}) as server:
            with RudeClient(server.host, server.port) as client:
                client.logon().say("CWD a")
                client.wait_end()


def test_crowd_keeps_step():
    with RudeServer(table={"RETR": stalled(10)}) as server, Crowd(20, server.host, server.port) as crowd:
        crowd.logon().open_data().ask("RETR f", 150)
        assert all(data.recv(10) == b"x" * 10 for data in crowd.data)
        crowd.reset()
        server.wait_gone()


def test_replies_are_cut_where_rfc_959_cuts_them():
    left, right = socket.socketpair()
    wire = rude.Wire.__new__(rude.Wire)
    wire.sock, wire.timeout, wire.raw, wire.pending, wire.closed_by = right, 5, bytearray(), bytearray(), None
    left.sendall(b"220-a\r\n221 b\r\n220-c\r\n 220 d\r\n220 e\r\n250 f\r\n")
    assert wire.reply().raw == b"220-a\r\n221 b\r\n220-c\r\n 220 d\r\n220 e\r\n"
    assert wire.reply() == (250, b"250 f\r\n")
    left.close()
    with pytest.raises(rude.Closed):
        wire.reply()
    right.close()
