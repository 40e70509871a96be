# SPDX-License-Identifier: ISC
"""Data connections in every mode on either side, and what may go wrong between PASV and 226."""

import contextlib
import os
import select
import shutil
import socket
import threading

import pytest
from rude import FIN, RST, RudeClient, RudeServer, drain, receive_content, send_content, say
from support import eventually, free_port, join_host_port, pooled_ports, random_bytes, reset

pytestmark = pytest.mark.proxy

V4, V6 = "127.0.0.1", "::1"
CONTENT = random_bytes(200_003)
CLIENT_WAYS = [(V4, "PASV"), (V4, "EPSV"), (V4, "PORT"), (V4, "EPRT"), (V6, "EPSV"), (V6, "EPRT")]
SERVER_WAYS = [(V4, "pasv"), (V4, "epsv"), (V4, "port"), (V4, "eprt"), (V6, "epsv"), (V6, "eprt")]


@pytest.fixture
def pair(sallyport):
    """pair(table) → (rude server, Sallyport before it, logged-on client)."""
    opened = []

    def make(table=None, files=None, host=V4, **settings):
        server = RudeServer(host, table=table, files=files or {b"good": random_bytes(5000)})
        opened.append(server)
        server.__enter__()
        front = sallyport(server, **settings)
        client = RudeClient(front.host, front.port).logon()
        opened.append(client)
        return server, front, client

    yield make
    for thing in reversed(opened):
        thing.__exit__(None, None, None)


def assert_still_in_step(server, client, way="EPSV"):
    client.ask("PWD", 257)
    assert download(client, way, "RETR good") == server.files[b"good"]


# ------------------------------------------------------------------------------ a client in any mode


def port_command(way, sock):
    host, port = sock.getsockname()[:2]
    if way == "PORT":
        return f"PORT {host.replace('.', ',')},{port // 256},{port % 256}"
    return f"EPRT |{2 if ':' in host else 1}|{host}|{port}|"


def listen(host):
    return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


@contextlib.contextmanager
def arranged(client, way):
    """Says PASV, EPSV, PORT or EPRT; yields a function that gives the data connection once the command is sent."""
    if way in ("PASV", "EPSV"):
        with socket.create_connection(client.passive_port(way), client.timeout) as data:
            yield lambda: data
        return
    with listen(client.sock.getsockname()[0]) as listener:
        client.ask(port_command(way, listener), 200)
        listener.settimeout(client.timeout)
        yield lambda: listener.accept()[0]


def download(client, way, command):
    with arranged(client, way) as data:
        client.ask(command, 150, 125)
        with data() as connection:
            content, end = drain(connection)
    assert end == FIN
    client.expect(226)
    return content


def upload(client, way, command, content):
    with arranged(client, way) as data:
        client.ask(command, 150, 125)
        with data() as connection:
            connection.sendall(content)
    client.expect(226)


def two_families(sallyport, origin, listener=None, **settings):
    """Sallyport that listens on IPv4 and IPv6: {address: port}."""
    ports = {V4: free_port(V4), V6: free_port(V6)}
    bind = [join_host_port(host, port) for host, port in ports.items()]
    sallyport(origin, listener={"bind": bind} | (listener or {}), **settings)
    return ports


@pytest.mark.parametrize("passive", ["any", "pooled"])
@pytest.mark.parametrize("host, mode", SERVER_WAYS, ids=lambda value: value)
def test_any_mode_of_the_client_meets_any_mode_of_the_server(host, mode, passive, sallyport):
    listener = {"passive_ports": pooled_ports(2)} if passive == "pooled" else {}
    with RudeServer(host, files={b"good": CONTENT}) as server:
        ports = two_families(sallyport, server, listener, server={"data": mode})
        for address, way in CLIENT_WAYS:
            name = f"up.{way}.{'6' if address == V6 else '4'}"
            with RudeClient(address, ports[address]).logon() as client:
                assert download(client, way, "RETR good") == CONTENT, (address, way)
                upload(client, way, f"STOR {name}", CONTENT)
                assert server.files.pop(name.encode()) == CONTENT, (address, way)
                assert b" good\r\n" in download(client, way, "LIST"), (address, way)
                client.quit()
        asked = {verb.lower() for verb in server.verbs()} & {"epsv", "pasv", "eprt", "port"}
        assert asked == {mode}


@pytest.mark.parametrize("mode", ["pasv", "epsv", "port", "eprt"])
def test_real_servers_in_any_mode_with_any_client(mode, server, sallyport):
    folder = f"m{os.urandom(4).hex()}"
    path = server.fresh_folder(folder)
    server.put(f"{folder}/good", CONTENT)
    ports = two_families(sallyport, server, server={"data": mode})
    try:
        for address, way in CLIENT_WAYS:
            name = f"up.{way}.{'6' if address == V6 else '4'}"
            with RudeClient(address, ports[address]).logon(server.user, server.password) as client:
                client.ask(f"CWD {folder}", 250)
                client.ask("TYPE I", 200)
                assert download(client, way, "RETR good") == CONTENT, (address, way)
                upload(client, way, f"STOR {name}", CONTENT)
                assert (path / name).read_bytes() == CONTENT
                assert b"good\r\n" in download(client, way, "LIST"), (address, way)
                client.quit()
    finally:
        shutil.rmtree(path, ignore_errors=True)


def waits_for_its_connection(verb):
    """PASV: this server reads no command until its data connection is there."""

    def act(session, argument):
        getattr(session.server, f"on_{verb.lower()}")(session, argument)
        connection = type(session).open_data(session)
        session.open_data = lambda: connection

    return act


@pytest.mark.parametrize("way", ["PASV", "EPSV", "PORT", "EPRT"])
def test_server_that_waits_for_its_data_connection_hears_what_the_client_says_meanwhile(way, pair):
    table = {verb: waits_for_its_connection(verb) for verb in ("PASV", "EPSV")}
    server, _, client = pair(table)
    whole = server.files[b"good"]
    for offset in (10, 20):
        with arranged(client, way) as data:
            client.ask("TYPE I", 200)
            client.ask(f"REST {offset}", 350)
            client.ask("RETR good", 150)
            with data() as connection:
                assert drain(connection) == (whole[offset:], FIN)
        client.expect(226)
    upload(client, way, "STOR up", CONTENT)
    assert server.files[b"up"] == CONTENT


def test_server_that_waits_for_its_data_connection_and_a_client_that_comes_late(pair):
    server, _, client = pair({"PASV": waits_for_its_connection("PASV")})
    address = client.passive_port("PASV")
    client.ask("REST 7", 350)
    with socket.create_connection(address, client.timeout) as data:
        client.ask("RETR good", 150)
        assert drain(data) == (server.files[b"good"][7:], FIN)
    client.expect(226)


def test_server_that_breaks_a_connection_that_came_early_is_seen_at_the_transfer(pair):
    def breaks(session, argument):
        session.server.on_pasv(session, argument)
        reset(session.open_data())

    server, _, client = pair({
        "PASV": [breaks, lambda s, a: s.server.on_pasv(s, a)],
        "RETR": ["425 No data connection", lambda s, a: s.server.on_retr(s, a)],
    })  # fmt: skip
    with arranged(client, "PASV") as data:
        client.ask("NOOP", 200)
        client.ask("RETR good", 425)
        assert drain(data())[0] == b""
    assert_still_in_step(server, client, "PASV")


@pytest.mark.parametrize("way, first", [("PASV", "PASV"), ("PORT", "PASV"), ("EPSV", "EPSV"), ("EPRT", "EPSV")])
def test_server_is_asked_as_the_client_asks(way, first, pair):
    server, _, client = pair()
    assert download(client, way, "RETR good") == server.files[b"good"]
    assert {"PASV", "EPSV", "PORT", "EPRT"} & set(server.verbs()) == {first}


def test_port_of_a_229_that_nobody_can_reach_is_not_asked_for_again(pair):
    def retr(session, argument):
        if session.listener:
            session.server.on_retr(session, argument)
        else:
            session.say("425 Nobody came")

    def finds_out():
        with arranged(client, "EPSV"):
            client.ask("RETR good", 425)
        return client.ask("EPSV", 229) and "PASV" in server.verbs()

    with socket.socket() as closed:  # bound, so that nobody else can have it, and deaf
        closed.bind((V4, 0))
        server, _, client = pair({"EPSV": f"229 Here (|||{closed.getsockname()[1]}|)", "RETR": retr})
        eventually(finds_out)
        asked = server.verbs().count("EPSV")
        for _ in range(2):
            assert download(client, "EPSV", "RETR good") == server.files[b"good"]
        assert server.verbs().count("EPSV") == asked


def test_codes_that_nobody_knows_are_the_answers_of_a_strange_server(pair):
    server, _, client = pair({
        "PWD": ["314 Not today", lambda s, a: s.server.on_pwd(s, a)],
        "EPSV": "314 Not today",
        "RETR": ["314 Not today", lambda s, a: s.server.on_retr(s, a)],
    })  # fmt: skip
    assert client.ask("PWD").raw == b"314 Not today\r\n"
    with arranged(client, "EPSV"):
        client.ask("RETR good", 425)
    assert_still_in_step(server, client)

@pytest.mark.parametrize("host", [V4, V6])
def test_server_is_used_in_the_clients_own_mode(host, sallyport):
    """`data = client`: PASV and PORT cannot be said to an IPv6 server; it gets EPSV and EPRT for them."""
    with RudeServer(host, files={b"good": CONTENT}) as server:
        ports = two_families(sallyport, server, server={"data": "client"})
        extended = {"PASV": "EPSV", "PORT": "EPRT"} if host == V6 else {}
        for address, way in CLIENT_WAYS:
            with RudeClient(address, ports[address]).logon() as client:
                assert download(client, way, "RETR good") == CONTENT
                said = set(server.last().verbs()) & {"EPSV", "PASV", "EPRT", "PORT"}
                assert said == {extended.get(way, way)}
                client.quit()


@pytest.mark.parametrize("table, used", [
    ({"EPSV": "500 What?"}, "PASV"),
    ({"EPSV": "500 What?", "PASV": "502 Not here"}, "EPRT"),
    ({"EPSV": "500 What?", "PASV": "502 Not here", "EPRT": "500 What?"}, "PORT"),
])
def test_auto_finds_the_mode_that_a_legacy_server_knows_and_remembers_it(table, used, pair):
    server, front, client = pair(table)
    for _ in range(3):
        assert download(client, "EPSV", "RETR good") == server.files[b"good"]
    with RudeClient(front.host, front.port).logon() as other:
        assert download(other, "PORT", "RETR good") == server.files[b"good"]
    verbs = server.verbs()
    assert verbs.count(used) == 4
    assert all(verbs.count(verb) == 1 for verb in table)


def test_server_that_knows_no_mode_at_all_is_425_and_the_session_goes_on(pair):
    table = {verb: "502 Not here" for verb in ("EPSV", "PASV", "EPRT", "PORT")}
    server, _, client = pair(table)
    for _ in range(2):
        client.ask("EPSV", 425)
        client.ask("PWD", 257)
        client.ask("RETR good", 425)
    # its administrator mends it: what it refused is not held against it for ever
    for verb in table:
        del server.table[verb]
    assert download(client, "EPSV", "RETR good") == server.files[b"good"]


def test_temporary_refusal_of_a_mode_is_not_remembered(pair):
    server, _, client = pair({"EPSV": ["425 Not now", lambda s, a: s.server.on_epsv(s, a)]})
    for _ in range(2):
        assert download(client, "EPSV", "RETR good") == server.files[b"good"]
    assert (server.verbs().count("EPSV"), server.verbs().count("PASV")) == (2, 1)


# ------------------------------------------------------------------- refusals, before, while and after


def fail_after_connect(refusal):
    """The data connection is there when the refusal comes."""

    def act(session, _):
        with session.open_data():
            session.say(refusal)

    return act


def fail_after_150(refusal):
    def act(session, _):
        session.say("150 Here it comes")
        with session.open_data():
            session.say(refusal)

    return act


FAILURES = {"before": say, "connected": fail_after_connect, "after_150": fail_after_150}


@pytest.mark.parametrize("way", ["PASV", "EPRT"])
@pytest.mark.parametrize("mode", ["epsv", "port"])
@pytest.mark.parametrize("when", FAILURES)
@pytest.mark.parametrize("verb", ["RETR", "STOR"])
def test_transfer_that_fails_ten_times_leaves_the_session_in_step(verb, when, mode, way, pair):
    texts = ("550 No such file", "450 Busy", "553 Not that name", "425 No", "452 Full")
    fails = [FAILURES[when](text) for text in texts]
    normal = lambda s, a: getattr(s.server, f"on_{verb.lower()}")(s, a)  # noqa: E731
    server, front, client = pair({verb: fails * 2 + [normal]}, server={"data": mode})
    for number in range(10):
        with arranged(client, way):
            reply = client.ask(f"{verb} file")
            while reply.code in (150, 125):
                reply = client.reply()
            assert reply.code == (550, 450, 553, 425, 452)[number % 5]
    upload(client, way, "STOR file", CONTENT)
    assert server.files[b"file"] == CONTENT
    assert download(client, way, "RETR file") == CONTENT
    eventually(lambda: front.stats()["transfers_failed"] == 10)


def test_two_preliminary_replies_are_both_passed_on(pair):
    def act(session, _):
        session.say("125 Already open")
        send_content(session, b"some")

    server, _, client = pair({"RETR": [act, lambda s, a: s.server.on_retr(s, a)]})
    with arranged(client, "PASV") as data:
        client.ask("RETR file", 125)
        client.expect(150)
        assert drain(data()) == (b"some", FIN)
    client.expect(226)
    assert_still_in_step(server, client)


@pytest.mark.parametrize("way", ["PORT", "EPRT"])
@pytest.mark.parametrize("text", [None, "150 Later"])
def test_active_client_gets_its_data_with_the_150_missing_or_late(text, way, pair):
    """Nothing says that data come but the data themselves."""

    def act(session, _):
        with session.open_data() as data:
            data.sendall(CONTENT)
        if text:
            session.say(text)
        session.say("226 Sent")

    server, _, client = pair({"RETR": [act, lambda s, a: s.server.on_retr(s, a)]})
    with arranged(client, way) as data:
        client.say("RETR file")
        assert drain(data()) == (CONTENT, FIN)
    client.expect(*([150] if text else [226]))
    if text:
        client.expect(226)
    assert_still_in_step(server, client, way)


def test_client_connects_long_after_the_150(pair):
    server, _, client = pair()
    address = client.passive_port("PASV")
    client.ask("RETR good", 150)
    threading.Event().wait(0.5)
    with socket.create_connection(address, 10) as data:
        assert drain(data) == (server.files[b"good"], FIN)
    client.expect(226)
    assert_still_in_step(server, client)


def test_abor_behind_pasv_gives_the_port_back(pair):
    server, _, client = pair()
    address = client.passive_port("PASV")
    client.ask("ABOR", 226)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)
    client.ask("RETR good", 425)
    assert_still_in_step(server, client)


@pytest.mark.parametrize("way", ["PASV", "EPSV"])
@pytest.mark.parametrize("refusal", ["553 Not that name", "452 Full"])
def test_upload_that_is_refused_when_all_is_sent(refusal, way, pair):
    server, _, client = pair({"STOR": [refusal, refusal, lambda s, a: s.server.on_stor(s, a)]})
    for _ in range(2):
        with arranged(client, way) as data:
            data().sendall(b"all of it")
            data().shutdown(socket.SHUT_WR)
            client.ask("STOR file", int(refusal[:3]))
    upload(client, way, "STOR file", CONTENT)
    assert server.files[b"file"] == CONTENT


def test_client_that_nobody_can_dial_is_425(pair):
    server, _, client = pair(policy={"reply_timeout": "2s"})
    with listen(V4) as gone:
        command = port_command("PORT", gone)
    client.ask(command, 200)
    reply = client.ask("RETR good")
    while reply.code == 150:
        reply = client.reply()
    assert reply.code in (425, 426)
    assert_still_in_step(server, client, "PORT")


def test_transfer_command_again_without_a_new_port_is_425(pair):
    server, _, client = pair()
    assert_still_in_step(server, client)
    client.ask("RETR good", 425)
    client.ask("LIST", 425)
    assert_still_in_step(server, client, "PORT")


# --------------------------------------------------------------------------------------- whom we trust


def listen_twice(host, other):
    """Two listeners on one port, which must be free on both hosts."""
    while True:
        first = listen(host)
        try:
            return first, socket.create_server((other, first.getsockname()[1]))
        except OSError:
            first.close()


def test_foreign_address_in_a_227_is_never_dialled(pair):
    third, own = listen_twice("127.0.0.77", V4)
    with third, own:
        third.settimeout(0.5)

        def lie(session, _):
            port = third.getsockname()[1]
            session.listener = own.dup()
            session.say(f"227 Entering Passive Mode (127,0,0,77,{port // 256},{port % 256})")

        server, _, client = pair({"PASV": lie}, server={"data": "pasv"})
        assert_still_in_step(server, client)
        with pytest.raises(TimeoutError):
            third.accept()


def test_227_of_another_host_is_used_where_that_is_configured(pair):
    with listen("127.0.0.77") as third:

        def elsewhere(session, _):
            port = third.getsockname()[1]
            session.listener = third.dup()
            session.say(f"227 Entering Passive Mode (127,0,0,77,{port // 256},{port % 256})")

        server, _, client = pair({"PASV": elsewhere}, server={"data": "pasv", "trust_pasv_address": True})
        assert_still_in_step(server, client)


@pytest.mark.parametrize("command", ["PORT 127,0,0,9,200,10", "EPRT |1|127.0.0.9|51210|", "EPRT |2|::1|51210|"])
def test_data_to_another_host_are_refused_unless_allowed(command, pair):
    server, _, client = pair()
    client.ask(command, 504, 501, 522)
    assert not {"PORT", "EPRT", "EPSV", "PASV"} & set(server.verbs())
    client.ask("RETR good", 425)
    assert_still_in_step(server, client)


@pytest.mark.parametrize("command", ["PORT 127,0,0,1,0,22", "PORT 127,0,0,1,3,255", "EPRT |1|127.0.0.1|25|"])
def test_data_to_a_service_port_are_refused(command, pair):
    server, _, client = pair(policy={"pass_foreign_data": True})
    client.ask(command, 504)
    assert_still_in_step(server, client)


def listen_low(host):
    """A listener on a port below 1024; None where that is not permitted."""
    for port in range(1023, 600, -1):
        with contextlib.suppress(OSError):
            return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    return None


@pytest.mark.parametrize("way", ["PORT", "EPRT"])
def test_service_ports_are_for_those_whom_the_policy_lets(way, pair):
    _, _, client = pair(policy={"pass_low_ports": True})
    client.ask("PORT 127,0,0,1,0,0", 501)
    client.ask("EPRT |1|127.0.0.9|1023|", 504)  # but not on other hosts
    listener = listen_low(V4)
    if listener is None:
        client.ask("PORT 127,0,0,1,3,255", 200)
        return
    with listener:
        client.ask(port_command(way, listener), 200)
        client.ask("RETR good", 150, 125)
        listener.settimeout(client.timeout)
        with listener.accept()[0] as data:
            assert len(drain(data)[0]) == 5000
        client.expect(226)


def test_fxp_where_the_policy_allows_it(pair):
    """Two sessions, one passive and one told its address: the data go from server to server through us."""
    server, _, client = pair(policy={"pass_foreign_data": True})
    with listen("127.0.0.9") as third:
        client.ask(port_command("PORT", third), 200)
        client.ask("RETR good", 150)
        third.settimeout(10)
        with third.accept()[0] as data:
            assert drain(data) == (server.files[b"good"], FIN)
        client.expect(226)
    address = client.passive_port("PASV")
    client.say("STOR from-another-host")
    with socket.create_connection(address, 10, source_address=("127.0.0.9", 0)) as data:
        data.sendall(CONTENT)
    client.expect(150)
    client.expect(226)
    assert server.files[b"from-another-host"] == CONTENT


@pytest.mark.parametrize("mode", ["eprt", "port"])
def test_somebody_else_on_the_port_for_the_server_gets_nothing(mode, pair):
    """The server is told a port of ours; a connection from another address neither sends nor uses it up."""

    def act(session, _):
        session.say("150 Here it comes")
        with contextlib.suppress(OSError), socket.create_connection(
            session.target, 10, source_address=("127.0.0.9", 0)
        ) as wrong:
            wrong.sendall(b"not the file")
            drain(wrong)
        with session.open_data() as data:
            data.sendall(b"the file")
        session.say("226 Sent")

    server, front, client = pair({"RETR": [act, lambda s, a: s.server.on_retr(s, a)]}, server={"data": mode})
    assert download(client, "PASV", "RETR file") == b"the file"
    assert front.stats()["data_foreign"] == 1
    assert_still_in_step(server, client)


def test_active_data_come_from_the_address_of_the_control_connection(sallyport):
    """RFC 959 section 3.2: firewalls of clients expect it, with several addresses on our side too."""
    with RudeServer(files={b"good": CONTENT}) as server:
        front = sallyport(server, listen="127.0.0.5")
        with RudeClient(front.host, front.port).logon() as client, listen(V4) as listener:
            client.ask(port_command("PORT", listener), 200)
            client.ask("RETR good", 150)
            listener.settimeout(10)
            data, address = listener.accept()
            with data:
                assert drain(data) == (CONTENT, FIN)
            assert address[0] == "127.0.0.5"
            client.expect(226)


# ------------------------------------------------------------------------------------------ slow peers


def test_download_that_stalls_is_426_and_the_server_is_told(pair):
    def act(session, _):
        session.say("150 Here it comes")
        session.data = session.open_data()
        session.data.sendall(b"first bytes")

    server, front, client = pair({"RETR": [act, lambda s, a: s.server.on_retr(s, a)], "ABOR": ["426 Aborted"]},
                                 policy={"stall_timeout": "1s"})
    with arranged(client, "PASV") as data:
        client.ask("RETR file", 150)
        content, end = drain(data())
    assert (content, end) == (b"first bytes", RST)
    client.expect(426)
    server.wait_verb("ABOR")
    assert front.wait_event("transfer")["outcome"] == "stalled"
    assert_still_in_step(server, client)


def test_client_that_does_not_read_stalls_and_is_not_waited_for(pair):
    server, front, client = pair({"RETR": [lambda s, a: send_content(s, b"x" * 30_000_000),
                                           lambda s, a: s.server.on_retr(s, a)]}, policy={"stall_timeout": "1s"})
    with arranged(client, "PASV"):
        client.ask("RETR file", 150)
        client.expect(426)
    assert front.wait_event("transfer")["outcome"] == "stalled"
    assert_still_in_step(server, client)


def test_server_that_never_says_226_ends_in_time(pair):
    def act(session, _):
        session.say("150 Here it comes")
        with session.open_data() as data:
            data.sendall(b"all of it")

    _, front, client = pair({"RETR": act}, policy={"final_reply_timeout": "1s"})
    with arranged(client, "PASV") as data:
        client.ask("RETR file", 150)
        assert drain(data())[1] == RST
    client.expect(451, 426)
    client.expect(421)
    assert client.wait_end() == FIN
    assert front.wait_event("session_end")["reason"] == "final_reply_timeout"


# --------------------------------------------------------------------------- what commands may not do


def test_epsv_all_shuts_out_every_other_mode(pair):
    server, _, client = pair()
    client.ask("EPSV ALL", 200)
    for command in ("PASV", "PORT 127,0,0,1,200,10", "EPRT |1|127.0.0.1|51210|"):
        client.ask(command, 503)
    assert_still_in_step(server, client)


@pytest.mark.parametrize("command, code", [
    ("EPSV 2", 522), ("EPSV 9", 522), ("EPSV x", 501), ("EPRT |3|127.0.0.1|50000|", 522), ("EPRT x", 501),
    ("PORT 1,2,3", 501), ("PORT 127,0,0,256,1,1", 501), ("LPRT 4,4,127,0,0,1,2,200,10", 502), ("LPSV", 502),
])
def test_data_commands_that_cannot_be_done_are_refused_in_their_own_words(command, code, pair):
    server, _, client = pair()
    client.ask(command, code)
    assert server.verbs() == ["USER", "PASS"]
    assert_still_in_step(server, client)


@pytest.mark.parametrize("mode, code", [("S", 200), ("s", 200), ("B", 504), ("C", 504), ("Z", 504), ("SS", 504)])
def test_mode_other_than_stream_is_refused(mode, code, pair):
    """Blocks and compressed data keep their data connection open for the next file: no end would be seen."""
    server, _, client = pair()
    client.ask(f"MODE {mode}", code)
    assert ("MODE" in server.verbs()) == (code == 200)
    assert_still_in_step(server, client)


@pytest.mark.parametrize("command", [
    "STRU F", "STRU R", "TYPE A", "TYPE A N", "TYPE I", "TYPE L 8", "TYPE E", "SMNT /mnt", "ALLO 1", "ALLO 1 R 80",
])
def test_parameters_of_a_transfer_are_the_servers_business(command, pair):
    server, _, client = pair({"SMNT": "250 Mounted"})
    client.ask(command, 200, 250)
    assert server.commands()[-1] == command
    assert_still_in_step(server, client)


@pytest.mark.parametrize("replies, name", [
    ((b"150 FILE: unique.7\r\n", "226 Stored"), "unique.7"),
    ((b"125 FILE: with a space.txt\r\n", "226 Stored"), "with a space.txt"),
    ((b"150 Send it\r\n", "226 Transfer complete (unique file name:stou.001)."), "stou.001"),
    ((b"150 Send it\r\n", "226 Stored"), "hint"),
])
def test_name_that_the_server_chose_is_in_the_log(replies, name, pair):
    server, front, client = pair({"STOU": lambda s, a: receive_content(s, "STOU", b"x", replies[0], replies[1])})
    with arranged(client, "PASV") as data:
        assert client.ask("STOU hint").raw == replies[0]
        data().sendall(CONTENT)
        data().close()
        client.expect(226)
    assert front.wait_event("transfer")["text"] == name
    assert_still_in_step(server, client)


def test_rest_applies_to_the_transfer_behind_it_whatever_its_kind(pair):
    server, _, client = pair(files={b"good": CONTENT})
    with arranged(client, "PORT") as data:
        client.ask("REST 1000", 350)
        client.ask("RETR good", 150)
        assert drain(data()) == (CONTENT[1000:], FIN)
    client.expect(226)
    for verb, offset in (("STOR", 5000), ("APPE", 0)):
        with arranged(client, "EPSV") as data:
            client.ask(f"REST {offset}", 350)
            client.ask(f"{verb} up", 150)
            data().sendall(CONTENT)
            data().close()
        client.expect(226)
        assert server.uploads[-1].offset == offset
    assert_still_in_step(server, client)


def test_reset_of_the_clients_listener_does_not_harm_the_session(pair):
    """It accepts our connection and breaks it at once."""
    big = lambda s, a: send_content(s, b"x" * 10_000_000)  # noqa: E731
    server, _, client = pair({"RETR": [big, lambda s, a: s.server.on_retr(s, a)]})
    with arranged(client, "PORT") as data:
        client.ask("RETR file", 150)
        reset(data())
    client.expect(426)
    assert_still_in_step(server, client)


def test_active_data_come_from_the_configured_port_again_and_again(sallyport):
    source = free_port("127.0.0.5")
    with RudeServer(files={b"good": CONTENT}) as server:
        front = sallyport(server, listen="127.0.0.5", listener={"active_source_port": source})
        with RudeClient(front.host, front.port).logon() as client:
            for way in ("PORT", "EPRT") * 3:
                with listen(V4) as listener:
                    client.ask(port_command(way, listener), 200)
                    client.ask("RETR good", 150)
                    listener.settimeout(10)
                    data, address = listener.accept()
                    with data:
                        assert address == ("127.0.0.5", source)
                        assert drain(data) == (CONTENT, FIN)
                    client.expect(226)


# ------------------------------------------------------------------------------------------------ ABOR


def until_abor(session, _):
    """RETR: some bytes, then nothing until urgent or other bytes come; keeps what they were."""
    session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    session.say("150 Here it comes")
    data = session.open_data()
    data.sendall(b"some")
    _, _, urgent = select.select([], [], [session.sock], 0.5 if session.server.table["abor form"] == "plain" else 10)
    session.server.urgent = bool(urgent)
    session.server.line = session.next_command()
    reset(data)
    session.say("426 Aborted")
    session.say("226 ABOR done")


@pytest.mark.parametrize("form, line", [("plain", b"ABOR"), ("telnet", b"\xff\xf4\xff\xf2ABOR")])
@pytest.mark.parametrize("how", ["plain", "synch", "mark only", "urgent"])
def test_abor_reaches_the_server_in_the_form_it_understands(how, form, line, pair):
    """Whatever form the client uses."""
    server, _, client = pair({"RETR": [until_abor, lambda s, a: s.server.on_retr(s, a)]}, server={"abor": form})
    server.table["abor form"] = form
    with arranged(client, "PASV") as data:
        client.ask("RETR file", 150)
        assert data().recv(4, socket.MSG_WAITALL) == b"some"
        if how == "synch":
            client.sock.send(b"\xff\xf4\xff", socket.MSG_OOB)
            client.send(b"\xf2ABOR\r\n")
        elif how == "mark only":
            client.send(b"\xff\xf4\xff\xf2ABOR\r\n")
        elif how == "urgent":
            client.sock.send(b"ABOR\r\n", socket.MSG_OOB)
        else:
            client.say("ABOR")
        client.expect(426)
        client.expect(226)
    assert (server.line, server.urgent) == (line, form == "telnet")
    assert_still_in_step(server, client)


@pytest.mark.parametrize("kind", ["vsftpd", "proftpd", "pyftpdlib"])
def test_real_server_is_aborted_by_telnets_interrupt(kind, fleet, sallyport):
    """Pure-FTPd is not among them: it never answers a transfer command that was interrupted so."""
    server = fleet(kind)
    folder = f"a{os.urandom(4).hex()}"
    server.fresh_folder(folder)
    os.truncate(server.put(f"{folder}/big", b""), 1 << 30)
    server.put(f"{folder}/good", CONTENT)
    front = sallyport(server, server={"abor": "telnet"})
    with RudeClient(front.host, front.port).logon(server.user, server.password) as client:
        client.ask("TYPE I", 200)
        with arranged(client, "EPSV") as data:
            client.ask(f"RETR {folder}/big", 150, 125)
            data().recv(1000)
            client.say("ABOR")
            reply = client.expect(150, 426, 225, 226)
            while reply.code not in (225, 226):
                reply = client.expect(426, 225, 226)
        client.ask("PWD", 257)
        assert download(client, "PASV", f"RETR {folder}/good") == CONTENT
        client.quit()
