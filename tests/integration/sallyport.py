# SPDX-License-Identifier: ISC
"""The program under test: configuration text, start, stop, its log, its admin socket, what it holds."""

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from support import DIRECT, eventually, free_port, join_host_port, listens, run

REPOSITORY = Path(__file__).resolve().parents[2]

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:halt_on_error=1:exitcode=99:strict_string_checks=1"
    ":detect_stack_use_after_return=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
    "LSAN_OPTIONS": "exitcode=99",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=99:second_deadlock_stack=1",
}
REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|[Aa]ssertion")


def find_binary():
    """SALLYPORT_BIN, or the newest of build/debug and build/release."""
    named = os.environ.get("SALLYPORT_BIN")
    if named:
        return Path(named)
    built = [REPOSITORY / "build" / preset / "sallyport" for preset in ("debug", "release")]
    built = [path for path in built if path.exists()]
    if not built:
        raise FileNotFoundError("no sallyport binary: build one (cmake --preset debug) or set SALLYPORT_BIN")
    return max(built, key=lambda path: path.stat().st_mtime)


def find_release_binary():
    """The binary without sanitizers, for what is measured; the ordinary one when there is none."""
    named = os.environ.get("SALLYPORT_RELEASE_BIN")
    if named:
        return Path(named)
    path = REPOSITORY / "build" / "release" / "sallyport"
    return path if path.exists() or DIRECT else find_binary()


def find_ctl():
    named = os.environ.get("SALLYPORT_CTL")
    return Path(named) if named else find_binary().parent / "sallyportctl"


def is_sanitized(binary):
    with open(binary, "rb") as file:
        content = file.read()
    return b"__asan_init" in content or b"__tsan_init" in content


def value_text(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):  # seconds
        return f"{value * 1000:.0f}ms"
    if isinstance(value, (list, tuple)):
        return "{ " + ", ".join(value_text(v) for v in value) + " }"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def section_text(head, settings):
    body = "".join(
        section_text(key, value) if isinstance(value, dict) else f"\t{key} = {value_text(value)}\n"
        for key, value in settings.items()
    )
    return f"{head} {{\n{body}}}\n"


class Configuration:
    """A configuration file in the making: one listener, one pool, one policy, unless more is said."""

    def __init__(
        self,
        servers,
        listen="127.0.0.1",
        listener=None,
        pool=None,
        server=None,
        policy=None,
        top=None,
        log=None,
        extra="",
        route=None,
    ):
        self.servers = servers
        self.host = listen
        self.port = free_port(listen)
        self.listener = {"bind": [join_host_port(listen, self.port)]} | (listener or {})
        self.pool = pool or {}
        self.server = server or {}  # settings of each server, or a list of settings
        self.policy = policy or {}
        self.top = {"workers": 2, "drain_timeout": "1s"} | (top or {})
        self.log = log or {}
        self.extra = extra
        self.route = {"pool": "main", "policy": "main"} | (route or {})

    def text(self, folder, log_file="-"):
        parts = ["".join(f"{key} = {value_text(value)}\n" for key, value in self.top.items())]
        parts.append(section_text("admin", {"socket": f"{folder}/admin.sock"}))
        parts.append(section_text("log", {"format": "json", "file": log_file, "level": "debug"} | self.log))
        parts.append(section_text("listener main", self.listener))
        pool = section_text("", self.pool)[3:-2]
        for number, server in enumerate(self.servers):
            address = server if isinstance(server, str) else server.address
            settings = self.server[number] if isinstance(self.server, list) else self.server
            settings = getattr(server, "settings", {}) | settings
            pool += section_text(f"server s{number}", {"address": address} | settings)
        parts.append(f"pool main {{\n{pool}}}\n")
        parts.append(section_text("policy main", self.policy))
        parts.append(self.extra)
        parts.append(section_text("route", {k: v for k, v in self.route.items() if v is not None}))
        return "\n".join(parts)


class Sallyport:
    """A running sallyport process."""

    OPTIONS = ("binary", "arguments", "log_file", "environment", "namespace")

    def __init__(self, configuration, binary=None, arguments=None, log_file=None, environment=None, namespace=()):
        self.configuration = configuration
        self.binary = Path(binary or find_binary())
        self.folder = Path(tempfile.mkdtemp(prefix="sp-"))  # short: a Unix socket's path has 107 bytes
        self.host = configuration.host if configuration else None
        self.port = configuration.port if configuration else None
        self.arguments = arguments
        self.log_file = log_file
        self.environment = environment or {}
        self.namespace = list(namespace)  # a command that runs another one, such as "ip netns exec NAME"
        self.process = None
        self.exit_code = None
        self.admin, self.asking = None, threading.Lock()

    # life

    def start(self, wait=True):
        if self.arguments is None:
            self.write_configuration()
            self.arguments = ["-c", str(self.folder / "sallyport.conf")]
        self.out_path, self.err_path = self.folder / "stdout", self.folder / "stderr"
        with open(self.out_path, "ab") as out, open(self.err_path, "ab") as err:
            self.process = subprocess.Popen(
                [*self.namespace, str(self.binary), *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=os.environ | SANITIZERS | self.environment,
            )
        if wait:
            eventually(lambda: self.process.poll() is not None or self.is_listening(), what=self.errors)
            if self.process.poll() is not None:
                raise AssertionError(f"sallyport ended with {self.process.returncode}: {self.errors()}")
        return self

    def write_configuration(self, text=None):
        text = text or self.configuration.text(self.folder, self.log_file or "-")
        (self.folder / "sallyport.conf").write_text(text)

    def is_listening(self):
        """It says that it is ready: in its log, or where that cannot be read, on its admin socket."""
        path = Path(self.log_file or self.out_path)
        if not path.exists() or path.is_file():
            if path.exists() and "started" in path.read_text(errors="replace"):
                return True
            if "level" not in self.configuration.text(self.folder, "-"):
                return False
        return listens(self.host, self.port) and (self.folder / "admin.sock").exists()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=30):
        self.exit_code = self.process.wait(timeout)
        return self.exit_code

    def stop(self, timeout=40):
        """End it in good order; it must end with 0 and say nothing of a sanitizer."""
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                stacks = self.stacks()
                self.process.send_signal(signal.SIGABRT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.wait(5)
                self.process.kill()
                self.wait()
                raise AssertionError(f"no end within {timeout} s of SIGTERM\n{stacks}\n{self.errors()}") from None
        self.exit_code = self.process.returncode
        self.check()

    def check(self):
        errors = self.errors()
        assert not REPORT.search(errors), errors
        assert self.exit_code == 0, f"exit code {self.exit_code}: {errors}"

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stacks(self):
        """Where each thread is, as far as the kernel tells."""
        found = []
        for task in Path(f"/proc/{self.process.pid}/task").glob("*"):
            with contextlib.suppress(OSError):
                found.append(f"{(task / 'comm').read_text().strip()}: {(task / 'wchan').read_text()}")
        return "\n".join(found)

    # what it says

    def errors(self):
        return self.err_path.read_text(errors="replace")[-20000:]

    def log(self):
        """Every event so far, each a dictionary."""
        path = Path(self.log_file) if self.log_file else self.out_path
        lines = path.read_text(errors="surrogateescape").split("\n")[:-1]
        return [json.loads(line) for line in lines if line]

    def events(self, name, **fields):
        return [e for e in self.log() if e.get("event") == name and all(e.get(k) == v for k, v in fields.items())]

    def wait_event(self, name, count=1, timeout=None, **fields):
        return eventually(
            lambda: len(found := self.events(name, **fields)) >= count and found,
            timeout,
            lambda: f"{count} × {name} {fields}; there is {self.log()[-10:]}",
        )[-1]

    def ask(self, question):
        """What the admin socket answers to a question, as JSON."""
        with self.asking:
            if self.admin is None:
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(30)
                sock.connect(str(self.folder / "admin.sock"))
                self.admin = sock.makefile("rw", encoding="utf-8")
                sock.close()
            self.admin.write(f"{question} json\n")
            self.admin.flush()
            answer = json.loads(self.admin.readline())
        assert "error" not in answer, answer
        return answer

    def ctl(self, *words):
        """sallyportctl with these words: its exit code and output."""
        return run([find_ctl(), "-s", self.folder / "admin.sock", *words])

    def sessions(self):
        return self.ask("show sessions")["sessions"]

    def stats(self):
        return self.ask("show stats")

    # what it holds

    @property
    def pid(self):
        return self.process.pid

    def descriptors(self):
        """{descriptor: what it is}"""
        found = {}
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(OSError):
                found[int(fd)] = os.readlink(f"/proc/{self.pid}/fd/{fd}")
        return found

    def sockets(self):
        """How many sockets it has; the admin connection is one of them, from the first time on."""
        self.stats()
        return sum(1 for target in self.descriptors().values() if target.startswith("socket:"))

    def pipe_ends(self):
        return sum(1 for target in self.descriptors().values() if target.startswith("pipe:"))

    def memory_kib(self, field="Pss"):
        """Of /proc/PID/smaps_rollup: Rss, Pss, Private_Dirty, Anonymous …"""
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as rollup:
            for line in rollup:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise KeyError(field)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))


class Direct:
    """Stands in for Sallyport when the tests are tried against the server itself."""

    def __init__(self, server):
        self.host, self.port = server.host, server.port

    def stop(self):
        pass

    kill = stop


def admin_raw(path, text, timeout=10):
    """What the admin socket says to a line, without sallyportctl."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        sock.connect(str(path))
        sock.sendall(text.encode() + b"\n")
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := sock.recv(65536):
            got += chunk
    return got.decode()


@contextlib.contextmanager
def as_nobody(server, top=None, **settings):
    """Sallyport before one server: started as root, it has become somebody else."""
    environment = {"ASAN_OPTIONS": SANITIZERS["ASAN_OPTIONS"] + ":detect_leaks=0"}  # which a process without root cannot
    top = {"user": "nobody"} | (top or {})
    front = Sallyport(Configuration((server,), top=top, **settings), environment=environment)
    nobody = pwd.getpwnam("nobody")
    os.chown(front.folder, nobody.pw_uid, nobody.pw_gid)
    try:
        yield front.start()
        front.stop()
    finally:
        front.kill()
        shutil.rmtree(front.folder, ignore_errors=True)
