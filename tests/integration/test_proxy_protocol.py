# SPDX-License-Identifier: ISC
"""Whose address: PROXY protocol from balancers and to servers, our source address, transparent source."""

import contextlib
import ctypes
import ipaddress
import os
import shutil
import socket
import struct
import subprocess
import time

import pytest

from rude import FIN, RST, RudeClient, RudeServer, drain
from support import cache_folder, eventually, free_port, listens, random_bytes, stop_process

pytestmark = pytest.mark.proxy

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = ("198.51.100.7", "203.0.113.1", 40001, 21)
V6 = ("2001:db8::7", "2001:db8:1::1", 40002, 21)


def v1(source, destination, source_port, destination_port):
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {source_port} {destination_port}\r\n".encode()


def v2(source, destination, source_port, destination_port, tlvs=b""):
    addresses = b"".join(ipaddress.ip_address(a).packed for a in (source, destination))
    body = addresses + struct.pack("!HH", source_port, destination_port) + tlvs
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x21 if ":" in source else 0x11, len(body)) + body


LOCAL = SIGNATURE + struct.pack("!BBH", 0x20, 0, 0)
UNKNOWN = b"PROXY UNKNOWN\r\n"


def read_header(read):
    """The header at the beginning of a connection: version, source, destination, ports."""
    head = read(1)
    if head == b"P":
        while not head.endswith(b"\r\n"):
            head += read(1)
        words = head.decode().split()
        assert words[0] == "PROXY" and words[1] == ("TCP6" if ":" in words[2] else "TCP4")
        return 1, words[2], words[3], int(words[4]), int(words[5])
    head += read(15)
    assert head[:12] == SIGNATURE and head[12] == 0x21
    size = {0x11: 4, 0x21: 16}[head[13]]
    body = read(int.from_bytes(head[14:16], "big"))
    source, destination = (str(ipaddress.ip_address(body[at : at + size])) for at in (0, size))
    return 2, source, destination, *struct.unpack("!HH", body[2 * size : 2 * size + 4])


def exactly(sock):
    def read(n):
        got = b""
        while len(got) < n:
            part = sock.recv(n - len(got))
            assert part, f"ended within the header, behind {got!r}"
            got += part
        return got

    return read


class HeaderServer(RudeServer):
    """A server that wants a header on its control connections, and on data connections if it is told so."""

    def __init__(self, data=False, **options):
        super().__init__(**options)
        self.headers, self.data_headers, self.data_peers = [], [], []
        self.wants_data = data
        self.files.setdefault(b"file", random_bytes(300_000))

        def greet(session, _):
            self.headers.append(read_header(exactly(session.sock)))
            session.say("220 server behind a header")

        self.greeting = greet
        self.table["RETR"] = self.retr

    def retr(self, session, name):
        session.say("150 Here it comes")
        with session.open_data() as data:
            self.data_peers.append(data.getpeername()[0])
            if self.wants_data:
                data.settimeout(10)
                self.data_headers.append(read_header(exactly(data)))
            data.sendall(self.files[name])
        session.say("226 Sent")


def behind(front, header, source="127.0.0.1", greeted=True):
    """A client behind a balancer that sends this header."""
    client = RudeClient(front.host, front.port, greeted=False, source=None if ":" in front.host else source)
    if header:
        client.send(header)
    if greeted:
        client.expect(220)
    return client


def trusting(**more):
    return {"proxy_protocol": True, "proxy_trusted": ["127.0.0.0/8", "::1"]} | more


def client_of(front):
    (row,) = front.sessions()
    return row["client"]


# ------------------------------------------------------------------------------------------------ in, control


@pytest.mark.parametrize("listen", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (v1(*V4), "198.51.100.7:40001"),
        (v2(*V4), "198.51.100.7:40001"),
        (v1(*V6), "[2001:db8::7]:40002"),
        (v2(*V6), "[2001:db8::7]:40002"),
        (v2(*V4, tlvs=b"\x02\x00\x03abc"), "198.51.100.7:40001"),
    ],
    ids=["v1-ipv4", "v2-ipv4", "v1-ipv6", "v2-ipv6", "v2-tlv"],
)
def test_the_client_is_who_the_header_says(sallyport, listen, header, shown):
    with RudeServer() as server:
        front = sallyport(server, listen=listen, listener=trusting())
        with behind(front, header) as client:
            client.logon("somebody")
            assert client_of(front) == shown
            client.quit()
        front.wait_event("session_end", client=shown, reason="client_quit")
        assert front.events("logon", client=shown)


@pytest.mark.parametrize("header", [LOCAL, UNKNOWN], ids=["local", "unknown"])
def test_local_and_unknown_keep_the_real_address(sallyport, header):
    with RudeServer(files={b"f": b"content"}) as server:
        front = sallyport(server, listener=trusting())
        with behind(front, header, source="127.0.0.9") as client:
            client.logon()
            assert client_of(front).startswith("127.0.0.9:")


def test_routes_ask_for_the_client_of_the_header(sallyport):
    with RudeServer() as server:
        extra = 'route { sources = { "198.51.100.0/24" } reject = yes }\n'
        front = sallyport(server, listener=trusting(), extra=extra)
        with behind(front, v1(*V4)) as client:
            client.ask("USER u", 530)
        with behind(front, v1(*V6)) as client:
            client.logon()


@pytest.mark.parametrize("header", [v1(*V4), v2(*V6)], ids=["v1", "v2"])
def test_a_header_may_come_byte_by_byte(sallyport, header):
    with RudeServer() as server:
        front = sallyport(server, listener=trusting())
        with behind(front, None, greeted=False) as client:
            for byte in header[:-1]:
                client.send(bytes([byte]))
                time.sleep(0.001)
            assert not client.raw
            with pytest.raises(TimeoutError):
                client.more(0.2)  # nothing is said before its last byte
            client.send(header[-1:])
            client.expect(220)
            client.logon()


def test_what_follows_the_header_at_once_is_the_clients(sallyport):
    with RudeServer() as server:
        front = sallyport(server, listener=trusting())
        with behind(front, v2(*V4) + b"USER u\r\nPASS p\r\n") as client:
            client.expect(331)
            client.expect(230)


@pytest.mark.parametrize(
    "garbage",
    [b"USER u\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"PROXY " + b"x" * 200, SIGNATURE + b"\x31\x11\0\x0c" + b"x" * 12,
     SIGNATURE + b"\x21\x11\xff\xff", b"\x16\x03\x01\x02\x00\x01"],
    ids=["command", "cut-short", "endless", "version-3", "too-long", "tls"],
)  # fmt: skip
def test_what_is_no_header_ends_without_a_word(sallyport, garbage):
    with RudeServer() as server:
        front = sallyport(server, listener=trusting())
        with behind(front, garbage, greeted=False) as client:
            assert client.wait_end(5) in (FIN, RST)
            assert not client.raw
        front.wait_event("session_end", reason="proxy_header")
        assert not server.history


def test_a_check_of_the_port_is_no_fault(sallyport):
    with RudeServer() as server:
        front = sallyport(server, listener=trusting())
        for part in (b"", v1(*V4)[:20], v2(*V4)[:13]):
            behind(front, part, greeted=False).close()
        front.wait_event("session_end", count=3, reason="client_closed")
        assert not front.events("session_start")


def test_a_header_that_does_not_come_ends_by_login_timeout(sallyport):
    with RudeServer() as server:
        front = sallyport(server, listener=trusting(), extra="policy default { login_timeout = 500ms }\n")
        with behind(front, v1(*V4)[:-1], greeted=False) as client:
            assert client.wait_end(10) == FIN
            assert not client.raw
        front.wait_event("session_end", reason="login_timeout")


def test_who_is_not_trusted_is_refused_logged_and_counted(sallyport):
    with RudeServer() as server:
        front = sallyport(server, listener=trusting(proxy_trusted=["127.0.0.2"]))
        with behind(front, v1(*V4), source="127.0.0.3", greeted=False) as client:
            assert client.expect(421)
            assert client.wait_end(5) in (FIN, RST)
        event = front.wait_event("proxy_refused", listener="main")
        assert event["client"].startswith("127.0.0.3:")
        assert "proxy_refused 1" in flat(front.stats())
        with behind(front, v1(*V4), source="127.0.0.2") as client:
            client.logon()
        assert len(server.history) == 1


def flat(value, name=""):
    """Numbers of a nested answer as lines of "name number"."""
    if isinstance(value, dict):
        if isinstance(value.get("name"), str) and "value" in value:
            return f"{value['name']} {value['value']}\n"
        return "".join(flat(v, k) for k, v in value.items())
    if isinstance(value, list):
        return "".join(flat(v, name) for v in value)
    return f"{name} {value}\n"


def test_without_proxy_protocol_a_header_is_a_bad_command(sallyport):
    with RudeServer() as server:
        front = sallyport(server)
        with RudeClient(front.host, front.port) as client:
            assert client.ask(v1(*V4).rstrip()).code in (500, 501, 502)
            assert client_of(front).startswith("127.0.0.1:")


# ------------------------------------------------------------------------------------------------ in, data


def test_passive_data_come_from_the_balancer_or_from_the_client(sallyport):
    content = random_bytes(200_000)
    with RudeServer(files={b"f": content}) as server:
        front = sallyport(server, listener=trusting())
        header = v1("127.0.0.5", "203.0.113.1", 40000, 21)
        for allowed in ("127.0.0.4", "127.0.0.5"):
            with behind(front, header, source="127.0.0.4") as client:
                client.logon()
                port = client.passive_port()[1]
                assert is_refused(front, port, b"", "127.0.0.6")  # neither of them
                with socket.create_connection((front.host, port), 5, source_address=(allowed, 0)) as data:
                    client.ask("RETR f", 150)
                    assert drain(data) == (content, FIN)
                client.expect(226)


def test_the_command_port_goes_to_the_client_of_the_header(sallyport):
    with RudeServer(files={b"f": b"abc"}) as server, socket.create_server(("127.0.0.5", 0)) as own:
        front = sallyport(server, listener=trusting())
        with behind(front, v2("127.0.0.5", "127.0.0.1", 40000, 21), source="127.0.0.4") as client:
            client.logon()
            port = own.getsockname()[1]
            client.ask(f"PORT 127,0,0,4,{port // 256},{port % 256}", 504)  # the balancer's address is not the client's
            client.ask(f"PORT 127,0,0,5,{port // 256},{port % 256}", 200)
            client.ask("RETR f", 150)
            data, _ = own.accept()
            assert drain(data) == (b"abc", FIN)
            data.close()
            client.expect(226)


def data_connection(front, port, header, source="127.0.0.1"):
    data = socket.create_connection((front.host, port), 5, source_address=None if ":" in front.host else (source, 0))
    data.sendall(header)
    return data


def is_refused(front, port, header, source):
    """Whether a data connection from there is broken at once, or soon."""
    try:
        with data_connection(front, port, header, source) as data:
            return drain(data, 5) == (b"", RST)
    except ConnectionError:
        return True


@pytest.mark.parametrize("write", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("addresses", [V4, V6], ids=["ipv4", "ipv6"])
def test_passive_data_with_a_header(sallyport, write, addresses):
    content = random_bytes(200_000)
    with RudeServer(files={b"f": content}) as server:
        settings = trusting(proxy_protocol_data=True, proxy_data_trusted=["127.0.0.8"])
        front = sallyport(server, listener=settings)
        with behind(front, write(*addresses)) as client:
            client.logon()
            port = client.passive_port()[1]
            wrong = write("192.0.2.1", "203.0.113.1", 1, 2)
            for source, header in (
                ("127.0.0.1", write(*addresses)),  # trusted for control connections only
                ("127.0.0.8", wrong),
                ("127.0.0.8", LOCAL),
                ("127.0.0.8", b"STOR x\r\n"),
            ):
                assert is_refused(front, port, header, source)
            data_connection(front, port, write(*addresses)[:11], "127.0.0.8").close()  # gone within its header
            with data_connection(front, port, b"", "127.0.0.8") as data:
                client.ask("RETR f", 150)
                for byte in write(*addresses):
                    data.send(bytes([byte]))
                assert drain(data) == (content, FIN)
            client.expect(226)
            # an upload whose bytes come in the header's segment
            port = client.passive_port()[1]
            with data_connection(front, port, write(*addresses) + content, "127.0.0.8") as data:
                client.ask("STOR up", 150)
                data.shutdown(socket.SHUT_WR)
                client.expect(226)
            assert server.wait_upload().content == content
        assert flat(front.stats()).count("data_foreign 5\n") == 1


def test_a_data_connection_without_its_header_ends_by_data_accept_timeout(sallyport):
    with RudeServer(files={b"f": b"abc"}) as server:
        settings = trusting(proxy_protocol_data=True, proxy_data_trusted=["127.0.0.1"])
        front = sallyport(server, listener=settings, policy={"data_accept_timeout": "1s"})
        with behind(front, v1(*V4)) as client:
            client.logon()
            with data_connection(front, client.passive_port()[1], v1(*V4)[:-2]) as data:
                client.ask("RETR f", 150, 425)
                assert drain(data, 10)[1] == RST
            eventually(lambda: front.events("timeout", clock="data_accept_timeout"))


def test_passive_address_of_the_header(sallyport):
    with RudeServer(files={b"f": b"abc"}) as server:
        front = sallyport(server, listener=trusting(passive_address="proxy"))
        with behind(front, v1(*V4)) as client:
            client.logon()
            address, port = client.passive_port("PASV")
            assert address == "203.0.113.1"
            with socket.create_connection((front.host, port), 5) as data:
                client.ask("RETR f", 150)
                assert drain(data) == (b"abc", FIN)
            client.expect(226)
        with behind(front, v1(*V6)) as client:
            client.logon()
            client.ask("PASV", 425)
            client.ask("EPSV 1", 522)
            client.ask("EPSV 2", 229)
        with behind(front, LOCAL) as client:
            client.logon()
            assert client.passive_port("PASV")[0] == "127.0.0.1"


# ------------------------------------------------------------------------------------------------ out


@pytest.mark.parametrize(("version", "number"), [("v1", 1), ("v2", 2)])
@pytest.mark.parametrize("early", [False, True], ids=["late", "early"])
def test_the_server_is_told_who_the_client_is(sallyport, version, number, early):
    with HeaderServer() as server:
        front = sallyport(server, server={"proxy_protocol": version}, pool={"early_connect": early})
        with RudeClient(front.host, front.port, source="127.0.0.6") as client:
            own = client.sock.getsockname()[1]
            client.logon()
            assert server.headers == [(number, "127.0.0.6", "127.0.0.1", own, front.port)]
            with data_connection(front, client.passive_port()[1], b"", "127.0.0.6") as data:
                client.ask("RETR file", 150)
                assert drain(data) == (server.files[b"file"], FIN)
            client.expect(226)


@pytest.mark.parametrize(("version", "number"), [("v1", 1), ("v2", 2)])
@pytest.mark.parametrize("addresses", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_from_header_to_header(sallyport, version, number, addresses, host):
    """Data connections with headers too, whatever the families of client, balancer and server."""
    with HeaderServer(data=True, host=host) as server:
        front = sallyport(
            server,
            listener=trusting(),
            server={"proxy_protocol": version, "proxy_protocol_data": True},
            pool={"early_connect": True},
        )
        with behind(front, None, greeted=False) as client:
            time.sleep(0.1)
            assert not server.history  # the client is not known yet
            client.send(v2(*addresses))
            client.expect(220)
            client.logon()
            assert server.headers == [(number, *addresses)]
            content, end, reply = client.download("RETR file")
            assert (content, end, reply.code) == (server.files[b"file"], FIN, 226)
            assert server.data_headers == [(number, *addresses)]


def test_a_server_that_dials_us_gets_no_header(sallyport):
    with HeaderServer(table={"EPSV": "500 No", "PASV": "500 No"}) as server:
        front = sallyport(server, server={"proxy_protocol": "v1", "proxy_protocol_data": True})
        with RudeClient(front.host, front.port) as client:
            client.logon()
            content, end, reply = client.download("RETR file")
            assert (content, end, reply.code) == (server.files[b"file"], FIN, 226)


# ------------------------------------------------------------------------------------------------ source


@pytest.mark.parametrize("active", [False, True], ids=["passive", "active"])
def test_source_address_of_our_connections(sallyport, active):
    table = {"EPSV": "500 No", "PASV": "500 No"} if active else {}
    with RudeServer(table=table) as server:
        peers = []

        def retr(session, _):
            session.say("150 Here it comes")
            with session.open_data() as data:
                peers.append(data.getpeername()[0])
                data.sendall(b"abc")
            session.say("226 Sent")

        server.table["RETR"] = retr
        front = sallyport(server, server={"source": "127.0.0.77"})
        with RudeClient(front.host, front.port) as client:
            client.logon()
            assert server.last().sock.getpeername()[0] == "127.0.0.77"
            assert client.download("RETR f")[0] == b"abc"
            assert peers == ["127.0.0.77"]


# ------------------------------------------------------------------------------------------------ transparent

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def inside(name):
    """What this thread opens and starts belongs to that network namespace."""
    with open("/proc/thread-self/ns/net", "rb") as before, open(f"/run/netns/{name}", "rb") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            if libc.setns(before.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@pytest.fixture
def network():
    """Three namespaces in a row: client, middle, server; the middle one takes the server's packets for its own."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not shutil.which("ip"):
        pytest.skip("ip(8) is not installed")
    client, middle, server = names = [f"sp{os.getpid()}{kind}" for kind in "cms"]
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for far, net in ((client, 1), (server, 2)):
            near = f"to{net}"
            ip("link", "add", near, "netns", middle, "type", "veth", "peer", "name", "eth0", "netns", far)
            for name, device, host in ((middle, near, 1), (far, "eth0", 2)):
                ip("-n", name, "addr", "add", f"10.1{net}.0.{host}/24", "dev", device)
                ip("-n", name, "addr", "add", f"fd00:{net}::{host}/64", "dev", device, "nodad")
                ip("-n", name, "link", "set", device, "up")
            ip("-n", far, "route", "add", "default", "via", f"10.1{net}.0.1")
            ip("-n", far, "-6", "route", "add", "default", "via", f"fd00:{net}::1")
        for family, everything in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
            ip("-n", middle, family, "rule", "add", "iif", "to2", "lookup", "100")
            ip("-n", middle, family, "route", "add", "local", everything, "dev", "lo", "table", "100")
        yield client, middle, server
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.mark.parametrize("how", ["passive", "active"])
@pytest.mark.parametrize("v6", [False, True], ids=["ipv4", "ipv6"])
def test_transparent(sallyport, network, how, v6):
    ours, theirs, server_address = (
        ("fd00:1::1", "fd00:1::2", "fd00:2::2") if v6 else ("10.11.0.1", "10.11.0.2", "10.12.0.2")
    )
    client_space, middle, server_space = network
    peers = []

    def retr(session, _):
        session.say("150 Here it comes")
        with session.open_data() as data:
            peers.append(data.getpeername()[0])
            data.sendall(b"abc" * 1000)
        session.say("226 Sent")

    table = {"RETR": retr} | ({"EPSV": "500 No", "PASV": "500 No"} if how == "active" else {})
    with contextlib.ExitStack() as stack:
        with inside(server_space):
            server = stack.enter_context(RudeServer(host=server_address, table=table))
        with inside(middle):
            front = sallyport(server, listen=ours, server={"transparent": True})
        with inside(client_space), RudeClient(front.host, front.port) as client:
            client.logon()
            assert server.last().sock.getpeername()[0] == theirs
            for _ in range(3):
                content, end, reply = client.download("RETR f")
                assert (content, end, reply.code) == (b"abc" * 1000, FIN, 226)
            assert peers == [theirs] * 3
            client.quit()


# ------------------------------------------------------------------------------------------------ TLS


def certificate(folder):
    path = folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", path, "-out", folder / "only.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + (folder / "only.pem").read_text())
    return path


@pytest.mark.parametrize("header", [v1(*V4), v2(*V6)], ids=["v1", "v2"])
def test_the_header_comes_before_implicit_tls(sallyport, tmp_path, header):
    import ssl

    pem = certificate(tmp_path)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with RudeServer() as server:
        listener = trusting(tls="implicit", certificate=str(pem), private_key=str(pem))
        front = sallyport(server, listener=listener)
        # header and ClientHello in one segment: not a byte of it may be lost
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing)
        with socket.create_connection((front.host, front.port), 10) as sock:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            sock.sendall(header + outgoing.read())
            reply = b""
            handshaken = False
            while not reply.endswith(b"\r\n"):
                incoming.write(sock.recv(65536))
                with contextlib.suppress(ssl.SSLWantReadError):
                    if not handshaken:
                        tls.do_handshake()
                        handshaken = True
                    if outgoing.pending:
                        sock.sendall(outgoing.read())
                    reply += tls.read(1000)
            assert reply.startswith(b"220 ")
            assert client_of(front) == ("198.51.100.7:40001" if b"198" in header else "[2001:db8::7]:40002")


def test_port_of_a_listener_with_headers_is_free_for_others(sallyport):
    """Two listeners, one for the balancer and one for clients that come by themselves."""
    with RudeServer() as server:
        port = free_port()
        front = sallyport(server, listener=trusting(), extra=f'listener plain {{ bind = "127.0.0.1:{port}" }}\n')
        with RudeClient("127.0.0.1", port) as client:
            client.logon()
        with behind(front, v1(*V4)) as client:
            client.logon()


# ------------------------------------------------------------------------------------------------ HAProxy


@pytest.fixture
def haproxy(tmp_path):
    """Starts HAProxy with these sections; it must be listening on the address."""
    running = []

    def start(text, host, port):
        cached = cache_folder() / "servers" / "haproxy" / "usr" / "sbin"
        program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin:{cached}")
        if not program:
            pytest.skip("haproxy is not installed")
        path = tmp_path / f"haproxy{len(running)}.cfg"
        defaults = "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
        path.write_text(f"global\n maxconn 200\n{defaults}{text}")
        process = subprocess.Popen(
            [program, "-db", "-f", path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        running.append(process)
        eventually(lambda: listens(host, port) or process.poll() is not None, what="haproxy listens")
        assert process.poll() is None, process.stderr.read()

    yield start
    for process in running:
        stop_process(process)
        process.stderr.close()


@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2"])
def test_behind_haproxy(sallyport, haproxy, send):
    """Control and passive data through HAProxy, headers on both, PASV with the address of its frontend."""
    content = random_bytes(500_000)
    port, base = free_port("127.0.0.50"), free_port("127.0.0.50")
    with RudeServer(files={b"f": content}) as server:
        settings = trusting(
            proxy_protocol_data=True,
            proxy_data_trusted=["127.0.0.1"],
            passive_address="proxy",
            passive_ports=f"{base}-{base + 3}",
        )
        front = sallyport(server, listener=settings)
        haproxy(
            f"listen ftp\n bind 127.0.0.50:{port}\n server s 127.0.0.1:{front.port} {send}\n"
            f"listen data\n bind 127.0.0.50:{base}-{base + 3}\n server s 127.0.0.1 {send}\n",
            "127.0.0.50",
            port,
        )
        with RudeClient("127.0.0.50", port, source="127.0.0.61") as client:
            client.logon()
            assert client_of(front).startswith("127.0.0.61:")
            for how in ("PASV", "EPSV"):
                address = client.passive_port(how)
                assert address[0] == "127.0.0.50"
                with socket.create_connection(address, 5, source_address=("127.0.0.61", 0)) as data:
                    client.ask("RETR f", 150)
                    assert drain(data) == (content, FIN)
                client.expect(226)
            address = client.passive_port()
            # another client of the same balancer: HAProxy takes it, but it gets nothing
            with socket.create_connection(address, 5, source_address=("127.0.0.62", 0)) as thief:
                assert drain(thief)[0] == b""
            with socket.create_connection(address, 5, source_address=("127.0.0.61", 0)) as data:
                client.ask("STOR up", 150)
                data.sendall(content)
            client.expect(226)
            assert server.wait_upload().content == content
            client.quit()


@pytest.mark.parametrize(("version", "host"), [("v1", "127.0.0.1"), ("v1", "::1"), ("v2", "127.0.0.1"), ("v2", "::1")])
def test_haproxy_takes_our_header(sallyport, haproxy, version, host):
    """HAProxy stands before the server, reads our header and writes its own from what it understood."""
    with HeaderServer() as server:
        port = free_port("127.0.0.51")
        haproxy(
            f"listen ftp\n bind 127.0.0.51:{port} accept-proxy\n server s {server.address} send-proxy-v2\n",
            "127.0.0.51",
            port,
        )
        front = sallyport(f"127.0.0.51:{port}", listen=host, server={"proxy_protocol": version})
        with RudeClient(front.host, front.port) as client:
            own = client.sock.getsockname()[1]
            client.logon()
            assert server.headers == [(2, host, host, own, front.port)]
