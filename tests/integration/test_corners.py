# SPDX-License-Identifier: ISC
"""Corner cases of the protocol that no other file is about: every verb, HOST, rare codes of a logon, and what may come in
the middle of a transfer."""

import re
import select
import socket
import threading

import pytest

from rude import FIN, RST, RudeClient, drain, hang, say, stalled
from rude_pair import CONTENT, assert_still_in_step, pair  # noqa: F401 (a fixture)
from support import eventually

pytestmark = pytest.mark.proxy

# ------------------------------------------------------------------------------------------------ verbs

# What a client says, what the server answers. All of it passes as it is.
PASSED = [
    ("XCWD a", "250 ok"), ("XCUP", "200 ok"), ("XPWD", '257 "/"'), ("XMKD a", '257 "a"'), ("XRMD a", "250 ok"),
    ("CDUP", "250 ok"), ("SMNT /mnt", "250 ok"), ("ALLO 100", "200 ok"), ("ALLO 100 R 10", "202 never needed"),
    ("STRU F", "200 ok"), ("STRU R", "504 no"), ("TYPE A", "200 ok"), ("TYPE A N", "200 ok"), ("TYPE I", "200 ok"),
    ("TYPE L 8", "200 ok"), ("TYPE E", "504 no"), ("MODE S", "200 ok"), ("LANG", "200 ok"), ("LANG fr-CA;x", "200 ok"),
    ("OPTS MLST size;modify;", "200 MLST OPTS size;modify;"), ("SIZE a", "213 7"), ("MDTM a", "213 20240102030405"),
    ("MLST a", "250-Listing\r\n type=file;size=7; /a\r\n250 End"), ("MLST", "250-\r\n type=dir; /\r\n250 End"),
    ("MFMT 20240102030405 a", "213 Modify=20240102030405; a"), ("MFCT 20240102030405 a", "213 Create=2024; a"),
    ("MFF Modify=20240102030405; a", "213 Modify=2024; a"), ("AVBL /", "213 12345"), ("AVBL", "213 12345"),
    ("DSIZ /", "213 99"), ("HASH a", "213 SHA-256 0-7 aa a"), ("XCRC a", "250 00AA"), ("XMD5 a", "250 aa"),
    ("XSHA a", "250 aa"), ("XSHA1 a", "250 aa"), ("XSHA256 a", "250 aa"), ("XSHA512 a", "250 aa"), ("MD5 a", "251 a aa"),
    ("COMB t a b", "250 ok"), ("SITE CHMOD 644 a", "200 ok"), ("SITE HELP", "214-x\r\n y\r\n214 z"), ("CLNT x", "200 ok"),
    ("CSID Name=x;", "200 Name=y;"), ("STAT", "211-x\r\n y\r\n211 z"), ("STAT a", "213-x\r\n y\r\n213 z"),
    ("HELP", "214 no"), ("HELP SITE", "214 no"), ("NOOP", "200 ok"), ("SYST", "215 UNIX Type: L8"), ("ACCT a", "202 ok"),
    ("DELE a", "250 ok"), ("RNFR a", "350 to?"), ("RNTO b", "250 ok"), ("REST 0", "350 ok"), ("CWD a", "532 Need account"),
]  # fmt: skip


def test_every_verb_of_the_table_reaches_the_server_as_it_was_said_and_its_answer_comes_back(pair):
    answers = dict(PASSED)
    server, _, client = pair({
        "*": lambda s, a: s.say(answers[s.commands[-1]]),
        "USER": "331 Password", "PASS": "230 On", "QUIT": "221 Bye",
    })  # fmt: skip
    for command, answer in PASSED:
        assert client.ask(command).raw == answer.encode() + b"\r\n", command
    assert server.commands()[2:] == [command for command, _ in PASSED]
    client.quit()


REFUSED = [
    ("LPRT 4,4,127,0,0,1,2,200,10", 502), ("LPSV", 502), ("MODE B", 504), ("MODE Z", 504), ("CWD", 501), ("PWD x", 501),
    ("AUTH TLS", 502), ("CCC", 533), ("ADAT x", 503), ("MIC x", 503), ("CONF x", 503), ("ENC x", 503),
    ("PBSZ 0", 503), ("PROT P", 503), ("HOST ftp.test", 503), ("USER v", 503), ("PASS p", 503), ("FROB x", 500), ("", 500),
]  # fmt: skip


def test_what_is_not_for_the_server_never_reaches_it(pair):
    server, _, client = pair(policy={"max_errors": 0})
    for command, code in REFUSED:
        assert client.ask(command).code == code, command
    assert server.verbs() == ["USER", "PASS"]
    assert_still_in_step(client)


def test_unknown_verbs_pass_where_the_policy_lets_them(pair):
    server, _, client = pair({"FROB": b"299-any\r\n299 thing\r\n"}, policy={"pass_unknown_commands": True})
    assert client.ask("FROB \xe9 y").raw == b"299-any\r\n299 thing\r\n"
    client.ask("XQUOTA", 500)
    assert server.commands()[2:] == ["FROB \xe9 y", "XQUOTA"]
    assert_still_in_step(client)


def test_thumbnails_are_transfers(pair):
    _, _, client = pair({"THMB": lambda s, a: s.server.on_retr(s, a.split(b" ")[-1])})
    assert client.download("THMB JPG 10 10 good")[0] == CONTENT
    assert_still_in_step(client)


def test_opts_utf8_is_granted_whatever_the_server_thinks_of_it(pair):
    _, _, client = pair({"OPTS": "501 No such option"})
    client.ask("OPTS UTF8 ON", 200)
    client.ask("OPTS MLST size;", 501)
    assert_still_in_step(client)


# ------------------------------------------------------------------------------------------------- HOST


def test_host_says_where_the_logon_goes_and_only_before_it(pair):
    extra = 'route { hosts = { "nowhere.test" }  reject = yes }\nroute { hosts = { "*.test" }  pool = main }\n'
    _, _, client = pair(logon=False, extra=extra + 'route { sources = "0.0.0.0/0"  hosts = { "b" }  reject = yes }\n')
    client.ask("HOST", 501)
    client.ask("HOST a.test", 220)
    client.ask("HOST [127.0.0.1]", 220)
    client.ask("HOST b.test", 220)  # the last one counts
    client.ask("USER u", 331)
    client.ask("HOST a.test", 503)
    client.ask("PASS p", 230)
    client.ask("HOST a.test", 503)
    assert_still_in_step(client)


def test_host_that_no_route_serves_is_504(pair):
    """RFC 7151 section 3.2; the one before it stays in force."""
    server, front, client = pair(logon=False, route={"hosts": ["*.served.test"]})
    for host in ("nowhere.test", "served.test", "[::1]"):
        client.ask(f"HOST {host}", 504)
    client.ask("HOST ftp.SERVED.test", 220)
    client.ask("HOST nowhere.test", 504)
    client.logon()
    assert_still_in_step(client)
    with RudeClient(front.host, front.port) as other:
        other.ask("HOST nowhere.test", 504)
        other.say("USER u")
        other.say("PASS p")
        assert other.reply().code in (331, 530)
        other.expect(530, 503)
    assert len(server.history) == 1


# ------------------------------------------------------------------------------------------------ logon


@pytest.mark.parametrize("user, password, accounts", [
    ("232 On, by what you have shown", None, False),
    ("230 On, no password", None, False),
    ("332 Account?", None, True),
    ("331 Password?", "332 Account?", True),
    ("331 Password?", "202 Superfluous", False),
])  # fmt: skip
def test_logons_of_every_shape(user, password, accounts, pair):
    table = {"USER": user, "PASS": password or "503 What for?", "ACCT": "230 On"}
    _, front, client = pair(table, logon=False)
    reply = client.ask("USER u")
    assert reply.raw == user.encode() + b"\r\n"
    if reply.code == 331:
        reply = client.ask("PASS p")
        assert reply.raw == password.encode() + b"\r\n"
    if accounts:
        client.ask("ACCT a", 230)
    assert_still_in_step(client)
    assert front.stats()["logons"] == 1


# ------------------------------------------------------------------------------ in the middle of a transfer


def waits_for_abor(first):
    """RETR: says `first` (or nothing), makes no data connection, and ends when ABOR comes."""

    def act(session, _):
        if first:
            session.say(first)
        eventually(lambda: session.command_waiting() == b"ABOR")
        session.next_command()
        session.say("426 Aborted")
        session.say("226 ABOR done")

    return act


@pytest.mark.parametrize("way", ["EPSV", "PORT"])
@pytest.mark.parametrize("first", [None, "150 Here it comes"])
def test_abor_before_any_data_connection(first, way, pair):
    """With the 150 or before it, the client's data connection being there or not."""
    server, _, client = pair({"RETR": [waits_for_abor(first), lambda s, a: s.server.on_retr(s, a)]})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if way == "EPSV":
            client.passive_port()
        else:
            port = listener.getsockname()[1]
            client.ask(f"PORT 127,0,0,1,{port // 256},{port % 256}", 200)
        client.say("RETR good")
        server.wait_verb("RETR")
        if first:
            client.expect(150)
        client.say("ABOR")
        client.expect(426)
        client.expect(226)
    assert_still_in_step(client)


def test_abor_behind_the_last_byte_and_before_the_226(pair):
    """All has come; the server still thinks. It sees the ABOR when it is done: 226, and 226 or 225 for the ABOR."""

    def late(session, _):
        session.say("150 Here it comes")
        with session.open_data() as data:
            data.sendall(CONTENT)
        eventually(lambda: session.command_waiting() == b"ABOR")
        session.say("226 Sent")

    server, _, client = pair({"RETR": [late, lambda s, a: s.server.on_retr(s, a)], "ABOR": "225 Nothing to abort"})
    with client.open_data() as data:
        client.ask("RETR good", 150)
        received = 0
        while received < len(CONTENT):
            received += len(data.recv(1 << 16))
        client.say("ABOR")
        assert client.reply().code in (226, 426)
        client.expect(225, 226)
    assert server.verbs().count("ABOR") == 1
    assert_still_in_step(client)


def test_abor_twice_is_one_abor_for_the_server(pair):
    server, _, client = pair({"RETR": [waits_for_abor("150 Wait"), lambda s, a: s.server.on_retr(s, a)]})
    client.passive_port()
    client.ask("RETR good", 150)
    client.send(b"ABOR\r\nABOR\r\n")
    client.expect(426)
    client.expect(226)
    # the second one may have come when nothing ran any more: then it has an answer of its own
    client.say("PWD")
    while client.expect(225, 226, 257).code != 257:
        pass
    assert_still_in_step(client)
    assert server.last().verbs().count("ABOR") in (1, 2)


def slow_server(session, _):
    session.say("150 Here it comes")
    with session.open_data() as data:
        for start in range(0, len(CONTENT), 5000):
            data.sendall(CONTENT[start : start + 5000])
            select.select([], [], [], 0.005)
    session.say("226 Sent")


def slow_reader(session, argument):
    session.say("150 Send it")
    got = bytearray()
    with session.open_data() as data:
        while chunk := data.recv(3000):
            got += chunk
            select.select([], [], [], 0.005)
    session.server.files[argument] = bytes(got)
    session.say("226 Stored")


def test_both_sides_slow_up(pair):
    server, _, client = pair({"STOR": slow_reader})
    with client.open_data() as data:
        client.ask("STOR up", 150)
        for start in range(0, len(CONTENT), 5000):
            data.sendall(CONTENT[start : start + 5000])
            select.select([], [], [], 0.005)
    client.expect(226)
    assert server.files[b"up"] == CONTENT
    assert_still_in_step(client)


def test_both_sides_slow_down(pair):
    _, _, client = pair({"RETR": slow_server})
    got = bytearray()
    with client.open_data() as data:
        client.ask("RETR good", 150)
        while chunk := data.recv(3000):
            got += chunk
            select.select([], [], [], 0.002)
    client.expect(226)
    assert got == CONTENT


@pytest.mark.parametrize("command, code", [("NOOP", 200), ("PWD", 257), ("EPSV", 229), ("FROB", 500), ("STAT good", 213)])
def test_commands_in_a_transfer_wait_for_its_end(command, code, pair):
    server, _, client = pair()
    with client.open_data() as data:
        client.say("RETR good")
        client.say(command)
        client.expect(150)
        assert drain(data) == (CONTENT, FIN)
        client.expect(226)
        client.expect(code)
    verbs = server.verbs()
    assert command.split()[0] not in verbs[: verbs.index("RETR")] or command == "EPSV"
    assert_still_in_step(client)


def test_client_that_shuts_its_sending_side_of_the_data_connection_still_gets_all(pair):
    _, _, client = pair()
    with client.open_data() as data:
        data.shutdown(socket.SHUT_WR)
        client.ask("RETR good", 150)
        assert drain(data) == (CONTENT, FIN)
    client.expect(226)
    assert_still_in_step(client)


def test_client_that_shuts_its_sending_side_of_the_control_connection_gets_what_it_asked_for(pair):
    """printf 'USER …' | nc: the last answers are still read."""
    server, _, client = pair()
    client.send(b"PWD\r\nNOOP\r\nQUIT\r\n")
    client.half_close()
    for code in (257, 200, 221):
        client.expect(code)
    assert client.wait_end() == FIN
    server.wait_gone()


def test_client_that_shuts_its_sending_side_in_a_transfer_with_more_to_come_gets_all(pair):
    """RETR and QUIT at once, then FIN: the transfer may take longer than a goodbye."""

    def slow(session, _):
        session.say("150 Here it comes")
        with session.open_data() as data:
            data.sendall(CONTENT[:1000])
            select.select([], [], [], 1.5)
            data.sendall(CONTENT[1000:])
        session.say("226 Sent")

    server, front, client = pair({"RETR": slow}, policy={"close_timeout": "700ms"})
    with client.open_data() as data:
        client.send(b"RETR good\r\nQUIT\r\n")
        client.half_close()
        client.expect(150)
        assert drain(data) == (CONTENT, FIN)
    client.expect(226)
    client.expect(221)
    assert client.wait_end() == FIN
    server.wait_gone()
    assert front.wait_event("session_end")["reason"] == "client_quit"


def test_client_that_shuts_its_sending_side_in_a_transfer_and_wants_no_more_has_gone(pair):
    """RFC 959 section 4.1.1: as ABOR and QUIT."""
    server, front, client = pair({"RETR": stalled(1000)})
    with client.open_data() as data:
        client.ask("RETR good", 150)
        assert len(data.recv(1000, socket.MSG_WAITALL)) == 1000
        client.half_close()
        assert drain(data) == (b"", RST)
    assert client.wait_end() in (FIN, RST)
    server.wait_gone()
    assert front.wait_event("session_end")["reason"] == "client_closed"


def test_pasv_again_while_the_first_ones_connection_waits(pair):
    """The port of the first is closed; who has connected to it gets nothing."""
    _, _, client = pair()
    with client.open_data() as first:
        with client.open_data() as second:
            client.ask("RETR good", 150)
            assert drain(second) == (CONTENT, FIN)
        client.expect(226)
        assert drain(first)[0] == b""
    assert_still_in_step(client)


@pytest.mark.parametrize("text", ["227 (::ffff:127.0.0.1,4,1)", "227 (|||4000|)", "227 (65535,0,0,1,4,1)"])
def test_answers_to_pasv_that_name_no_ipv4_address_are_425(text, pair):
    _, _, client = pair({"PASV": [text, lambda s, a: s.server.on_pasv(s, a)]}, server={"data": "pasv"})
    client.ask("PASV", 425)
    client.ask("RETR good", 425)
    assert_still_in_step(client)


def test_server_that_says_nothing_of_the_abor_is_given_up(pair):
    """The client hears how its transfer ended, and that the session has."""

    def deaf(session, _):
        session.say("150 Here it comes")
        session.data = session.open_data()

    server, front, client = pair({"RETR": deaf, "ABOR": hang}, policy={"final_reply_timeout": "500ms"})
    with client.open_data() as data:
        client.ask("RETR good", 150)
        client.say("ABOR")
        assert drain(data)[0] == b""
        client.expect(426)
        client.expect(421)
        assert client.wait_end() == FIN
    server.wait_gone()
    assert front.wait_event("session_end")["reason"] == "final_reply_timeout"


def test_reply_with_a_nul_or_a_carriage_return_in_it_is_none(pair):
    """No CR NUL of RFC 2640 belongs there: a client that reads C strings would see another reply than one that does not."""
    for bad in (b"250 a\0b\r\n", b"250 a\rb\r\n"):
        _, front, client = pair({"CWD": say(bad)})
        reply = client.ask("CWD a")
        if reply.code == 421:
            assert front.wait_event("session_end")["reason"] == "bad_reply"
        else:
            assert reply.raw == bad, "as it was said, not cut"
            client.ask("PWD", 257)


# ---------------------------------------------------------------- what is said, and where a reply ends


def test_arguments_of_a_logon_are_verbatim(pair):
    """RFC 2640 section 3.1: one space ends the verb, further ones are the argument's."""
    server, _, client = pair(logon=False)
    client.ask("uSeR  x y ", 331)
    client.ask("pass  p ", 230)
    assert [command.split(" ", 1)[1] for command in server.commands()] == [" x y ", " p "]
    assert_still_in_step(client)


def test_passive_answers_have_the_form_that_address_translators_read(pair):
    """Kernel helpers and old firewalls look for the parentheses behind these words."""
    _, _, client = pair()
    assert re.fullmatch(
        rb"227 Entering Passive Mode \(127,0,0,1,\d{1,3},\d{1,3}\)\.\r\n", client.ask("PASV", 227).raw
    )
    assert re.fullmatch(rb"229 Entering Extended Passive Mode \(\|\|\|\d+\|\)\.?\r\n", client.ask("EPSV", 229).raw)


@pytest.mark.parametrize("host, good, other", [("127.0.0.1", "1", "2"), ("::1", "2", "1")])
def test_epsv_may_name_the_protocol_of_the_connection(host, good, other, pair):
    _, _, client = pair(listen=host)
    assert f"({good})".encode() in client.ask(f"EPSV {other}", 522).raw
    port = int(client.ask(f"EPSV {good}", 229).text.split("|")[3])
    with socket.create_connection((host, port), client.timeout) as data:
        client.ask("RETR good", 150)
        assert drain(data) == (CONTENT, FIN)
    client.expect(226)


def test_port_behind_pasv_closes_the_passive_port(pair):
    """RFC 959 section 3.2: the port specification has been changed."""
    _, _, client = pair()
    address = client.passive_port("PASV")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client.ask(f"PORT 127,0,0,1,{port // 256},{port % 256}", 200)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, 5)
        client.ask("RETR good", 150)
        listener.settimeout(client.timeout)
        with listener.accept()[0] as data:
            assert drain(data) == (CONTENT, FIN)
    client.expect(226)


def test_line_of_a_reply_whose_last_line_has_come_already_is_a_surplus_reply(pair):
    """Servers of the early IIS put a space where "-" belongs: nobody can tell these lines from replies, so nobody guesses."""
    _, front, client = pair({"PASS": b"230-Welcome to\r\n230 the server\r\n230 Logged on\r\n"}, logon=False)
    client.ask("USER u", 331)
    client.say("PASS p")
    assert client.expect(230, 421).code == 421 or client.expect(421)
    assert client.wait_end() == FIN
    assert front.wait_event("desync")["code"] == 230
    assert front.wait_event("session_end")["reason"] == "desync"


@pytest.mark.parametrize("first", [b"-", b" "])
def test_servers_whose_replies_end_too_early_can_be_borne(first, pair):
    """The same with drop_repeats: what comes at once and has the code of the reply belongs to it."""
    welcome, listing = (b"%d" % code + first + b"one\r\n%d two\r\n%d three\r\n" % (code, code) for code in (230, 250))
    _, front, client = pair({"PASS": welcome, "CWD": listing}, logon=False, server={"drop_repeats": True})
    client.ask("USER u", 331)
    client.ask("PASS p", 230)
    for _ in range(3):
        reply = client.ask("CWD a", 250).raw
        assert listing.startswith(reply) and reply.count(b"\r\n") == (2 if first == b"-" else 1)
        client.ask("PWD", 257)
    assert_still_in_step(client)
    assert front.stats()["replies_repeated"] == 4 * (1 if first == b"-" else 2)


def test_reply_of_endless_lines_ends_the_session(pair):
    """A hundred thousand of them would be all right; memory is not theirs without end."""
    lines = b"250-begin\r\n" + b" a line of the listing\r\n" * 100_000
    server, front, client = pair({"CWD": lines})
    client.ask("CWD a", 421)
    assert client.wait_end() == FIN
    assert front.wait_event("session_end")["reason"] == "bad_reply"
    server.wait_gone()


def test_what_was_no_reply_is_in_the_log(pair):
    _, front, client = pair({"CWD": b"\x1b[2Jwhat\r\n"})
    client.ask("CWD a", 421)
    text = front.wait_event("log", level="warning")["text"]
    assert b"\x1b[2Jwhat".hex(" ") in text and "s0" in text


def test_checksum_may_take_longer_than_other_answers(pair):
    """Minutes for a huge file: final_reply_timeout, not reply_timeout."""

    def late(session, _):
        select.select([], [], [], 3.5)
        session.say("213 SHA-256 0-7 aa good")

    _, _, client = pair({"HASH": late}, policy={"reply_timeout": "2500ms", "final_reply_timeout": "60s"})
    client.ask("HASH good", 213)
    assert_still_in_step(client)


# --------------------------------------------------------------------------- servers in the middle of a transfer


def test_421_in_a_transfer_is_passed_on_behind_a_broken_data_connection(pair):
    """The server shuts down: what has come of the file must not look whole."""

    def shut_down(session, _):
        session.say("150 Here it comes")
        session.data = session.open_data()
        session.data.sendall(b"some")
        session.say("421 Going down")

    server, front, client = pair({"RETR": shut_down})
    with client.open_data() as data:
        client.ask("RETR good", 150)
        assert drain(data)[1] == RST
    assert client.expect(421).raw == b"421 Going down\r\n"
    assert client.wait_end() == FIN
    assert front.wait_event("session_end")["reason"] == "server_421"
    server.wait_gone()


def test_server_that_says_150_and_never_connects_is_425(pair):
    """In active mode it is the server that should come. What it says in the end is for nobody any more."""
    told = threading.Event()

    def late(session, _):
        session.say("150 I come")
        told.wait(20)
        session.say("425 I could not")

    _, front, client = pair(
        {"RETR": [late, lambda s, a: s.server.on_retr(s, a)]},
        server={"data": "port"}, policy={"data_accept_timeout": "3s"},
    )  # fmt: skip
    with client.open_data() as data:
        client.ask("RETR good", 150)
        client.expect(425)
        assert drain(data)[0] == b""
    told.set()
    assert front.stats()["clocks_expired"]["data_accept_timeout"] == 1
    assert_still_in_step(client)


@pytest.mark.parametrize("mode, answer", [("pasv", "227 Here (127,0,0,1,0,25)"), ("epsv", "229 Here (|||1023|)")])
def test_service_ports_of_the_server_are_not_dialled(mode, answer, pair):
    """RFC 2577: a port below 1024 that a server names is that of a service, which must not hear our client's bytes."""
    table = {mode.upper(): [answer, lambda s, a: getattr(s.server, f"on_{mode}")(s, a)]}
    _, _, client = pair(table, server={"data": mode})
    client.ask("EPSV", 425)
    client.ask("STOR x", 425)
    assert_still_in_step(client)


def test_service_ports_of_the_server_where_the_policy_lets_them(pair):
    _, _, client = pair({"EPSV": "229 Here (|||1023|)"}, server={"data": "epsv"}, policy={"pass_low_ports": True})
    client.ask("EPSV", 229)
