# SPDX-License-Identifier: ISC
"""Corners of TLS: races of replies and handshakes, ends of connections, who may use a data connection, what is offered."""

import contextlib
import functools
import os
import signal
import socket
import ssl

import pytest
from rude import FIN, RST, RudeClient, RudeServer, drain
from sallyport import find_release_binary, is_sanitized
from support import eventually, random_bytes, reset, run
from tls import TlsClient, TlsRudeServer, back_settings, client_context, front_settings, reach
from tls import authority, before, pair, server_pair  # noqa: F401 (fixtures)

pytestmark = pytest.mark.proxy

CONTENT = random_bytes(100_001)
BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])
SECURED = pytest.mark.parametrize("secured", ["client", "server", "both"])


@pytest.fixture
def trio(sallyport, before, authority, server_pair):
    """trio(secured, table=…) → (server, Sallyport, logged-on client); `secured`: which side has TLS."""
    opened = []

    def make(secured, table=None, **settings):
        kind = RudeServer if secured == "client" else functools.partial(TlsRudeServer, server_pair)
        server = kind(table=table, files={b"f": CONTENT, b"empty": b""})
        opened.append(server)
        server.__enter__()
        back = settings.pop("server", {})
        if secured != "client":
            back = back_settings(authority, **back)
        front = (sallyport if secured == "server" else before)(server, server=back, **settings)
        if secured == "server":
            client = RudeClient(front.host, front.port).logon()
        else:
            client = reach(front, authority).logon().protect()
        opened.append(client)
        return server, front, client

    yield make
    for thing in reversed(opened):
        thing.__exit__(None, None, None)


def get(client, command):
    if isinstance(client, TlsClient):
        return client.get(command)
    content, end, reply = client.download(command)
    assert end == FIN
    return content, reply


def put(client, command, content):
    return (client.put if isinstance(client, TlsClient) else client.upload)(command, content)


# -------------------------------------------------------------------------------------- transfers


@SECURED
def test_files_of_nothing_have_their_handshakes_and_their_ends(secured, trio):
    server, _, client = trio(secured)
    for _ in range(2):
        content, reply = get(client, "RETR empty")
        assert (content, reply.code) == (b"", 226)
        assert put(client, "STOR none", b"").code == 226
        assert server.files.pop(b"none") == b""
    assert get(client, "RETR f")[0] == CONTENT


def refuses(first, accept):
    """RETR: a refusal, maybe behind a 150, maybe with a data connection on which nobody shakes hands."""

    def act(session, _):
        raw = type(session).open_data(session) if accept else None
        if first:
            session.say("150 Here it comes")
        session.say("550 No, after all")
        if raw:
            raw.close()

    return act


@SECURED
@pytest.mark.parametrize("first", [False, True], ids=["before_150", "behind_150"])
@pytest.mark.parametrize("accept", [False, True], ids=["no_connection", "no_handshake"])
def test_refusals_that_race_with_handshakes(accept, first, secured, trio):
    good = lambda s, a: s.server.on_retr(s, a)  # noqa: E731
    _, _, client = trio(secured, {"RETR": [refuses(first, accept)] * 5 + [good]})
    for _ in range(5):
        with client.open_data() as raw:
            reply = client.ask("RETR f")
            if reply.code == 150:
                with contextlib.suppress(OSError):
                    data = client.secure_data(raw) if isinstance(client, TlsClient) else raw
                    with data:
                        assert drain(data)[0] == b""
                reply = client.reply()
            assert reply.code == 550
        client.ask("PWD", 257)
    assert get(client, "RETR f")[0] == CONTENT


@pytest.mark.parametrize("way", ["EPSV", "PORT"])
@pytest.mark.parametrize("mode", ["epsv", "eprt"])
def test_we_are_tls_server_here_and_tls_client_there_whoever_connects(mode, way, trio):
    """RFC 4217 section 7."""
    server, _, client = trio("both", server={"data": mode})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(client.timeout)
        port = listener.getsockname()[1]

        def connection():
            if way == "EPSV":
                return client.open_data()
            client.ask(f"PORT 127,0,0,1,{port // 256},{port % 256}", 200)
            return None

        for _ in range(2):
            raw = connection()
            client.ask("RETR f", 150)
            with client.secure_data(raw or listener.accept()[0]) as data:
                assert drain(data) == (CONTENT, FIN)
            client.expect(226)
            raw = connection()
            client.ask("STOR up", 150)
            with client.secure_data(raw or listener.accept()[0]) as data:
                data.sendall(CONTENT)
                with contextlib.suppress(OSError):
                    data.unwrap()
            client.expect(226)
            assert server.files.pop(b"up") == CONTENT
    assert server.data_resumed == [True] * 4


def begin_upload(server, client, content):
    """All of it is sent, and has come; the data connection is still open."""
    raw = client.open_data()
    client.ask("STOR up", 150)
    data = client.secure_data(raw) if isinstance(client, TlsClient) else raw
    data.sendall(content)
    eventually(lambda: server.uploads and server.uploads[-1].size == len(content))
    return data


@SECURED
def test_reset_of_an_upload_is_passed_on(secured, trio):
    server, _, client = trio(secured)
    reset(begin_upload(server, client, b"x" * 1000))
    client.expect(426)
    assert server.wait_upload().end == RST
    assert b"up" not in server.files
    assert put(client, "STOR up", CONTENT).code == 226


@SECURED
def test_end_of_an_upload_proves_nothing_when_the_client_breaks_off(secured, trio):
    """close_notify neither: there are clients that say it when they give up."""
    server, _, client = trio(secured)
    data = begin_upload(server, client, CONTENT)
    if isinstance(client, TlsClient):
        data.setblocking(False)
        with contextlib.suppress(ssl.SSLWantReadError):
            data.unwrap()
    data.close()
    client.close()
    assert server.wait_upload(timeout=5).end == RST
    assert b"up" not in server.files


def test_servers_that_never_say_close_notify_are_believed_by_their_226(trio):
    """Old servers do not; the client gets an orderly end all the same, and no end at all without the 226."""
    server, _, client = trio("both", {"RETR": [lambda s, a: s.server.on_retr(s, a)] * 2 + ["451 Disk error"]})
    server.notify = False
    for _ in range(2):
        assert get(client, "RETR f")[0] == CONTENT
    client.passive_port()
    client.ask("RETR f", 451)


@pytest.mark.parametrize("secured", ["server", "both"])
def test_downloads_must_end_with_close_notify_where_that_is_demanded(secured, trio):
    """Whoever cuts the data connection on its way cannot say it for the server, whatever the 226 says."""
    server, _, client = trio(secured, server={"lenient_close": False})
    assert get(client, "RETR f")[0] == CONTENT
    server.notify = False
    with client.open_data() as raw:
        client.ask("RETR f", 150)
        if isinstance(client, TlsClient):
            with pytest.raises(OSError), client.secure_data(raw) as data:
                while data.recv(65536):
                    pass
        else:
            assert drain(raw)[1] == RST
    client.expect(426)
    server.notify = True
    assert get(client, "RETR f")[0] == CONTENT
    assert server.data_resumed == [True] * 3


# -------------------------------------------------------------------------- the end of a connection


@pytest.mark.parametrize("how", ["quit", "idle", "errors", "server", "shutdown"])
@BOTH
def test_every_end_of_the_control_connection_is_said_by_tls_too(version, how, before, authority):
    policy = {"idle": {"idle_timeout": 1.0}, "errors": {"max_errors": 1}}.get(how, {})
    with RudeServer() as server:
        front = before(server, policy=policy)
        with reach(front, authority, version=version) as client:
            client.logon()
            if how == "quit":
                client.ask("QUIT", 221)
            elif how == "errors":
                client.ask("FROB", 500)
            elif how == "server":
                server.last().half_close()
            elif how == "shutdown":
                front.signal(signal.SIGTERM)
            if how != "quit":
                client.expect(421)
            assert client.wait_end() == FIN  # and not torn off


# ------------------------------------------------------------------------------------- resumption


def test_sessions_without_tickets_are_resumed_too(before, authority):
    """TLS 1.2 with session numbers, as old clients have it; all workers know them."""
    context = client_context(authority, "1.2")
    context.options |= ssl.OP_NO_TICKET
    with RudeServer(files={b"f": CONTENT}) as server:
        front = before(server, listener={"require_tls_reuse": True}, top={"workers": 3})
        with TlsClient(front.host, front.port).secure(context) as client:
            client.logon().protect()
            session = client.sock.session
            assert session.id and not session.has_ticket
            for _ in range(3):
                assert client.get("RETR f")[0] == CONTENT
                assert client.put("STOR g", CONTENT).code == 226
            client.quit()
        for _ in range(3):
            with TlsClient(front.host, front.port).secure(context, session=session) as client:
                assert client.sock.session_reused
                client.quit()


def test_a_stolen_port_is_of_no_use_without_tickets_either(before, authority):
    context = client_context(authority, "1.2")
    context.options |= ssl.OP_NO_TICKET
    with RudeServer(files={b"f": CONTENT}) as server:
        front = before(server, listener={"require_tls_reuse": True})
        with TlsClient(front.host, front.port).secure(context) as client, TlsClient(
            front.host, front.port
        ).secure(context) as thief:
            client.logon().protect()
            thief.logon()
            raw = client.open_data()
            client.ask("RETR f", 150)
            with contextlib.suppress(OSError), thief.secure_data(raw, thief.sock.session, context) as data:
                assert drain(data)[0] == b""
            client.expect(522)
            assert client.get("RETR f")[0] == CONTENT


@BOTH
def test_sessions_of_servers_without_tickets_are_resumed(version, sallyport, authority, server_pair):
    """In TLS 1.3 such a server's tickets are names of sessions that it keeps."""
    with TlsRudeServer(server_pair, version=version, files={b"f": CONTENT}) as server:
        server.context.options |= ssl.OP_NO_TICKET
        front = sallyport(server, server=back_settings(authority))
        with RudeClient(front.host, front.port).logon() as client:
            for _ in range(3):
                assert client.download("RETR f")[0] == CONTENT
            assert client.upload("STOR g", CONTENT).code == 226
        assert server.data_resumed == [True] * 4


def test_nothing_is_taken_before_the_handshake_is_done(before, authority, tmp_path):
    """TLS 1.3 early data can be replayed: tickets allow none."""
    saved = tmp_path / "session"
    with RudeServer() as server:
        front = before(server)
        done = run(
            ["openssl", "s_client", "-connect", f"{front.host}:{front.port}", "-starttls", "ftp", "-tls1_3", "-crlf",
             "-CAfile", authority.certificate, "-ign_eof", "-sess_out", saved],
            stdin=None, input="NOOP\nQUIT\n",
        )  # fmt: skip
        assert "221" in done.stdout, done.stdout + done.stderr
    text = run(["openssl", "sess_id", "-in", saved, "-noout", "-text"]).stdout
    assert "TLSv1.3" in text and "Max Early Data: 0" in text, text


# ----------------------------------------------------------------------------- certificates, ciphers


@BOTH
def test_data_connections_show_the_certificate_of_the_control_connection(version, before, authority):
    """RFC 4217 section 10.2: another one is not the same client, and none is nobody."""
    alice, bob = authority.issue("alice", keep="alice-data"), authority.issue("bob", keep="bob-data")
    with RudeServer(files={b"f": CONTENT}) as server:
        wish = {"client_certificates": "optional", "client_ca": str(authority.certificate)}
        front = before(server, listener=wish)
        with reach(front, authority, version=version, pair=alice) as client:
            client.logon().protect()
            for other in (bob, None):
                raw = client.open_data()
                client.ask("RETR f", 150)
                context = client_context(authority, version, pair=other)
                with contextlib.suppress(OSError), client.secure_data(raw, None, context) as data:
                    assert drain(data)[0] == b""
                client.expect(522)
            raw = client.open_data()
            client.ask("RETR f", 150)
            context = client_context(authority, version, pair=alice)
            with client.secure_data(raw, None, context) as data:
                assert not data.session_reused
                assert drain(data) == (CONTENT, FIN)
            client.expect(226)


def subject(sock):
    return dict(part[0] for part in sock.getpeercert()["subject"])["commonName"]


@BOTH
def test_host_chooses_the_certificate_where_there_is_no_sni(version, sallyport, authority, pair):
    """RFC 7151: it may come before AUTH. What the handshake itself asks for counts more."""
    other = authority.issue("other.test", "DNS:*.other.test,IP:127.0.0.1", keep="other-by-host")
    with RudeServer(files={b"f": CONTENT}) as server:
        front = sallyport(
            server,
            listener=front_settings(pair, "explicit")
            | {"certificate_for other": {"hosts": ["*.other.test"], **other.for_listener()}},
        )
        context = client_context(authority, version)
        for host, name, shown in (
            (None, "127.0.0.1", "sallyport.test"),  # OpenSSL sends no SNI of an address
            ("ftp.other.test", "127.0.0.1", "other.test"),
            ("elsewhere.test", "127.0.0.1", "sallyport.test"),
            ("ftp.other.test", "localhost", "sallyport.test"),
            ("elsewhere.test", "ftp.other.test", "other.test"),
        ):
            with TlsClient(front.host, front.port) as client:
                if host:
                    client.ask(f"HOST {host}", 220)
                client.secure(context, name)
                assert subject(client.sock) == shown, (host, name)
                client.logon().protect()
                raw = client.open_data()
                client.ask("RETR f", 150)
                with client.secure_data(raw, None) as data:
                    assert subject(data) == shown, (host, name)
                    assert drain(data) == (CONTENT, FIN)
                client.expect(226)


def test_host_behind_the_handshake_routes_whatever_sni_said(sallyport, authority, pair):
    with RudeServer() as here, RudeServer() as there:
        extra = f'pool there {{ server t {{ address = "{there.address}" }} }}\n'
        extra += 'route { hosts = "there.test" pool = there policy = main }\n'
        front = sallyport(here, listener=front_settings(pair, "explicit"), extra=extra)
        for host, server in ((None, here), ("there.test", there)):
            with reach(front, authority) as client:
                if host:
                    client.ask(f"HOST {host}", 220)
                client.logon()
                assert server.sessions() == 1
                client.quit()
            server.wait_gone()


def test_ciphers_suites_and_groups_are_those_that_were_configured(before, authority):
    wish = {
        "tls_ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384",
        "tls_ciphersuites": "TLS_CHACHA20_POLY1305_SHA256",
        "tls_groups": "P-384",
    }
    with RudeServer() as server:
        front = before(server, listener=wish)
        for version, cipher in (("1.2", wish["tls_ciphers"]), ("1.3", wish["tls_ciphersuites"])):
            with reach(front, authority, version=version) as client:
                assert client.sock.cipher()[0] == cipher
                client.logon()
        where = ["openssl", "s_client", "-connect", f"{front.host}:{front.port}", "-starttls", "ftp", "-tls1_3"]
        assert run([*where, "-groups", "P-384"], timeout=60).returncode == 0
        assert run([*where, "-groups", "X25519:P-256"], timeout=60).returncode != 0


# -------------------------------------------------------------------------------------- secrets


def found_in_memory(pid, texts):
    """Those of the texts that are anywhere in the process's writable memory."""
    found = set()
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            limits, rights = line.split()[:2]
            start, end = (int(part, 16) for part in limits.split("-"))
            if not rights.startswith("rw") or end - start > 1 << 30:
                continue
            with contextlib.suppress(OSError, ValueError):
                memory.seek(start)
                content = memory.read(end - start)
                found |= {text for text in texts if text in content}
    return found


@pytest.mark.parametrize("secured", ["neither", "client", "server", "both"])
@pytest.mark.parametrize("how", ["line by line", "at once"])
def test_passwords_are_wiped_once_they_have_been_used(how, secured, sallyport, before, authority, server_pair):
    """Not in buffers of ours, nor in those of OpenSSL; the user's name shows that we know how to look."""
    binary = find_release_binary()
    if is_sanitized(binary):
        pytest.skip("what is freed stays where it was")
    kind = functools.partial(TlsRudeServer, server_pair) if secured in ("server", "both") else RudeServer
    user, password, account = (f"{word}-of-{secured}-{os.urandom(8).hex()}" for word in ("name", "secret", "account"))
    with kind(table={"PASS": "332 Account?", "ACCT": "230 On"}) as server:
        back = back_settings(authority) if kind is not RudeServer else {}
        start = before if secured in ("client", "both") else sallyport
        front = start(server, server=back, binary=binary)
        client = TlsClient(front.host, front.port)
        with client:
            if start is before:
                client.secure(client_context(authority))
            lines = [f"USER {user}", f"PASS {password}", f"ACCT {account}"]
            if how == "at once":
                client.send("".join(f"{line}\r\n" for line in lines).encode())
                for code in (331, 332, 230):
                    client.expect(code)
            else:
                for line, code in zip(lines, (331, 332, 230)):
                    client.ask(line, code)
            client.ask("NOOP", 200)
            found = found_in_memory(front.pid, {text.encode() for text in (user, password, account)})
            assert found == {user.encode()}
            client.quit()
