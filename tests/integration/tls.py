# SPDX-License-Identifier: ISC
"""TLS for tests: certificates made with openssl(1), peers that speak TLS, and real servers that demand it."""

import contextlib
import socket
import ssl
from pathlib import Path

import pytest
import servers as real
from rude import Closed, Gone, RudeClient, RudeServer
from support import PATIENCE, run

TORN = "no close_notify"


class Authority:
    """A certificate authority in a folder; issues certificates with their keys."""

    def __init__(self, folder, name="Test CA"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificate, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        self.openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate,
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip
        (self.folder / "index.txt").write_text("")
        (self.folder / "serial").write_text("1000\n")
        (self.folder / "crlnumber").write_text("01\n")
        (self.folder / "openssl.cnf").write_text(
            f"""[ca]
default_ca = main
[main]
database = {self.folder}/index.txt
new_certs_dir = {self.folder}
serial = {self.folder}/serial
crlnumber = {self.folder}/crlnumber
certificate = {self.certificate}
private_key = {self.key}
default_md = sha256
default_days = 30
default_crl_days = 30
policy = anything
copy_extensions = copy
unique_subject = no
[anything]
commonName = supplied
"""
        )

    def openssl(self, *arguments):
        done = run(["openssl", *arguments])
        assert done.returncode == 0, f"openssl {arguments}: {done.stderr}"
        return done.stdout

    def issue(self, name, alternatives="IP:127.0.0.1,DNS:localhost", dates=None, keep=None):
        """A certificate for CN=name: (PEM of it, PEM of its key). `dates`: start and end, YYYYMMDDHHMMSSZ."""
        stem = self.folder / (keep or name.replace("*", "star"))
        certificate, key, request = stem.with_suffix(".pem"), stem.with_suffix(".key"), stem.with_suffix(".csr")
        self.openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-addext", f"subjectAltName={alternatives}", "-keyout", key, "-out", request,
        )  # fmt: skip
        when = ["-startdate", dates[0], "-enddate", dates[1]] if dates else []
        self.openssl(
            "ca", "-batch", "-notext", "-config", self.folder / "openssl.cnf", "-in", request, "-out", certificate, *when
        )
        return Pair(certificate, key)

    def revocations(self, *revoked):
        """A CRL with these certificates."""
        config = self.folder / "openssl.cnf"
        for pair in revoked:
            self.openssl("ca", "-config", config, "-revoke", pair.certificate)
        path = self.folder / "crl.pem"
        self.openssl("ca", "-config", config, "-gencrl", "-out", path)
        return path


class Pair:
    """A certificate and its key, as files."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    @property
    def both(self):
        """One file with both, as some servers want it."""
        path = self.certificate.with_suffix(".both")
        path.write_text(self.key.read_text() + self.certificate.read_text())
        path.chmod(0o600)
        return path

    @property
    def fingerprint(self):
        done = run(["openssl", "x509", "-in", self.certificate, "-noout", "-fingerprint", "-sha256"])
        return done.stdout.strip().split("=", 1)[1]

    def for_listener(self):
        return {"certificate": str(self.certificate), "private_key": str(self.key)}


VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def client_context(ca=None, version=None, pair=None, alpn=None):
    """The peer's certificate is verified when there is an authority; versions: this one alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        context.load_verify_locations(ca.certificate)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    if pair:
        context.load_cert_chain(pair.certificate, pair.key)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


class TlsClient(RudeClient):
    """A client's connections under TLS, in the hands of the test."""

    def secure(self, context, name="localhost", auth="AUTH TLS", session=None):
        if auth:
            self.ask(auth, 234)
        assert not self.pending
        self.sock.settimeout(self.timeout)
        self.context = context
        self.sock = context.wrap_socket(
            self.sock, server_hostname=name, session=session, suppress_ragged_eofs=False
        )
        self.name = name
        return self

    def protect(self, level="P"):
        self.ask("PBSZ 0", 200)
        self.ask(f"PROT {level}", 200)
        return self

    def more(self, timeout=None):
        try:
            return super().more(timeout)
        except ssl.SSLEOFError:
            self.closed_by = TORN
            raise Closed(TORN, bytes(self.pending)) from None

    def secure_data(self, data, session=True, context=None):
        """Handshake on a data connection; `session`: that of the control connection, None for none."""
        data.settimeout(self.timeout)
        return (context or self.context).wrap_socket(
            data, server_hostname=self.name, session=self.sock.session if session is True else session,
            suppress_ragged_eofs=False,
        )  # fmt: skip

    def get(self, command, session=True):
        """A protected download: the bytes and the final reply."""
        with self.open_data() as raw:
            self.ask(command, 150, 125)
            with self.secure_data(raw, session) as data:
                content = b"".join(iter(lambda: data.recv(1 << 16), b""))
        return content, self.reply()

    def put(self, command, content, session=True, notify=True):
        """A protected upload; without `notify` it ends with a FIN and no close_notify."""
        raw = self.open_data()
        self.ask(command, 150, 125)
        data = self.secure_data(raw, session)
        with data:
            data.sendall(content)
            if notify:
                with contextlib.suppress(ssl.SSLError, OSError):
                    data.unwrap()
            else:
                data.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ssl.SSLError, OSError):
                    while socket.socket.recv(data, 4096):
                        pass
        return self.reply()


class TlsRudeServer(RudeServer):
    """A rude server that knows AUTH TLS (or is implicit), PBSZ and PROT."""

    def __init__(self, pair, implicit=False, version=None, ca=None, behind_234=b"", **options):
        super().__init__(**options)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair.certificate, pair.key)
        if version:
            self.context.minimum_version = self.context.maximum_version = VERSIONS[version]
        if ca:
            self.context.load_verify_locations(ca.certificate)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.implicit = implicit
        self.behind_234 = behind_234
        self.notify = True  # whether data connections are ended with close_notify
        self.data_resumed = []
        self.secured = 0

    def _serve(self, session):
        try:
            if self.implicit:
                self._secure(session)
            make = session.open_data
            session.open_data = lambda *a, **k: self._data(session, make(*a, **k))
        except OSError:
            session.close()
            session.ended.set()
            return
        super()._serve(session)

    def _secure(self, session):
        session.sock.settimeout(PATIENCE)
        session.sock = self.context.wrap_socket(session.sock, server_side=True)
        self.secured += 1

    def _data(self, session, raw):
        if not getattr(session, "prot", False):
            return raw
        data = self.context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False)
        self.data_resumed.append(data.session_reused)
        return Polite(data, self)

    def on_auth(self, s, argument):
        s.say(b"234 AUTH " + argument + b"\r\n" + self.behind_234)
        try:
            self._secure(s)
        except OSError:
            raise Gone from None

    def on_pbsz(self, s, _):
        s.say("200 PBSZ=0")

    def on_prot(self, s, argument):
        s.prot = argument == b"P"
        s.say("200 OK")


class Polite:
    """A server's data connection under TLS: recv tells a close_notify (b"") from a bare FIN (ConnectionError)."""

    def __init__(self, sock, server):
        self.sock, self.server = sock, server

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def recv(self, size):
        try:
            return self.sock.recv(size)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise ConnectionResetError("no close_notify") from error

    def send(self, data):
        try:
            return self.sock.send(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            raise BlockingIOError from None

    def close(self):
        if self.server.notify:
            with contextlib.suppress(OSError, ValueError):
                self.sock.settimeout(5)
                self.sock.unwrap()
        self.sock.close()


# ---------------------------------------------------------------------------------- real servers


class TlsVsftpd(real.Vsftpd):
    """Demands TLS on both channels, and that data connections resume the control connection's session."""

    name = "vsftpd-tls"
    implicit = False

    def _configured(self, settings, argv):
        settings |= {
            "ssl_enable": "YES",
            "rsa_cert_file": self.pair.certificate,
            "rsa_private_key_file": self.pair.key,
            "force_local_logins_ssl": "YES",
            "force_local_data_ssl": "YES",
            "allow_anon_ssl": "YES",
            "force_anon_logins_ssl": "YES",
            "force_anon_data_ssl": "YES",
            "require_ssl_reuse": "YES",
            "implicit_ssl": "YES" if self.implicit else "NO",
            "ssl_ciphers": "HIGH",
            "strict_ssl_read_eof": "YES",
            "ssl_tlsv1": "YES",
        }
        return super()._configured(settings, argv)


class ImplicitVsftpd(TlsVsftpd):
    name = "vsftpd-implicit"
    implicit = True


class TlsProftpd(real.Proftpd):
    """mod_tls, which by itself demands that data connections resume."""

    name = "proftpd-tls"
    options = ""

    def command(self):
        argv = super().command()
        module = real.cache_folder() / "servers" / "proftpd-mod-crypto" / "usr" / "lib" / "proftpd"
        if not (module / "mod_tls.so").exists():
            raise real.Unavailable(f"no mod_tls in {module}; run tests/run.sh once")
        file = self.folder / "proftpd.conf"
        file.write_text(
            f"ModulePath {module}\nLoadModule mod_tls.c\n"
            + file.read_text()
            + f"""TLSEngine on
TLSLog {self.folder}/tls.log
TLSProtocol TLSv1.2 TLSv1.3
TLSRSACertificateFile {self.pair.certificate}
TLSRSACertificateKeyFile {self.pair.key}
TLSRequired on
{f"TLSOptions {self.options}" if self.options else ""}
"""
        )
        return argv


class FreeProftpd(TlsProftpd):
    name = "proftpd-noreuse"
    options = "NoSessionReuseRequired"


class TlsPureFtpd(real.PureFtpd):
    name = "pureftpd-tls"

    def command(self):
        return [*super().command(), "-Y", "3", "-2", f"{self.pair.certificate},{self.pair.key}"]


class TlsPyftpdlib(real.Pyftpdlib):
    name = "pyftpdlib-tls"

    def command(self):
        return [*super().command(), str(self.pair.both)]


REAL = {kind.name: kind for kind in (TlsVsftpd, ImplicitVsftpd, TlsProftpd, FreeProftpd, TlsPureFtpd, TlsPyftpdlib)}


# ------------------------------------------------------------------------------------------ fixtures


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def pair(authority):
    """What Sallyport shows its clients."""
    return authority.issue("sallyport.test", "IP:127.0.0.1,DNS:localhost,DNS:sallyport.test")


@pytest.fixture(scope="session")
def server_pair(authority):
    """What servers show Sallyport."""
    return authority.issue("server.test", "IP:127.0.0.1,DNS:server.test")


def front_settings(pair, mode, **more):
    return {"tls": mode, **pair.for_listener(), **more}


def back_settings(authority, mode="explicit", **more):
    return {"tls": mode, "tls_ca": str(authority.certificate), **more}


@pytest.fixture
def before(sallyport, pair, authority):
    """Sallyport with TLS to clients before a scripted server in clear."""

    def start(behind, /, mode="explicit", listener=None, **settings):
        return sallyport(behind, listener=front_settings(pair, mode, **(listener or {})), **settings)

    return start


def reach(front, authority, mode="explicit", greeted=True, **context):
    """A logged-on client under TLS."""
    if mode == "implicit":
        client = TlsClient(front.host, front.port, greeted=False).secure(client_context(authority, **context), auth=None)
        client.expect(220)
    else:
        client = TlsClient(front.host, front.port).secure(client_context(authority, **context))
    return client
