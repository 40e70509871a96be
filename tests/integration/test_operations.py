# SPDX-License-Identifier: ISC
"""Starting, stopping, checking, reloading, and what an operator sees."""

import contextlib
import json
import os
import re
import signal
import socket
import threading
import time

import pytest
from rude import FIN, RudeClient, RudeServer, drain, hang, never_read, stalled
from sallyport import REPOSITORY, SANITIZERS, Configuration, admin_raw, find_binary, find_ctl
from support import eventually, free_port, listens, random_bytes, run

pytestmark = pytest.mark.proxy


@pytest.fixture
def server():
    with RudeServer(files={b"f": b"content"}) as server:
        yield server


def sallyport_run(*arguments, **options):
    return run([find_binary(), *arguments], env=os.environ | SANITIZERS, **options)


# -------------------------------------------------------------------------------------- command line


def test_help_and_version():
    done = sallyport_run("--help")
    assert done.returncode == 0 and "usage:" in done.stdout and "--listen" in done.stdout
    done = sallyport_run("-V")
    assert done.returncode == 0 and re.fullmatch(r"sallyport \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [["--frob"], ["surplus"], ["--listen", "127.0.0.1:2121"], ["--server", "127.0.0.1:21"], ["-c"],
     ["-c", "/dev/null", "--listen", "127.0.0.1:2121", "--server", "127.0.0.1:21"],
     ["--listen", "127.0.0.1:x", "--server", "127.0.0.1:21"], ["--listen", "127.0.0.1:2121", "--server", ":"]],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2_and_a_reason(arguments):
    done = sallyport_run(*arguments)
    assert done.returncode == 2
    assert done.stderr.strip()


def test_missing_file_is_exit_code_2(tmp_path):
    done = sallyport_run("-c", tmp_path / "nothing.conf")
    assert done.returncode == 2 and "nothing.conf" in done.stderr


def test_mistakes_in_the_file_are_all_told_with_their_lines(tmp_path):
    file = tmp_path / "sallyport.conf"
    file.write_text(
        'listener main { bind = { "127.0.0.1:0x" } }\n'
        'pool main { server a { address = "127.0.0.1:21" } }\n'
        'policy main { idle_timeout = "5 min" }\n'
        "route { pool = mian  policy = main }\n"
    )
    for arguments in (["-c", file], ["-t", "-c", file]):
        done = sallyport_run(*arguments)
        assert done.returncode == 2
        for line in (1, 3, 4):
            assert f"sallyport.conf:{line}:" in done.stderr, done.stderr


def test_check_says_what_the_configuration_means(tmp_path):
    file = tmp_path / "sallyport.conf"
    file.write_text(Configuration(["127.0.0.1:21"]).text(tmp_path))
    done = sallyport_run("-t", "-c", file)
    assert done.returncode == 0, done.stderr
    for word in ("main", "s0", "127.0.0.1:21", "idle_timeout"):
        assert word in done.stdout, done.stdout


def test_example_configuration_is_accepted():
    """What is installed as an example passes -t, but for files that only an installed system has."""
    example = REPOSITORY / "deploy" / "sallyport.conf"
    done = sallyport_run("-t", "-c", example)
    assert done.returncode == 0, done.stderr


def test_address_in_use_is_exit_code_1_and_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        done = sallyport_run("--listen", address, "--server", "127.0.0.1:21", timeout=20)
    assert done.returncode == 1
    assert address in done.stderr


def test_one_line_is_a_working_proxy(sallyport, server):
    port = free_port()
    front = sallyport(
        server, arguments=["--listen", f"127.0.0.1:{port}", "--server", server.address], wait=False
    )
    front.port = port
    eventually(front.is_listening)
    with RudeClient(front.host, port) as client:
        client.logon()
        assert client.download("RETR f")[0] == b"content"
        assert client.upload("STOR g", b"up").code == 226
        client.quit()
    assert server.files[b"g"] == b"up"


# -------------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_tells_clients_421_and_servers_quit_and_ends_with_0(number, sallyport, server):
    front = sallyport(server)
    with RudeClient(front.host, front.port) as idle, RudeClient(front.host, front.port) as fresh:
        idle.logon()
        front.signal(number)
        for client in (idle, fresh):
            assert "shutting down" in client.expect(421).text
            assert client.wait_end() == FIN
        assert front.wait(10) == 0
    server.wait_gone(5)
    assert server.verbs()[-1] == "QUIT"
    assert front.wait_event("stopping") and front.wait_event("stopped")


def test_drain_lets_a_running_transfer_end_and_accepts_nobody(sallyport, server):
    content = random_bytes(600_000)
    gate = threading.Event()

    def slow(session, _):
        session.say("150 Here it comes")
        with session.open_data() as data:
            data.sendall(content[:1000])
            gate.wait(20)
            data.sendall(content[1000:])
        session.say("226 Sent")

    server.table["RETR"] = slow
    front = sallyport(server, top={"drain_timeout": "20s"})
    with RudeClient(front.host, front.port) as client:
        client.logon()
        with client.open_data() as data:
            client.ask("RETR f", 150)
            front.signal(signal.SIGTERM)
            eventually(lambda: not listens(front.host, front.port))
            assert front.process.poll() is None
            gate.set()
            assert drain(data) == (content, FIN)
        client.expect(226)
        client.expect(421)
        assert client.wait_end() == FIN
    assert front.wait(10) == 0


def test_drain_leaves_what_a_client_has_queued_behind_a_transfer(sallyport, server):
    gate = threading.Event()

    def slow(session, _):
        session.say("150 Here it comes")
        with session.open_data():
            gate.wait(20)
        session.say("226 Sent")

    server.table["RETR"] = slow
    front = sallyport(server, top={"drain_timeout": "20s"})
    with RudeClient(front.host, front.port) as client:
        client.logon()
        with client.open_data() as data:
            client.ask("RETR f", 150)
            client.send(b"PWD\r\nPWD\r\n")
            front.signal(signal.SIGTERM)
            eventually(lambda: not listens(front.host, front.port))
            gate.set()
            drain(data)
        client.expect(226)
        client.expect(421)
        assert client.wait_end() == FIN
    assert front.wait(10) == 0
    assert "PWD" not in server.verbs()


def test_drain_timeout_ends_transfers_that_do_not_end(sallyport, server):
    server.table["RETR"] = stalled(1000)
    front = sallyport(server, top={"drain_timeout": "1s"})
    with RudeClient(front.host, front.port) as client:
        client.logon()
        with client.open_data() as data:
            client.ask("RETR f", 150)
            started = time.monotonic()
            front.signal(signal.SIGTERM)
            assert drain(data)[1] == "rst"
            assert 0.9 < time.monotonic() - started < 3
        client.expect(426, 421)
        assert client.wait_end() == FIN
    assert front.wait(10) == 0
    server.wait_gone(5)


def test_second_signal_ends_it_at_once(sallyport, server):
    server.table["RETR"] = stalled(1000)
    front = sallyport(server, top={"drain_timeout": "60s"})
    with RudeClient(front.host, front.port) as client:
        client.logon()
        with client.open_data():
            client.ask("RETR f", 150)
            front.signal(signal.SIGTERM)
            eventually(lambda: front.events("stopping"))
            started = time.monotonic()
            front.signal(signal.SIGTERM)
            assert front.wait(10) == 0
            assert time.monotonic() - started < 3
    server.wait_gone(5)


def test_signal_while_servers_and_clients_hang_still_ends(sallyport, server):
    server.table |= {"CWD": hang, "STOR": never_read, "QUIT": hang, "ABOR": hang}
    front = sallyport(server)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RudeClient(front.host, front.port)).logon() for _ in range(3)]
        clients[0].say("CWD a")
        data = stack.enter_context(clients[1].open_data())
        clients[1].ask("STOR f", 150)
        data.sendall(b"x" * 100_000)
        clients[2].send(b"NO")
        front.signal(signal.SIGTERM)
        assert front.wait(15) == 0


def test_max_sessions_is_of_all_workers_together(sallyport, server):
    """However the kernel's hash spreads the clients over the workers, the limit is neither undercut nor exceeded."""
    front = sallyport(server, top={"max_sessions": 6, "workers": 2})
    for _ in range(5):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(RudeClient(front.host, front.port, greeted=False)) for _ in range(9)]
            codes = sorted(client.reply().code for client in clients)
            assert codes == [220] * 6 + [421] * 3
        eventually(lambda: not front.sessions())


def test_orphans_are_looked_for_at_the_start(sallyport, server):
    """The first audit is not an interval (a minute) away: until then "no orphans" would mean that nobody looked."""
    front = sallyport(server)
    eventually(lambda: front.ask("show orphans")["audits"] > 0, 30)


# ------------------------------------------------------------------------------------------- reload


def test_hangup_puts_a_new_configuration_in_force_for_new_logons(sallyport, server):
    front = sallyport(server)
    with RudeServer() as other, RudeClient(front.host, front.port) as old:
        old.logon()
        front.configuration.servers = [other]
        front.write_configuration()
        loaded = len(front.events("config_loaded"))
        front.signal(signal.SIGHUP)
        front.wait_event("config_loaded", loaded + 1)

        def new_logon_is_there():  # each worker takes it up when it comes to its mail
            with RudeClient(front.host, front.port) as new:
                new.logon().quit()
            return other.verbs() == ["USER", "PASS", "QUIT"]

        eventually(new_logon_is_there)
        old.ask("PWD", 257)
        old.quit()


def test_hangup_with_a_broken_configuration_keeps_the_old_one(sallyport, server):
    front = sallyport(server)
    front.write_configuration("listener main {\n")
    front.signal(signal.SIGHUP)
    front.wait_event("config_refused")
    with RudeClient(front.host, front.port) as client:
        client.logon().ask("PWD", 257)
        client.quit()


def test_hangup_opens_the_log_again(sallyport, server, tmp_path):
    log = tmp_path / "log"
    front = sallyport(server, log_file=str(log))
    log.rename(tmp_path / "log.1")
    front.signal(signal.SIGHUP)
    eventually(log.exists)
    with RudeClient(front.host, front.port) as client:
        client.logon().quit()
    front.wait_event("session_end")
    assert not any(json.loads(line)["event"] == "session_end" for line in (tmp_path / "log.1").read_text().splitlines())


# ---------------------------------------------------------------------------------------------- log


def test_log_tells_a_session_from_its_start_to_its_end(sallyport, server):
    front = sallyport(server)
    with RudeClient(front.host, front.port) as client:
        client.logon("alice")
        client.download("RETR f")
        client.upload("STOR g", b"x" * 500)
        client.quit()
        mine = f"{client.host}:"
    end = front.wait_event("session_end")
    story = [event for event in front.log() if event.get("session") == end["session"]]
    names = [event["event"] for event in story]
    assert names[0] == "session_start" and names[-1] == "session_end"
    assert [name for name in names if name in ("logon", "transfer")] == ["logon", "transfer", "transfer"]
    assert all(event["client"].startswith(mine) for event in story)
    logon = next(event for event in story if event["event"] == "logon")
    assert (logon["user"], logon["server_name"], logon["server"]) == ("alice", "s0", server.address)
    down, up = (event for event in story if event["event"] == "transfer")
    assert (down["verb"], down["bytes_down"], down["code"], down["text"]) == ("RETR", 7, 226, "f")
    assert (up["verb"], up["bytes_up"], up["code"]) == ("STOR", 500, 226)
    assert (end["reason"], end["transfers"], end["bytes_up"], end["bytes_down"]) == ("client_quit", 2, 500, 7)


def test_log_survives_names_made_to_break_it(sallyport, server):
    front = sallyport(server)
    evil = '","event":"logon","user":"root\x1b[2J\u202e'
    server.files[evil.encode()] = b"x"
    with RudeClient(front.host, front.port) as client:
        client.logon(evil)
        client.download(f"RETR {evil}")
        client.quit()
    front.wait_event("session_end")
    for line in front.out_path.read_bytes().splitlines():
        assert json.loads(line) and not re.search(rb"[\x00-\x1f\x7f]", line)
    assert {event["user"] for event in front.events("logon")} == {evil}


def test_log_can_be_words(sallyport, server):
    front = sallyport(server, log={"format": "text", "level": "info"})
    with RudeClient(front.host, front.port) as client:
        client.logon("alice").quit()
    eventually(lambda: "session_end" in front.out_path.read_text())
    lines = front.out_path.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z \w+ ", line) for line in lines), lines
    assert any("logon" in line and "user=alice" in line for line in lines)


def test_log_below_its_level_is_not_written(sallyport, server):
    front = sallyport(server, log={"level": "warning"})
    with RudeClient(front.host, front.port) as client:
        client.logon().quit()
    eventually(lambda: front.stats()["sessions"] == 0)
    front.stop()
    assert all(event["level"] in ("warning", "error") for event in front.log())


# ----------------------------------------------------------------------------------------------- admin


def test_operator_sees_sessions_and_what_they_do(sallyport, server):
    server.table["RETR"] = stalled(1000)
    front = sallyport(server)
    with RudeClient(front.host, front.port) as client, RudeClient(front.host, front.port) as fresh:
        client.logon("alice")
        with client.open_data() as data:
            client.ask("RETR f", 150)
            data.recv(1000, socket.MSG_WAITALL)

            def row_of(client):
                mine = str(client.sock.getsockname()[1])
                return next(row for row in front.sessions() if row["client"].rsplit(":", 1)[1] == mine)

            assert len(front.sessions()) == 2
            eventually(lambda: row_of(client)["bytes_down"] == 1000)  # bytes are counted now and then
            busy, idle = row_of(client), row_of(fresh)
            assert [busy[key] for key in ("user", "server_name", "pool", "listener")] == ["alice", "s0", "main", "main"]
            assert (busy["place"], busy["verb"]) == ("transfer", "RETR")
            assert busy["timeout"] == "stall_timeout" and 100_000 < busy["due_ms"] <= 120_000
            assert idle["user"] in (None, "") and idle["timeout"] == "login_timeout"
            human = front.ctl("show", "sessions")
            assert human.returncode == 0 and "alice" in human.stdout and "RETR" in human.stdout


def test_operator_ends_a_session(sallyport, server):
    front = sallyport(server)
    with RudeClient(front.host, front.port) as client, RudeClient(front.host, front.port) as other:
        client.logon()
        other.logon()
        mine = str(client.sock.getsockname()[1])
        row = next(row for row in front.sessions() if row["client"].endswith(":" + mine))
        assert front.ctl("kick", row["id"]).returncode == 0
        assert "operator" in client.expect(421).text
        assert client.wait_end() == FIN
        other.ask("PWD", 257)
        other.quit()
    front.wait_event("session_end", reason="kicked")


def test_operator_is_told_of_what_is_not_there(sallyport, server):
    front = sallyport(server)
    for words in (["kick", "00000000deadbeef"], ["frobnicate"]):
        assert "error" in json.loads(front.ctl("--json", *words).stdout)
        done = front.ctl(*words)
        assert done.returncode == 1 and done.stdout + done.stderr
    done = run([find_ctl(), "-s", front.folder / "nothing.sock", "show", "stats"])
    assert done.returncode == 1 and "nothing.sock" in done.stderr


@pytest.mark.parametrize(
    "words", ["show stats", "show locks", "show orphans", "show pools", "show config", "show sessions", "help"]
)
def test_every_question_is_answered_for_people_and_for_programs(words, sallyport, server):
    front = sallyport(server)
    with RudeClient(front.host, front.port) as client:
        client.logon()
        assert isinstance(json.loads(front.ctl("--json", *words.split()).stdout), dict)
        human = front.ctl(*words.split())
        assert human.returncode == 0 and human.stdout.strip() and not human.stdout.startswith("{")


def test_admin_socket_is_for_its_owner_alone(sallyport, server):
    front = sallyport(server)
    assert (front.folder / "admin.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "noise",
    ["\0" * 100, "x" * 100_000, "show sessions\r\n" * 500, "show", "kick", "json", "\n\n\n"],
    ids=["nul", "long", "many", "half", "no_argument", "json_alone", "blank"],
)
def test_noise_on_the_admin_socket_harms_nobody(noise, sallyport, server):
    front = sallyport(server)
    with contextlib.suppress(OSError):
        admin_raw(front.folder / "admin.sock", noise + "\nquit\n")
    assert front.stats()["sessions"] == 0
    with RudeClient(front.host, front.port) as client:
        client.logon().quit()


def test_admin_client_that_does_not_read_harms_nobody(sallyport, server):
    front = sallyport(server)
    with socket.socket(socket.AF_UNIX) as lazy:
        lazy.connect(str(front.folder / "admin.sock"))
        lazy.settimeout(0.5)
        with contextlib.suppress(OSError):
            for _ in range(10_000):
                lazy.sendall(b"show stats\n")
        assert front.stats()["sessions"] == 0
        with RudeClient(front.host, front.port) as client:
            client.logon().quit()


def test_syslog_gets_the_events_too(sallyport, server, tmp_path):
    """In a mount namespace of its own, where /dev/log is ours."""
    if run(["unshare", "--mount", "true"]).returncode != 0:
        pytest.skip("no mount namespaces for this user")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.settimeout(10)
        inside = 'mount -t tmpfs none /dev && ln -s "$1" /dev/log && mknod /dev/null c 1 3 && shift && exec "$@"'
        front = sallyport(
            server,
            log={"syslog": "ftp"},
            namespace=["unshare", "--mount", "sh", "-c", inside, "sh", str(tmp_path / "log")],
        )
        with RudeClient(front.host, front.port) as client:
            client.logon("alice").quit()
        got = b""
        while b"session_end" not in got:
            got += log.recv(65536)
        assert b"user=alice" in got and b"sallyport[" in got
        front.stop()
