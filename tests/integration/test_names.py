# SPDX-License-Identifier: ISC
"""Names that are looked up: of the address that clients are told, and of servers. The name server is the test's own."""

import pytest

from dns import NameServer
from rude import RudeClient, RudeServer, servers_on_one_port
from sallyport import Configuration, Sallyport, find_binary
from support import black_hole, eventually, free_ports, run

pytestmark = pytest.mark.proxy

FILE = b"named\n" * 500


@pytest.fixture
def server():
    with RudeServer(files={b"f": FILE}) as rude:
        yield rude


@pytest.fixture
def dns():
    with NameServer({"ftp.test": ["127.0.0.1"]}) as name_server:
        yield name_server


def start(sallyport, dns, server, **listener):
    return sallyport(server, listener={"passive_address": "ftp.test"} | listener, top={"dns_servers": [dns.address]})


def announced(client):
    return client.passive_port("PASV")[0]


def test_pasv_names_what_the_name_stands_for(sallyport, dns, server):
    front = start(sallyport, dns, server)
    with RudeClient(front.host, front.port).logon() as client:
        assert client.download("RETR f", how="PASV")[0] == FILE
        dns.names["ftp.test"] = ["203.0.113.7"]
        eventually(lambda: announced(client) == "203.0.113.7", what="the new address, after the TTL")
        client.quit()


def test_a_name_for_a_network_and_a_name_for_the_rest(sallyport, dns, server):
    dns.names["inside.test"] = ["127.0.0.9"]
    front = start(sallyport, dns, server, passive_address_for=["127.0.0.3/32=inside.test"])
    for source, expected in (("127.0.0.3", "127.0.0.9"), ("127.0.0.4", "127.0.0.1")):
        with RudeClient(front.host, front.port, source=source).logon() as client:
            assert announced(client) == expected


def test_an_ipv6_address_of_the_name_is_passed_over(sallyport, dns, server):
    dns.names["ftp.test"] = ["2001:db8::1", "127.0.0.5"]
    front = start(sallyport, dns, server)
    with RudeClient(front.host, front.port).logon() as client:
        assert announced(client) == "127.0.0.5"
        dns.names["ftp.test"] = ["2001:db8::1"]
        eventually(lambda: b"no IPv4 address" in client.ask("PASV").raw)


@pytest.mark.parametrize("trouble", ["failing", "silent"])
def test_the_last_good_answer_outlives_the_name_server(trouble, sallyport, dns, server):
    front = start(sallyport, dns, server)
    with RudeClient(front.host, front.port).logon() as client:
        assert announced(client) == "127.0.0.1"
        setattr(dns, trouble, True)
        count = len(dns.asked)
        # until it was asked in vain: the TTL is over then
        eventually(lambda: announced(client) == "127.0.0.1" and len(dns.asked) > count + 1)
        assert announced(client) == "127.0.0.1"


def test_a_name_that_is_not_known_yet_is_425_and_the_rest_works(sallyport, dns, server):
    del dns.names["ftp.test"]
    front = start(sallyport, dns, server)
    warning = front.wait_event("log", level="warning")
    assert "ftp.test cannot be looked up" in warning["text"] and "listener main" in warning["text"]
    with RudeClient(front.host, front.port).logon() as client:
        assert b"not known at the moment" in client.ask("PASV", 425).raw
        client.ask("RETR f", 425)
        assert client.download("RETR f", how="EPSV")[0] == FILE
        assert front.stats()["passive_unknown"] == 1
        dns.names["ftp.test"] = ["127.0.0.1"]
        eventually(lambda: client.ask("PASV").code == 227)
        client.ask("ABOR")
        client.quit()
    front.stop()


def test_a_client_that_goes_while_the_name_is_looked_up_leaves_nothing(sallyport, dns, server):
    dns.silent = True
    front = start(sallyport, dns, server)
    for _ in range(3):
        with RudeClient(front.host, front.port).logon() as client:
            asked = server.verbs().count("PASV") + server.verbs().count("EPSV")
            client.say("PASV")
            eventually(lambda: server.verbs().count("PASV") + server.verbs().count("EPSV") > asked)
            client.reset()
    eventually(lambda: not front.sessions())
    server.wait_gone()


def test_commands_wait_while_the_name_is_looked_up(sallyport, dns, server):
    dns.silent = True
    front = start(sallyport, dns, server)
    with RudeClient(front.host, front.port).logon() as client:
        client.say("PASV")
        client.say("NOOP")
        dns.silent = False
        assert client.reply().code in (227, 425)
        client.expect(200)


def explained(dns, names, **listener):
    """What -t says, with that name server."""
    with RudeServer() as server:
        listener = {"passive_address": "ftp.test"} | listener
        instance = Sallyport(Configuration([server], listener=listener, top={"dns_servers": [dns.address]}))
        dns.names = names
        instance.write_configuration()
        done = run([find_binary(), "-t", "-c", instance.folder / "sallyport.conf"])
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_check_shows_what_names_stand_for_now(dns):
    text = explained(dns, {"ftp.test": ["203.0.113.9"], "in.test": ["10.0.0.9"]},
                     passive_address_for=["10.0.0.0/8=in.test", "192.168.0.0/16=gone.test"])  # fmt: skip
    assert "to what ftp.test stands for (203.0.113.9 at the moment), any port" in text
    assert "clients in 10.0.0.0/8 are told what in.test stands for (10.0.0.9 at the moment, a private address)" in text
    assert "clients in 192.168.0.0/16 are told what gone.test stands for (which cannot be looked up: " in text


# ----------------------------------------------------------------------------------------------- servers


def test_both_families_of_a_servers_name_are_tried(sallyport, dns):
    """A name with A and AAAA where one family is dead: whichever it is, the logon comes through."""
    for dead, alive in (("127.0.0.1", "::1"), ("::1", "127.0.0.1")):
        with RudeServer(host=alive) as server:
            dns.names["two.test"] = [dead, alive]
            front = sallyport(f"two.test:{server.port}", top={"dns_servers": [dns.address]})
            for _ in range(2):
                with RudeClient(front.host, front.port).logon() as client:
                    client.quit()
            assert len(server.history) == 2
            assert {("two.test", 1), ("two.test", 28)} <= set(dns.asked)
            assert front.stats()["logon_retries"] == 0
        dns.asked.clear()


def test_an_address_that_does_not_answer_is_followed_by_the_next_one(sallyport, dns):
    """Whichever of the two is tried first; no other server is, for there is none."""
    waited = 0
    for silent, alive in (("127.0.0.1", "::1"), ("::1", "127.0.0.1")):
        port = free_ports(1)
        with RudeServer(host=alive, port=port) as server, black_hole(silent, port):
            dns.names["two.test"] = [silent, alive]
            front = sallyport(
                f"two.test:{port}", policy={"connect_timeout": "3s"}, top={"dns_servers": [dns.address]}
            )
            with RudeClient(front.host, front.port).logon() as client:
                client.quit()
            assert len(server.history) == 1
            stats = front.stats()
            assert stats["logon_retries"] == 0
            waited += stats["clocks_expired"]["connect_timeout"]
    assert waited == 1


def test_a_server_that_moves_is_found_again(sallyport, dns):
    with servers_on_one_port("127.0.0.1", "127.0.0.2") as (here, there):
        dns.names["moving.test"] = ["127.0.0.1"]
        front = sallyport(f"moving.test:{here.port}", top={"dns_servers": [dns.address]})

        def logon():
            with RudeClient(front.host, front.port).logon() as client:
                client.quit()
            return len(there.history) > 0

        assert not logon()
        dns.names["moving.test"] = ["127.0.0.2"]
        eventually(logon, what="the new address, after the TTL")
