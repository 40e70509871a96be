# SPDX-License-Identifier: ISC
"""sallyportctl by itself: what it sends, how it lays out what comes, and its exit codes. The server is a thread here."""

import json
import os
import socket
import threading

import pytest
from sallyport import find_ctl
from support import run

pytestmark = pytest.mark.proxy


@pytest.fixture
def fake(tmp_path):
    """fake(answer) → (socket's path, lines received): each connection gets the bytes once its line has come."""
    opened = []

    def make(answer, read=True):
        path, lines = tmp_path / "a.sock", []
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        opened.append(listener)

        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    if read:
                        lines.append(client.makefile("rb").readline())
                    client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return path, lines

    yield make
    for listener in opened:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def ctl(path, *words):
    return run([find_ctl(), "-s", path, *words])


def answer_of(value):
    return json.dumps(value).encode() + b"\n"


SESSION = {
    "id": "010000000000002a",
    "client": "192.0.2.7:50000",
    "user": "bob",
    "server_name": None,
    "place": "transfer",
    "verb": "RETR",
    "age_ms": 192_000,
    "idle_ms": 340,
    "due_ms": 7_500_000,
    "bytes_up": 1023,
    "bytes_down": 5_000_000_000,
    "listener": "main",
}


def test_table_has_columns_that_stand_in_line(fake):
    path, lines = fake(answer_of({"sessions": [SESSION, SESSION | {"user": "a-much-longer-name", "age_ms": 100_000_000}]}))
    done = ctl(path, "show", "sessions")
    assert done.returncode == 0 and done.stderr == ""
    assert lines == [b"show sessions json\n"]
    head, first, second = done.stdout.splitlines()
    assert head.split() == "ID CLIENT USER SERVER NAME PLACE VERB AGE IDLE DUE BYTES UP BYTES DOWN".split()
    assert first.split() == ["010000000000002a", "192.0.2.7:50000", "bob", "-", "transfer", "RETR"] + [
        "3m12s", "340ms", "2h05m", "1023", "4.7G",
    ]  # fmt: skip
    assert second.split()[6] == "1d03h"
    assert len(head) == len(first) == len(second)
    assert first.index("transfer") == second.index("transfer") == head.index("PLACE")


def test_wide_shows_all_columns(fake):
    path, _ = fake(answer_of({"sessions": [SESSION]}))
    assert "LISTENER" not in ctl(path, "show", "sessions").stdout
    assert "LISTENER" in ctl(path, "--wide", "show", "sessions").stdout
    assert "LISTENER" in ctl(path, "show", "sessions", "--wide").stdout


def test_json_comes_as_it_was(fake):
    raw = b'{"sessions":[],  "n":1}\n'
    path, lines = fake(raw)
    for words in (["--json", "show", "sessions"], ["show", "sessions", "--json"], ["show", "sessions", "json"]):
        done = ctl(path, *words)
        assert (done.returncode, done.stdout.encode()) == (0, raw)
    assert lines == [b"show sessions json\n"] * 3


def test_words_of_the_server_reach_it(fake):
    path, lines = fake(answer_of({"findings": 0, "orphans": []}))
    done = ctl(path, "show", "orphans", "--now")
    assert lines == [b"show orphans --now json\n"]
    assert "no orphans" in done.stdout


def test_zeros_are_left_out_of_groups(fake):
    path, _ = fake(answer_of({"logons": 0, "sessions_ended_by": {"kicked": 3, "desync": 0}}))
    shown = ctl(path, "show", "stats").stdout
    assert "logons " in shown and "sessions_ended_by{kicked}" in shown and "desync" not in shown
    assert "sessions_ended_by{desync}" in ctl(path, "-w", "show", "stats").stdout


def test_names_cannot_move_the_cursor(fake):
    evil = "a\x1b[2J\x9b31m\u202e\nID\tb"
    path, _ = fake(answer_of({"sessions": [SESSION | {"user": evil}], evil: 1}))
    shown = ctl(path, "show", "sessions").stdout
    assert "a\\x1b[2J\\x9b31m\\u202e\\x0aID\\x09b" in shown
    assert not any(c in shown for c in "\x1b\x9b\u202e\t")


def test_characters_are_counted_and_not_bytes(fake):
    path, _ = fake(answer_of({"t": [{"name": "äöü€", "x": "1"}, {"name": "abcd", "x": "2"}]}))
    head, first, second = ctl(path, "help").stdout.splitlines()
    assert first.index("1") == second.index("2") == head.index("X")


def test_refusal_is_exit_code_1_and_its_words(fake):
    path, _ = fake(answer_of({"error": "there is no session 1"}))
    done = ctl(path, "kick", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "sallyportctl: error: there is no session 1\n"
    done = ctl(path, "--json", "kick", "1")
    assert done.returncode == 1 and json.loads(done.stdout) == {"error": "there is no session 1"}


def test_refusal_before_the_command_is_told(fake):
    path, _ = fake(b"error: too many admin clients\n.\n", read=False)
    done = ctl(path, "show", "stats")
    assert (done.returncode, done.stderr) == (1, "sallyportctl: error: too many admin clients\n")


@pytest.mark.parametrize(
    "answer, words",
    [
        (b"", "closed before the answer was complete"),
        (b'{"a":1}', "closed before the answer was complete"),
        (b"220 FTP ready\n", "not JSON; is that sallyport?"),
    ],
)
def test_answer_that_is_none_is_exit_code_1(fake, answer, words):
    path, _ = fake(answer)
    done = ctl(path, "show", "stats")
    assert done.returncode == 1 and words in done.stderr


def test_unreachable_socket_is_exit_code_1_and_a_hint(tmp_path):
    done = ctl(tmp_path / "none.sock", "show", "stats")
    assert done.returncode == 1
    assert "No such file or directory; is sallyport running?" in done.stderr and "none.sock" in done.stderr
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    done = ctl(tmp_path / "dead.sock", "show", "stats")
    assert done.returncode == 1 and "Connection refused; is sallyport running?" in done.stderr
    done = ctl(tmp_path / ("x" * 200), "show", "stats")
    assert done.returncode == 1 and "File name too long" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_forbidden_socket_is_exit_code_1_and_says_who_may(fake):
    path, _ = fake(answer_of({}))
    path.chmod(0o600)
    for folder in [p for p in path.parents if len(p.parts) > 2]:
        folder.chmod(folder.stat().st_mode | 0o011)
    # a copy, since the build directory may be root's own
    copy = path.parent / "ctl"
    copy.write_bytes(find_ctl().read_bytes())
    copy.chmod(0o755)
    done = run([copy, "-s", path, "show", "stats"], user=65534, group=65534, extra_groups=[])
    assert done.returncode == 1
    assert "Permission denied; it is for root and for the user that sallyport runs as" in done.stderr


@pytest.mark.parametrize("words", [[], ["--frob"], ["-s"], ["show\nstats"], ["x" * 600], ["json"]])
def test_wrong_usage_is_exit_code_2(words):
    done = run([find_ctl(), *words])
    assert done.returncode == 2 and done.stdout == "" and "--help" in done.stderr


def test_help_and_version():
    done = run([find_ctl(), "--help"])
    assert done.returncode == 0 and done.stderr == ""
    for words in ("show sessions", "show orphans [--now]", "kick ID", "--socket", "/run/sallyport/admin.sock"):
        assert words in done.stdout
    assert run([find_ctl(), "-V"]).stdout.startswith("sallyportctl ")


def test_output_that_cannot_be_written_is_exit_code_1(fake):
    path, _ = fake(answer_of({"sessions": [SESSION]}))
    done = run(["sh", "-c", 'exec "$@" > /dev/full', "sh", find_ctl(), "-s", path, "show", "sessions"])
    assert done.returncode == 1 and "No space left on device" in done.stderr
