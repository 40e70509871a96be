# SPDX-License-Identifier: ISC
"""Small things that every part of the harness needs: waiting, ports, processes, files."""

import contextlib
import ctypes
import hashlib
import os
import random
import socket
import struct
import subprocess
import time
from pathlib import Path

# How long a condition that is expected to come true may take on a slow, busy machine.
PATIENCE = float(os.environ.get("SALLYPORT_TEST_PATIENCE", "20"))

# The tests run against the servers themselves: what fails then is the test, not Sallyport.
DIRECT = os.environ.get("SALLYPORT_DIRECT") == "1"


def eventually(condition, timeout=None, what=None):
    """Wait until condition() is true and return its value; fail when it does not become true."""
    deadline = time.monotonic() + (PATIENCE if timeout is None else timeout)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            shown = what() if callable(what) else what
            raise AssertionError(f"did not come true: {shown or condition}; last value {value!r}")
        time.sleep(0.01)


def free_port(host="127.0.0.1"):
    """A port that nobody has, below the ports that the kernel gives to outgoing connections."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(1000):
        port = random.SystemRandom().randrange(10240, 32000)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
                return port
            except OSError:
                continue
    raise RuntimeError(f"no free port on {host}")


def free_ports(n, hosts=("127.0.0.1", "::1")):
    """The first of n ports in a row that nobody has at any of these addresses."""
    for _ in range(1000):
        base = free_port(hosts[0])
        with contextlib.ExitStack() as stack:
            try:
                for host in hosts:
                    family = socket.AF_INET6 if ":" in host else socket.AF_INET
                    for port in range(base, base + n):
                        probe = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                        if family == socket.AF_INET6:
                            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                        probe.bind((host, port))
                return base
            except (OSError, OverflowError):
                continue
    raise RuntimeError(f"no {n} free ports in a row on {hosts}")


def pooled_ports(n, *hosts):
    """A value of passive_ports: n pooled ports."""
    base = free_ports(n, hosts or ("127.0.0.1", "::1"))
    return f"pooled:{base}-{base + n - 1}"


def join_host_port(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def accepts(host, port):
    """Does somebody listen there?"""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def tcp_sockets(*filters):
    """Rows of ss(8), which asks the kernel for these sockets alone: /proc/net/tcp is slow with many in TIME_WAIT."""
    return run(["ss", "-Htn", *filters]).stdout.splitlines()


def listens(host, port):
    """Does somebody listen there? Asked of the kernel, so that nobody is disturbed."""
    return any(join_host_port(host, port) in row.split() for row in tcp_sockets("-l", f"sport = :{port}"))


def connections_to(port):
    """Connections whose local end is this port and which their owner has not closed."""
    return len(tcp_sockets("state", "established", "state", "close-wait", f"sport = :{port}"))


@contextlib.contextmanager
def black_hole(host="127.0.0.1", port=0):
    """A port of loopback that answers no SYN: a listener whose backlog is full."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=0) as listener, contextlib.ExitStack() as stack:
        address = listener.getsockname()[:2]
        while True:
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(address)
            time.sleep(0.02)
            here = f"sport = :{filler.getsockname()[1]} and dport = :{address[1]}"
            if not tcp_sockets("state", "established", here):
                break
        yield address


def reset(sock):
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def abort(sock):
    """Break the connection with RST although another thread waits in it; the socket stays open."""
    nowhere = struct.pack("H14x", socket.AF_UNSPEC)
    if ctypes.CDLL(None, use_errno=True).connect(sock.fileno(), nowhere, len(nowhere)) == -1:
        raise OSError(ctypes.get_errno(), "disconnect")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def random_bytes(size, seed=0):
    return random.Random(seed or size).randbytes(size)


def tree(root):
    """{relative path: checksum} of every regular file below root; names as bytes."""
    root = os.fsencode(str(root))
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                found[os.path.relpath(path, root)] = sha256(path)
    return found


def run(argv, **options):
    """Run a program to its end; its output comes back with the exit code."""
    options.setdefault("timeout", 120)
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        [str(a) for a in argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        **options,
    )


def stop_process(process, patience=5):
    """End a process that we started; hard when it does not end by itself."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(patience)


def cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SALLYPORT_TEST_CACHE") or Path(base) / "sallyport-tests")
