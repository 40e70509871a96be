# SPDX-License-Identifier: ISC
"""FEAT: before logon what every server can do that the logon may lead to, after it the pair of us and the server."""

import signal

import pytest

from rude import RudeClient, RudeServer
from support import eventually

pytestmark = pytest.mark.proxy

OURS = {"EPRT", "EPSV", "HOST", "PASV", "UTF8"}


ASKED = {"ask_features": True}


def feat_of(*features):
    return "211-Features:\r\n" + "".join(f" {feature}\r\n" for feature in features) + "211 End"


def features(client):
    lines = client.ask("FEAT", 211).text.split("\r\n")
    assert lines[0] == "211-Features:" and lines[-2:] == ["211 End", ""], lines
    assert all(line.startswith(" ") for line in lines[1:-2]), lines
    return {line[1:] for line in lines[1:-2]}


def before_logon(front):
    with RudeClient(front.host, front.port) as client:
        return features(client)


def logon(front, times=1, user="u"):
    """So many sessions at the same time: with balance = round_robin each server gets its share."""
    clients = [RudeClient(front.host, front.port).logon(user) for _ in range(times)]
    for client in clients:
        client.quit()


def reload(front):
    count = len(front.events("config_loaded"))
    front.signal(signal.SIGHUP)
    front.wait_event("config_loaded", count + 1)


RICH = {"FEAT": feat_of("MDTM", "SIZE", "REST STREAM", "MLST type*;size*;modify*;", "TVFS", "MODE Z", "AUTH TLS", "FROB")}
POOR = {"FEAT": feat_of("SIZE", "MLST type*;modify;perm*;", "REST STREAM")}
COMMON = {"SIZE", "REST STREAM", "MLST type*;modify;"}


def test_before_the_first_logon_only_what_is_ours_is_promised(sallyport):
    with RudeServer(table=RICH) as rich:
        front = sallyport(rich, server=ASKED)
        assert before_logon(front) == OURS
        assert rich.verbs() == [], "no server was touched"


def test_servers_are_asked_once_and_what_they_have_in_common_is_promised(sallyport):
    with RudeServer(table=RICH) as rich, RudeServer(table=POOR) as poor:
        front = sallyport(rich, poor, server=ASKED)
        logon(front)
        assert before_logon(front) == OURS, "one of the two has never been asked"
        logon(front, times=3)
        assert rich.verbs().count("FEAT") == 1 and poor.verbs().count("FEAT") == 1
        assert before_logon(front) == OURS | COMMON


def test_after_logon_it_is_the_pair(sallyport):
    with RudeServer(table=RICH) as rich, RudeServer(table=POOR) as poor:
        front = sallyport(rich, poor, server=ASKED)
        logon(front, times=2)
        with RudeClient(front.host, front.port).logon() as one, RudeClient(front.host, front.port).logon() as other:
            seen = [features(one), features(other)]
        rich_pair = OURS | {"MDTM", "SIZE", "REST STREAM", "MLST type*;size*;modify*;", "TVFS"}
        poor_pair = OURS | {"SIZE", "REST STREAM", "MLST type*;modify;perm*;"}
        assert rich_pair in seen and poor_pair in seen


def test_a_server_without_feat_leaves_what_is_ours(sallyport):
    with RudeServer(table=RICH) as rich, RudeServer(table={"FEAT": "500 What?"}) as old:
        front = sallyport(rich, old, server=ASKED)
        logon(front, times=4)
        assert before_logon(front) == OURS
        assert old.verbs().count("FEAT") == 1


def test_only_pools_that_the_logon_may_lead_to_count(sallyport):
    extra = """
pool other {{ server o {{ address = "{}" }} }}
route {{ hosts = {{ "other.example" }}  pool = other  policy = main }}
"""
    with RudeServer(table=RICH) as rich, RudeServer(table=POOR) as poor:
        front = sallyport(rich, server=ASKED, extra=extra.format(poor.address))
        logon(front)
        with RudeClient(front.host, front.port) as client:
            client.ask("HOST other.example", 220)
            client.logon()
            client.quit()
        assert before_logon(front) == OURS | COMMON, "HOST may still come"
        with RudeClient(front.host, front.port) as client:
            client.ask("HOST other.example", 220)
            assert features(client) == OURS | {"SIZE", "REST STREAM", "MLST type*;modify;perm*;"}
            client.ask("HOST elsewhere.example", 220)
            assert "MDTM" in features(client)


def test_users_that_lead_elsewhere_are_thought_of(sallyport):
    extra = """
pool other {{ server o {{ address = "{}" }} }}
route {{ users = {{ "o*" }}  pool = other  policy = main }}
"""
    with RudeServer(table=RICH) as rich, RudeServer(table=POOR) as poor:
        front = sallyport(rich, server=ASKED, extra=extra.format(poor.address))
        logon(front)
        assert before_logon(front) == OURS
        logon(front, user="other")
        assert before_logon(front) == OURS | COMMON


def test_what_a_policy_denies_is_not_promised(sallyport):
    with RudeServer(table=RICH) as rich:
        front = sallyport(rich, server=ASKED, policy={"deny_commands": ["MDTM", "MLSD", "EPRT"]})
        expected = (OURS - {"EPRT"}) | {"SIZE", "REST STREAM", "TVFS"}
        logon(front)
        assert before_logon(front) == expected
        with RudeClient(front.host, front.port).logon() as client:
            assert features(client) == expected


def test_unknown_features_are_promised_where_unknown_commands_pass(sallyport):
    with RudeServer(table=RICH) as rich:
        front = sallyport(rich, server=ASKED, policy={"pass_unknown_commands": True})
        logon(front)
        assert "FROB" in before_logon(front)


def test_a_reload_asks_again_and_another_address_is_another_server(sallyport):
    with RudeServer(table=RICH) as rich, RudeServer(table=POOR) as poor:
        front = sallyport(rich, server=ASKED)
        logon(front)
        assert "MDTM" in before_logon(front)
        rich.table = {"FEAT": feat_of("SIZE")}
        reload(front)
        assert "MDTM" in before_logon(front), "a reload alone takes nothing away"
        logon(front)
        assert before_logon(front) == OURS | {"SIZE"}, "but the next logon asked again"
        front.configuration.servers = [poor]
        front.write_configuration()
        reload(front)
        eventually(lambda: before_logon(front) == OURS)
        logon(front)
        assert "MLST type*;modify;perm*;" in before_logon(front)


def test_a_client_may_do_the_asking(sallyport):
    with RudeServer(table=RICH) as rich:
        front = sallyport(rich, server={"ask_features": False})
        logon(front)
        assert rich.verbs() == ["USER", "PASS", "QUIT"]
        with RudeClient(front.host, front.port).logon() as client:
            assert "MDTM" in features(client)
        assert "MDTM" in before_logon(front)


@pytest.mark.parametrize("answer", ["421 Going down", None, b"garbage\r\n", "226 Sent"])
def test_a_server_that_cannot_bear_feat_costs_one_session(answer, sallyport):
    def act(session, _):
        if answer:
            session.say(answer)
        session.hold()

    with RudeServer(table={"FEAT": act}) as rude:
        front = sallyport(rude, server=ASKED, policy={"reply_timeout": "300ms", "close_timeout": "200ms"})
        with RudeClient(front.host, front.port).logon() as client:
            client.expect(421)
            client.wait_end()
        with RudeClient(front.host, front.port).logon() as client:
            client.ask("PWD", 257)
            client.quit()
        assert before_logon(front) == OURS


def test_real_servers_are_believed(fleet, sallyport):
    """Whatever a server lists, the pair lists, less what is hidden; before logon and after it the same."""
    for name in ("proftpd", "pureftpd", "pyftpdlib", "vsftpd"):
        server = fleet(name)
        front = sallyport(server)
        with RudeClient(front.host, front.port).logon(server.user, server.password) as client:
            pair = features(client)
            client.quit()
        assert before_logon(front) == pair
        with RudeClient(server.host, server.port).logon(server.user, server.password) as client:
            own = {line.strip() for line in client.ask("FEAT", 211).text.split("\r\n")[1:-2]}
        assert pair - OURS <= own
        assert {"SIZE", "MDTM"} & own == {"SIZE", "MDTM"} & pair
        assert OURS <= pair
