# SPDX-License-Identifier: ISC
"""A rude server behind Sallyport and a client that is logged on: fixture `pair`, for files that import it."""

import pytest

from rude import RudeClient, RudeServer
from support import random_bytes

CONTENT = random_bytes(100_003)


@pytest.fixture
def pair(sallyport):
    """pair(table) → (rude server, Sallyport before it, logged-on client)."""
    opened = []

    def make(table=None, logon=True, **settings):
        server = RudeServer(table=table, files={b"good": CONTENT})
        opened.append(server)
        server.__enter__()
        front = sallyport(server, **settings)
        client = RudeClient(front.host, front.port)
        opened.append(client)
        return server, front, client.logon() if logon else client

    yield make
    for thing in reversed(opened):
        thing.__exit__(None, None, None)


def assert_still_in_step(client):
    client.ask("PWD", 257)
    assert client.download("RETR good")[0] == CONTENT
    client.ask("PWD", 257)
