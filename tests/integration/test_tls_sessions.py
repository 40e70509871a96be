# SPDX-License-Identifier: ISC
"""What outlives a handshake: session tickets and their keys, renewed secrets, CCC, certificates instead of passwords."""

import contextlib
import os
import secrets
import signal
import ssl
from pathlib import Path

import clients
import pytest
import tls
from rude import RudeClient, RudeServer, drain
from sallyport import as_nobody
from support import eventually, random_bytes, run
from tls import TlsClient, TlsRudeServer, back_settings, client_context, front_settings, reach
from tls import authority, before, pair, server_pair  # noqa: F401 (fixtures)

pytestmark = pytest.mark.proxy

CONTENT = random_bytes(100_001)
BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])


def new_key():
    return secrets.token_hex(80)


def write_keys(path, *keys, mode=0o600):
    fresh = path.with_suffix(".new")
    fresh.write_text("# ticket keys\n\n" + "\n".join(keys) + "\n")
    fresh.chmod(mode)
    os.replace(fresh, path)
    return path


class Visitor:
    """A client that comes again with the session of its last visit, or with a given one."""

    def __init__(self, authority, version, pair=None):
        self.context = client_context(authority, version, pair=pair)
        self.session = None

    def visit(self, front, session=None, port=None):
        """Whether it resumed; afterwards it has a newer session."""
        with TlsClient(front.host, port or front.port) as client:
            client.secure(self.context, session=session or self.session)
            client.ask("NOOP", 200, 530)  # in TLS 1.3 the tickets come behind the handshake
            resumed = client.sock.session_reused
            self.session = client.sock.session
            client.quit()
        return resumed


@BOTH
def test_every_worker_resumes(version, before, authority):
    with RudeServer() as server:
        front = before(server, top={"workers": 3})
        visitor = Visitor(authority, version)
        assert not visitor.visit(front)
        assert [visitor.visit(front) for _ in range(8)] == [True] * 8
        assert front.stats()["tls_resumed"] == 8


@BOTH
def test_a_ticket_is_good_until_the_second_change_of_its_key(version, before, authority):
    with RudeServer() as server:
        front = before(server, top={"ticket_rotation": 2.0})

        def changes():
            return len([e for e in front.events("log") if "key of TLS session tickets" in e["text"]])

        def after_one():
            visitor, began = Visitor(authority, version), changes()
            visitor.visit(front)
            eventually(lambda: changes() > began)
            resumed = visitor.visit(front)
            return None if changes() > began + 1 else resumed  # the machine was too slow: once more

        assert next(found for found in iter(after_one, object()) if found is not None) is True
        visitor, began = Visitor(authority, version), changes()
        visitor.visit(front)
        eventually(lambda: changes() >= began + 2)
        assert not visitor.visit(front)


@BOTH
def test_keys_of_a_file_first_encrypts_all_decrypt(version, before, authority, tmp_path):
    one, two, three = new_key(), new_key(), new_key()
    with RudeServer() as server:
        path = write_keys(tmp_path / "keys", one)
        front = before(server, top={"ticket_keys": str(path)})
        visitor = Visitor(authority, version)
        visitor.visit(front)
        of_one = visitor.session

        def renew(*keys):
            loaded = len(front.events("config_loaded"))
            write_keys(path, *keys)
            front.signal(signal.SIGHUP)
            front.wait_event("config_loaded", count=loaded + 1)

        renew(two, one)
        assert visitor.visit(front, of_one)
        of_two = visitor.session
        renew(three, two)
        assert visitor.visit(front, of_two)
        assert not visitor.visit(front, of_one)


def test_ticket_keys_that_others_can_read_are_refused_and_the_old_ones_stay(before, authority, tmp_path):
    with RudeServer() as server:
        path = write_keys(tmp_path / "keys", new_key())
        front = before(server, top={"ticket_keys": str(path)})
        visitor = Visitor(authority, "1.3")
        visitor.visit(front)
        key = new_key()
        write_keys(path, key, mode=0o644)
        front.signal(signal.SIGHUP)
        text = front.wait_event("config_refused")["text"]
        assert "ticket_keys" in text and "0600" in text
        assert visitor.visit(front)
        write_keys(path, key[:-2])
        front.signal(signal.SIGHUP)
        text = front.wait_event("config_refused", count=2)["text"]
        assert "160 hex digits" in text and key[:20] not in text
        assert visitor.visit(front)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_two_nodes_with_the_same_keys_resume_each_others_sessions(version, before, authority, tmp_path):
    path = write_keys(tmp_path / "keys", new_key())
    with RudeServer() as server:
        nodes = [before(server, top={"ticket_keys": str(path)}) for _ in range(2)]
        stranger = before(server)

        def call(front, *words):
            done = run(
                ["openssl", "s_client", "-connect", f"{front.host}:{front.port}", "-starttls", "ftp", version, "-crlf",
                 "-CAfile", authority.certificate, "-ign_eof", *words],
                stdin=None, input="NOOP\nQUIT\n",
            )  # fmt: skip
            assert "221" in done.stdout, done.stdout + done.stderr
            return "Reused" in done.stdout

        saved = tmp_path / "session"
        assert not call(nodes[0], "-sess_out", saved)
        assert call(nodes[1], "-sess_in", saved)
        assert not call(stranger, "-sess_in", saved)


@BOTH
def test_a_session_of_another_node_does_not_open_a_data_port(version, before, authority, tmp_path):
    """Both nodes number their sessions in the same way and have the same keys; a thief at one has no key to the other."""
    path = write_keys(tmp_path / "keys", new_key())
    with RudeServer(files={b"f": CONTENT}) as server:
        here, there = (
            before(server, listener={"require_tls_reuse": True}, top={"workers": 1, "ticket_keys": str(path)})
            for _ in range(2)
        )
        with reach(here, authority, version=version) as client, reach(there, authority, version=version) as thief:
            client.logon().protect()
            thief.logon()
            logons = [front.wait_event("logon")["session"] for front in (here, there)]
            assert logons[0] == logons[1]
            raw = client.open_data()
            client.ask("RETR f", 150)
            stolen = b""
            with contextlib.suppress(OSError), thief.secure_data(raw, thief.sock.session, thief.context) as data:
                assert data.session_reused  # the ticket is good, and yet
                stolen = drain(data)[0]
            client.expect(522)
            assert stolen == b""
            assert client.get("RETR f")[0] == CONTENT


@BOTH
def test_a_data_connection_may_resume_at_another_node_what_the_control_connection_did(version, before, authority, tmp_path):
    path = write_keys(tmp_path / "keys", new_key())
    with RudeServer(files={b"f": CONTENT}) as server:
        here, there = (
            before(server, listener={"require_tls_reuse": True}, top={"ticket_keys": str(path)}) for _ in range(2)
        )
        visitor = Visitor(authority, version)
        visitor.visit(here)
        with TlsClient(there.host, there.port) as client:
            client.secure(visitor.context, session=visitor.session)
            assert client.sock.session_reused
            client.logon().protect()
            assert client.get("RETR f", session=visitor.session)[0] == CONTENT
            assert client.get("RETR f")[0] == CONTENT


@BOTH
def test_a_session_without_a_certificate_is_no_way_into_a_listener_that_demands_one(
    version, before, authority, pair, tmp_path
):
    own = authority.issue("alice", keep="alice-scope")
    crl = tmp_path / "crl.pem"
    crl.write_bytes(authority.revocations().read_bytes())
    demanding = front_settings(
        pair, "explicit", client_certificates="required", client_ca=str(authority.certificate), client_crl=str(crl)
    )
    with RudeServer() as server:
        front = before(server, listener={"client_certificates": "optional", "client_ca": str(authority.certificate)})
        strict = before(server, listener=demanding)
        stranger, alice = Visitor(authority, version), Visitor(authority, version, own)
        stranger.visit(front)
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            stranger.visit(strict)
        assert not alice.visit(strict)
        assert alice.visit(strict)
        # a new list of revocations asks everybody for the certificate again
        crl.write_bytes(authority.revocations(own).read_bytes())
        strict.signal(signal.SIGHUP)
        strict.wait_event("config_loaded", count=2)
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            alice.visit(strict)
        assert strict.events("tls", outcome="failed")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root")
def test_keys_of_root_are_renewed_after_root_has_been_given_up(authority, tmp_path):
    folder = tmp_path / "of-root"
    folder.mkdir(mode=0o700)  # nobody but root gets in at all
    used = tls.Pair(folder / "used.pem", folder / "used.key")

    def install(fresh):
        used.certificate.write_bytes(fresh.certificate.read_bytes())
        used.key.write_bytes(fresh.key.read_bytes())
        used.key.chmod(0o600)

    install(authority.issue("sallyport.test", keep="before-drop"))
    path = write_keys(folder / "keys", new_key())
    with RudeServer() as server, as_nobody(
        server, listener=front_settings(used, "explicit"), top={"ticket_keys": str(path)}
    ) as front:
        status = Path(f"/proc/{front.pid}/status").read_text()
        assert "Uid:\t65534\t65534\t65534\t65534" in status, status
        assert "CapPrm:\t0000000000000400" in status, status
        with reach(front, authority) as client:
            client.logon()
            before_drop = client.sock.getpeercert()["serialNumber"]
            install(authority.issue("sallyport.test", keep="after-drop"))
            front.signal(signal.SIGHUP)
            front.wait_event("config_loaded", count=2)
            with reach(front, authority) as other:
                assert other.sock.getpeercert()["serialNumber"] != before_drop
        # a file that the configuration did not name at the start stays closed
        other = folder / "other.key"
        other.write_bytes(used.key.read_bytes())
        other.chmod(0o600)
        text = (front.folder / "sallyport.conf").read_text().replace(str(used.key), str(other))
        front.write_configuration(text)
        front.signal(signal.SIGHUP)
        assert "Permission denied" in front.wait_event("config_refused")["text"]
        with reach(front, authority) as client:
            client.logon()
        children = run(["ps", "--ppid", str(front.pid), "-o", "pid="]).stdout.split()
        assert len(children) == 1
    assert not Path(f"/proc/{children[0]}").exists()


# ---------------------------------------------------------------------------------------------- CCC


def test_ccc_is_refused_unless_policy_allows_it(before, authority):
    with RudeServer() as server:
        front = before(server, policy={"allow_ccc": True})
        with reach(front, authority) as client:
            client.ask("CCC", 503, 534)  # not before the logon
            client.logon().ask("CCC", 200)


@BOTH
@pytest.mark.parametrize("mode", ["explicit", "implicit"])
def test_after_ccc_commands_are_clear_and_data_stay_protected(mode, version, before, authority):
    with RudeServer(files={b"f": CONTENT}) as server:
        protected = {"require_tls_reuse": True, "required_data": True}
        front = before(server, mode, listener=protected, policy={"allow_ccc": True})
        with reach(front, authority, mode, version=version) as client:
            client.logon().protect()
            assert client.get("RETR f")[0] == CONTENT
            session = client.sock.session
            client.ask("CCC", 200)
            client.sock = client.sock.unwrap()
            assert client.sock.version() is None
            client.ask("PWD", 257)
            assert client.get("RETR f", session=session)[0] == CONTENT
            # and nobody else's
            raw = client.open_data()
            client.ask("RETR f", 150)
            with contextlib.suppress(OSError), client.secure_data(raw, None) as data:
                assert drain(data)[0] == b""
            client.expect(522)
            client.ask("AUTH TLS", 503)
            client.ask("CCC", 533)
            client.ask("PROT C", 534)
            assert client.put("STOR g", CONTENT, session=session).code == 226
            client.quit()
        assert server.files[b"g"] == CONTENT
        assert front.wait_event("tls", outcome="cleared")


@pytest.mark.parametrize("behind", ["PWD\r\n", "PW"])
def test_protected_commands_behind_ccc_are_neither_clear_nor_protected(behind, before, authority):
    with RudeServer() as server:
        front = before(server, policy={"allow_ccc": True})
        with reach(front, authority) as client:
            client.logon()
            client.send(b"CCC\r\n" + behind.encode())
            client.wait_end()
        assert front.wait_event("session_end")["reason"] == "tls_injection"
        assert "PWD" not in server.verbs()


def test_clear_bytes_without_ccc_end_the_session(before, authority):
    with RudeServer() as server:
        front = before(server, policy={"allow_ccc": True})
        with reach(front, authority) as client:
            client.logon()
            os.write(client.sock.fileno(), b"DELE f\r\n")
            front.wait_event("session_end")
        assert "DELE" not in server.verbs()


def test_a_client_that_says_no_close_notify_after_ccc_may_go_on_but_not_wait_for_ever(before, authority):
    with RudeServer() as server:
        front = before(server, policy={"allow_ccc": True, "tls_timeout": 1.0})
        with reach(front, authority) as client:
            client.logon().ask("CCC", 200)
            os.write(client.sock.fileno(), b"PWD\r\n")
            server.wait_verb("PWD")
        front.wait_event("session_end")
        with reach(front, authority) as client:
            client.logon().ask("CCC", 200)
            assert front.wait_event("session_end", count=2)["reason"] == "tls_timeout"


@pytest.mark.parametrize("how", ["active", "passive"])
def test_curl_takes_the_protection_away(how, fleet, before, authority, tmp_path):
    server = fleet("pyftpdlib")
    front = before(server, "required", policy={"allow_ccc": True})
    path = server.fresh_folder(f"ccc-{how}")
    (path / "f").write_bytes(CONTENT)
    done = run(
        ["curl", "-sS", "--ssl-reqd", "--ftp-ssl-ccc", "--ftp-ssl-ccc-mode", how, "--cacert", authority.certificate,
         "-u", f"{server.user}:{server.password}", "-o", tmp_path / "f", f"ftp://localhost:{front.port}/ccc-{how}/f"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert front.wait_event("tls", outcome="cleared")


def test_lftp_takes_the_protection_away(fleet, before, authority, tmp_path):
    server = fleet("pyftpdlib")
    front = before(server, "required", policy={"allow_ccc": True})
    path = server.fresh_folder("ccc-lftp")
    (path / "f").write_bytes(CONTENT)
    script = (
        "set net:max-retries 1; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set ftp:ssl-use-ccc yes; "
        f"set ssl:ca-file {authority.certificate}; open -u {server.user},{clients.quoted(server.password)} ftp://localhost:{front.port}; "
        f"get ccc-lftp/f -o {tmp_path}/f; bye"
    )
    done = run(["lftp", "-c", script], env=os.environ | {"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert front.wait_event("tls", outcome="cleared")


# ------------------------------------------------------------- certificates instead of passwords


def demanding(authority, mode="optional"):
    return {"client_certificates": mode, "client_ca": str(authority.certificate)}


@pytest.fixture(scope="module")
def alice(authority):
    return authority.issue("alice", "email:alice@example.test,DNS:alice.test", keep="alice-logon")


def write_logons(folder, *lines, mode=0o600):
    path = folder / "logons"
    path.write_text("\n".join(lines) + "\n")
    path.chmod(mode)
    return path


@BOTH
@pytest.mark.parametrize("name", ["CN=alice", "email:ALICE@*", "dns:alice.test"])
def test_a_certificate_stands_for_the_password(name, version, before, authority, alice, tmp_path):
    logons = write_logons(tmp_path, "# users", f'{name} ftp-alice "pass word of alice"')
    with RudeServer(files={b"f": CONTENT}) as server:
        front = before(server, listener=demanding(authority), policy={"certificate_logons": str(logons)})
        with reach(front, authority, version=version, pair=alice) as client:
            client.ask("USER ftp-alice", 232)
            client.ask("PASS whatever", 202)
            client.protect()
            assert client.get("RETR f")[0] == CONTENT
            client.quit()
        assert [line for line in server.commands() if line.startswith("PASS")] == ["PASS pass word of alice"]
        assert "by=certificate" in front.wait_event("logon")["text"]
        front.wait_event("session_end")
        assert "pass word" not in Path(front.out_path).read_text() + front.errors()


def test_other_users_and_other_certificates_need_a_password(before, authority, alice, tmp_path):
    bob = authority.issue("bob", keep="bob-logon")
    logons = write_logons(tmp_path, "CN=alice ftp-alice secret")
    with RudeServer() as server:
        front = before(server, listener=demanding(authority), policy={"certificate_logons": str(logons)})
        for pair, user in ((alice, "ftp-bob"), (bob, "ftp-alice"), (None, "ftp-alice")):
            with reach(front, authority, pair=pair) as client:
                client.ask(f"USER {user}", 331)
                client.ask("PASS own", 230)
                client.ask("PASS own", 503)
        assert "PASS secret" not in server.commands()
        with RudeClient(front.host, front.port) as client:
            client.ask("USER ftp-alice", 331)


def test_a_mapped_password_that_the_server_refuses(before, authority, alice, tmp_path):
    logons = write_logons(tmp_path, "CN=alice ftp-alice secret")
    with RudeServer(table={"PASS": "530 No"}) as server:
        front = before(server, listener=demanding(authority, "required"), policy={"certificate_logons": str(logons)})
        with reach(front, authority, pair=alice) as client:
            client.ask("USER ftp-alice", 530)
            client.ask("PASS own", 503)
            client.ask("USER other", 331)
            client.ask("PASS own", 530)
        assert front.wait_event("logon_failed", count=2)
        assert "PASS own" in server.commands()


def test_changed_logons_are_in_force_after_a_reload_and_open_files_are_refused(before, authority, alice, tmp_path):
    logons = write_logons(tmp_path, "CN=alice ftp-alice old")
    with RudeServer() as server:
        front = before(server, listener=demanding(authority), policy={"certificate_logons": str(logons)})
        write_logons(tmp_path, "CN=alice ftp-alice new", mode=0o640)
        front.signal(signal.SIGHUP)
        text = front.wait_event("config_refused")["text"]
        assert "certificate_logons" in text and "0600" in text
        with reach(front, authority, pair=alice) as client:
            client.ask("USER ftp-alice", 232)
        logons.chmod(0o600)
        front.signal(signal.SIGHUP)
        front.wait_event("config_loaded", count=2)
        with reach(front, authority, pair=alice) as client:
            client.ask("USER ftp-alice", 232)
        assert [line for line in server.commands() if line.startswith("PASS")] == ["PASS old", "PASS new"]


def test_curl_logs_on_by_certificate(fleet, before, authority, alice, tmp_path):
    server = fleet("pyftpdlib")
    logons = write_logons(tmp_path, f'CN=alice {server.user} "{server.password}"')
    front = before(server, "required", listener=demanding(authority), policy={"certificate_logons": str(logons)})
    path = server.fresh_folder("by-certificate")
    (path / "f").write_bytes(CONTENT)
    done = run(
        ["curl", "-sS", "--ssl-reqd", "--cacert", authority.certificate, "--cert", alice.certificate, "--key", alice.key,
         "-u", f"{server.user}:wrong", "-o", tmp_path / "f", f"ftp://localhost:{front.port}/by-certificate/f"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f").read_bytes() == CONTENT


# ------------------------------------------------------------------------------------ what is said


def test_events_and_counters_say_what_was_agreed_on_each_leg(before, authority, server_pair, alice):
    with TlsRudeServer(server_pair, version="1.2", files={b"f": CONTENT}) as server:
        front = before(server, listener=demanding(authority), server=back_settings(authority, tls_name="server.test"))
        with reach(front, authority, pair=alice, version="1.3") as client:
            client.logon().protect()
            assert client.get("RETR f")[0] == CONTENT
            client.quit()
        front.wait_event("session_end")
        legs = {e["text"].split(" cipher=")[0]: e for e in front.events("tls")}
        assert set(legs) == {"leg=client", "leg=server", "leg=client data", "leg=server data"}
        for name, version, outcome, level in (
            ("leg=client", "TLSv1.3", "full", "info"), ("leg=server", "TLSv1.2", "full", "info"),
            ("leg=client data", "TLSv1.3", "resumed", "debug"), ("leg=server data", "TLSv1.2", "resumed", "debug"),
        ):  # fmt: skip
            event = legs[name]
            assert (event["tls"], event["outcome"], event["level"]) == (version, outcome, level), event
            server_side = "server" in name
            assert f"sni={'server.test' if server_side else 'localhost'}" in event["text"]
            assert f"subject=CN={'server.test' if server_side else 'alice'}" in event["text"]
        stats = front.stats()
        counted = {key: stats[key] for key in ("tls_handshakes", "tls_1_2", "tls_1_3", "tls_resumed", "tls_failures")}
        assert counted == {"tls_handshakes": 4, "tls_1_2": 2, "tls_1_3": 2, "tls_resumed": 2, "tls_failures": 0}


def test_a_failed_handshake_on_a_data_connection_is_said_and_counted(before, authority):
    with RudeServer(files={b"f": CONTENT}) as server:
        front = before(server)
        with reach(front, authority) as client:
            client.logon().protect()
            with client.open_data() as raw:
                client.ask("RETR f", 150)
                raw.sendall(b"this is no TLS\r\n")
                client.expect(522)
            assert front.wait_event("tls", outcome="failed")["text"].startswith("leg=client data ")
            assert front.stats()["tls_failures"] == 1
            assert client.get("RETR f")[0] == CONTENT
