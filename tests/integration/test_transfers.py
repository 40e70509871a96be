# SPDX-License-Identifier: ISC
"""The transfer commands, each against every real server, and transfers of extreme sizes."""

import contextlib
import ftplib
import io
import os
import shutil
import socket
import subprocess
import sys
import threading

import pytest
from rude import RudeClient, RudeServer, drain, receive_content
from sallyport import as_nobody, find_release_binary
from support import DIRECT, PATIENCE, eventually, random_bytes

CONTENT = random_bytes(777_777)


@pytest.fixture
def folder(server):
    name = f"t{os.urandom(4).hex()}"
    path = server.fresh_folder(name)
    yield name
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def logged_on(front, server, folder=None):
    ftp = ftplib.FTP(timeout=60, encoding="utf-8")
    ftp.connect(front.host, front.port)
    ftp.login(server.user, server.password)
    if folder:
        ftp.cwd(folder)
    yield ftp
    ftp.quit()


@pytest.fixture
def ftp(server, sallyport, folder):
    """A Python ftplib session in the test's folder."""
    with logged_on(sallyport(server), server, folder) as session:
        yield session


def download(ftp, command, rest=None):
    got = []
    ftp.retrbinary(command, got.append, rest=rest)
    return b"".join(got)


@pytest.mark.parametrize("size", [0, 1, 1460, 65536, 3_000_001])
def test_file_of_any_size_goes_up_and_down_unharmed(ftp, server, folder, size):
    content = random_bytes(size, seed=size + 1)
    ftp.storbinary("STOR file", io.BytesIO(content))
    assert (server.root / folder / "file").read_bytes() == content
    assert download(ftp, "RETR file") == content


def test_rest_resumes_a_download(ftp, server, folder):
    server.put(f"{folder}/file", CONTENT)
    for offset in (1, 400_000, len(CONTENT) - 1, len(CONTENT)):
        assert download(ftp, "RETR file", rest=offset) == CONTENT[offset:]
    assert download(ftp, "RETR file") == CONTENT


def test_rest_resumes_an_upload(ftp, server, folder):
    ftp.storbinary("STOR file", io.BytesIO(CONTENT[:300_000]))
    ftp.storbinary("STOR file", io.BytesIO(CONTENT[300_000:]), rest=300_000)
    assert (server.root / folder / "file").read_bytes() == CONTENT


def test_appe_appends(ftp, server, folder):
    for part in (CONTENT[:100], CONTENT[100:5000], b"", CONTENT[5000:]):
        ftp.storbinary("APPE file", io.BytesIO(part))
    assert (server.root / folder / "file").read_bytes() == CONTENT


def test_stou_stores_under_a_name_that_the_server_chose(ftp, server, folder):
    # some want a name's beginning, some want none
    try:
        ftp.storbinary("STOU", io.BytesIO(CONTENT))
    except ftplib.error_perm:
        ftp.storbinary("STOU file", io.BytesIO(CONTENT))
    stored = [path for path in (server.root / folder).iterdir() if path.is_file()]
    assert len(stored) == 1 and stored[0].read_bytes() == CONTENT


def test_size_and_mdtm_tell_what_the_server_says(ftp, server, folder):
    server.put(f"{folder}/file", CONTENT, mtime=1_700_000_000)
    ftp.voidcmd("TYPE I")
    assert ftp.size("file") == len(CONTENT)
    assert ftp.sendcmd("MDTM file") == "213 20231114221320"


def test_nlst_list_and_mlsd_show_the_same_names(ftp, server, folder):
    names = {f"file {n}" for n in range(50)}
    for name in names:
        server.put(f"{folder}/{name}", b"x")
    assert {name for name in ftp.nlst() if name not in (".", "..")} == names
    rows = []
    ftp.retrlines("LIST", rows.append)
    assert {" ".join(row.split()[8:]) for row in rows} - {".", "..", ""} == names
    if "mlsd" in server.can:
        assert {name for name, facts in ftp.mlsd() if facts["type"] == "file"} == names


def test_listing_of_an_empty_folder_is_an_empty_listing(ftp, folder):
    rows = []
    ftp.retrlines("LIST", rows.append)
    assert [row for row in rows if row.split()[-1] not in (".", "..", "0")] == []


def test_type_a_changes_line_ends_where_the_server_does(ftp, server, folder):
    server.put(f"{folder}/text", b"one\ntwo\n")
    ftp.voidcmd("TYPE A")
    with ftp.transfercmd("RETR text") as data:
        got, end = drain(data)
    ftp.voidresp()
    assert (got, end) == (b"one\r\ntwo\r\n", "fin")


def test_missing_file_is_the_servers_550_and_the_session_goes_on(ftp):
    for _ in range(3):
        with pytest.raises(ftplib.error_perm, match="^550"):
            download(ftp, "RETR nothing-here")
        assert ftp.pwd()


def test_folders_are_made_renamed_and_removed(ftp, server, folder):
    ftp.mkd("one folder")
    ftp.cwd("one folder")
    ftp.storbinary("STOR a", io.BytesIO(b"a"))
    ftp.rename("a", "b")
    assert (server.root / folder / "one folder" / "b").read_bytes() == b"a"
    ftp.delete("b")
    ftp.cwd("..")
    ftp.rename("one folder", "another")
    ftp.rmd("another")
    assert list((server.root / folder).iterdir()) == []


def test_many_transfers_in_one_session_each_come_whole(ftp, server, folder):
    for number in range(40):
        content = random_bytes(number * 997, seed=number + 1)
        if number % 2:
            ftp.set_pasv(True)
        ftp.storbinary(f"STOR f{number}", io.BytesIO(content))
        assert download(ftp, f"RETR f{number}") == content


@pytest.mark.parametrize("how", ["PASV", "EPSV"])
def test_client_may_choose_pasv_or_epsv(how, server, sallyport, folder):
    server.put(f"{folder}/file", CONTENT)
    front = sallyport(server)
    with RudeClient(front.host, front.port) as client:
        client.logon(server.user, server.password)
        client.ask("TYPE I", 200)
        content, end, reply = client.download(f"RETR {folder}/file", how)
        assert (content == CONTENT, end, reply.code) == (True, "fin", 226)
        assert client.upload(f"STOR {folder}/up", CONTENT, how).code == 226
        assert (server.root / folder / "up").read_bytes() == CONTENT
        client.quit()


def say_abor(client, how):
    """ABOR as clients send it: in plain, behind a Telnet Synch (BSD), or all of it urgent (Python's ftplib)."""
    if how == "synch":
        client.sock.send(b"\xff\xf4\xff", socket.MSG_OOB)
        client.send(b"\xf2ABOR\r\n")
    elif how == "urgent":
        client.sock.send(b"ABOR\r\n", socket.MSG_OOB)
    else:
        client.say("ABOR")


# the servers themselves do not all understand these
URGENT = [pytest.param(how, marks=pytest.mark.proxy) for how in ("synch", "urgent")]


@pytest.mark.parametrize("how", ["plain", *URGENT])
def test_abor_ends_a_download_and_the_session_goes_on(how, server, sallyport, folder):
    size = 1 << 30
    os.truncate(server.put(f"{folder}/big", b""), size)
    front = sallyport(server)
    with RudeClient(front.host, front.port) as client:
        client.logon(server.user, server.password)
        client.ask("TYPE I", 200)
        data = client.open_data()
        client.ask(f"RETR {folder}/big", 150, 125)
        got = len(data.recv(100_000))
        say_abor(client, how)
        if DIRECT:  # most servers look at urgent data alone while they send; their data connection must break first
            data.close()
        else:
            while chunk := receive(data):
                got += chunk
            assert got < size
        reply = client.expect(150, 426, 225, 226)  # pure-ftpd has a second 150 with figures
        while reply.code not in (225, 226):  # one reply, or one for the transfer and one for ABOR
            reply = client.expect(426, 225, 226)
        client.ask("PWD", 257)
        server.put(f"{folder}/small", CONTENT)
        content, end, reply = client.download(f"RETR {folder}/small")
        assert (content == CONTENT, end, reply.code) == (True, "fin", 226)
        client.quit()


def receive(sock):
    """How many bytes came; 0 at the end, however it came."""
    try:
        return sock.recv_into(SINK, len(SINK), socket.MSG_TRUNC)
    except ConnectionError:
        return 0


@pytest.mark.parametrize("family", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.proxy)])
def test_client_in_active_mode_lists_downloads_and_uploads(family, server, sallyport, folder):
    """PORT, and EPRT from an IPv6 client."""
    server.put(f"{folder}/file", CONTENT)
    with logged_on(sallyport(server, listen=family), server, folder) as ftp:
        ftp.set_pasv(False)
        assert "file" in ftp.nlst()
        assert download(ftp, "RETR file") == CONTENT
        ftp.storbinary("STOR up", io.BytesIO(CONTENT))
        assert (server.root / folder / "up").read_bytes() == CONTENT


def test_abor_with_nothing_running_is_answered(server, sallyport):
    front = sallyport(server)
    with RudeClient(front.host, front.port) as client:
        client.logon(server.user, server.password)
        assert client.ask("ABOR").code in (225, 226)
        client.ask("NOOP", 200)
        client.quit()


# ------------------------------------------------------------------------------ more than 4 GiB

HUGE = (1 << 32) + 12_345_678
PATTERN = random_bytes(1 << 24)


def pattern_source():
    """A file in memory that holds PATTERN, to be sent again and again."""
    fd = os.memfd_create("pattern")
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(PATTERN)
    return fd


def send_pattern(sock, size):
    """Send `size` bytes of the repeated pattern without copying them."""
    sock.settimeout(60)
    fd, sent = pattern_source(), 0
    try:
        while sent < size:
            offset = sent % len(PATTERN)
            try:
                sent += os.sendfile(sock.fileno(), fd, offset, min(len(PATTERN) - offset, size - sent))
            except BlockingIOError:
                threading.Event().wait(0.0005)
    finally:
        os.close(fd)


def count_pattern(sock):
    """Read to the end: how many bytes came, and whether those looked at (a few KiB of each 16 MiB) were right."""
    sock.settimeout(60)
    count, right = 0, True
    while True:
        offset = count % len(PATTERN)
        if offset < 4096:  # look at these
            chunk = sock.recv(4096 - offset)
            right = right and chunk == PATTERN[offset : offset + len(chunk)]
            size = len(chunk)
        else:  # and let the kernel drop the others
            size = sock.recv_into(SINK, min(len(SINK), len(PATTERN) - offset), socket.MSG_TRUNC)
        if not size:
            return count, right
        count += size


SINK = bytearray(1 << 20)


def huge_retr(session, _argument):
    session.say("150 Here it comes")
    with session.open_data() as data:
        send_pattern(data, HUGE)
    session.say("226 Sent")


def huge_stor(session, _argument):
    session.say("150 Send it")
    with session.open_data() as data:
        session.server.counted = count_pattern(data)
    session.say("226 Stored")


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["down", "up"])
def test_more_than_4_gib_arrive_whole(direction, sallyport):
    with RudeServer(table={"RETR": huge_retr, "STOR": huge_stor}) as server:
        front = sallyport(server)
        with RudeClient(front.host, front.port, timeout=120) as client:
            client.logon()
            with client.open_data() as data:
                if direction == "down":
                    client.ask("RETR huge", 150)
                    counted = count_pattern(data)
                else:
                    client.ask("STOR huge", 150)
                    send_pattern(data, HUGE)
            client.expect(226)
            if direction == "up":
                counted = server.counted
            client.quit()
        assert counted == (HUGE, True)
        if not DIRECT:
            transfer = front.wait_event("transfer")
            assert transfer["bytes_down" if direction == "down" else "bytes_up"] == HUGE


def test_slow_reader_gets_everything_and_memory_stays_bounded(sallyport):
    """32 MiB to a client that does not read for a while: Sallyport must not take them in."""
    size = 32 << 20
    with RudeServer(files={b"file": random_bytes(size)}) as server:
        front = sallyport(server, binary=find_release_binary())
        with RudeClient(front.host, front.port) as client:
            client.logon()
            with client.open_data() as data:
                before = 0 if DIRECT else front.memory_kib("Rss")
                client.ask("RETR file", 150)
                quiet = {"last": -1}

                def settled():
                    """Nothing moves any more."""
                    moved = 0 if DIRECT else front.sessions()[0]["bytes_down"]
                    same, quiet["last"] = moved == quiet["last"], moved
                    threading.Event().wait(0.3)
                    return same

                eventually(settled)
                if not DIRECT:
                    assert front.memory_kib("Rss") - before < 4096
                content, end = drain(data)
            assert (content == server.files[b"file"], end) == (True, "fin")
            client.expect(226)
            client.quit()


BURST = (24 << 20) + 333


def receive_exactly(sock, size):
    while size:
        got = len(sock.recv(min(size, 1 << 18)))
        assert got
        size -= got


@pytest.mark.parametrize("direction", ["down", "up"])
def test_burst_of_a_fast_sender_arrives_whole_though_more_will_come(direction, sallyport):
    """What a fast source brings may gather before it is relayed; the rest of it must not wait for what comes next."""
    arrived = [threading.Event() for _ in range(3)]

    def bursts(session, _argument):
        session.say("150 Here it comes")
        with session.open_data() as data:
            for one in arrived:
                data.sendall(b"x" * BURST)
                assert one.wait(PATIENCE)
        session.say("226 Sent")

    def receive(session, name):
        receive_content(session, "STOR", name, keep=False)

    with RudeServer(table={"RETR": bursts, "STOR": receive}) as server:
        front = sallyport(server)
        with RudeClient(front.host, front.port) as client:
            client.logon()
            with client.open_data() as data:
                client.ask("RETR file" if direction == "down" else "STOR file", 150)
                for nr, one in enumerate(arrived, 1):
                    if direction == "down":
                        receive_exactly(data, BURST)
                    else:
                        data.sendall(b"x" * BURST)
                        eventually(lambda wanted=nr * BURST: server.uploads and server.uploads[0].size == wanted)
                    one.set()
                if direction == "down":
                    assert drain(data) == (b"", "fin")
            client.expect(226)
            client.quit()
        if not DIRECT:
            assert front.stats()["sources_paced"] > 0


PIPES_OF_ANOTHER_PROCESS = """
import fcntl, os, resource, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
pipes = [os.pipe()]
while fcntl.fcntl(pipes[-1][0], fcntl.F_GETPIPE_SZ) >= 65536:
    pipes.append(os.pipe())
print("no more", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def pipes_of_nobody_are_taken():
    hog = subprocess.Popen([sys.executable, "-c", PIPES_OF_ANOTHER_PROCESS], user="nobody",
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    try:
        assert hog.stdout.readline() == b"no more\n"
        yield
    finally:
        hog.communicate()


@pytest.mark.proxy
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root")
def test_files_arrive_whole_whatever_pipes_the_user_may_have():
    """An unprivileged user's pipes are limited; beyond, the bytes are copied. One test, since it is one user."""
    content = random_bytes(3 << 20)
    for situation, share in ((contextlib.nullcontext(), 1), (pipes_of_nobody_are_taken(), 0)):
        with situation, RudeServer(files={b"file": content}) as server, as_nobody(server) as front:
            with RudeClient(front.host, front.port) as client:
                client.logon()
                assert client.download("RETR file")[0] == content
                assert client.upload("STOR other", content).code == 226
                assert server.wait_upload().content == content
                client.quit()
            stats = front.stats()
            assert (stats["bytes_down"], stats["bytes_up"]) == (len(content), len(content))
            assert stats["bytes_spliced"] == share * 2 * len(content)


def test_uploads_reach_the_server_byte_by_byte_too(sallyport):
    with RudeServer(table={"STOR": lambda s, a: receive_content(s, "STOR", a)}) as server:
        front = sallyport(server)
        with RudeClient(front.host, front.port) as client:
            client.logon()
            with client.open_data() as data:
                client.ask("STOR drip", 150)
                for byte in b"one byte at a time":
                    data.sendall(bytes([byte]))
            client.expect(226)
            client.quit()
        upload = server.wait_upload()
        assert (upload.content, upload.end) == (b"one byte at a time", "fin")
