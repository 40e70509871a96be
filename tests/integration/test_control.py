# SPDX-License-Identifier: ISC
"""The control channel: logons of every shape, pipelining, 421, replies out of step, refusals without a server."""

import socket
import time

import pytest
from rude import FIN, RST, Closed, RudeClient, RudeServer, close, hang, say
from sallyport import find_release_binary
from support import abort, eventually, free_port, run

pytestmark = pytest.mark.proxy


@pytest.fixture
def pair(sallyport):
    """pair(table, **settings) → (rude server, Sallyport before it)."""
    opened = []

    def make(table=None, files=None, greeting="220 rude server", host="127.0.0.1", **settings):
        server = RudeServer(host=host, table=table, files=files, greeting=greeting)
        opened.append(server)
        server.__enter__()
        return server, sallyport(server, **settings)

    yield make
    for server in reversed(opened):
        server.__exit__(None, None, None)


def client_of(front):
    return RudeClient(front.host, front.port)


# ---------------------------------------------------------------------------------------------- logon


def test_logon_without_password(pair):
    _, front = pair({"USER": "230 Come in"})
    with client_of(front) as client:
        client.ask("USER anonymous", 230)
        client.ask("PWD", 257)
        client.quit()


def test_logon_with_account(pair):
    server, front = pair({"PASS": "332 And your account?", "ACCT": "230 Come in"})
    with client_of(front) as client:
        client.ask("USER u", 331)
        client.ask("PASS p", 332)
        client.ask("PWD", 530)
        client.ask("ACCT a", 230)
        client.ask("PWD", 257)
        client.quit()
    assert server.commands()[:3] == ["USER u", "PASS p", "ACCT a"]


def test_empty_password_is_passed_on(pair):
    server, front = pair()
    with client_of(front) as client:
        client.ask("USER u", 331)
        client.ask("PASS ", 230)
        client.quit()
    assert any(command.rstrip() == "PASS" for command in server.commands())


def test_wrong_password_is_the_servers_530_and_the_client_may_try_again(pair):
    _, front = pair({"PASS": lambda s, a: s.say("230 Come in" if a == b"right" else "530 Wrong")})
    with client_of(front) as client:
        for _ in range(2):
            client.ask("USER u", 331)
            assert client.ask("PASS wrong", 530).raw == b"530 Wrong\r\n"
        client.ask("PWD", 530)
        client.ask("USER u", 331)
        client.ask("PASS right", 230)
        client.ask("PWD", 257)
        client.quit()
    front.wait_event("session_end")
    assert (len(front.events("logon")), len(front.events("logon_failed"))) == (1, 2)


def test_multi_line_welcome_arrives_whole(pair):
    welcome = b"230-Welcome\r\n to the server\r\n230-of servers\r\n230 Come in\r\n"
    _, front = pair({"PASS": welcome})
    with client_of(front) as client:
        client.ask("USER u", 331)
        assert client.ask("PASS p", 230).raw == welcome
        client.quit()


def test_servers_greeting_may_be_announced_and_have_many_lines(pair):
    _, front = pair(greeting=b"120 In a moment\r\n220-Hello\r\n220-and\r\n220 welcome\r\n")
    with client_of(front) as client:
        client.logon().ask("PWD", 257)
        client.quit()


def test_password_is_in_no_log(pair):
    _, front = pair()
    with client_of(front) as client:
        client.logon("u", "s3cret-of-alice").quit()
    front.wait_event("session_end")
    assert "s3cret" not in front.out_path.read_text() + front.err_path.read_text()


@pytest.mark.parametrize("command", ["PWD", "CWD a", "RETR f", "EPSV", "LIST", "SIZE f", "DELE f", "SITE HELP", "ABOR"])
def test_command_before_logon_is_530_and_no_server_is_touched(command, pair):
    server, front = pair()
    with client_of(front) as client:
        client.ask(command, 530, 503, 225, 226)
        client.quit()
    assert server.history == []


@pytest.mark.parametrize("command, code", [
    ("NOOP", 200), ("SYST", 215), ("FEAT", 211), ("OPTS UTF8 ON", 200), ("CLNT x", 200), ("HELP", 214), ("FROB", 500),
    ("PASS p", 503),
])  # fmt: skip
def test_gateway_answers_itself_before_logon(command, code, pair):
    server, front = pair()
    with client_of(front) as client:
        client.ask(command, code)
        client.quit()
    assert server.history == []


def test_clients_commands_before_the_greeting_are_answered_behind_it(pair):
    _, front = pair()
    with RudeClient(front.host, front.port, greeted=False) as client:
        client.send(b"USER u\r\nPASS p\r\nPWD\r\nQUIT\r\n")
        for code in (220, 331, 230, 257, 221):
            client.expect(code)
        assert client.wait_end() == FIN


# ----------------------------------------------------------------------------------------- pipelining


def test_pipelined_commands_reach_the_server_one_by_one(pair):
    overlaps = []

    def slow(session, argument):
        time.sleep(0.02)
        overlaps.append(session.command_waiting())
        session.say(b"250 " + argument + b"\r\n")

    server, front = pair({"CWD": slow})
    with client_of(front) as client:
        client.logon()
        client.send(b"".join(b"CWD %d\r\n" % n for n in range(20)) + b"QUIT\r\n")
        for number in range(20):
            assert client.expect(250).raw == b"250 %d\r\n" % number
        client.expect(221)
    assert overlaps == [b""] * 20
    assert server.commands()[2:22] == [f"CWD {n}" for n in range(20)]


@pytest.mark.slow
def test_client_that_never_reads_is_not_read_either(pair):
    """Endless commands without reading a reply: back-pressure, not memory."""
    _, front = pair(binary=find_release_binary())
    with RudeClient(front.host, front.port, receive_buffer=4096).logon() as client:
        before = front.memory_kib("Rss")
        client.sock.settimeout(1.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 100_000_000:
                sent += client.sock.send(b"PWD\r\n" * 10_000)
        assert front.memory_kib("Rss") - before < 4096
        # and others are served meanwhile
        with client_of(front) as other:
            other.logon().ask("PWD", 257)
            other.quit()


def test_thousands_of_pipelined_commands_are_all_answered_in_order(pair):
    _, front = pair({"CWD": lambda s, a: s.say(b"250 " + a + b"\r\n")})
    with client_of(front) as client:
        client.logon()
        for start in range(0, 3000, 50):
            client.send(b"".join(b"CWD %d\r\n" % n for n in range(start, start + 50)))
        for number in range(3000):
            assert client.expect(250).raw == b"250 %d\r\n" % number
        client.quit()


# -------------------------------------------------------------------------------------- 421 and desync


@pytest.mark.parametrize("then", [None, close])
def test_servers_421_as_an_answer_is_passed_on_and_ends_both_sides(then, pair):
    server, front = pair({"CWD": say("421 Going down", then)})
    with client_of(front) as client:
        client.logon()
        assert client.ask("CWD a").raw == b"421 Going down\r\n"
        assert client.wait_end() == FIN
    server.wait_gone(5)
    assert front.wait_event("session_end")["reason"] == "server_421"


def test_servers_421_unasked_is_passed_on(pair):
    server, front = pair()
    with client_of(front) as client:
        client.logon()
        server.last().send(b"421-Going\r\n421 down\r\n")
        assert client.expect(421).raw == b"421-Going\r\n421 down\r\n"
        assert client.wait_end() == FIN
    server.wait_gone(5)


@pytest.mark.parametrize("end", ["fin", "half", "rst"])
def test_server_that_goes_away_in_mid_session_is_421(end, pair):
    server, front = pair()
    with client_of(front) as client:
        client.logon()
        session = server.last()
        if end == "rst":
            abort(session.sock)
        else:
            session.sock.shutdown(socket.SHUT_WR if end == "half" else socket.SHUT_RDWR)
        client.expect(421)
        assert client.wait_end() == FIN
    assert front.wait_event("session_end")["reason"] == "server_closed"
    server.wait_gone()


def test_last_answer_of_a_server_that_shuts_its_sending_side_is_passed_on(pair):
    def last(session, _):
        session.say("250 That was it")
        session.half_close()

    server, front = pair({"CWD": last})
    with client_of(front) as client:
        client.logon()
        client.ask("CWD a", 250)
        client.expect(421)
        assert client.wait_end() == FIN
    server.wait_gone()


def test_surplus_reply_ends_the_session_so_that_nobody_gets_anothers_answer(pair):
    _, front = pair({"CWD": b"250 mine\r\n257 whose is this?\r\n"})
    with client_of(front) as client:
        client.logon()
        client.ask("CWD a", 250)
        client.expect(421)
        assert client.wait_end() == FIN
        assert b"whose" not in client.raw
    assert front.wait_event("session_end")["reason"] == "desync"
    front.wait_event("desync")


def test_size_in_a_250_is_a_size_and_not_another_commands_answer(pair):
    _, front = pair({"SIZE": ["250 1000", "250 Now in x"]})
    with client_of(front) as client:
        client.logon()
        assert client.ask("SIZE f").raw == b"250 1000\r\n"
        client.ask("PWD", 257)
        client.ask("SIZE f", 421)


def test_reply_of_one_very_long_line_passes(pair):
    line = b"250 " + b"A" * 60_000 + b"\r\n"
    _, front = pair({"CWD": line})
    with client_of(front) as client:
        client.logon()
        assert client.ask("CWD a").raw == line
        client.ask("PWD", 257)


def test_preliminary_reply_where_none_belongs_does_not_put_replies_out_of_step(pair):
    _, front = pair({"CWD": [b"150 hm\r\n250 done\r\n", "250 second"]})
    with client_of(front) as client:
        client.logon()
        reply = client.ask("CWD a")
        if reply.code == 150:
            client.expect(250)
            client.ask("CWD b", 250)
        else:
            assert reply.code == 421


# -------------------------------------------------------------------------------------------- refusals


def test_too_many_errors_end_the_session(pair):
    server, front = pair(policy={"max_errors": 5})
    with client_of(front) as client:
        client.logon()
        replies = []
        with pytest.raises(Closed):
            for _ in range(20):
                replies.append(client.ask("FROB").code)
        assert replies == [500] * len(replies[:-1]) + [421]
        assert len(replies) in (5, 6)
        assert b"max_errors" in client.raw
    server.wait_verb("QUIT")
    assert front.wait_event("session_end")["reason"] == "too_many_errors"


def test_denied_command_never_reaches_the_server(pair):
    server, front = pair(policy={"deny_commands": ["DELE", "MKD"]})
    with client_of(front) as client:
        client.logon()
        client.ask("dele x", 550)
        client.ask("XMKD x", 550)
        client.ask("RMD x", 250)
        client.quit()
    assert not {"DELE", "XMKD", "MKD"} & set(server.verbs())
    front.wait_event("command_denied", 2)


def test_site_commands_are_denied_one_by_one(pair):
    server, front = pair(policy={"deny_commands": ["SITE EXEC"]})
    with client_of(front) as client:
        client.logon()
        client.ask("SITE CHMOD 644 x", 200)
        for denied in ("SITE EXEC ls", "site  exec ls", "SITE \tEXEC ls", 'SITE "EXEC" ls'):
            assert b"ls" not in client.ask(denied, 550).raw
        client.quit()
    assert [command for command in server.commands() if "SITE" in command.upper()] == ["SITE CHMOD 644 x"]
    front.wait_event("command_denied", 4)


def test_clients_port_argument_never_reaches_the_server(pair):
    """A bounce (RFC 2577): what the client says of addresses is between it and us."""
    server, front = pair()
    with client_of(front) as client:
        client.logon()
        client.ask("PORT 127,0,0,7,0,22")
        client.ask("EPRT |1|127.0.0.7|22|")
        client.ask("PWD", 257)
        client.quit()
    assert not any("127,0,0,7" in command or "127.0.0.7" in command for command in server.commands())


def test_transfer_without_a_data_connection_is_425(pair):
    _, front = pair(files={b"f": b"x"})
    with client_of(front) as client:
        client.logon()
        client.ask("RETR f", 425, 503)
        client.ask("PWD", 257)
        content, _, reply = client.download("RETR f")
        assert (content, reply.code) == (b"x", 226)
        client.quit()


# ------------------------------------------------------------------------------- data channel dialects


def test_rest_is_the_last_command_before_its_transfer(pair):
    """RFC 3659 section 5.3: nothing that we insert comes between them."""
    server, front = pair(files={b"f": b"0123456789"})
    with client_of(front) as client:
        client.logon()
        with client.open_data() as data:
            client.ask("REST 4", 350)
            client.ask("RETR f", 150)
            assert data.recv(100) == b"456789"
        client.expect(226)
        client.quit()
    verbs = server.verbs()
    assert verbs[verbs.index("REST") + 1] == "RETR"
    assert verbs.index("EPSV") < verbs.index("REST")


def test_server_without_epsv_is_asked_once_and_then_remembered(pair):
    server, front = pair(files={b"f": b"content"})
    server.epsv = False
    for _ in range(3):
        with client_of(front) as client:
            client.logon()
            for _ in range(2):
                assert client.download("RETR f")[0] == b"content"
            client.quit()
    assert server.verbs().count("EPSV") == 1
    assert server.verbs().count("PASV") == 6


@pytest.mark.parametrize("how", ["EPSV", "PASV"])
@pytest.mark.parametrize("text", [
    "227 Entering Passive Mode (10,9,8,7,{p}).",
    "227 Entering Passive Mode (0,0,0,0,{p})",
    "227 =127,0,0,1,{p}",
    "227 Entering Passive Mode 127,0,0,1,{p}",
    "227 Passive mode, 127, 0, 0, 1, {p}",
    "227 Entering Passive Mode (::ffff:127,0,0,1,{p}).",
    "227 (127,0,0,1,{p}) at your service",
])  # fmt: skip
def test_server_says_227_in_any_way_and_its_address_is_not_believed(text, how, pair):
    def pasv(session, _):
        _, port = session.listen()
        session.say(text.format(p=f"{port // 256},{port % 256}"))

    server, front = pair({"PASV": pasv}, files={b"f": b"content"})
    server.epsv = False
    with client_of(front) as client:
        client.logon()
        assert client.download("RETR f", how)[0] == b"content"
        client.quit()


@pytest.mark.parametrize(
    "text", ["227 Passive (127,0,0,1,1)", "227 (127,0,0,256,4,1)", "227 nothing", "227 (127,0,0,1,0,0)"]
)
def test_227_that_cannot_be_read_is_425_and_the_session_goes_on(text, pair):
    table = {"PASV": [text, lambda s, a: s.server.on_pasv(s, a)]}
    _, front = pair(table, files={b"f": b"content"}, server={"data": "pasv"})
    with client_of(front) as client:
        client.logon()
        client.ask("EPSV", 425)
        client.ask("RETR f", 425)
        content, _, reply = client.download("RETR f")
        assert (content, reply.code) == (b"content", 226)
        client.quit()


def test_passive_ports_and_address_are_those_that_were_configured(pair):
    base = free_port()
    ports = {"passive_ports": f"{base}-{base + 3}", "passive_address": "127.0.0.1"}
    server, front = pair(files={b"f": b"content"}, listener=ports)
    with client_of(front) as client:
        client.logon()
        for how in ("EPSV", "PASV") * 4:
            host, port = client.passive_port(how)
            assert host == "127.0.0.1" and base <= port <= base + 3
            with socket.create_connection((host, port), 10) as data:
                client.ask("RETR f", 150)
                assert data.recv(100) == b"content"
            client.expect(226)
        client.quit()
    assert server.verbs().count("RETR") == 8


def test_exhausted_passive_ports_are_a_reply_not_a_hang(pair):
    base = free_port()
    _, front = pair(listener={"passive_ports": f"{base}-{base + 1}"})
    clients = [client_of(front).logon() for _ in range(3)]
    try:
        for client in clients[:2]:
            client.ask("EPSV", 229)
        clients[2].ask("EPSV", 425)
        clients[2].ask("PWD", 257)
        assert front.stats()["passive_exhausted"] == 1
        clients[0].quit()
        eventually(lambda: clients[2].ask("EPSV").code == 229)
    finally:
        for client in clients:
            client.close()


def test_ipv6_client_gets_epsv_and_pasv_is_refused_in_order(pair):
    server, front = pair(files={b"f": b"content"}, listen="::1")
    with client_of(front) as client:
        client.logon()
        assert client.ask("PASV").code in (425, 501, 502, 522)
        assert client.download("RETR f")[0] == b"content"
        client.quit()
    assert server.verbs().count("RETR") == 1


def test_ipv6_server_behind_an_ipv4_listener(pair):
    server, front = pair(files={b"f": b"content"}, host="::1")
    with client_of(front) as client:
        client.logon()
        for how in ("PASV", "EPSV"):
            assert client.download("RETR f", how)[0] == b"content"
        client.quit()
    assert server.verbs().count("EPSV") == 2


# ------------------------------------------------------------------------------------ socket options


def test_control_connections_have_keepalive_and_no_delay(pair):
    """Small replies arrive at once (44 ms would be Nagle's and delayed ACK's), and lost peers are found."""
    _, front = pair()
    with client_of(front) as client:
        client.logon()
        took = []
        for _ in range(50):
            started = time.monotonic()
            client.send(b"NO")
            client.send(b"OP\r\n")
            client.expect(200)
            took.append(time.monotonic() - started)
        # behind the kernel's quick ACKs at the beginning; most may have waited for a busy machine
        assert sorted(took[20:])[5] < 0.035

        def both_are_kept_alive():
            """While bytes are in flight the timer that is shown is another one."""
            rows = run(["ss", "-tnopH", "state", "established"]).stdout.splitlines()
            ours = [row for row in rows if f"pid={front.pid}," in row]
            return len(ours) == 2 and all("timer:(keepalive" in row for row in ours)

        eventually(both_are_kept_alive)
        client.quit()


def test_sessions_that_come_and_go_are_spared_keepalive(pair):
    """It is for connections that live on; a server that is reached later gets it at once."""
    server, front = pair()

    def kept_alive():
        rows = run(["ss", "-tnopH", "state", "established"]).stdout.splitlines()
        return ["timer:(keepalive" in row for row in rows if f"pid={front.pid}," in row]

    with client_of(front) as old:
        eventually(lambda: kept_alive() == [True])
        old.logon()
        eventually(lambda: kept_alive() == [True, True])
        old.ask("REIN", 220)
        eventually(lambda: kept_alive() == [True])
        old.logon()
        eventually(lambda: kept_alive() == [True, True])
        for _ in range(20):  # each ends while it is young, and takes itself off the list
            with client_of(front) as young:
                young.quit()
        with client_of(front) as young:
            young.logon()
            eventually(lambda: kept_alive() == [True] * 4)
            young.quit()
        old.quit()
    server.wait_gone(10)


def test_quit_is_answered_even_when_the_server_does_not_answer_it(pair):
    server, front = pair({"QUIT": hang})
    with client_of(front) as client:
        client.logon()
        client.ask("QUIT", 221, timeout=10)
        assert client.wait_end() in (FIN, RST)
    server.wait_gone(10)
