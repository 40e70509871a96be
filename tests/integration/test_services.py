# SPDX-License-Identifier: ISC
"""Servers that the SRV records of a domain name: ports, shares and backups are the domain's, and the pool follows."""

import contextlib

import pytest

from dns import NameServer
from rude import RudeClient, RudeServer
from sallyport import Configuration, Sallyport, find_binary
from support import eventually, run

pytestmark = pytest.mark.proxy

NAME = "_ftp._tcp.domain.test"
HOSTS = {"one.test": ["127.0.0.2"], "two.test": ["127.0.0.3"]}


@pytest.fixture
def dns():
    with NameServer(dict(HOSTS)) as name_server:
        yield name_server


@pytest.fixture
def servers():
    """Two targets, each with a port of its own."""
    with RudeServer(host="127.0.0.2") as one, RudeServer(host="127.0.0.3") as two:
        yield [one, two]


def record(server, priority=10, weight=1):
    target = "one.test" if server.host == "127.0.0.2" else "two.test"
    return (priority, weight, server.port, target)


def start(sallyport, dns, *more_servers, top=None, server=None, **more):
    return sallyport(
        "domain.test",
        *more_servers,
        top={"dns_servers": [dns.address]} | (top or {}),
        server={"resolve": "srv", "ask_features": False} | (server or {}),
        **more,
    )


def rows(front):
    return {row["address"]: row for row in front.ask("show pools")["servers"] if row["address"]}


def places(*servers):
    return {f"{server.host}:{server.port}" for server in servers}


def follows(front, *servers):
    eventually(
        lambda: {address for address, row in rows(front).items() if row["state"] == "up"} == places(*servers),
        what=lambda: front.ask("show pools")["servers"],
    )


def log_on_and_off(front, times):
    for _ in range(times):
        with RudeClient(front.host, front.port) as client:
            client.logon().quit()


def logons_at(servers):
    return [server.verbs().count("PASS") for server in servers]


def test_ports_and_shares_are_those_of_the_records(sallyport, dns, servers):
    dns.names[NAME] = [record(servers[0], weight=30), record(servers[1], weight=10)]
    front = start(sallyport, dns, pool={"balance": "round_robin"})
    follows(front, *servers)
    weights = {address: row["weight"] for address, row in rows(front).items()}
    assert weights == {f"127.0.0.2:{servers[0].port}": 1000, f"127.0.0.3:{servers[1].port}": 333}
    log_on_and_off(front, 8)
    assert logons_at(servers) == [6, 2]


def test_a_higher_priority_is_a_backup(sallyport, dns, servers):
    dns.names[NAME] = [record(servers[0], priority=20, weight=1000), record(servers[1], priority=10)]
    front = start(sallyport, dns)
    follows(front, *servers)
    log_on_and_off(front, 3)
    assert logons_at(servers) == [0, 3]
    assert rows(front)[f"127.0.0.2:{servers[0].port}"]["server"] == "s0/2"
    front.ctl("drain", "main/s0")
    front.ctl("up", "main/s0/2")
    log_on_and_off(front, 1)
    assert logons_at(servers) == [1, 3]


def test_the_pool_follows_and_drops_nobody(sallyport, dns, servers):
    dns.names[NAME] = [record(servers[0])]
    front = start(sallyport, dns)
    follows(front, servers[0])
    with RudeClient(front.host, front.port) as client:
        client.logon()
        dns.names[NAME] = [record(servers[1])]
        follows(front, servers[1])
        assert rows(front)[f"127.0.0.2:{servers[0].port}"]["state"] == "leaving"
        log_on_and_off(front, 2)
        assert logons_at(servers) == [1, 2]
        client.ask("NOOP", 200)
        client.quit()


@pytest.mark.parametrize("trouble", ["no such name", "failing", "targets without address"])
def test_the_last_good_answer_stays(trouble, sallyport, dns, servers):
    dns.names[NAME] = [record(server) for server in servers]
    front = start(sallyport, dns)
    follows(front, *servers)
    if trouble == "no such name":
        del dns.names[NAME]
    elif trouble == "failing":
        dns.failing = True
    else:
        # Others, so that no look-up under way finds one of them and not the other.
        dns.names |= {"three.test": [], "four.test": []}
        dns.names[NAME] = [(10, 1, 2121, "three.test"), (10, 1, 2122, "four.test")]
    assert "domain.test: " in front.wait_event("name_failed")["text"]
    assert front.stats()["server_lookups_failed"] >= 1
    log_on_and_off(front, 4)
    assert logons_at(servers) == [2, 2]
    follows(front, *servers)
    dns.failing = False
    dns.names |= HOSTS
    dns.names[NAME] = [record(servers[1])]
    follows(front, servers[1])


def test_a_service_that_is_not_offered_has_no_servers(sallyport, dns, servers):
    dns.names[NAME] = [record(servers[0])]
    front = start(sallyport, dns)
    follows(front, servers[0])
    dns.names[NAME] = [(0, 0, 0, ".")]
    follows(front)
    assert "no such service" in str(front.wait_event("name_changed", count=2))
    with RudeClient(front.host, front.port) as client:
        client.ask("USER u", 421)
    dns.names[NAME] = [record(servers[1])]
    follows(front, servers[1])
    log_on_and_off(front, 1)
    assert logons_at(servers) == [0, 1]


def test_before_the_first_answer_a_logon_waits_for_it(sallyport, dns, servers):
    dns.names[NAME] = [record(servers[0])]
    dns.silent = True
    front = start(sallyport, dns, pool={"queue_timeout": "1m"})
    with RudeClient(front.host, front.port) as client:
        client.say("USER u")
        eventually(lambda: front.ask("show pools")["pools"][0]["waiting"] == 1)
        dns.silent = False
        client.expect(331)
    assert not any(name == "domain.test" for name, _ in dns.asked)


def test_a_ttl_has_a_floor(sallyport, dns, servers):
    dns.ttl = 0
    dns.names[NAME] = [record(servers[0])]
    front = start(sallyport, dns, top={"dns_ttl_min": "1h", "dns_ttl_max": "1h"})
    follows(front, servers[0])
    asked = len(dns.asked)
    dns.names[NAME] = [record(servers[1])]
    log_on_and_off(front, 4)
    assert len(dns.asked) == asked and logons_at(servers) == [4, 0]


def test_a_ttl_has_a_ceiling(sallyport, dns, servers):
    dns.ttl = 86400
    dns.names[NAME] = [record(servers[0])]
    front = start(sallyport, dns, top={"dns_ttl_max": "1s"})
    follows(front, servers[0])
    dns.names[NAME] = [record(servers[1])]
    follows(front, servers[1])


@pytest.mark.parametrize("offered", [True, False])
def test_check_says_what_the_records_name(offered, dns):
    dns.names[NAME] = [(1, 5, 2121, "one.test"), (2, 5, 2122, "two.test")] if offered else [(0, 0, 0, ".")]
    instance = Sallyport(
        Configuration(["domain.test"], server={"resolve": "srv"}, top={"dns_servers": [dns.address]})
    )
    instance.write_configuration()
    done = run([find_binary(), "-t", "-c", instance.folder / "sallyport.conf"])
    assert done.returncode == 0, done.stderr
    assert "_ftp._tcp.domain.test (looked up), ports and weights from the answer" in done.stdout
    expected = (
        "at the moment: 127.0.0.2:2121 (weight 1000), 127.0.0.3:2122 (weight 1000, backup)"
        if offered
        else "at the moment: the domain says that it has no such service"
    )
    assert expected in done.stdout
