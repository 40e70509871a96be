# SPDX-License-Identifier: ISC
"""Pooled passive ports: a few ports that all sessions share. Whose is a connection, and who gets none?"""

import contextlib
import os
import re
import signal
import socket
import threading
from pathlib import Path

import clients
import pytest
from rude import FIN, RST, RudeClient, RudeServer, drain
from support import eventually, free_port, free_ports, listens, pooled_ports, random_bytes, sha256

pytestmark = pytest.mark.proxy

HERE = "127.0.0.1"
FILES = {f"f{number}".encode(): bytes([65 + number]) * (1000 + number) for number in range(12)}


@pytest.fixture
def server():
    with RudeServer(files=dict(FILES)) as server:
        yield server


def start(sallyport, server, n, listener=None, **settings):
    """Sallyport with n pooled ports."""
    return sallyport(server, listener={"passive_ports": pooled_ports(n, HERE)} | (listener or {}), **settings)


def client_of(front, **options):
    return RudeClient(front.host, front.port, **options).logon()


def connect(address, source=HERE):
    return socket.create_connection(address, 30, source_address=(source, 0))


def take(client, address, number, source=HERE):
    """Downloads file `number` over a connection to that address; it must be the right one."""
    with connect(address, source) as data:
        client.ask(f"RETR f{number}", 150)
        assert drain(data) == (FILES[b"f%d" % number], FIN)
    client.expect(226)


def assert_refused(address, source=HERE, send=b""):
    """A connection there is closed at once, by RST, and gets not a byte."""
    with contextlib.suppress(ConnectionError):  # so fast that it is seen in connecting or sending
        with connect(address, source) as data:
            if send:
                data.sendall(send)
            assert drain(data) == (b"", RST)


def stats_of(front, name):
    value = front.stats()[name]
    return value.get("main") if isinstance(value, dict) else value


def assert_clean(front):
    eventually(lambda: not front.sessions(), 30)
    assert front.stats()["pooled_ports_reserved"] == {"main": 0}
    found = front.ask("show orphans --now")
    assert found["findings"] == 0, found
    assert not any(front.stats()["held"].values())


# ----------------------------------------------------------------------------------- real ones


@pytest.mark.parametrize("kind", ["curl", "lftp"])
@pytest.mark.parametrize("name", ["vsftpd", "proftpd"])
def test_real_clients_and_servers(name, kind, fleet, sallyport, tmp_path):
    server = fleet(name)
    folder = f"pooled{os.urandom(4).hex()}"
    server.fresh_folder(folder)
    front = start(sallyport, server, 2)
    client = clients.ALL[kind](front, server.user, server.password, tmp_path)
    up, down = tmp_path / "up", tmp_path / "down"
    up.write_bytes(random_bytes(1_234_567))
    client.put(up, f"{folder}/file.bin")
    assert sha256(server.root / folder / "file.bin") == sha256(up)
    assert "file.bin" in [name.rsplit("/", 1)[-1] for name in client.names(folder)]
    client.get(f"{folder}/file.bin", down)
    assert sha256(down) == sha256(up)
    assert_clean(front)


# ------------------------------------------------------------------------------- whose is it?


@pytest.mark.parametrize("how", ["PASV", "EPSV"])
def test_clients_of_different_addresses_share_one_port(how, server, sallyport):
    front = start(sallyport, server, 1)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(client_of(front, source=f"127.0.0.{2 + i}")) for i in range(6)]
        addresses = {client.passive_port(how) for client in crowd}
        assert len(addresses) == 1
        assert stats_of(front, "pooled_ports_reserved") == 6
        (address,) = addresses
        # all are connected before the first of them says what it wants, and in another order
        data = {i: stack.enter_context(connect(address, f"127.0.0.{2 + i}")) for i in reversed(range(6))}
        for i, client in enumerate(crowd):
            client.ask(f"RETR f{i}", 150)
            assert drain(data[i]) == (FILES[b"f%d" % i], FIN)
            client.expect(226)
    assert_clean(front)


def test_sessions_of_one_address_are_told_different_ports_and_then_425(server, sallyport):
    front = start(sallyport, server, 2)
    with client_of(front) as one, client_of(front) as two, client_of(front) as three:
        first, second = one.passive_port(), two.passive_port()
        assert first != second
        for way in ("EPSV", "PASV"):
            reply = three.ask(way, 425)
            assert b"your address" in reply.raw
        stats = front.stats()
        assert (stats["passive_exhausted"], stats["pooled_ports_peak"]) == (2, 2)
        assert (stats["pooled_ports"], stats["pooled_ports_reserved"]) == ({"main": 2}, {"main": 2})
        with client_of(front, source="127.0.0.9") as other:  # has all of them
            take(other, other.passive_port(), 9, "127.0.0.9")
        take(two, second, 2)
        take(three, three.passive_port(), 3)
        take(one, first, 1)
    assert_clean(front)


def test_port_is_free_again_once_its_connection_has_come(server, sallyport):
    """Transfers under way need no port: many at once from one address, and only one port."""
    front = start(sallyport, server, 1)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(client_of(front)) for _ in range(5)]
        data = []
        for client in crowd:
            data.append(stack.enter_context(connect(client.passive_port())))
            eventually(lambda: stats_of(front, "pooled_ports_reserved") == 0)
        for i, client in enumerate(crowd):
            client.ask(f"RETR f{i}", 150)
            assert drain(data[i]) == (FILES[b"f%d" % i], FIN)
            client.expect(226)
        assert stats_of(front, "passive_exhausted") == 0


def test_connection_may_come_before_or_behind_the_command(server, sallyport):
    front = start(sallyport, server, 2)
    with client_of(front) as client:
        for i in range(4):
            take(client, client.passive_port(), i)
        for i in range(4):
            address = client.passive_port()
            client.ask(f"RETR f{i}", 150)
            with connect(address) as data:
                assert drain(data) == (FILES[b"f%d" % i], FIN)
            client.expect(226)
        for i in range(4):
            assert client.upload(f"STOR up{i}", FILES[b"f%d" % i]).code == 226
            assert server.files[b"up%d" % i] == FILES[b"f%d" % i]
        client.quit()
    assert_clean(front)


def test_threads_of_one_address_get_their_own_files_always(server, sallyport):
    """8 clients, 2 workers, 3 ports: who gets a 425 tries again; nobody gets another's file."""
    front = start(sallyport, server, 3)
    failed = []
    refused = [0] * 8

    def work(number):
        try:
            with client_of(front) as client:
                done = 0
                while done < 15:
                    reply = client.ask("EPSV", 229, 425)
                    if reply.code == 425:
                        refused[number] += 1
                        continue
                    port = int(re.search(rb"\|\|\|(\d+)\|", reply.raw)[1])
                    take(client, (front.host, port), number)
                    done += 1
                client.quit()
        except BaseException as error:  # shown by the test's thread
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    if failed:
        raise failed[0]
    assert not any(thread.is_alive() for thread in threads)
    assert_clean(front)
    stats = front.stats()
    assert stats["transfers_ok"] == 120
    assert stats["passive_exhausted"] == sum(refused)
    assert stats["data_ambiguous"] == stats["data_unexpected"] == 0


# --------------------------------------------------------------------------------- whose it is not


def test_wrong_address_gets_nothing_and_does_not_use_up_the_port(server, sallyport):
    front = start(sallyport, server, 1)
    with client_of(front) as client:
        address = client.passive_port()
        for _ in range(3):
            assert_refused(address, "127.0.0.77", b"evil")
        client.ask("RETR f1", 150)
        assert_refused(address, "127.0.0.78")
        with connect(address) as data:
            assert drain(data) == (FILES[b"f1"], FIN)
        client.expect(226)
        assert_refused(address)  # right address, and nothing is waited for
        assert stats_of(front, "data_unexpected") == 5
        client.quit()
    assert_clean(front)


def test_connection_for_an_earlier_pasv_is_not_that_of_the_next(server, sallyport):
    front = start(sallyport, server, 2)
    with client_of(front) as client:
        first, second = client.passive_port(), client.passive_port("PASV")
        assert first != second
        assert_refused(first)
        take(client, second, 2)
        assert stats_of(front, "data_ambiguous") == 1
        assert stats_of(front, "pooled_ports_resting") == 1


def is_stopped(front):
    """Each thread of it: the signal takes its time."""
    tasks = Path(f"/proc/{front.pid}/task").glob("*/stat")
    return all(task.read_text().rsplit(")", 1)[1].split()[0] == "T" for task in tasks)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("n", [1, 2])
def test_late_connection_of_a_failed_transfer_is_refused(n, workers, server, sallyport):
    """It comes while nothing is waited for, or while the process is busy, together with the next PASV."""
    front = start(sallyport, server, n, top={"workers": workers})
    with client_of(front) as client:
        for turn in range(6):
            address = client.passive_port()
            client.ask("RETR nothing", 550)
            if turn % 2 == 0:
                assert_refused(address)
            else:
                front.signal(signal.SIGSTOP)
                eventually(lambda: is_stopped(front))
                late = connect(address)
                late.close()
                client.say("EPSV")
                front.signal(signal.SIGCONT)
                port = int(re.search(rb"\|\|\|(\d+)\|", client.expect(229).raw)[1])
                with connect((front.host, port)) as data:
                    client.ask(f"STOR up{turn}", 150)
                    data.sendall(b"all of it")
                client.expect(226)
                assert server.files[b"up%d" % turn] == b"all of it"
        assert stats_of(front, "data_ambiguous") == 6
        client.quit()
    assert_clean(front)


def test_many_failed_transfers_do_not_use_up_the_ports(server, sallyport):
    """Ports whose connections never came rest, but there is always one."""
    front = start(sallyport, server, 2)
    with client_of(front) as client:
        for i in range(12):
            client.passive_port()
            client.ask("RETR nothing", 550)
            client.passive_port("PASV")
            take(client, client.passive_port(), i)
        client.quit()
    assert_clean(front)


def test_port_comes_back_when_its_clock_expires_and_when_its_session_ends(server, sallyport):
    front = start(sallyport, server, 1, policy={"data_accept_timeout": "1s"})
    with client_of(front) as one:
        one.passive_port()
        one.ask("RETR f1", 150)
        one.expect(425)
        assert stats_of(front, "pooled_ports_reserved") == 0
        one.passive_port()
        eventually(lambda: stats_of(front, "pooled_ports_reserved") == 0)
        one.ask("RETR f1", 425)
        one.passive_port()
        one.reset()
    eventually(lambda: stats_of(front, "pooled_ports_reserved") == 0)
    with client_of(front) as two:
        take(two, two.passive_port(), 2)
        two.passive_port()
        two.ask("ABOR")
        two.quit()
    assert_clean(front)


# -------------------------------------------------------------------------- reload and drain


def rewrite(front, **listener):
    """Another configuration for the same process."""
    front.configuration.listener.update(listener)
    front.write_configuration()
    front.signal(signal.SIGHUP)


def test_reload_moves_the_ports_and_old_sessions_keep_theirs(server, sallyport):
    base = free_ports(4, (HERE,))
    front = sallyport(server, listener={"passive_ports": f"pooled:{base}-{base + 1}"})
    with client_of(front) as old:
        told = old.passive_port()
        rewrite(front, passive_ports=f"pooled:{base + 1}-{base + 3}")
        front.wait_event("config_loaded", 2)
        with client_of(front, source="127.0.0.2") as new:
            seen = set()
            for i in range(12):
                address = new.passive_port()
                seen.add(address[1])
                take(new, address, i, "127.0.0.2")
            assert seen <= set(range(base + 1, base + 4))
        take(old, told, 1)  # and what it is told from now on is of its own configuration
        for i in range(6):
            address = old.passive_port()
            assert address[1] in (base, base + 1)
            take(old, address, i)
        assert listens(HERE, base)
    eventually(lambda: not listens(HERE, base), 30)
    assert all(listens(HERE, port) for port in range(base + 1, base + 4))
    assert_clean(front)
    rewrite(front, passive_ports="any")
    front.wait_event("config_loaded", 3)
    eventually(lambda: not any(listens(HERE, port) for port in range(base, base + 4)), 30)
    with client_of(front) as client:
        assert client.download("RETR f1")[0] == FILES[b"f1"]


def test_reload_that_cannot_open_a_port_is_refused(server, sallyport):
    base = free_ports(2, (HERE,))
    front = sallyport(server, listener={"passive_ports": f"pooled:{base}"})
    with socket.create_server((HERE, base + 1)):
        rewrite(front, passive_ports=f"pooled:{base}-{base + 1}")
        refused = front.wait_event("config_refused")
        assert f"{HERE}:{base + 1}" in refused["text"]
    with client_of(front) as client:
        for i in range(4):
            address = client.passive_port()
            assert address[1] == base
            take(client, address, i)
    assert_clean(front)


def test_start_with_a_port_that_is_taken_is_refused(server, sallyport):
    base = free_ports(1, (HERE,))
    with socket.create_server((HERE, base)):
        front = sallyport(server, listener={"passive_ports": f"pooled:{base}"}, wait=False)
        assert front.wait() == 1
        assert f"{HERE}:{base}" in front.errors()


def test_drain_waits_for_connections_to_the_ports(server, sallyport):
    """The worker that has the door may have no session of its own."""
    front = start(sallyport, server, 2, top={"drain_timeout": "60s", "workers": 2})
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(client_of(front, source=f"127.0.0.{2 + i}")) for i in range(4)]
        addresses = [client.passive_port() for client in crowd]
        for i, client in enumerate(crowd):
            client.ask(f"RETR f{i}", 150)
        front.signal(signal.SIGTERM)
        front.wait_event("stopping")
        eventually(lambda: not listens(front.host, front.port))
        for i, client in enumerate(crowd):
            with connect(addresses[i], f"127.0.0.{2 + i}") as data:
                assert drain(data) == (FILES[b"f%d" % i], FIN)
            client.expect(226)
    front.wait(60)
    front.check()


# ------------------------------------------------------------------------------------ sharing


def test_listeners_may_share_ports(server, sallyport):
    ports, port = pooled_ports(2, HERE), free_port()
    front = sallyport(
        server,
        listener={"passive_ports": ports},
        extra=f'listener second {{ bind = "{HERE}:{port}"  passive_ports = "{ports}" }}\n',
    )
    with client_of(front) as one, RudeClient(HERE, port).logon() as two, RudeClient(HERE, port).logon() as three:
        first, second = one.passive_port(), two.passive_port()
        assert first != second
        three.ask("EPSV", 425)
        take(two, second, 2)
        take(one, first, 1)
        take(three, three.passive_port(), 3)


def test_wildcard_listener_opens_wildcard_ports(server, sallyport):
    port, base = free_port("0.0.0.0"), free_ports(1, ("0.0.0.0", "::"))
    front = sallyport(server, listener={"bind": [f"0.0.0.0:{port}", f"[::]:{port}"], "passive_ports": f"pooled:{base}"},
                      wait=False)
    front.wait_event("started", timeout=60)
    for host in (HERE, "127.0.0.44", "::1"):
        with RudeClient(host, port).logon() as client:
            content, end, reply = client.download("RETR f4")
            assert (content, end, reply.code) == (FILES[b"f4"], FIN, 226)


# --------------------------------------------------------------------------------- balancers


def header_of(source, destination="203.0.113.1"):
    return f"PROXY TCP4 {source} {destination} 40001 21\r\n".encode()


def behind(front, source):
    client = RudeClient(front.host, front.port, greeted=False)
    client.send(header_of(source))
    client.expect(220)
    return client.logon()


def test_clients_behind_a_balancer_are_told_apart_by_their_headers(server, sallyport):
    front = start(sallyport, server, 1, {
        "proxy_protocol": True, "proxy_trusted": [HERE],
        "proxy_protocol_data": True, "proxy_data_trusted": [HERE],
    })
    with behind(front, "198.51.100.1") as one, behind(front, "198.51.100.2") as two:
        address = one.passive_port()
        assert two.passive_port() == address
        with connect(address) as second, connect(address) as first:
            for byte in header_of("198.51.100.2"):  # in pieces, and the other overtakes
                second.sendall(bytes([byte]))
            first.sendall(header_of("198.51.100.1"))
            one.ask("RETR f1", 150)
            two.ask("STOR up", 150)
            assert drain(first) == (FILES[b"f1"], FIN)
            second.sendall(b"all of it")
            second.close()
        one.expect(226)
        two.expect(226)
        assert server.files[b"up"] == b"all of it"
        address = one.passive_port()
        assert_refused(address, "127.0.0.3", header_of("198.51.100.1"))  # not a balancer
        assert_refused(address, send=header_of("198.51.100.2"))  # nobody waits for that client
        assert_refused(address, send=b"GET / HTTP/1.1\r\n\r\n")
        with connect(address):  # silent; does not stand in the way
            with connect(address) as data:
                data.sendall(header_of("198.51.100.1"))
                one.ask("RETR f3", 150)
                assert drain(data) == (FILES[b"f3"], FIN)
            one.expect(226)
            stats = front.stats()
            assert (stats["data_foreign"], stats["data_unexpected"]) == (2, 1)
        eventually(lambda: front.stats()["data_foreign"] == 3)


def test_balancer_that_says_nothing_on_data_connections_stands_in_for_its_clients(server, sallyport):
    front = start(sallyport, server, 2, {"proxy_protocol": True, "proxy_trusted": [HERE]})
    with behind(front, "198.51.100.1") as one, behind(front, "198.51.100.2") as two, \
            behind(front, "198.51.100.3") as three:
        first, second = one.passive_port(), two.passive_port()
        assert first != second  # both may come from the balancer's address
        three.ask("EPSV", 425)
        take(two, second, 2)
        take(one, first, 1)
        for i in range(4):
            take(three, three.passive_port(), i)
        assert stats_of(front, "pooled_ports_resting") == 0
