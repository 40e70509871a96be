# SPDX-License-Identifier: ISC
"""TLS on both sides: clients and servers that speak it, and what goes wrong on purpose."""

import contextlib
import ftplib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

import clients
import pytest
import servers as real
import tls
from rude import Closed, RudeClient, RudeServer, drain
from support import pooled_ports, random_bytes, run, sha256
from tls import TlsClient, TlsRudeServer, back_settings, client_context, front_settings, reach
from tls import authority, before, pair, server_pair  # noqa: F401 (fixtures)

pytestmark = pytest.mark.proxy

CONTENT = random_bytes(1_300_001)


@pytest.fixture(scope="session")
def tls_fleet(server_pair):
    """Starts each kind of real server with TLS when it is first asked for."""
    folder = Path(tempfile.mkdtemp(prefix="sp-tls-servers-"))
    folder.chmod(0o755)
    running = {}

    def get(name):
        if name not in running:
            server = tls.REAL[name](folder / name)
            server.pair = server_pair
            try:
                running[name] = server.start()
            except real.Unavailable as why:
                if os.environ.get("SALLYPORT_TEST_STRICT") == "1":
                    raise
                pytest.skip(str(why))
        return running[name]

    yield get
    for server in running.values():
        server.stop()
    shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------- real clients and real servers


class Curl(clients.Curl):
    extra = ()

    def curl(self, *arguments):
        return super().curl(*self.extra, *arguments)


class ImplicitCurl(Curl):
    def url(self, path):
        return super().url(path).replace("ftp://", "ftps://", 1)


class Lftp(clients.Lftp):
    settings = ""

    def lftp(self, commands):
        return super().lftp(self.settings + commands)


class Ftplib(clients.Ftplib):
    context = None
    passive = True

    def connection(self):
        ftp = ftplib.FTP_TLS(timeout=60, context=self.context)
        ftp.connect(self.host, self.port)
        ftp.login(self.user, self.password)
        ftp.prot_p()
        ftp.set_pasv(self.passive)
        return ftp


class ImplicitFtplib(Ftplib):
    def connection(self):
        class Implicit(ftplib.FTP_TLS):
            @property
            def sock(self):
                return self._sock

            @sock.setter
            def sock(self, value):
                if value is not None and not isinstance(value, ssl.SSLSocket):
                    value = self.context.wrap_socket(value, server_hostname=self.host)
                self._sock = value

        ftp = Implicit(timeout=60, context=self.context)
        ftp.connect(self.host, self.port)
        ftp.login(self.user, self.password)
        ftp.prot_p()
        ftp.set_pasv(self.passive)
        return ftp


def make_client(kind, front, server, home, authority, version=None, implicit=False, plain=False):
    if plain:
        return clients.ALL[kind](front, server.user, server.password, home)
    if kind == "curl":
        client = (ImplicitCurl if implicit else Curl)(front, server.user, server.password, home)
        client.extra = ["--ssl-reqd", "--cacert", str(authority.certificate)]
        if version:
            client.extra += [f"--tlsv{version}", "--tls-max", version]
    elif kind == "lftp":
        client = Lftp(front, server.user, server.password, home)
        client.settings = (
            "close -a\nset ftp:ssl-allow yes; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; "
            f"set ssl:ca-file {authority.certificate}; "
            + (f"open -u {server.user},{clients.quoted(server.password)} ftps://{front.host}:{front.port}\n" if implicit else "")
            + "\n"
        )
    else:
        client = (ImplicitFtplib if implicit else Ftplib)(front, server.user, server.password, home)
        client.context = client_context(authority, version)
    return client


def there_and_back(client, server, tmp_path):
    folder = f"t{os.urandom(4).hex()}"
    path = server.fresh_folder(folder)
    try:
        up, down = tmp_path / "up", tmp_path / "down"
        up.write_bytes(CONTENT)
        client.put(up, f"{folder}/file.bin")
        assert sha256(server.root / folder / "file.bin") == sha256(up)
        assert "file.bin" in [name.rsplit("/", 1)[-1] for name in client.names(folder)]
        client.get(f"{folder}/file.bin", down)
        assert sha256(down) == sha256(up)
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("kind", ["curl", "ftplib", "lftp"])
@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
def test_tls_client_before_each_plain_server(kind, implicit, server, before, authority, tmp_path):
    front = before(server, "implicit" if implicit else "required")
    there_and_back(make_client(kind, front, server, tmp_path, authority, implicit=implicit), server, tmp_path)


@pytest.mark.parametrize("name", sorted(tls.REAL))
@pytest.mark.parametrize("kind", ["curl", "lftp"])
def test_plain_client_reaches_servers_that_demand_tls(kind, name, tls_fleet, sallyport, authority, tmp_path):
    server = tls_fleet(name)
    front = sallyport(server, server=back_settings(authority, "implicit" if "implicit" in name else "explicit"))
    there_and_back(make_client(kind, front, server, tmp_path, authority, plain=True), server, tmp_path)


def at_most(version, folder):
    """Environment of a program for which OpenSSL knows no later version, on no side of it."""
    path = folder / "openssl.cnf"
    path.write_text(
        "openssl_conf = main\n[main]\nssl_conf = all\n[all]\nsystem_default = limits\n"
        f"[limits]\nMaxProtocol = TLSv{version}\n"
    )
    return {"OPENSSL_CONF": str(path)}


@pytest.mark.parametrize("name", sorted(tls.REAL))
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tls_on_both_sides(version, name, tls_fleet, before, authority, tmp_path):
    server = tls_fleet(name)
    mode = "implicit" if "implicit" in name else "explicit"
    front = before(server, "required", {"required_data": True}, server=back_settings(authority, mode, tls_min=version),
                   environment=at_most(version, tmp_path))
    for kind in ("curl", "ftplib"):
        there_and_back(make_client(kind, front, server, tmp_path, authority, version), server, tmp_path)
    stats = front.stats()
    assert (stats["tls_1_2"] > 0, stats["tls_1_3"] > 0) == (version == "1.2", version == "1.3")
    legs = [event for event in front.events("tls") if event["text"].startswith("leg=server data ")]
    gives_tickets = (name, version) != ("pureftpd-tls", "1.3")
    assert legs and all(event["outcome"] == ("resumed" if gives_tickets else "full") for event in legs)


@pytest.mark.parametrize("name", ["pureftpd-tls", "vsftpd-implicit"])
@pytest.mark.parametrize("kind", ["curl", "ftplib", "lftp"])
def test_implicit_clients_before_servers_that_demand_tls(kind, name, tls_fleet, before, authority, tmp_path):
    server = tls_fleet(name)
    mode = "implicit" if "implicit" in name else "explicit"
    front = before(server, "implicit", {"required_data": True}, server=back_settings(authority, mode))
    there_and_back(make_client(kind, front, server, tmp_path, authority, implicit=True), server, tmp_path)


@pytest.mark.parametrize("name", ["pureftpd-tls", "vsftpd-tls"])
def test_lftp_under_tls_before_servers_that_demand_tls(name, tls_fleet, before, authority, tmp_path):
    server = tls_fleet(name)
    front = before(server, "required", {"required_data": True}, server=back_settings(authority))
    there_and_back(make_client("lftp", front, server, tmp_path, authority), server, tmp_path)


@pytest.mark.parametrize("name", ["pyftpdlib-tls", "vsftpd-tls"])
@pytest.mark.parametrize("data", ["epsv", "eprt"])
def test_active_clients_whoever_dials_we_are_tls_server_to_the_client(data, name, tls_fleet, before, authority, tmp_path):
    server = tls_fleet(name)
    front = before(server, "required", server=back_settings(authority, data=data))
    client = make_client("ftplib", front, server, tmp_path, authority)
    client.passive = False
    there_and_back(client, server, tmp_path)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("mode", ["explicit", "implicit"])
@pytest.mark.parametrize("name", ["pyftpdlib", "vsftpd-tls"])
def test_openssl_s_client_logs_on(name, mode, version, fleet, tls_fleet, before, authority):
    server = (tls_fleet if name in tls.REAL else fleet)(name)
    front = before(server, mode, server=back_settings(authority) if name in tls.REAL else {})
    done = run(
        ["openssl", "s_client", "-connect", f"{front.host}:{front.port}", "-quiet", "-crlf", version,
         *(["-starttls", "ftp"] if mode == "explicit" else []),
         "-CAfile", authority.certificate, "-verify_return_error", "-verify_hostname", "localhost", "-ign_eof"],
        stdin=None, input=f"USER {server.user}\nPASS {server.password}\nPWD\nQUIT\n",
    )  # fmt: skip
    assert "230" in done.stdout and '257 "/"' in done.stdout and "221" in done.stdout, done.stdout + done.stderr


def test_old_protocols_and_weak_ciphers_are_refused(before, authority):
    with RudeServer() as server:
        front = before(server)
        for wish in (["-tls1"], ["-tls1_1"], ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"]):
            done = run(
                ["openssl", "s_client", "-connect", f"{front.host}:{front.port}", "-starttls", "ftp", *wish], timeout=30
            )
            assert done.returncode != 0, f"{wish}: {done.stdout}"
        for wish in (["-tls1_2"], ["-tls1_3"]):
            done = run(
                ["openssl", "s_client", "-connect", f"{front.host}:{front.port}", "-starttls", "ftp", *wish], timeout=30
            )
            assert done.returncode == 0, f"{wish}: {done.stderr}"


# --------------------------------------------------------------------------------- the commands


def test_reply_codes_of_the_security_commands(before, authority):
    with RudeServer() as server:
        front = before(server)
        with TlsClient(front.host, front.port) as client:
            client.ask("PBSZ 0", 503)
            client.ask("PROT P", 503)
            client.ask("CCC", 533)
            client.ask("AUTH GSSAPI", 504)
            client.ask("ADAT xyz", 503, 502)
            client.secure(client_context(authority))
            client.ask("AUTH TLS", 503)
            client.ask("PROT P", 503)
            client.ask("PBSZ x", 501)
            client.ask("PBSZ 0", 200)
            client.ask("PROT S", 536)
            client.ask("PROT E", 536)
            client.ask("PROT X", 504)
            client.ask("PROT C", 200)
            client.ask("PROT P", 200)
            client.ask("CCC", 534)
            client.logon()
            client.ask("AUTH TLS", 503)
            client.ask("CCC", 534)
            client.ask("REIN", 502)  # RFC 4217 section 13: it would end TLS
            assert b"AUTH TLS" in client.ask("FEAT", 211).raw
            client.quit()
        assert not {"AUTH", "PBSZ", "PROT", "CCC", "ADAT", "REIN"} & set(server.verbs())


@pytest.mark.parametrize("auth", ["AUTH TLS", "AUTH TLS-C", "AUTH SSL", "AUTH TLS-P", "auth tls"])
def test_names_of_tls(auth, before, authority):
    with RudeServer(files={b"f": CONTENT}) as server:
        front = before(server)
        with TlsClient(front.host, front.port).secure(client_context(authority), auth=auth) as client:
            client.logon()
            if auth.upper() in ("AUTH SSL", "AUTH TLS-P"):  # these protect data connections by themselves
                assert client.get("RETR f")[0] == CONTENT
            else:
                assert client.download("RETR f")[0] == CONTENT


def test_auth_is_unknown_where_there_is_no_tls(sallyport):
    with RudeServer() as server:
        front = sallyport(server)
        with RudeClient(front.host, front.port) as client:
            client.ask("AUTH TLS", 502)
            assert b"AUTH" not in client.ask("FEAT", 211).raw


def test_required_refuses_a_logon_in_clear(before, authority):
    with RudeServer() as server:
        front = before(server, "required")
        with RudeClient(front.host, front.port) as client:
            client.ask("USER u", 530)
            client.ask("PASS p", 530, 503)
        assert server.history == []
        with reach(front, authority) as client:
            client.logon()


def test_required_data_refuses_transfers_in_clear_before_the_server_hears_of_them(before, authority):
    with RudeServer(files={b"f": CONTENT}) as server:
        front = before(server, "required", {"required_data": True})
        with reach(front, authority) as client:
            client.logon()
            client.open_data().close()
            client.ask("RETR f", 521)
            client.ask("PBSZ 0", 200)
            client.ask("PROT C", 534)
            client.ask("PROT P", 200)
            assert client.get("RETR f")[0] == CONTENT
        assert server.verbs().count("RETR") == 1


@pytest.mark.parametrize("behind", ["USER evil\r\n", "USER ev", "\xff"])
def test_bytes_in_clear_behind_auth_are_never_executed(behind, before):
    with RudeServer() as server:
        front = before(server)
        with RudeClient(front.host, front.port) as client:
            client.send(b"AUTH TLS\r\n" + behind.encode("latin-1"))
            client.wait_end()
            assert b"331" not in client.raw and client.raw.endswith(b"closing control connection.\r\n")
        assert front.wait_event("session_end")["reason"] == "tls_injection"
        assert server.history == []


def test_user_said_in_clear_counts_no_more_behind_auth(before, authority):
    with RudeServer() as server:
        front = before(server)
        with TlsClient(front.host, front.port) as client:
            client.ask("USER u", 331)
            client.secure(client_context(authority))
            client.ask("PASS p", 503)
            client.logon()


# --------------------------------------------------------------------------------- implicit, time-outs


def test_implicit_says_nothing_before_the_handshake_and_protects_data_by_itself(before, authority):
    with RudeServer(files={b"f": CONTENT}) as server:
        front = before(server, "implicit")
        with socket.create_connection((front.host, front.port)) as raw:
            raw.settimeout(1)
            with pytest.raises(TimeoutError):
                raw.recv(100)
        with reach(front, authority, "implicit") as client:
            client.logon()
            assert client.get("RETR f")[0] == CONTENT


@pytest.mark.parametrize("text", [b"USER u\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100])
def test_plain_text_on_an_implicit_port_is_closed_quickly(text, before):
    with RudeServer() as server:
        front = before(server, "implicit", policy={"tls_timeout": 60.0})
        with RudeClient(front.host, front.port, greeted=False) as client:
            client.send(text)
            assert client.wait_end(10) in ("fin", "rst")
            assert b"220" not in client.raw
        assert front.wait_event("session_end")["reason"] == "tls_failed"


@pytest.mark.parametrize("mode", ["explicit", "implicit"])
def test_a_handshake_that_does_not_come_is_given_up(mode, before):
    with RudeServer() as server:
        front = before(server, mode, policy={"tls_timeout": 0.5})
        with RudeClient(front.host, front.port, greeted=mode == "explicit") as client:
            if mode == "explicit":
                client.ask("AUTH TLS", 234)
            client.wait_end(10)
        assert front.wait_event("session_end")["reason"] == "tls_timeout"


def test_a_data_handshake_that_does_not_come_fails_the_transfer_alone(before, authority):
    with RudeServer(files={b"f": CONTENT}) as server:
        front = before(server, policy={"tls_timeout": 1.0, "data_connect_timeout": 300.0})
        with reach(front, authority) as client:
            client.logon().protect()
            with client.open_data():
                client.ask("RETR f", 150)
                client.expect(522)
            assert front.wait_event("timeout")["clock"] == "tls_timeout"
            assert client.get("RETR f")[0] == CONTENT


# ------------------------------------------------------------------------------ ALPN, SNI, renegotiation


@pytest.mark.parametrize(
    ("offer", "chosen"), [(None, None), (["ftp"], "ftp"), (["http/1.1", "ftp"], "ftp"), (["http/1.1"], "refused")]
)
def test_alpn(offer, chosen, before, authority):
    with RudeServer() as server:
        front = before(server)
        with TlsClient(front.host, front.port) as client:
            if chosen == "refused":
                with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
                    client.secure(client_context(authority, alpn=offer))
                assert front.wait_event("session_end")["reason"] == "tls_failed"
            else:
                client.secure(client_context(authority, alpn=offer))
                assert client.sock.selected_alpn_protocol() == chosen
                client.logon()


def test_sni_chooses_the_certificate_and_routes(sallyport, authority, pair):
    other = authority.issue("other.test", "DNS:*.other.test")
    with RudeServer() as here, RudeServer() as there:
        listener = front_settings(pair, "explicit") | {
            "certificate_for other": {"hosts": ["*.other.test"], **other.for_listener()}
        }
        extra = f'pool there {{ server t {{ address = "{there.address}" }} }}\n'
        extra += 'route { hosts = "*.other.test" pool = there policy = main }\n'
        front = sallyport(here, listener=listener, extra=extra)
        for name, subject, server in (("localhost", "sallyport.test", here), ("ftp.other.test", "other.test", there)):
            client = TlsClient(front.host, front.port).secure(client_context(authority), name)
            assert dict(part[0] for part in client.sock.getpeercert()["subject"])["commonName"] == subject
            client.logon()
            assert server.sessions() == 1
            client.quit()
            server.wait_gone()


def test_renegotiation_is_refused(before, authority):
    with RudeServer() as server:
        front = before(server)
        done = run(
            ["openssl", "s_client", "-connect", f"{front.host}:{front.port}", "-starttls", "ftp", "-tls1_2", "-crlf"],
            stdin=None, input="R\n", timeout=60,
        )  # fmt: skip
        assert "no renegotiation" in done.stderr.lower() or "ssl handshake failure" in done.stderr.lower(), done.stderr


def test_keys_may_be_updated_in_mid_session(before, authority):
    """TLS 1.3: s_client asks for new keys of both sides in the middle of its session."""
    with RudeServer() as server:
        front = before(server)
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{front.host}:{front.port}", "-starttls", "ftp", "-tls1_3", "-crlf"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
        )  # fmt: skip
        seen = bytearray()

        def say(line, answer):
            mark = len(seen)
            client.stdin.write(line + b"\n")
            while answer not in seen[mark:]:
                chunk = client.stdout.read(4096)
                assert chunk, bytes(seen)
                seen.extend(chunk)

        try:
            say(b"USER u", b"331 ")
            say(b"K", b"KEYUPDATE")  # of both sides; s_client takes it for its own where nothing else came with it
            say(b"PASS p", b"230 ")
            say(b"PWD", b"257 ")
            say(b"K", b"KEYUPDATE")
            say(b"NOOP", b"200 ")
        finally:
            client.kill()
            client.wait()
            client.stdin.close()
            client.stdout.close()
        server.wait_gone()


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"POST /upload HTTP/1.1", b"EHLO here"])
@pytest.mark.parametrize("mode", ["clear", "explicit", "implicit"])
def test_other_protocols_are_closed_at_their_first_line(mode, line, before, authority):
    """Commands of FTP in the body of a browser's request, in clear or under TLS (ALPACA)."""
    with RudeServer() as server:
        front = before(server, "implicit" if mode == "implicit" else "explicit")
        with TlsClient(front.host, front.port, greeted=mode != "implicit") as client:
            if mode != "clear":
                client.secure(client_context(authority), auth="AUTH TLS" if mode == "explicit" else None)
            client.send(line + b"\r\nHost: x\r\n\r\nUSER u\r\nPASS p\r\n")
            client.wait_end()
            assert b"331" not in client.raw and b"230" not in client.raw
        assert front.wait_event("session_end")["reason"] == "cross_protocol"
        assert server.history == []


# ----------------------------------------------------------------------------- data connections


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_reuse_can_be_demanded_of_clients(version, pooled, before, authority):
    ports = {"passive_ports": pooled_ports(2)} if pooled else {}
    with RudeServer(files={b"f": CONTENT}) as server:
        front = before(server, listener={"require_tls_reuse": True} | ports)
        with reach(front, authority, version=version) as client:
            client.logon().protect()
            for _ in range(3):
                assert client.get("RETR f")[0] == CONTENT
            assert client.put("STOR g", CONTENT).code == 226


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_stolen_data_port_is_of_no_use(version, pooled, before, authority):
    ports = {"passive_ports": pooled_ports(2)} if pooled else {}
    with RudeServer(files={b"f": CONTENT}) as server:
        front = before(server, listener={"require_tls_reuse": True} | ports)
        with reach(front, authority, version=version) as client, reach(front, authority, version=version) as thief:
            client.logon().protect()
            thief.logon()
            refused = [None, thief.sock.session]  # no session at all, and that of another logon
            for turn in range(3):  # and what the refused connection was given
                raw = client.open_data()
                client.ask("RETR f", 150)
                stolen = b""
                try:
                    with thief.secure_data(raw, refused[turn], thief.context) as data:
                        with contextlib.suppress(OSError):
                            stolen = drain(data)[0]
                        refused.append(data.session)
                except OSError:
                    refused.append(None)
                assert b"not yours" in client.expect(522).raw
                assert stolen == b""
                assert front.wait_event("transfer", count=turn + 1)["outcome"] == "tls_foreign"
            assert client.get("RETR f")[0] == CONTENT


def test_an_upload_that_ends_without_close_notify_is_truncated(before, authority):
    with RudeServer() as server:
        front = before(server)
        with reach(front, authority) as client:
            client.logon().protect()
            assert client.put("STOR f", CONTENT, notify=False).code in (426, 451)
            assert server.wait_upload().end == "rst" and b"f" not in server.files
            assert client.put("STOR f", CONTENT).code == 226
        assert server.files[b"f"] == CONTENT


def test_lenient_close_takes_an_upload_without_close_notify(before, authority):
    with RudeServer() as server:
        front = before(server, listener={"lenient_close": True})
        with reach(front, authority) as client:
            client.logon().protect()
            assert client.put("STOR f", CONTENT, notify=False).code == 226
        assert server.files[b"f"] == CONTENT


def test_truncated_upload_reaches_a_tls_server_as_truncated(before, authority, server_pair):
    with TlsRudeServer(server_pair) as server:
        front = before(server, server=back_settings(authority))
        with reach(front, authority) as client:
            client.logon().protect()
            assert client.put("STOR f", CONTENT, notify=False).code in (426, 451)
            assert server.wait_upload().end == "rst" and b"f" not in server.files
            assert client.put("STOR f", CONTENT).code == 226
            assert server.files[b"f"] == CONTENT


def test_a_download_whose_server_dies_does_not_look_whole(before, authority, server_pair):
    def die(session, _):
        session.say("150 Here it comes")
        data = session.open_data()
        data.sendall(CONTENT[:50_000])
        data.close()
        session.reset()
        raise Closed("here")

    for server in (RudeServer(table={"RETR": die}), TlsRudeServer(server_pair, table={"RETR": die})):
        with server:
            mode = back_settings(authority) if isinstance(server, TlsRudeServer) else {}
            front = before(server, server=mode)
            with reach(front, authority) as client:
                client.logon().protect()
                raw = client.open_data()
                client.ask("RETR f", 150)
                with pytest.raises(OSError), client.secure_data(raw) as data:  # no close_notify: ragged
                    while data.recv(65536):
                        pass
                client.expect(426, 421, 451)


def test_each_side_can_be_protected_alone_or_not_at_all(before, authority, server_pair):
    with TlsRudeServer(server_pair, files={b"f": CONTENT}) as server:
        front = before(server, server=back_settings(authority))
        with reach(front, authority) as client:
            client.logon()
            assert client.download("RETR f")[0] == CONTENT  # PROT C here, P there
            client.protect()
            assert client.get("RETR f")[0] == CONTENT
            client.protect("C")
            assert client.upload("STOR g", CONTENT).code == 226
        assert server.files[b"g"] == CONTENT
        assert server.data_resumed == [True] * 3


def sends_until_abor(session, _):
    session.say("150 Here it comes")
    data = session.open_data()
    data.sendall(b"some")
    session.server.line = session.next_command()
    data.close()
    session.say("426 Aborted")
    session.say("226 ABOR done")


@pytest.mark.parametrize("form", [b"ABOR", b"\xff\xf4\xff\xf2ABOR"], ids=["plain", "telnet"])
@pytest.mark.parametrize("secured", ["client", "server", "both"])
def test_abor_under_tls(secured, form, sallyport, before, authority, server_pair):
    """RFC 4217 section 14: it comes and goes inside TLS, where nothing is urgent; so servers get the bare command."""
    table = {"RETR": [sends_until_abor, lambda s, a: s.server.on_retr(s, a)]}
    make = RudeServer if secured == "client" else lambda **options: TlsRudeServer(server_pair, **options)
    with make(table=table, files={b"f": CONTENT}) as server:
        settings = {} if secured == "client" else back_settings(authority, abor="telnet")
        front = (sallyport if secured == "server" else before)(server, server=settings)
        if secured == "server":
            client = RudeClient(front.host, front.port).logon()
        else:
            client = reach(front, authority).logon().protect()
        with client, client.open_data() as raw:
            client.ask("RETR f", 150)
            data = raw if secured == "server" else client.secure_data(raw)
            assert data.recv(4) == b"some"
            client.send(form + b"\r\n")
            with pytest.raises(OSError):  # a whole file ends otherwise
                assert data.recv(1) == b"x"
            client.expect(426)
            client.expect(226)
            data.close()
            client.ask("PWD", 257)
            get = client.download if secured == "server" else client.get
            assert get("RETR f")[0] == CONTENT
        assert server.line == b"ABOR"


@pytest.mark.parametrize("command", ["PORT 127,0,0,9,{},{}", "EPRT |1|127.0.0.9|{}|"])
def test_protected_data_to_another_host_are_refused_where_clear_ones_may_go(command, before, authority):
    """RFC 4217 section 7: two servers, of which none begins a handshake."""
    with RudeServer(files={b"f": CONTENT}) as server, socket.create_server(("127.0.0.9", 0)) as third:
        third.settimeout(30)
        port = third.getsockname()[1]
        command = command.format(*([port] if "|" in command else [port // 256, port % 256]))
        front = before(server, policy={"pass_foreign_data": True})
        with reach(front, authority) as client:
            client.logon().ask(command, 200)
            client.protect().ask("RETR f", 521)
            client.ask(command, 200)
            client.ask("STOR g", 521)
            assert not {"RETR", "STOR"} & set(server.verbs())
            assert client.get("RETR f")[0] == CONTENT
            client.protect("C").ask(command, 200)
            client.ask("RETR f", 150)
            with third.accept()[0] as data:
                assert drain(data)[0] == CONTENT
            client.expect(226)


# ----------------------------------------------------------------------------------- servers that fail


def wrong_servers(authority, folder):
    stranger = tls.Authority(folder / "stranger", "Nobody")
    return {
        "expired": (authority.issue("x", dates=("20200101000000Z", "20200201000000Z"), keep="expired"), {}, "expired"),
        "name": (authority.issue("x", "DNS:elsewhere.test", keep="elsewhere"), {}, "mismatch"),
        "authority": (stranger.issue("x"), {}, "local issuer"),
        "pin": (authority.issue("x", keep="pinned"), {"tls_fingerprint": "00" * 32}, "pinned"),
    }


@pytest.mark.parametrize("case", ["expired", "name", "authority", "pin"])
@pytest.mark.parametrize("mode", ["explicit", "implicit", "auto"])
def test_a_server_that_cannot_be_verified_has_failed(case, mode, sallyport, authority, tmp_path):
    pair, settings, why = wrong_servers(authority, tmp_path)[case]
    with TlsRudeServer(pair, implicit=mode == "implicit") as server:
        if mode == "auto":
            settings = settings | {"allow_plain": True}
        front = sallyport(server, server=back_settings(authority, mode, **settings))
        with RudeClient(front.host, front.port) as client:
            client.ask("USER u", 421)
        assert why in front.wait_event("logon_retry")["text"]
        assert "USER" not in server.verbs() and "PASS" not in server.verbs()


def test_a_pin_alone_is_enough_where_names_are_not_verified(sallyport, authority, server_pair):
    with TlsRudeServer(server_pair) as server:
        front = sallyport(
            server, server={"tls": "explicit", "tls_verify": False, "tls_fingerprint": server_pair.fingerprint}
        )
        with RudeClient(front.host, front.port) as client:
            client.logon().quit()


@pytest.mark.parametrize("allow", [False, True])
def test_auto_goes_in_clear_only_where_it_may(allow, sallyport, authority):
    with RudeServer(table={"AUTH": "502 No TLS here"}) as server:
        front = sallyport(server, server=back_settings(authority, "auto", allow_plain=allow))
        with RudeClient(front.host, front.port) as client:
            client.ask("USER u", 331 if allow else 421)
        assert ("USER" in server.verbs()) == allow
        assert front.stats()["tls_downgrades"] == int(allow)
        front.wait_event("session_end")  # what was said before it is in the log by then
        assert any("used in clear" in event["text"] for event in front.events("log", level="warning")) == allow


def test_explicit_never_goes_in_clear(sallyport, authority):
    with RudeServer(table={"AUTH": "502 No TLS here"}) as server:
        front = sallyport(server, server=back_settings(authority))
        with RudeClient(front.host, front.port) as client:
            client.ask("USER u", 421)
        assert "USER" not in server.verbs()
        assert "AUTH" in front.wait_event("logon_retry")["text"]


def test_bytes_in_clear_behind_the_servers_234_fail_it(sallyport, authority, server_pair):
    with TlsRudeServer(server_pair, behind_234=b"230 You are in\r\n") as server:
        front = sallyport(server, server=back_settings(authority))
        with RudeClient(front.host, front.port) as client:
            client.ask("USER u", 421)
        assert front.wait_event("logon_retry")["text"]
        assert "USER" not in server.verbs()


def test_the_server_is_as_the_client_came(before, authority, server_pair):
    with TlsRudeServer(server_pair) as server:
        front = before(server, server=back_settings(authority, "client"), pool={"early_connect": True})
        with RudeClient(front.host, front.port) as client:
            client.logon().quit()
        assert server.secured == 0
        server.wait_gone()
        with TlsClient(front.host, front.port) as client:
            # a connection that was made in clear is not the one that a protected logon goes over
            server.table["PASS"] = ["530 No", "230 Yes"]
            client.ask("USER u", 331)
            client.ask("PASS wrong", 530)
            client.secure(client_context(authority))
            server.table.pop("PASS")
            client.logon()
            client.quit()
        assert server.secured == 1


def test_sallyport_shows_its_certificate_to_the_server(sallyport, authority, server_pair):
    own = authority.issue("proxy.test", keep="proxy")
    with TlsRudeServer(server_pair, ca=authority) as server:
        settings = {"tls_certificate": str(own.certificate), "tls_private_key": str(own.key)}
        front = sallyport(server, server=back_settings(authority, **settings))
        with RudeClient(front.host, front.port) as client:
            client.logon().quit()


# ----------------------------------------------------------------------------- clients' certificates


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_client_certificates(version, before, authority, tmp_path):
    issuer = tls.Authority(tmp_path / "clients", "Clients")
    good, revoked = issuer.issue("alice", keep="alice"), issuer.issue("mallory", keep="mallory")
    crl = issuer.revocations(revoked)
    with RudeServer(files={b"f": CONTENT}) as server:
        wish = {"client_ca": str(issuer.certificate), "client_crl": str(crl)}
        front = before(server, listener={"client_certificates": "required", **wish})
        with reach(front, authority, version=version, pair=good) as client:
            client.logon().protect()
            assert client.get("RETR f")[0] == CONTENT
        assert "CN=alice" in front.wait_event("tls")["text"]
        for bad in (None, revoked, authority.issue("alice", keep="impostor")):
            with pytest.raises((OSError, Closed)), reach(front, authority, version=version, pair=bad) as client:
                client.ask("NOOP")  # in TLS 1.3 the client learns it behind its own handshake
        front.stop()
        front = before(server, listener={"client_certificates": "optional", **wish})
        with reach(front, authority, version=version) as client:
            client.logon()


def test_the_subject_of_a_certificate_routes(sallyport, pair, authority):
    alice, bob = authority.issue("alice", keep="alice-routed"), authority.issue("bob", keep="bob-routed")
    with RudeServer() as here, RudeServer() as there:
        wish = {"client_certificates": "required", "client_ca": str(authority.certificate)}
        extra = f'pool there {{ server t {{ address = "{there.address}" }} }}\n'
        extra += 'route { certificates = "CN=alice*" pool = there policy = main }\n'
        front = sallyport(here, listener=front_settings(pair, "explicit", **wish), extra=extra)
        for own, server in ((alice, there), (bob, here)):
            with reach(front, authority, pair=own) as client:
                client.logon()
                assert server.sessions() == 1
                client.quit()
            server.wait_gone()


# ------------------------------------------------------------------------------- limits, reload, logs


@pytest.mark.parametrize("mode", ["explicit", "implicit"])
def test_handshakes_in_flight_have_a_limit(mode, before, authority):
    with RudeServer() as server:
        front = before(server, mode, top={"workers": 1, "max_handshakes": 2})
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(TlsClient(front.host, front.port, greeted=False)) for _ in range(2)]
            if mode == "explicit":
                for client in slow:
                    client.expect(220)
                    client.ask("AUTH TLS", 234)
                with TlsClient(front.host, front.port) as late:
                    late.ask("AUTH TLS", 431)
                    late.logon()  # it may go on in clear where TLS is not required
            else:
                with RudeClient(front.host, front.port, greeted=False) as late:
                    assert late.wait_end(10) in ("fin", "rst")
            assert front.stats()["tls_refused"] == 1
            slow[0].close()
            front.wait_event("session_end")
            with reach(front, authority, mode) as client:
                client.logon()


@pytest.mark.parametrize("how", ["signal", "alone"])
def test_a_renewed_certificate_comes_into_force_and_sessions_go_on(how, sallyport, authority, tmp_path):
    def serial(client):
        return client.sock.getpeercert()["serialNumber"]

    used = tls.Pair(tmp_path / "used.pem", tmp_path / "used.key")

    def install(pair):
        used.certificate.write_bytes(pair.certificate.read_bytes())
        used.key.write_bytes(pair.key.read_bytes())

    install(authority.issue("sallyport.test", keep="first"))
    with RudeServer(files={b"f": CONTENT}) as server:
        front = sallyport(server, listener=front_settings(used, "explicit", require_tls_reuse=True))
        with reach(front, authority) as client:
            client.logon().protect()
            install(authority.issue("sallyport.test", keep="second"))
            if how == "signal":
                front.signal(signal.SIGHUP)
            front.wait_event("config_loaded", count=2, timeout=40)
            assert client.get("RETR f")[0] == CONTENT  # still with the tickets of the first
            with reach(front, authority) as other:
                assert serial(other) != serial(client)


def test_a_broken_renewal_leaves_the_old_certificate_in_force(sallyport, authority, tmp_path):
    pair = authority.issue("sallyport.test", keep="breaking")
    with RudeServer() as server:
        front = sallyport(server, listener=front_settings(pair, "explicit"))
        pair.key.write_text("not a key")
        front.signal(signal.SIGHUP)
        assert "private key" in front.wait_event("config_refused")["text"]
        with reach(front, authority) as client:
            client.logon()


def test_the_logon_event_names_versions_and_ciphers_of_both_sides(before, authority, server_pair):
    with TlsRudeServer(server_pair, version="1.2") as server:
        front = before(server, server=back_settings(authority))
        with reach(front, authority, version="1.3") as client:
            client.logon()
        text = front.wait_event("logon")["text"]
        assert "client=TLSv1.3/TLS_AES" in text and "server=TLSv1.2/ECDHE" in text


def test_none_is_the_same_as_no_file(before, authority):
    with RudeServer() as server:
        front = before(server, listener={"client_ca": "none", "client_crl": "none"}, server={"tls_ca": "none"})
        with reach(front, authority) as client:
            client.logon()


# ------------------------------------------------------------------------------------------- secrecy


def test_no_secret_is_in_any_log(before, authority, server_pair):
    with TlsRudeServer(server_pair) as server:
        front = before(server, server=back_settings(authority))
        with reach(front, authority) as client:
            client.logon(password="very$ecret").protect()
            client.quit()
        front.wait_event("session_end")
        text = Path(front.out_path).read_text() + front.errors()
        assert "very$ecret" not in text and "PRIVATE KEY" not in text
