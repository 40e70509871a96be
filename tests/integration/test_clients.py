# SPDX-License-Identifier: ISC
"""Real clients and real servers: what goes up comes down, and is listed."""

import os
import shutil
from pathlib import Path

import clients
import pytest
from support import DIRECT, join_host_port, random_bytes, sha256, tree

NAMES = [
    "plain",
    "with space",
    "  two leading spaces",
    "trailing space ",
    'dou"ble',
    "sin'gle",
    "-dash",
    "--help",
    "[bracket]",
    "{brace}",
    "#hash",
    "100%",
    "%41",
    "semi;colon",
    "amp&ersand",
    "dollar$HOME",
    "ex!claim",
    "paren(s)",
    "comma,comma",
    "equal=sign",
    "plus+plus",
    "tilde~",
    "~home",
    "at@sign",
    "back`tick",
    "pipe|pipe",
    "grüße",
    "日本語",
    "emoji 🚪",
    ".hidden",
]


@pytest.fixture
def folder(server, request):
    """A folder of this test alone, as the server's user sees it."""
    name = f"t{os.urandom(4).hex()}"
    path = server.fresh_folder(name)
    yield name
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("kind", sorted(clients.ALL))
def test_client_uploads_lists_and_downloads_so_that_bytes_are_the_same(kind, server, sallyport, folder, tmp_path):
    front = sallyport(server)
    client = clients.ALL[kind](front, server.user, server.password, tmp_path)
    up, down = tmp_path / "up", tmp_path / "down"
    up.write_bytes(random_bytes(1_234_567))
    client.put(up, f"{folder}/file.bin")
    assert sha256(server.root / folder / "file.bin") == sha256(up)
    assert "file.bin" in [name.rsplit("/", 1)[-1] for name in client.names(folder)]
    client.get(f"{folder}/file.bin", down)
    assert sha256(down) == sha256(up)


@pytest.mark.parametrize("kind", sorted(kind for kind, client in clients.ALL.items() if client.ipv6))
@pytest.mark.skipif(DIRECT, reason="the servers are on IPv4 alone")
def test_ipv6_client_reaches_an_ipv4_server(kind, fleet, sallyport, tmp_path):
    server = fleet("vsftpd")
    folder = f"v6-{os.urandom(4).hex()}"
    server.fresh_folder(folder)
    front = sallyport(server, listen="::1")
    client = clients.ALL[kind](front, server.user, server.password, tmp_path)
    up, down = tmp_path / "up", tmp_path / "down"
    up.write_bytes(random_bytes(300_000))
    client.put(up, f"{folder}/file.bin")
    assert "file.bin" in [name.rsplit("/", 1)[-1] for name in client.names(folder)]
    client.get(f"{folder}/file.bin", down)
    assert sha256(down) == sha256(up)


def plant(root, outer_spaces):
    """300 files with odd names in a tree of folders with odd names; sizes from nothing to 40,000 bytes."""
    count = 0
    folders = ["", "sub folder", "sub folder/déjà vu", "-x", "a#b%c", "[1]", "q'uo\"te", "e", "f", "g"]
    for depth, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(NAMES):
            if not outer_spaces and name.strip() != name:
                name = f"in  the{name}middle"
            (root / folder / name).write_bytes(random_bytes((number * 1361 * (depth + 1)) % 40_000, seed=count + 1))
            count += 1
    return count


@pytest.mark.slow
def test_lftp_mirrors_odd_names_both_ways_so_that_trees_are_the_same(server, sallyport, folder, tmp_path):
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    assert plant(source, server.keeps_outer_spaces) == 300
    front = sallyport(server)
    client = clients.Lftp(front, server.user, server.password, tmp_path)
    client.lftp(f"mirror -R --parallel=3 {clients.quoted(source)} {clients.quoted(folder + '/tree')}")
    assert tree(server.root / folder / "tree") == tree(source)
    # the names that start with "." are in no listing of some servers unless they are asked for
    client.lftp(
        f"set ftp:list-options -a\nmirror --parallel=3 {clients.quoted(folder + '/tree')} {clients.quoted(back)}"
    )
    assert tree(back) == tree(source)


def test_lftp_runs_many_transfers_at_once_over_several_sessions(server, sallyport, folder, tmp_path):
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    for number in range(40):
        (source / f"f{number}").write_bytes(random_bytes(200_000 + number, seed=number + 1))
    front = sallyport(server)
    client = clients.Lftp(front, server.user, server.password, tmp_path)
    client.lftp(f"mirror -R --parallel=8 {source} {folder}/many\nmirror --parallel=8 {folder}/many {back}")
    assert tree(back) == tree(source)


def test_curl_resumes_downloads_and_uploads(server, sallyport, folder, tmp_path):
    front = sallyport(server)
    client = clients.Curl(front, server.user, server.password, tmp_path)
    content = random_bytes(500_000)
    server.put(f"{folder}/down", content)
    part = tmp_path / "part"
    part.write_bytes(content[:123_456])
    client.curl("-C", "-", "-o", part, client.url(f"{folder}/down"))
    assert part.read_bytes() == content
    whole = tmp_path / "whole"
    whole.write_bytes(content)
    if server.name == "pureftpd":
        client.put(part, f"{folder}/up")  # it makes uploads of its own users appendable alone
        return
    half = tmp_path / "half"
    half.write_bytes(content[:200_000])
    client.put(half, f"{folder}/up")
    client.curl("-C", "-", "-T", whole, client.url(f"{folder}/up"))
    assert (server.root / folder / "up").read_bytes() == content


def test_curl_walks_many_files_over_one_session(server, sallyport, folder, tmp_path):
    front = sallyport(server)
    client = clients.Curl(front, server.user, server.password, tmp_path)
    for number in range(1, 11):
        server.put(f"{folder}/n{number}", random_bytes(1000 * number))
    client.run(
        "curl", "-sS", "--user", f"{server.user}:{server.password}", "--remote-name-all",
        f"ftp://{join_host_port(front.host, front.port)}/{folder}/n[1-10]",
    )  # fmt: skip
    for number in range(1, 11):
        assert Path(tmp_path / f"n{number}").read_bytes() == random_bytes(1000 * number)
