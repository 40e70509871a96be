# SPDX-License-Identifier: ISC
"""Pooled ports that sessions of one address share: whose a connection is, its ClientHello says. And who says nothing?"""

import contextlib
import ftplib
import hashlib
import io
import secrets
import signal
import socket
import ssl
import threading
from pathlib import Path

import pytest
import tls
from rude import FIN, RST, RudeClient, RudeServer, drain
from support import PATIENCE, eventually, pooled_ports, random_bytes
from tls import TlsClient, client_context
from tls import authority, before, pair  # noqa: F401 (fixtures)

pytestmark = pytest.mark.proxy

HERE = "127.0.0.1"
FILES = {f"f{number}".encode(): random_bytes(30_000 + number, seed=number) for number in range(8)}
BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])


@pytest.fixture
def server():
    with RudeServer(files=dict(FILES)) as server:
        yield server


@pytest.fixture
def one_port(before, server):
    """Sallyport with one pooled port, or more."""

    def start(n=1, listener=None, reuse=True, **settings):
        listener = {"passive_ports": pooled_ports(n, HERE), "require_tls_reuse": reuse} | (listener or {})
        return before(server, listener=listener, **settings)

    return start


@contextlib.contextmanager
def crowd_of(front, authority, n, version="1.3"):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(visit(front, authority, version)) for _ in range(n)]


def visit(front, authority, version="1.3", context=None, session=None):
    """A client under TLS, logged on; its data are to be protected."""
    client = TlsClient(front.host, front.port)
    client.secure(context or client_context(authority, version), session=session)
    return client.logon().protect()


def connect(address):
    return socket.create_connection(address, PATIENCE)


def take(client, raw, number, session=True):
    """Downloads file `number` over that connection; the command has been sent."""
    with raw, client.secure_data(raw, session) as data:
        assert drain(data) == (FILES[b"f%d" % number], FIN)
    client.expect(226)


def assert_refused(raw):
    """Closed without a byte."""
    with raw:
        assert drain(raw) == (b"", RST)


def hello_of(client, session=True):
    """Of a handshake in memory: the object, what it reads, what it writes."""
    theirs, ours = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = client.context.wrap_bio(
        theirs, ours, server_hostname=client.name, session=client.sock.session if session is True else session
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        talk.do_handshake()
    return talk, theirs, ours


def download_in_drops(client, raw, cuts):
    """A protected download whose ClientHello comes in parts: `cuts` of so many bytes, then the rest."""
    talk, theirs, ours = hello_of(client)
    hello = ours.read()
    with raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.settimeout(client.timeout)
        for size in cuts:
            raw.sendall(hello[:size])
            hello = hello[size:]
        raw.sendall(hello)
        content = b""
        shaken = False
        while True:
            try:
                if not shaken:
                    talk.do_handshake()
                    shaken = True
                part = talk.read(65536)
                if not part:
                    return content
                content += part
            except ssl.SSLWantReadError:
                if ours.pending:
                    raw.sendall(ours.read())
                got = raw.recv(65536)
                if got:
                    theirs.write(got)
                else:
                    theirs.write_eof()


def is_stopped(front):
    """Each thread of it: the signal takes its time."""
    tasks = Path(f"/proc/{front.pid}/task").glob("*/stat")
    return all(task.read_text().rsplit(")", 1)[1].split()[0] == "T" for task in tasks)


def stat(front, name):
    value = front.stats()[name]
    return value.get("main") if isinstance(value, dict) else value


def assert_clean(front):
    eventually(lambda: not front.sessions(), 30)
    assert front.stats()["pooled_ports_reserved"] == {"main": 0}
    found = front.ask("show orphans --now")
    assert found["findings"] == 0, found
    assert not any(front.stats()["held"].values())


# ------------------------------------------------------------------------------- it is told apart


@BOTH
@pytest.mark.parametrize("workers", [1, 3])
def test_sessions_of_one_address_share_one_port(version, workers, one_port, authority):
    front = one_port(top={"workers": workers})
    with crowd_of(front, authority, 6, version) as crowd:
        addresses = {client.passive_port(how) for client, how in zip(crowd, ["EPSV", "PASV"] * 3)}
        assert len(addresses) == 1
        (address,) = addresses
        assert stat(front, "passive_shared") == 5
        # they connect in one order, ask in another and speak in a third
        raws = [connect(address) for _ in crowd]
        for i in (3, 1, 4, 0, 5, 2):
            crowd[i].ask(f"RETR f{i}", 150)
        for i in reversed(range(6)):
            take(crowd[i], raws[(i + 2) % 6], i)
        for client in crowd:
            client.quit()
    assert (stat(front, "data_named"), stat(front, "data_unnamed")) == (6, 0)
    assert stat(front, "pooled_ports_peak") == 1
    assert_clean(front)


@BOTH
def test_uploads_share_it_as_well(version, one_port, authority, server):
    front = one_port()
    with crowd_of(front, authority, 3, version) as crowd:
        (address,) = {client.passive_port() for client in crowd}
        for i, client in enumerate(crowd):
            client.ask(f"STOR up{i}", 150)
        for i in (1, 2, 0):
            with connect(address) as raw, crowd[i].secure_data(raw) as data:
                data.sendall(FILES[b"f%d" % i])
                with contextlib.suppress(OSError):
                    data.unwrap()
            crowd[i].expect(226)
            assert server.files[b"up%d" % i] == FILES[b"f%d" % i]
    assert_clean(front)


def test_another_port_is_better_than_a_shared_one(one_port, authority):
    front = one_port(2)
    with crowd_of(front, authority, 4) as crowd:
        ports = [client.passive_port()[1] for client in crowd]
        assert len(set(ports[:2])) == len(set(ports[2:])) == 2
        assert stat(front, "passive_shared") == 2
        for i, client in enumerate(crowd):
            raw = connect((front.host, ports[i]))
            client.ask(f"RETR f{i}", 150)
            take(client, raw, i)
    assert_clean(front)


@BOTH
def test_hello_in_drops_and_in_two_parts(version, one_port, authority):
    front = one_port()
    with crowd_of(front, authority, 2, version) as (one, two):
        for cuts in ([1] * 60, [4, 2, 100], [5], [6]):
            address = one.passive_port()
            assert two.passive_port() == address
            raws = connect(address), connect(address)
            one.ask("RETR f1", 150)
            two.ask("RETR f2", 150)
            assert download_in_drops(one, raws[0], cuts) == FILES[b"f1"]
            assert download_in_drops(two, raws[1], cuts[:1]) == FILES[b"f2"]
            one.expect(226)
            two.expect(226)
    assert stat(front, "data_unnamed") == 0
    assert_clean(front)


class Reusing(ftplib.FTP_TLS):
    """The library's client, but for its data connections: they resume."""

    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        return self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session), size


@BOTH
def test_eight_threads_and_one_port(version, one_port, authority, server):
    """Everybody gets his own files, in both directions, and nobody is refused."""
    front = one_port(top={"workers": 2})
    failed = []

    def work(number):
        content = FILES[b"f%d" % number]
        try:
            with Reusing(context=client_context(authority, version), timeout=PATIENCE) as ftp:
                ftp.connect(front.host, front.port)
                ftp.login("u", "p")
                ftp.prot_p()
                for turn in range(10):
                    got = hashlib.sha256()
                    ftp.retrbinary(f"RETR f{number}", got.update)
                    assert got.digest() == hashlib.sha256(content).digest()
                    ftp.storbinary(f"STOR u{number}", io.BytesIO(content[turn:]))
                    assert server.files[b"u%d" % number] == content[turn:]
                ftp.quit()
        except BaseException as error:  # shown by the test's thread
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    if failed:
        raise failed[0]
    assert not any(thread.is_alive() for thread in threads)
    assert_clean(front)
    stats = front.stats()
    assert stats["transfers_ok"] == 160
    refusals = ("passive_exhausted", "data_unnamed", "data_ambiguous", "data_unexpected")
    assert [stats[name] for name in refusals] == [0, 0, 0, 0]


# ------------------------------------------------------------------------- who may share, and who not


@BOTH
def test_client_shares_when_it_has_shown_that_it_resumes(version, one_port, authority):
    front = one_port(reuse=False)
    with crowd_of(front, authority, 3, version) as (one, two, never):
        one.passive_port()
        two.ask("EPSV", 425)
        one.ask("ABOR")
        for client in (one, two):
            assert client.get("RETR f1")[0] == FILES[b"f1"]
        assert never.get("RETR f1", session=None)[0] == FILES[b"f1"]
        address = one.passive_port()
        assert two.passive_port() == address
        never.ask("EPSV", 425)
        raws = connect(address), connect(address)
        two.ask("RETR f2", 150)
        take(two, raws[0], 2)
        one.ask("RETR f1", 150)
        take(one, raws[1], 1)
        # and it has the port for itself where it is first
        address = never.passive_port()
        two.ask("EPSV", 425)
        raw = connect(address)
        never.ask("RETR f3", 150)
        take(never, raw, 3, session=None)
    assert_clean(front)


def test_connection_in_clear_has_its_port_for_itself(one_port, authority, server):
    front = one_port()
    with RudeClient(front.host, front.port).logon() as plain, visit(front, authority) as one:
        address = plain.passive_port()
        one.ask("EPSV", 425)
        raw = connect(address)
        plain.ask("RETR f1", 150)
        with raw:
            assert drain(raw) == (FILES[b"f1"], FIN)
        plain.expect(226)
        one.passive_port()
        plain.ask("PASV", 425)
        # it was alone until now, and goes on in clear: then nobody may join
        one.ask("PROT C", 200)
        with connect(address) as raw:
            one.ask("RETR f2", 150)
            assert drain(raw) == (FILES[b"f2"], FIN)
        one.expect(226)
        one.ask("PROT P", 200)
        one.passive_port()
        with visit(front, authority) as two:
            assert two.passive_port() == address
            one.ask("PROT C", 200)
            assert b"protected" in one.ask("RETR f2", 425).raw
            raw = connect(address)
            two.ask("RETR f3", 150)
            take(two, raw, 3)
    assert_clean(front)


@BOTH
def test_sessions_that_resumed_the_same_one_share_when_each_has_a_ticket_of_its_own(version, one_port, authority):
    front = one_port(reuse=False)
    context = client_context(authority, version)
    with visit(front, authority, context=context) as first:
        old = first.sock.session
        with visit(front, authority, context=context, session=old) as one, \
                visit(front, authority, context=context, session=old) as two:
            assert one.sock.session_reused and two.sock.session_reused
            for client in (one, two):
                assert client.get("RETR f1")[0] == FILES[b"f1"]
            address = one.passive_port()
            assert two.passive_port() == address
            raws = connect(address), connect(address)
            one.ask("RETR f1", 150)
            two.ask("RETR f2", 150)
            take(two, raws[0], 2)
            take(one, raws[1], 1)
            # with the ticket that both have they cannot be told apart: no port together
            for client in (one, two):
                assert client.get("RETR f1", session=old)[0] == FILES[b"f1"]
            raw = connect(one.passive_port())
            eventually(lambda: stat(front, "pooled_ports_reserved") == 0)
            one.ask("RETR f1", 150)
            take(one, raw, 1, session=old)
            one.passive_port()
            two.ask("EPSV", 425)
    assert_clean(front)


# --------------------------------------------------------------------------------- what is refused


def refused_handshake(client, address, **options):
    with pytest.raises(OSError), connect(address) as raw:
        client.secure_data(raw, **options)


@BOTH
def test_who_names_nobody_is_refused_and_hurts_nobody(version, one_port, authority):
    front = one_port()
    with crowd_of(front, authority, 3, version) as (one, two, other):
        address = one.passive_port()
        assert two.passive_port() == address
        refused_handshake(one, address, session=None)
        refused_handshake(other, address)  # logged on, but waits for nothing
        refused_handshake(one, address, session=None, context=client_context(authority, version))
        nonsense = b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\xff\xff", b"\x15\x03\x01\0\2\1\0"
        for bytes_ in nonsense:
            raw = connect(address)
            raw.sendall(bytes_)
            assert_refused(raw)
        with connect(address) as raw:  # half a hello, and the end
            raw.sendall(hello_of(one)[2].read()[:50])
        eventually(lambda: stat(front, "data_unnamed") == 8)
        assert stat(front, "data_named") == 0
        for i, client in ((2, two), (1, one)):
            raw = connect(address)
            client.ask(f"RETR f{i}", 150)
            take(client, raw, i)
    assert_clean(front)


@BOTH
def test_client_whose_connection_was_refused_is_told_and_goes_on(version, one_port, authority):
    front = one_port(policy={"data_accept_timeout": "2s"})
    with crowd_of(front, authority, 2, version) as (one, two):

        def both_wait():
            address = one.passive_port()
            return two.passive_port() == address and one.ask("RETR f1", 150, 425).code == 150 and address

        address = eventually(both_wait)  # on a slow machine the first may have given up before the second asks
        refused_handshake(one, address, session=None)
        one.expect(425)
        for client in (one, two):
            assert client.get("RETR f1")[0] == FILES[b"f1"]
    assert_clean(front)


@BOTH
def test_silent_connections_stand_in_nobodys_way(version, one_port, authority):
    front = one_port()
    with crowd_of(front, authority, 2, version) as (one, two):
        address = one.passive_port()
        assert two.passive_port() == address
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(connect(address))
            raws = connect(address), connect(address)
            one.ask("RETR f1", 150)
            two.ask("RETR f2", 150)
            take(two, raws[0], 2)
            take(one, raws[1], 1)
            assert stat(front, "data_unnamed") == 0
        eventually(lambda: stat(front, "data_unnamed") == 20)
        # more than may wait of one address: those that are too many are refused at once
        one.passive_port()
        assert two.passive_port() == address
        with contextlib.ExitStack() as stack:
            for _ in range(80):
                with contextlib.suppress(ConnectionError):
                    stack.enter_context(connect(address))
            eventually(lambda: stat(front, "data_unnamed") == 20 + 16)
    assert_clean(front)


@BOTH
def test_late_connection_of_a_failed_transfer_is_refused(version, one_port, authority):
    front = one_port()
    with crowd_of(front, authority, 3, version) as (one, two, three):
        address = one.passive_port()
        assert two.passive_port() == address
        late = connect(address)
        one.ask("RETR nothing", 550)
        with late, pytest.raises(OSError):
            one.secure_data(late)
        assert stat(front, "data_unnamed") == 1
        # given up by its client before it was looked at: not the connection of the next transfer
        assert one.passive_port() == address
        front.signal(signal.SIGSTOP)
        eventually(lambda: is_stopped(front))
        with connect(address) as given_up:
            given_up.sendall(hello_of(one)[2].read())
        front.signal(signal.SIGCONT)
        eventually(lambda: stat(front, "data_unnamed") == 2)
        raw = connect(address)
        one.ask("RETR f1", 150)
        take(one, raw, 1)
        two.ask("RETR f2", 150)
        raw = connect(address)
        take(two, raw, 2)
        # whoever has the port alone again may have what nobody else can be meant by
        raw = connect(three.passive_port())
        three.ask("RETR f3", 150)
        take(three, raw, 3)
    assert_clean(front)


@BOTH
def test_session_of_the_same_number_at_another_node_is_another_one(version, one_port, authority, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(secrets.token_hex(80) + "\n")
    keys.chmod(0o600)
    here, there = (one_port(top={"workers": 1, "ticket_keys": str(keys)}) for _ in range(2))
    with crowd_of(here, authority, 2, version) as (one, two), crowd_of(there, authority, 2, version) as (thief, _):
        address = one.passive_port()
        assert two.passive_port() == address
        for front in (here, there):
            front.wait_event("logon", 2)
        numbers = [{event["session"] for event in front.events("logon")} for front in (here, there)]
        assert numbers[0] == numbers[1]
        refused_handshake(thief, address)
        assert (stat(here, "data_unnamed"), stat(here, "data_named")) == (1, 0)
        raw = connect(address)
        one.ask("RETR f1", 150)
        take(one, raw, 1)
    assert_clean(here)


def test_connections_that_are_held_end_with_the_process(one_port, authority):
    front = one_port(top={"workers": 2})
    with crowd_of(front, authority, 2) as (one, two):
        address = one.passive_port()
        assert two.passive_port() == address
        raws = [connect(address) for _ in range(3)]
        front.stop()
        for raw in raws:
            with raw, contextlib.suppress(ConnectionError):
                assert raw.recv(1) == b""
