# SPDX-License-Identifier: ISC
"""Servers that are all addresses of a name: each has its logons, and the pool follows the name without dropping anybody."""

import contextlib

import pytest

from dns import NameServer
from rude import RudeClient, servers_on_one_port
from sallyport import Configuration, Sallyport, find_binary
from support import eventually, run

pytestmark = pytest.mark.proxy

ONE, TWO, THREE = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@pytest.fixture
def dns():
    with NameServer() as name_server:
        yield name_server


@pytest.fixture
def servers():
    """The same port on three addresses."""
    with servers_on_one_port(ONE, TWO, THREE) as made:
        yield made


def start(sallyport, dns, port, top=None, server=None, **more):
    return sallyport(
        f"many.test:{port}",
        top={"dns_servers": [dns.address]} | (top or {}),
        server={"resolve": "all", "ask_features": False} | (server or {}),
        **more,
    )


def addresses(front):
    """Those that get logons."""
    rows = front.ask("show pools")["servers"]
    return {row["address"].rsplit(":", 1)[0] for row in rows if row["address"] and row["state"] == "up"}


def down(front):
    return [row["address"] for row in front.ask("show pools")["servers"] if row["state"] == "down"]


def follows(front, *expected):
    eventually(lambda: addresses(front) == set(expected), what=lambda: front.ask("show pools")["servers"])


def log_on(front, stack=None):
    client = RudeClient(front.host, front.port)
    if stack is not None:
        stack.enter_context(client)
    return client.logon()


def log_on_and_off(front, times):
    for _ in range(times):
        with RudeClient(front.host, front.port) as client:
            client.logon().quit()


def logons_at(servers):
    return [server.verbs().count("PASS") for server in servers]


def test_each_address_is_a_server_of_its_own(sallyport, dns, servers):
    dns.names["many.test"] = [ONE, TWO]
    front = start(sallyport, dns, servers[0].port, pool={"balance": "round_robin"})
    follows(front, ONE, TWO)
    log_on_and_off(front, 6)
    assert logons_at(servers) == [3, 3, 0]


def test_max_sessions_is_that_of_an_address(sallyport, dns, servers):
    dns.names["many.test"] = [ONE, TWO]
    front = start(sallyport, dns, servers[0].port, server={"max_sessions": 1}, pool={"queue_timeout": 0})
    follows(front, ONE, TWO)
    with contextlib.ExitStack() as stack:
        log_on(front, stack)
        log_on(front, stack)
        assert logons_at(servers) == [1, 1, 0]
        with RudeClient(front.host, front.port) as late:
            late.ask("USER u", 421)


def test_the_pool_follows_and_drops_nobody(sallyport, dns, servers):
    dns.names["many.test"] = [ONE, TWO]
    front = start(sallyport, dns, servers[0].port)
    follows(front, ONE, TWO)
    with contextlib.ExitStack() as stack:
        clients = [log_on(front, stack) for _ in range(2)]
        dns.names["many.test"] = [TWO, THREE]
        follows(front, TWO, THREE)
        rows = {row["address"].rsplit(":", 1)[0]: row for row in front.ask("show pools")["servers"] if row["address"]}
        assert rows[ONE]["state"] == "leaving" and rows[ONE]["sessions"] == 1
        before = logons_at(servers)
        log_on_and_off(front, 4)
        after = logons_at(servers)
        assert after[0] == before[0] and after[1] > before[1] and after[2] > before[2]
        for client in clients:
            client.ask("NOOP", 200)
            client.quit()
    changed = front.wait_event("name_changed", count=2)
    assert "many.test has 2 addresses: 1 came, 1 left" in str(changed)
    eventually(lambda: all(row["state"] != "leaving" for row in front.ask("show pools")["servers"]))


def test_its_place_is_free_when_its_last_session_has_ended(sallyport, dns, servers):
    dns.names["many.test"] = [ONE]
    front = start(sallyport, dns, servers[0].port, server={"max_addresses": 1})
    follows(front, ONE)
    with log_on(front) as client:
        dns.names["many.test"] = [TWO]
        eventually(lambda: "have no place" in str(front.events("name_changed")), what="there is one place, and it is busy")
        client.ask("NOOP", 200)
        client.quit()
    follows(front, TWO)
    log_on_and_off(front, 1)
    assert logons_at(servers) == [1, 1, 0]


@pytest.mark.parametrize("trouble", ["no such name", "no address", "failing", "silent"])
def test_the_last_good_answer_stays(trouble, sallyport, dns, servers):
    dns.names["many.test"] = [ONE, TWO]
    front = start(sallyport, dns, servers[0].port)
    follows(front, ONE, TWO)
    if trouble == "no such name":
        del dns.names["many.test"]
    elif trouble == "no address":
        dns.names["many.test"] = []
    else:
        setattr(dns, trouble, True)
    assert "many.test: " in front.wait_event("name_failed")["text"]
    assert front.ask("show pools")["servers"][0]["lookups_failed"] >= 1
    assert front.stats()["server_lookups_failed"] >= 1 and front.stats()["servers"]["up"] == 2
    log_on_and_off(front, 4)
    assert addresses(front) == {ONE, TWO}
    assert logons_at(servers) == [2, 2, 0]
    dns.failing = dns.silent = False
    dns.names["many.test"] = [TWO, THREE]
    follows(front, TWO, THREE)


def test_before_the_first_answer_a_logon_waits_for_the_name(sallyport, dns, servers):
    dns.names["many.test"] = [ONE]
    dns.silent = True
    front = start(sallyport, dns, servers[0].port)
    with RudeClient(front.host, front.port) as client:
        client.say("USER u")
        eventually(lambda: len(dns.asked) > 0)
        dns.silent = False
        client.expect(331)
    follows(front, ONE)


def test_a_ttl_has_a_ceiling(sallyport, dns, servers):
    dns.ttl = 86400
    dns.names["many.test"] = [ONE]
    front = start(sallyport, dns, servers[0].port, top={"dns_ttl_max": "1s"})
    follows(front, ONE)
    dns.names["many.test"] = [TWO]
    follows(front, TWO)


def test_a_ttl_has_a_floor(sallyport, dns, servers):
    dns.ttl = 0
    dns.names["many.test"] = [ONE]
    front = start(sallyport, dns, servers[0].port, top={"dns_ttl_min": "1h", "dns_ttl_max": "1h"})
    follows(front, ONE)
    log_on_and_off(front, 1)
    asked = len(dns.asked)
    dns.names["many.test"] = [TWO]
    log_on_and_off(front, 4)
    assert len(dns.asked) == asked and addresses(front) == {ONE}
    assert logons_at(servers) == [5, 0, 0]


@pytest.mark.parametrize(
    "family, expected", [("ipv4", ["127.0.0.1"]), ("ipv6", ["[::1]"]), ("any", ["127.0.0.1", "[::1]"])]
)
def test_families_that_are_used(family, expected, sallyport, dns):
    dns.names["many.test"] = ["127.0.0.1", "::1"]
    front = start(sallyport, dns, 2121, server={"address_family": family})
    follows(front, *expected)


@pytest.mark.parametrize("family, first", [("ipv4_first", "127.0.0.1"), ("ipv6_first", "::1")])
def test_the_family_that_is_tried_first(family, first, sallyport, dns):
    dns.names["two.test"] = ["127.0.0.1", "::1"]
    with servers_on_one_port("127.0.0.1", "::1") as (v4, v6):
        settings = {"address_family": family, "ask_features": False}
        front = sallyport(f"two.test:{v4.port}", server=settings, top={"dns_servers": [dns.address]})
        log_on_and_off(front, 3)
        assert logons_at([v4, v6]) == ([3, 0] if first == "127.0.0.1" else [0, 3])


def test_orders_are_for_all_addresses_or_for_one(sallyport, dns, servers):
    dns.names["many.test"] = [ONE, TWO]
    front = start(sallyport, dns, servers[0].port)
    follows(front, ONE, TWO)
    front.ctl("drain", "main/s0")
    assert addresses(front) == set()
    front.ctl("up", "main/s0/2")
    assert len(addresses(front)) == 1
    front.ctl("up", "main/s0")
    follows(front, ONE, TWO)


def test_an_address_that_is_dead_is_not_the_others_fault(sallyport, dns, servers):
    """Health is of an address; logons go where somebody answers."""
    dns.names["many.test"] = [ONE, "127.0.0.9"]
    front = start(sallyport, dns, servers[0].port, pool={"health": {"check": "connect", "every": "1s", "fall": 1}})
    eventually(lambda: down(front) == [f"127.0.0.9:{servers[0].port}"])
    assert addresses(front) == {ONE}
    log_on_and_off(front, 2)
    assert logons_at(servers)[0] == 2


def test_check_says_what_the_name_stands_for(dns):
    dns.names["many.test"] = [ONE, TWO]
    settings = {"resolve": "all", "max_addresses": 5, "address_family": "ipv4"}
    instance = Sallyport(Configuration(["many.test:2121"], server=settings, top={"dns_servers": [dns.address]}))
    instance.write_configuration()
    done = run([find_binary(), "-t", "-c", instance.folder / "sallyport.conf"])
    assert done.returncode == 0, done.stderr
    assert "each address of the name is a server of its own, at most 5" in done.stdout
    assert f"at the moment: {ONE}, {TWO}" in done.stdout and "only IPv4 addresses are used" in done.stdout
    assert done.stdout.count("many.test:2121") == 1


def test_connections_kept_ready_follow_the_name(sallyport, dns, servers):
    """An address that is gone has none left, one that came has its own, and nobody is led to the old one."""
    dns.names["many.test"] = [ONE, TWO]
    front = start(sallyport, dns, servers[0].port, server={"warm": 1, "warm_age": "1h"})
    follows(front, ONE, TWO)
    eventually(lambda: [server.sessions() for server in servers] == [1, 1, 0])
    dns.names["many.test"] = [TWO, THREE]
    follows(front, TWO, THREE)
    servers[0].wait_gone()
    eventually(lambda: servers[2].sessions() == 1)
    before = servers[0].verbs().count("PASS")
    log_on_and_off(front, 4)
    assert servers[0].verbs().count("PASS") == before
    eventually(lambda: {row["warm"] for row in front.ask("show pools")["servers"]} == {1})
    assert len(front.ask("show pools")["servers"]) == 2
