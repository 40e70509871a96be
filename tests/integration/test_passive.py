# SPDX-License-Identifier: ISC
"""Passive ports and addresses: which ones clients are told, and what happens when there are no more."""

import contextlib
import socket

import pytest
from rude import RudeClient, RudeServer, drain
from support import eventually, free_port

pytestmark = pytest.mark.proxy


@pytest.fixture
def server():
    with RudeServer(files={b"good": b"content"}) as server:
        yield server


def client_of(front, **options):
    return RudeClient(front.host, front.port, **options).logon()


def test_port_rests_before_it_comes_again_and_the_next_one_cannot_be_told(server, sallyport):
    """20 ports on 2 workers: at least 10 others come before one comes again, in no fixed order."""
    base = free_port()
    front = sallyport(server, listener={"passive_ports": f"{base}-{base + 19}"})
    seen = []
    for _ in range(4):
        with client_of(front) as client:
            seen += [client.passive_port()[1] for _ in range(30)]
            client.quit()
        eventually(lambda: not front.sessions())
    assert set(seen) <= set(range(base, base + 20))
    last = {}
    for number, port in enumerate(seen):
        # the new port is taken when the old one has been given back; ports that others have are passed over
        assert number - last.get(port, -100) >= 5, seen
        last[port] = number
    steps = {b - a for a, b in zip(seen, seen[1:])}
    assert len(steps) > 8, seen


def test_every_port_of_the_range_is_used_and_then_425_says_so(server, sallyport):
    base = free_port()
    front = sallyport(server, listener={"passive_ports": f"{base}-{base + 4}"})
    with contextlib.ExitStack() as stack:
        clients = []
        ports = []
        while True:  # others may have one of them, or take or leave it meanwhile
            clients.append(stack.enter_context(client_of(front)))
            reply = clients[-1].ask("EPSV", 229, 425)
            if reply.code == 425:
                break
            ports.append(int(reply.text.split("|")[3]))
        free = len(ports)
        assert b"passive" in reply.raw
        assert set(ports) <= set(range(base, base + 5)) and len(set(ports)) == free >= 3
        stats = front.stats()
        assert stats["passive_exhausted"] == 1
        assert (stats["passive_ports"], stats["passive_ports_in_use"], stats["passive_ports_peak"]) == (
            {"main": 5}, {"main": free}, {"main": free})
        with socket.create_connection(("127.0.0.1", ports[0]), 10) as data:
            clients[0].ask("RETR good", 150)
            assert drain(data)[0] == b"content"
        clients[0].expect(226)
        assert clients[-1].passive_port()[1] == ports[0]
    eventually(lambda: front.stats()["passive_ports_in_use"] == {"main": 0})


def test_port_is_in_use_only_until_its_connection_has_come(server, sallyport):
    """One port, and several transfers at the same time: a connection that is made keeps its port to itself."""
    base = free_port()
    front = sallyport(server, listener={"passive_ports": str(base)})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client_of(front)) for _ in range(4)]
        data = []
        for client in clients:
            assert client.passive_port()[1] == base
            assert front.stats()["passive_ports_in_use"] == {"main": 1}
            data.append(stack.enter_context(socket.create_connection(("127.0.0.1", base), 10)))
            eventually(lambda: front.stats()["passive_ports_in_use"] == {"main": 0})
        for number, client in enumerate(clients):
            client.ask(f"STOR up{number}", 150)
        for number, client in enumerate(clients):
            data[number].sendall(b"content %d" % number)
            data[number].close()
            client.expect(226)
            assert server.files[b"up%d" % number] == b"content %d" % number
        assert front.stats()["passive_exhausted"] == 0


def test_port_that_another_program_has_is_passed_over(server, sallyport):
    base = free_port()
    with socket.create_server(("127.0.0.1", base)):
        front = sallyport(server, listener={"passive_ports": f"{base}-{base + 2}"})
        with client_of(front) as client:
            for _ in range(12):
                assert client.passive_port()[1] != base


def test_ports_given_out_before_a_reload_stay_given_out(server, sallyport):
    base = free_port()
    front = sallyport(server, listener={"passive_ports": f"{base}-{base + 1}"})
    with client_of(front) as one, client_of(front) as two:
        ports = {one.passive_port()[1]}
        front.signal(1)
        front.wait_event("config_loaded", 2)
        with client_of(front) as three:
            ports.add(three.passive_port()[1])
            two.ask("EPSV", 425)
            assert len(ports) == 2
            assert front.stats()["passive_ports_in_use"] == {"main": 2}


def test_address_of_a_227_is_that_of_the_clients_network(server, sallyport):
    """Inside and outside of an address translation; the first network that fits decides."""
    front = sallyport(server, listener={
        "passive_address": "203.0.113.10",
        "passive_address_for": ["127.0.0.8/32=auto", "127.0.0.8/30=192.0.2.8", "127.0.0.16/28=192.0.2.16"],
    })
    told = {"127.0.0.8": "127.0.0.1", "127.0.0.9": "192.0.2.8", "127.0.0.20": "192.0.2.16", "127.0.0.1": "203.0.113.10"}
    for source, address in told.items():
        with client_of(front, source=source) as client:
            host, port = client.passive_port("PASV")
            assert host == address
            with socket.create_connection((front.host, port), 10, source_address=(source, 0)) as data:
                client.ask("RETR good", 150)
                assert drain(data)[0] == b"content"
            client.expect(226)
            client.ask("EPSV", 229)


def connect_from(host, address):
    return socket.create_connection(address, 30, source_address=(host, 0))


def assert_refused(host, address):
    with contextlib.suppress(ConnectionError):  # so fast that it is seen in connecting
        with connect_from(host, address) as data:
            assert drain(data) == (b"", "rst")


@pytest.mark.parametrize("how", ["PASV", "EPSV"])
def test_another_address_of_the_same_translation_is_let_in_and_no_other(how, server, sallyport):
    front = sallyport(server, listener={"passive_from": ["127.0.0.16/28", "127.0.0.64/28"]})
    with client_of(front, source="127.0.0.17") as client:
        address = client.passive_port(how)
        for other in ("127.0.0.1", "127.0.0.32", "127.0.0.65"):  # outside, or in another network
            assert_refused(other, address)
        client.ask("RETR good", 150)
        with connect_from("127.0.0.30", address) as data:
            assert drain(data) == (b"content", "fin")
        client.expect(226)
        assert front.stats()["data_foreign"] == 3
    with client_of(front, source="127.0.0.2") as client:  # in none of them: his own address alone
        address = client.passive_port(how)
        assert_refused("127.0.0.17", address)
        client.ask("RETR good", 150)
        with connect_from("127.0.0.2", address) as data:
            assert drain(data) == (b"content", "fin")
        client.expect(226)
