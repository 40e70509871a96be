# SPDX-License-Identifier: ISC
"""Where a command and a reply begin and end: the same however the bytes are cut, the same here and at the server."""

import re
import time

import pytest
from rude import Closed, RudeClient, RudeServer, send_content
from support import eventually

pytestmark = pytest.mark.proxy

LOGON = b"USER u\r\nPASS p\r\n"

# (name, what the client sends behind the logon and before QUIT, the codes of the replies to it)
TRANSCRIPTS = [
    ("plain", b"PWD\r\nCWD a\r\nNOOP\r\n", [257, 250, 200]),
    ("lower_case", b"pwd\r\ncWd a\r\n", [257, 250]),
    ("bare_lf", b"PWD\nCWD a\n", [257, 250]),
    ("mixed_ends", b"PWD\nCWD a\r\nPWD\n", [257, 250, 257]),
    ("spaces_in_a_path", b"CWD   two before \r\nCWD a  b\r\n", [250, 250]),
    ("eight_bit_path", b"CWD gr\xc3\xbc\xc3\x9fe\r\nCWD \xe4\xf6\r\n", [250, 250]),
    ("cr_nul_in_a_path", b"CWD a\r\0b\r\n", [250]),
    ("bare_cr", b"CWD a\rDELE b\r\nPWD\r\n", [501, 257]),
    ("bare_cr_before_crlf", b"CWD a\r\r\nPWD\r\n", [501, 257]),
    ("nul", b"CWD a\0b\r\nPWD\r\n", [501, 257]),
    ("nul_first", b"\0CWD a\r\nPWD\r\n", [501, 257]),
    ("cr_nul_lf", b"CWD a\r\0\nDELE b\r\nPWD\r\n", [501, 257]),
    ("iac_nop_in_a_verb", b"CW\xff\xf1D a\r\n", [250]),
    ("iac_between_cr_and_lf", b"CWD a\r\xff\xf1\nPWD\r\n", [250, 257]),
    ("iac_option_between_cr_and_lf", b"CWD a\r\xff\xfc\x01\nPWD\r\n", [250, 257]),
    ("iac_iac_in_a_path", b"CWD a\xff\xffb\r\n", [250]),
    ("iac_ip_before_crlf", b"CWD a\xff\xf4\r\n", [250]),
    ("synch_before_a_command", b"\xff\xf4\xff\xf2PWD\r\n", [257]),
    ("too_long", b"CWD " + b"a" * 5000 + b"\r\nPWD\r\n", [500, 257]),
    ("too_long_by_one", b"CWD " + b"a" * (4096 - 3) + b"\r\nPWD\r\n", [500, 257]),
    ("longest", b"CWD " + b"a" * (4096 - 4) + b"\r\nPWD\r\n", [250, 257]),
    ("too_long_with_a_command_inside", b"CWD " + b"a" * 4096 + b"\rDELE b\r\nPWD\r\n", [500, 257]),
    ("unknown", b"FROB x\r\nPWD\r\n", [500, 257]),
    ("no_argument", b"CWD\r\nPWD\r\n", [501, 257]),
    ("surplus_argument_of_space", b"PWD \r\nPWD\r\n", None),
]


def pour(client, data, piece, pause):
    for start in range(0, len(data), piece):
        client.send(data[start : start + piece])
        if pause:
            time.sleep(pause)


def play(front, server, data, piece, pause=0.0):
    """Send a whole session in pieces; the replies, and the bytes that the server received."""
    with RudeClient(front.host, front.port) as client:
        pour(client, LOGON, len(LOGON), 0)
        client.expect(331)
        client.expect(230)
        pour(client, data, piece, pause)
        client.send(b"QUIT\r\n")
        replies = []
        try:
            while True:
                replies.append(client.reply().raw)
        except Closed as end:
            assert (end.how, end.rest) == ("fin", b""), replies
    session = server.last()
    eventually(session.ended.is_set)
    return replies, bytes(session.raw)


def boundaries(raw):
    """What servers of every habit make of these bytes must be the same commands."""
    habits = [
        raw.split(b"\r\n"),
        raw.replace(b"\r\n", b"\n").split(b"\n"),
        re.split(rb"\r\n|\n|\r(?!\0)", raw),
        [line.split(b"\0")[0] if not re.search(rb"\r\0", line) else line for line in raw.split(b"\r\n")],
    ]
    assert all(habit == habits[0] for habit in habits), raw
    return habits[0][:-1]


@pytest.mark.parametrize("name, data, codes", TRANSCRIPTS, ids=[row[0] for row in TRANSCRIPTS])
def test_transcript_cut_anywhere_is_the_same_session(name, data, codes, sallyport):
    with RudeServer() as server:
        front = sallyport(server)
        whole, whole_raw = play(front, server, data, len(data))
        commands = boundaries(whole_raw)
        assert not any(re.match(rb"\s*DELE", command) for command in commands)
        assert [int(reply[:3]) for reply in whole[:-1]] == codes or codes is None, whole
        assert whole[-1].startswith(b"221")
        bytewise, bytewise_raw = play(front, server, data, 1, 0.0005 if len(data) < 200 else 0)
        assert (bytewise, bytewise_raw) == (whole, whole_raw)
        for piece in (2, 3, 7):
            assert play(front, server, data, piece) == (whole, whole_raw)


@pytest.mark.parametrize(
    "sent, received",
    [
        (b"CWD   two  spaces  \r\n", b"CWD   two  spaces  \r\n"),
        (b"CWD gr\xc3\xbc\xc3\x9fe \xe4\r\n", b"CWD gr\xc3\xbc\xc3\x9fe \xe4\r\n"),
        (b"CWD a\r\0b\r\n", b"CWD a\r\0b\r\n"),
        (b"CWD a\xff\xffb\r\n", b"CWD a\xffb\r\n"),
        (b"CWD a\n", b"CWD a\r\n"),
        (b"CWD a\r\xff\xf1\n", b"CWD a\r\n"),
    ],
)
def test_argument_reaches_the_server_as_it_was_said(sent, received, sallyport):
    with RudeServer() as server:
        front = sallyport(server)
        _, raw = play(front, server, sent, len(sent))
        assert received in raw


def test_iac_is_doubled_for_a_server_that_wants_it(sallyport):
    with RudeServer() as server:
        front = sallyport(server, server={"escape_iac": True})
        _, raw = play(front, server, b"CWD a\xff\xffb\r\n", 100)
        assert b"CWD a\xff\xffb\r\n" in raw


def test_strict_eol_refuses_a_bare_lf(sallyport):
    with RudeServer() as server:
        front = sallyport(server, listener={"strict_eol": True})
        replies, raw = play(front, server, b"CWD a\nPWD\r\n", 100)
        assert [int(reply[:3]) for reply in replies] in ([501, 221], [501, 257, 221])
        assert b"CWD" not in raw
        boundaries(raw)


def test_telnet_options_are_refused_and_the_command_behind_them_works(sallyport):
    with RudeServer() as server:
        front = sallyport(server)
        with RudeClient(front.host, front.port).logon() as client:
            client.send(b"\xff\xfd\x01\xff\xfb\x03PWD\r\n")
            eventually(lambda: b"257" in client.raw or client.more())
            assert b"\xff\xfc\x01" in client.raw and b"\xff\xfe\x03" in client.raw


REPLIES = {
    "single": b"250 fine\r\n",
    "no_text": b"250 \r\n",
    "bare_code": b"250\r\n",
    "multi": b"250-first\r\n second\r\n250 last\r\n",
    "other_codes_inside": b"250-first\r\n550 not the end\r\n250-nor this\r\n2500 nor this\r\n250 last\r\n",
    "code_on_each_line": b"250-a\r\n250-b\r\n250-c\r\n250 d\r\n",
    "blank_lines_inside": b"250-a\r\n\r\n\r\n250 d\r\n",
    "eight_bit": b"250 gr\xc3\xbc\xc3\x9fe \xe4\xff\r\n",
    "long_line": b"250 " + b"x" * 4000 + b"\r\n",
    "many_lines": b"250-begin\r\n" + b"".join(b" line %d\r\n" % n for n in range(2000)) + b"250 end\r\n",
}


def bytewise(reply):
    def act(session, _):
        for start in range(0, len(reply), 1 if len(reply) < 200 else 97):
            session.send(reply[start : start + (1 if len(reply) < 200 else 97)])
            time.sleep(0.0003)

    return act


@pytest.mark.parametrize("name", sorted(REPLIES))
def test_reply_cut_anywhere_arrives_as_it_was_said(name, sallyport):
    reply = REPLIES[name]
    with RudeServer(table={"CWD": [reply, bytewise(reply)]}) as server:
        front = sallyport(server)
        with RudeClient(front.host, front.port).logon() as client:
            for _ in range(2):
                mark = len(client.raw)
                client.ask("CWD a", 250)
                assert bytes(client.raw[mark:]) == reply
                client.ask("PWD", 257)
            client.quit()


def test_blank_lines_outside_of_replies_are_dropped_and_counted(sallyport):
    """Before the greeting, behind a reply, before one, and between the replies of a transfer."""
    table = {
        "USER": b"\r\n331 Password\r\n\r\n",
        "CWD": b"\r\n\n250-one\r\n\r\n250 two\r\n\r\n",
        "RETR": lambda s, _: send_content(s, b"content", first="\r\n150 Here", final="\r\n226 Sent\r\n"),
    }
    with RudeServer(table=table, greeting=b"\r\n220 Hello\r\n\r\n", files={b"f": b"content"}) as server:
        front = sallyport(server)
        with RudeClient(front.host, front.port).logon() as client:
            for _ in range(2):
                assert client.ask("CWD a", 250).raw == b"250-one\r\n\r\n250 two\r\n"
                client.ask("PWD", 257)
                assert client.download("RETR f")[0] == b"content"
            client.ask("PWD", 257)
            assert front.stats()["blank_lines"] == 4 + 2 * (3 + 3)
            assert front.stats()["desyncs"] == 0
            client.quit()


def test_reply_with_bare_lf_is_passed_on_with_crlf(sallyport):
    with RudeServer(table={"CWD": b"250-one\n two\n250 three\n"}) as server:
        front = sallyport(server)
        with RudeClient(front.host, front.port).logon() as client:
            assert client.ask("CWD a", 250).raw == b"250-one\r\n two\r\n250 three\r\n"
            client.quit()


@pytest.mark.parametrize(
    "bad",
    [b"what\r\n", b"99 too small\r\n", b"700 too big\r\n", b"25 short\r\n", b"250 " + b"x" * 100_000],
    ids=["no_code", "too_small", "too_big", "short", "endless"],
)
def test_what_is_not_a_reply_ends_the_session_with_421(bad, sallyport):
    with RudeServer(table={"CWD": bad}) as server:
        front = sallyport(server)
        with RudeClient(front.host, front.port).logon() as client:
            client.ask("CWD a", 421)
            assert client.wait_end() == "fin"
        assert front.wait_event("session_end")["reason"] == "bad_reply"
        server.wait_gone(5)
