# SPDX-License-Identifier: ISC
"""early_connect: a server before USER, where nothing that the client may say can change which one."""

import pytest
from rude import RudeClient, RudeServer
from support import eventually

pytestmark = pytest.mark.proxy


EARLY = {"early_connect": True}


def touched(server):
    return len(server.history)


def test_a_server_is_there_before_user(sallyport):
    with RudeServer() as server:
        front = sallyport(server, pool=EARLY)
        with RudeClient(front.host, front.port) as client:
            eventually(lambda: touched(server) == 1)
            assert not server.commands()
            client.logon().quit()
        assert touched(server) == 1  # the same connection serves the logon


def test_clients_that_say_nothing_reach_no_server_as_it_comes(sallyport):
    with RudeServer() as server:
        front = sallyport(server)
        with RudeClient(front.host, front.port) as client:
            client.ask("NOOP", 200)
            client.quit()
        with RudeClient(front.host, front.port) as client:
            client.logon().quit()
        assert touched(server) == 1


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"server": {"max_sessions": 5}}, "limit"),
        ({"pool": EARLY | {"balance": "hash_user"}}, "hash_user"),
        ({"extra": 'route { users = { "al*" }  pool = main  policy = main }\n'}, "users"),
        ({"extra": 'route { hosts = { "ftp.example.net" }  pool = main  policy = main }\n'}, "hosts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_server_is_touched_while_the_client_may_still_decide(settings, name, sallyport):
    """Nor where a client that never logs on would take a place that is counted."""
    with RudeServer() as server:
        front = sallyport(server, **{"pool": EARLY} | settings)
        with RudeClient(front.host, front.port) as client:
            client.ask("NOOP", 200)
            client.ask("SYST", 215)
            client.quit()
        with RudeClient(front.host, front.port) as client:
            client.logon("alice").quit()
        assert touched(server) == 1


def test_a_client_that_does_not_log_on_loses_the_server_and_not_the_session(sallyport):
    with RudeServer() as server:
        front = sallyport(server, pool=EARLY, policy={"connect_timeout": "500ms"})
        with RudeClient(front.host, front.port) as client:
            eventually(lambda: touched(server) == 1)
            server.history[0].ended.wait(30)
            assert server.history[0].commands == ["QUIT"]
            assert front.stats()["server_failures"] == 0
            client.ask("NOOP", 200)
            client.logon().quit()
        assert touched(server) == 2


def test_a_server_that_goes_meanwhile_is_replaced_at_user(sallyport):
    with RudeServer() as server:
        front = sallyport(server, pool=EARLY)
        with RudeClient(front.host, front.port) as client:
            eventually(lambda: touched(server) == 1)
            server.history[0].sock.close()
            client.logon().quit()
        assert "USER" in server.verbs()


def test_who_is_refused_by_the_route_does_not_go_on_to_the_server(sallyport):
    with RudeServer() as server:
        front = sallyport(server, pool=EARLY, extra='route { users = { "mallory" }  reject = yes }\n')
        with RudeClient(front.host, front.port) as client:
            client.ask("USER mallory", 530)
            client.quit()
        assert touched(server) == 0
