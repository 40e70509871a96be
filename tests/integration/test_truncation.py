# SPDX-License-Identifier: ISC
"""Transfers that end badly: a truncated file never looks complete, and the session stays in step."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading

import pytest
import servers
from rude import (
    FIN,
    RST,
    RudeClient,
    RudeServer,
    close,
    cut_after,
    drain,
    never_read,
    reset_control,
    say,
    send_content,
    stalled,
    truncated,
)
from sallyport import find_release_binary
from support import eventually, random_bytes, reset

pytestmark = pytest.mark.proxy

SIZE = 300_000


@pytest.fixture
def pair(sallyport):
    """pair(table) → (rude server, Sallyport before it, logged-on client)."""
    opened = []

    def make(table=None, files=None, **settings):
        server = RudeServer(table=table, files=files or {b"good": random_bytes(5000)})
        opened.append(server)
        server.__enter__()
        front = sallyport(server, **settings)
        client = RudeClient(front.host, front.port).logon()
        opened.append(client)
        return server, front, client

    yield make
    for thing in reversed(opened):
        thing.__exit__(None, None, None)


def assert_still_in_step(server, client):
    """The session goes on: the next commands get their own replies, and a good transfer is whole."""
    client.ask("PWD", 257)
    content, end, reply = client.download("RETR good")
    assert (content, end, reply.code) == (server.files[b"good"], FIN, 226)


# ----------------------------------------------------------------------------------------- downloads


@pytest.mark.parametrize("final", ["426 Broken", "451 Disk error", "550 Gone", "226 Sent"])
def test_server_resets_a_download_so_that_the_client_sees_a_reset_and_an_error(final, pair):
    server, front, client = pair({"RETR": first_then_normal(truncated(SIZE, final=final))})
    content, end, reply = client.download("RETR file")
    assert end == RST and set(content) <= {120}
    assert reply.code == (426 if final.startswith("226") else int(final[:3]))
    assert_still_in_step(server, client)
    assert front.wait_event("transfer", code=reply.code)["outcome"] == "source_failed"


def first_then_normal(action):
    """The action once, from then on what a well-behaved server does."""
    return [action, lambda session, argument: session.server.on_retr(session, argument)]


def test_server_ends_a_download_early_and_says_so(pair):
    """FIN on the data connection, then 451: to the client it looks no more like a whole file than it is one."""
    server, _, client = pair({"RETR": first_then_normal(truncated(SIZE, final="451 Disk error", how=FIN))})
    content, end, reply = client.download("RETR file")
    assert len(content) <= SIZE and (end, reply.code) == (RST, 451)
    assert_still_in_step(server, client)


@pytest.mark.parametrize("end", [close, reset_control])
def test_server_dies_in_a_download_so_that_the_client_sees_a_reset_426_and_421(end, pair):
    _, front, client = pair({"RETR": truncated(SIZE, then=end)})
    content, how, reply = client.download("RETR file")
    assert (how, reply.code) == (RST, 426) and len(content) <= SIZE
    client.expect(421)
    assert client.wait_end() == FIN
    assert front.wait_event("session_end")["reason"] == "server_closed"


def test_servers_control_connection_ends_while_data_still_flow(pair):
    """The data connection stays open without a word: the session must not wait for it."""

    def act(session, _):
        session.say("150 Here it comes")
        data = session.open_data()
        data.sendall(b"x" * 1000)
        session.server.held = data
        session.reset()
        raise ConnectionError

    _, _, client = pair({"RETR": act})
    content, how, reply = client.download("RETR file")
    assert (how, reply.code) == (RST, 426)
    assert len(content) <= 1000
    client.expect(421)
    assert client.wait_end() == FIN


def test_killed_server_never_makes_a_download_look_complete(sallyport, tmp_path):
    """SIGKILL: the kernel ends all of the server's connections at once, in good order."""
    server = servers.Pyftpdlib(tmp_path / "pyftpdlib").start()
    try:
        os.truncate(server.put("big", b""), 1 << 32)
        front = sallyport(server)
        with RudeClient(front.host, front.port).logon(server.user, server.password) as client:
            client.ask("TYPE I", 200)
            with client.open_data() as data:
                client.ask("RETR big", 150, 125)
                data.recv(1000)
                server.process.send_signal(signal.SIGKILL)
                assert drain(data)[1] == RST
            client.expect(426, 451)
            client.expect(421)
            assert client.wait_end() == FIN
    finally:
        server.stop()


def test_226_before_the_data_reaches_the_client_behind_them(pair):
    """The server says 226 at once and sends afterwards: the client still gets all, and then the 226."""
    content = random_bytes(2_000_000)

    def act(session, _):
        session.say("150 Here it comes")
        session.say("226 Sent, I promise")
        with session.open_data() as data:
            for start in range(0, len(content), 200_000):
                data.sendall(content[start : start + 200_000])
                threading.Event().wait(0.02)

    server, _, client = pair({"RETR": first_then_normal(act)})
    with client.open_data() as data:
        client.ask("RETR file", 150)
        got, how = bytearray(), None
        while len(got) < len(content) - 200_000:
            got += data.recv(65536)
            assert b"226" not in client.pending and not select.select([client.sock], [], [], 0)[0]
        rest, how = drain(data)
    assert (bytes(got) + rest, how) == (content, FIN)
    client.expect(226)
    assert_still_in_step(server, client)


def test_data_may_come_before_the_150(pair):
    content = random_bytes(500_000)

    def act(session, _):
        with session.open_data() as data:
            data.sendall(content[:100])
            threading.Event().wait(0.2)
            session.say("150 By the way")
            data.sendall(content[100:])
        session.say("226 Sent")

    server, _, client = pair({"RETR": first_then_normal(act)})
    with client.open_data() as data:
        client.say("RETR file")
        got, how = drain(data)
    assert (got, how) == (content, FIN)
    client.expect(150)
    client.expect(226)
    assert_still_in_step(server, client)


def test_150_may_be_missing(pair):
    def act(session, _):
        with session.open_data() as data:
            data.sendall(b"no word before")
        session.say("226 Sent")

    server, _, client = pair({"RETR": first_then_normal(act)})
    with client.open_data() as data:
        client.say("RETR file")
        assert drain(data) == (b"no word before", FIN)
    assert client.reply().code in (150, 226)
    if b"226" not in client.raw:
        client.expect(226)
    assert_still_in_step(server, client)


def test_client_closes_its_data_connection_in_a_download(pair):
    """It has seen enough: the server is told by its data connection, the client by 426; the session goes on."""
    server, _, client = pair({"RETR": first_then_normal(lambda s, a: send_content(s, b"x" * 50_000_000))})
    with client.open_data() as data:
        client.ask("RETR file", 150)
        data.recv(1000)
    client.expect(426)
    assert_still_in_step(server, client)


@pytest.mark.parametrize("refusal", ["550 No such file", "450 Busy", "530 Not for you", "425 Cannot open", "500 What?"])
def test_refused_download_ten_times_in_a_row_and_the_next_one_is_good(refusal, pair):
    server, _, client = pair({"RETR": [refusal] * 10 + [lambda s, a: s.server.on_retr(s, a)]})
    for number in range(10):
        data = client.open_data() if number % 2 else None
        if not data:
            client.ask("EPSV", 229)
        assert client.ask("RETR missing").raw == refusal.encode() + b"\r\n"
        if data:
            assert drain(data)[0] == b""
            data.close()
    assert_still_in_step(server, client)


def test_server_refuses_after_150_without_a_data_connection(pair):
    """150, and then 425 because nobody connected, or 550: the server's word is passed on at once."""
    server, _, client = pair({"RETR": first_then_normal(say("150 Wait", lambda s, a: s.say("550 No, after all")))})
    with client.open_data() as data:
        client.ask("RETR file", 150)
        client.expect(550, timeout=5)
        drain(data)
    assert_still_in_step(server, client)


def test_servers_data_port_that_refuses_is_425(pair):
    """Its listener is closed when we dial, and it still says 150."""

    def closed_port(session, _):
        _, port = session.listen()
        session.close_listener()
        session.say(f"229 Extended Passive Mode (|||{port}|)")

    table = {
        "EPSV": [closed_port, lambda s, a: s.server.on_epsv(s, a)],
        "RETR": [say("150 Waiting", lambda s, a: s.say("425 Nobody came")), lambda s, a: s.server.on_retr(s, a)],
    }
    server, _, client = pair(table)
    content, _, reply = client.download("RETR file")
    while reply.code == 150:
        reply = client.reply()
    assert (content, reply.code) == (b"", 425)
    assert_still_in_step(server, client)


# ------------------------------------------------------------------------------------------- uploads


def test_client_resets_an_upload_so_that_the_server_sees_a_reset(pair):
    server, front, client = pair()
    data = client.open_data()
    client.ask("STOR file", 150)
    data.sendall(b"x" * SIZE)
    eventually(lambda: server.uploads and server.uploads[-1].size == SIZE)
    reset(data)
    client.expect(426)
    assert server.wait_upload().end == RST
    assert b"file" not in server.files
    assert_still_in_step(server, client)
    assert front.wait_event("transfer", verb="STOR")["code"] == 426


def test_server_that_believes_a_broken_upload_is_not_believed(pair):
    """The client broke off; a server that answers 226 all the same must not make it look stored."""
    server, _, client = pair({"STOR": lambda s, a: read_all_and_say(s, "226 Stored")})
    data = client.open_data()
    client.ask("STOR file", 150)
    data.sendall(b"x" * 1000)
    eventually(lambda: getattr(server, "got", 0) == 1000)
    reset(data)
    client.expect(426)
    assert_still_in_step(server, client)


def read_all_and_say(session, final):
    session.say("150 Send it")
    session.server.got = 0
    with session.open_data() as data:
        try:
            while chunk := data.recv(65536):
                session.server.got += len(chunk)
        except ConnectionError:
            pass
    session.say(final)


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_client_goes_away_in_an_upload_so_that_the_server_sees_a_reset_and_quit(end, pair):
    server, front, client = pair()
    data = client.open_data()
    client.ask("STOR file", 150)
    data.sendall(b"x" * SIZE)
    eventually(lambda: server.uploads and server.uploads[-1].size == SIZE)
    client.close() if end == "fin" else client.reset()
    assert server.wait_upload(timeout=5).end == RST
    server.wait_gone(5)
    assert {"ABOR", "QUIT"} <= set(server.verbs())
    assert b"file" not in server.files
    data.close()
    assert front.wait_event("session_end")["reason"] == ("client_closed" if end == "fin" else "client_reset")


def data_then_reset_control(client, data):
    """As the kernel ends a process that has not read its last reply."""
    data.close()
    client.reset()


def data_then_control(client, data):
    data.close()
    client.close()


def reset_control_then_data(client, data):
    client.reset()
    data.close()


def abor_behind_another_command(client, data):
    client.send(b"NOOP\r\nABOR\r\n")
    data.close()


def abor_with_a_bare_lf(client, data):
    client.send(b"ABOR\n")
    data.close()


@pytest.mark.parametrize(
    "end",
    [data_then_reset_control, data_then_control, reset_control_then_data, abor_behind_another_command,
     abor_with_a_bare_lf],
)
def test_fin_of_an_upload_proves_nothing_when_the_client_breaks_off(end, pair):
    server, _, client = pair()
    data = client.open_data()
    client.ask("STOR file", 150)
    data.sendall(b"x" * SIZE)
    eventually(lambda: server.uploads and server.uploads[-1].size == SIZE)
    end(client, data)
    assert server.wait_upload(timeout=5).end == RST
    assert b"file" not in server.files


@pytest.mark.parametrize("size", [1, 5000])
@pytest.mark.parametrize("end", [reset_control_then_data, abor_behind_another_command, abor_with_a_bare_lf])
def test_small_upload_is_not_stored_when_the_client_has_broken_off(end, size, pair):
    """It comes as one piece with its end, but that is not the last word."""
    server, _, client = pair()
    data = client.open_data()
    client.ask("STOR file", 150)
    data.sendall(b"x" * size)
    end(client, data)
    assert server.wait_upload(timeout=5).end == RST
    assert b"file" not in server.files


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_client_goes_away_in_a_download_so_that_the_server_is_free_at_once(end, pair):
    server, front, client = pair({"RETR": stalled(1000)})
    data = client.open_data()
    client.ask("RETR file", 150)
    data.recv(10)
    client.close() if end == "fin" else client.reset()
    assert drain(data)[1] == RST
    server.wait_verb("QUIT", timeout=5)
    server.wait_gone(5)
    assert front.wait_event("session_end")["reason"] == ("client_closed" if end == "fin" else "client_reset")


@pytest.mark.parametrize("final", ["552 Quota exceeded", "452 Disk full", "426 Broken"])
def test_server_breaks_off_an_upload_and_its_reason_reaches_the_client(final, pair):
    server, _, client = pair({"STOR": cut_after(100_000, lambda s, a: s.say(final))})
    with client.open_data() as data:
        client.ask("STOR file", 150)
        with pytest.raises(OSError):
            data.settimeout(20)
            for _ in range(10_000):
                data.sendall(b"x" * 65536)
    assert client.reply().raw == final.encode() + b"\r\n"
    assert_still_in_step(server, client)


def test_server_refuses_an_upload_for_which_all_data_were_sent_already(pair):
    server, _, client = pair({"STOR": say("553 Not here")})
    for _ in range(3):
        with client.open_data() as data:
            data.sendall(b"small, so it fits into the buffers")
            client.say("STOR file")
            client.expect(553)
    assert_still_in_step(server, client)


@pytest.mark.parametrize("end", [close, reset_control])
def test_server_dies_in_an_upload_so_that_the_client_gets_426_and_421(end, pair):
    _, _, client = pair({"STOR": cut_after(100_000, end)})
    with client.open_data() as data:
        client.ask("STOR file", 150)
        data.settimeout(20)
        with pytest.raises(OSError):
            for _ in range(10_000):
                data.sendall(b"x" * 65536)
    client.expect(426)
    client.expect(421)
    assert client.wait_end() == FIN


def test_upload_of_nothing_by_a_connection_that_is_closed_at_once(pair):
    server, _, client = pair()
    with client.open_data():
        pass
    client.ask("STOR empty", 150)
    client.expect(226)
    upload = server.wait_upload()
    assert (upload.content, upload.end) == (b"", FIN)
    assert_still_in_step(server, client)


# --------------------------------------------------------------------------------- in the middle of it


def test_quit_in_a_transfer_lets_it_end_first(pair):
    content = random_bytes(3_000_000)
    server, _, client = pair(files={b"good": content})
    with client.open_data() as data:
        client.ask("RETR good", 150)
        data.recv_into(bytearray(1))
        client.say("QUIT")
        got, how = drain(data)
    assert (len(got) + 1, how) == (len(content), FIN)
    client.expect(226)
    client.expect(221)
    assert client.wait_end() == FIN
    server.wait_gone(5)


def test_abor_in_an_upload_gets_426_and_226_and_the_file_is_not_stored(pair):
    server, _, client = pair()
    data = client.open_data()
    client.ask("STOR file", 150)
    data.sendall(b"x" * 1000)
    eventually(lambda: server.uploads and server.uploads[-1].size == 1000)
    client.ask("ABOR", 426)
    client.expect(225, 226)
    data.close()
    assert server.wait_upload().end == RST
    assert b"file" not in server.files
    assert_still_in_step(server, client)


def test_abor_in_a_stalled_download_ends_it_even_when_the_server_ignores_abor(pair):
    """A server that does not look at its control connection while it sends learns of it by the data connection."""

    def deaf(session, _):
        session.say("150 Here it comes")
        with session.open_data() as data:
            data.settimeout(30)
            try:
                while True:
                    data.sendall(b"x" * 65536)
            except OSError:
                pass
        session.say("426 Your connection broke")
        # and only now the ABOR is read and answered

    server, _, client = pair({"RETR": first_then_normal(deaf)})
    data = client.open_data()
    client.ask("RETR file", 150)
    data.recv(1000)
    client.ask("ABOR", 426)
    client.expect(225, 226)
    data.close()
    assert_still_in_step(server, client)


def test_stat_in_a_transfer_is_answered_at_once(pair):
    gate = threading.Event()

    def act(session, _):
        session.say("150 Here it comes")
        with session.open_data() as data:
            data.sendall(b"first half ")
            gate.wait(20)
            data.sendall(b"second half")
        session.say("226 Sent")

    server, _, client = pair({"RETR": first_then_normal(act)})
    with client.open_data() as data:
        client.ask("RETR file", 150)
        data.recv(5, socket.MSG_WAITALL)
        client.ask("STAT", 213, 211)
        gate.set()
        got, how = drain(data)
    assert (b"first" + got, how) == (b"first half second half", FIN)
    client.expect(226)
    assert_still_in_step(server, client)


def test_stalled_upload_does_not_fill_memory(pair):
    """The server does not read: neither do we."""
    _, front, client = pair({"STOR": never_read}, binary=find_release_binary())
    with client.open_data() as data:
        client.ask("STOR file", 150)
        before = front.memory_kib("Rss")
        data.settimeout(1)
        with pytest.raises(TimeoutError):
            for _ in range(1000):
                data.sendall(b"x" * (1 << 20))
        assert front.memory_kib("Rss") - before < 4096


# -------------------------------------------------------------------------------------- wrong peers


def test_connection_from_another_address_is_dropped_and_the_port_stays_for_the_right_one(pair):
    server, front, client = pair()
    host, port = client.passive_port()
    with contextlib.suppress(ConnectionError):  # it may be reset before our connect() has returned
        with socket.create_connection((host, port), 10, source_address=("127.0.0.9", 0)) as wrong:
            assert drain(wrong)[0] == b""
    with socket.create_connection((host, port), 10) as data:
        client.ask("RETR good", 150)
        assert drain(data) == (server.files[b"good"], FIN)
    client.expect(226)
    assert front.stats()["data_foreign"] == 1


def test_second_passive_port_closes_the_first(pair):
    server, front, client = pair()
    host, first = client.passive_port()
    _, second = client.passive_port("PASV")
    assert first != second
    eventually(lambda: refused(host, first))
    with socket.create_connection((host, second), 10) as data:
        client.ask("RETR good", 150)
        assert drain(data) == (server.files[b"good"], FIN)
    client.expect(226)
    eventually(lambda: refused(host, second))


def refused(host, port):
    try:
        socket.create_connection((host, port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_passive_port_is_closed_when_the_session_ends(pair):
    _, _, client = pair()
    host, port = client.passive_port()
    client.quit()
    eventually(lambda: refused(host, port))


def test_strace_shows_splice_and_no_copies_for_plain_data(pair):
    """Bytes of a plain transfer do not pass through user space."""
    content = random_bytes(8 << 20)
    server, front, client = pair(files={b"good": content})
    trace = front.folder / "strace"
    tracer = subprocess.Popen(
        ["strace", "-f", "-o", trace, "-e", "trace=splice", "-p", str(front.pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        eventually(lambda: b"attached" in os.read(tracer.stderr.fileno(), 4096))
        got, _, _ = client.download("RETR good")
        assert got == content
    finally:
        tracer.terminate()
        tracer.wait(10)
        tracer.stderr.close()
    results = [line.rsplit("=", 1)[1].strip() for line in trace.read_text().splitlines() if "splice(" in line]
    assert sum(int(result) for result in results if result.isdigit()) >= 2 * len(content)
