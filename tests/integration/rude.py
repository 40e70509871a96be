# SPDX-License-Identifier: ISC
"""Scripted peers that behave as badly as a test wants: a server, a client, a crowd of clients.

The rude server is a thread a connection. Without a script it is a small, well-behaved FTP server with its
files in memory; a test replaces single answers in its `table`:

    RudeServer(table={"CWD": b"250-first\\r\\n250 last\\r\\n", "RETR": truncated(1000), "PWD": hang})

An action is bytes (sent as they are), str (sent with CRLF), a list (one element for each time the command
comes, the last one from then on), or a callable (connection, argument).
"""

import contextlib
import errno
import itertools
import re
import select
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from support import PATIENCE, eventually, join_host_port, reset

FIN, RST, TIMEOUT = "fin", "rst", "timeout"


class Closed(Exception):
    """The peer closed the connection: with FIN or with RST."""

    def __init__(self, how, rest=b""):
        super().__init__(f"closed by {how}, behind {rest!r}")
        self.how = how
        self.rest = rest


class Reply(NamedTuple):
    code: int
    raw: bytes

    @property
    def text(self):
        return self.raw.decode("utf-8", "surrogateescape")


class Wire:
    """A socket that is read by lines and replies; keeps every byte that came."""

    def __init__(self, sock, timeout=PATIENCE):
        self.sock = sock
        self.timeout = timeout
        self.raw = bytearray()  # all that was received
        self.pending = bytearray()  # received and not yet taken
        self.closed_by = None  # how the peer ended it, once that was seen
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as why:
            raise BrokenPipeError(str(why)) from why

    def more(self, timeout=None):
        """Read once; raises Closed at the end, TimeoutError when nothing comes."""
        self.sock.settimeout(self.timeout if timeout is None else timeout)
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            self.closed_by = RST
        except TimeoutError:
            raise TimeoutError(f"nothing came; before: {bytes(self.raw[-300:])!r}") from None
        else:
            if data:
                self.raw += data
                self.pending += data
                return data
            self.closed_by = FIN
        raise Closed(self.closed_by, bytes(self.pending))

    def line(self, timeout=None):
        """The next line with its line end; ended by LF."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while (end := self.pending.find(b"\n")) < 0:
            self.more(max(0.001, deadline - time.monotonic()))
        line = bytes(self.pending[: end + 1])
        del self.pending[: end + 1]
        return line

    def reply(self, timeout=None):
        """The next reply, whole (RFC 959 section 4.2)."""
        first = self.line(timeout)
        if not re.match(rb"[1-6]\d\d[ \-\r\n]", first):
            raise AssertionError(f"not a reply: {first!r}")
        lines = [first]
        if first[3:4] == b"-":
            while len(lines) == 1 or lines[-1][:4] != first[:3] + b" ":
                lines.append(self.line(timeout))
        return Reply(int(first[:3]), b"".join(lines))

    def wait_end(self, timeout=None):
        """Read until the peer closes; how it did it."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        with contextlib.suppress(Closed):
            while self.closed_by is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return TIMEOUT
                with contextlib.suppress(TimeoutError):
                    self.more(left)
        return self.closed_by

    def close(self):
        self.sock.close()

    def reset(self):
        reset(self.sock)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)


def drain(sock, timeout=PATIENCE):
    """Read a data connection to its end: the bytes, and FIN, RST or TIMEOUT."""
    sock.settimeout(timeout)
    got = bytearray()
    try:
        while data := sock.recv(1 << 18):
            got += data
    except ConnectionError:
        return bytes(got), RST
    except TimeoutError:
        return bytes(got), TIMEOUT
    return bytes(got), FIN


class RudeClient(Wire):
    """A client's control connection, byte by byte in the hands of the test."""

    def __init__(self, host, port, timeout=PATIENCE, source=None, greeted=True, receive_buffer=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            sock.bind((source, 0))
        sock.settimeout(timeout)
        sock.connect((host, port))
        super().__init__(sock, timeout)
        self.host = host
        if greeted:
            self.expect(220)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def say(self, text):
        self.send(text.encode("utf-8", "surrogateescape") + b"\r\n" if isinstance(text, str) else text + b"\r\n")

    def expect(self, *codes, timeout=None):
        reply = self.reply(timeout)
        assert reply.code in codes, f"expected {codes}, got {reply.raw!r}"
        return reply

    def ask(self, text, *codes, timeout=None):
        """Say a line, take one reply, which must have one of these codes when any is given."""
        self.say(text)
        return self.expect(*codes, timeout=timeout) if codes else self.reply(timeout)

    def logon(self, user="u", password="p"):
        reply = self.ask(f"USER {user}", 331, 230)
        if reply.code == 331:
            self.ask(f"PASS {password}", 230)
        return self

    def quit(self):
        self.ask("QUIT", 221)
        assert self.wait_end() == FIN
        self.close()

    def passive_port(self, how="EPSV"):
        """Ask for a passive port; the address of a 227 is given too."""
        if how == "EPSV":
            reply = self.ask("EPSV", 229)
            return self.host, int(re.search(rb"\(\|\|\|(\d+)\|\)", reply.raw)[1])
        reply = self.ask("PASV", 227)
        numbers = [int(n) for n in re.search(rb"\((\d+),(\d+),(\d+),(\d+),(\d+),(\d+)\)", reply.raw).groups()]
        return ".".join(map(str, numbers[:4])), numbers[4] * 256 + numbers[5]

    def open_data(self, how="EPSV"):
        """Ask for a passive port and connect to it."""
        data = socket.create_connection(self.passive_port(how), self.timeout)
        data.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return data

    def download(self, command, how="EPSV", opened=(150, 125)):
        """A transfer to us: the bytes, how the data connection ended, the final reply."""
        with self.open_data(how) as data:
            first = self.ask(command)
            if first.code not in opened:
                return b"", None, first
            content, end = drain(data, self.timeout)
        return content, end, self.reply()

    def upload(self, command, content, how="EPSV"):
        """A transfer from us, ended with FIN; the final reply."""
        with self.open_data(how) as data:
            self.ask(command, 150, 125)
            data.sendall(content)
        return self.reply()


# ------------------------------------------------------------------------------------------------ server


@dataclass
class Upload:
    """What came up on a data connection, and how the sender ended it."""

    verb: str
    name: bytes
    offset: int
    content: bytes = b""
    size: int = 0
    end: str | None = None


class Gone(Exception):
    """This end of the control connection is to be closed: the connection's thread ends."""


@dataclass(eq=False)
class Session(Wire):
    """The server's side of one control connection."""

    server: "RudeServer"
    sock: socket.socket
    number: int = 0
    lines: list = field(default_factory=list)  # command lines as received, with their line ends
    listener: socket.socket | None = None  # passive
    target: tuple | None = None  # active
    data: socket.socket | None = None  # a data connection that a script leaves open
    rest: int = 0
    rename: bytes = b""
    counts: dict = field(default_factory=dict)

    def __post_init__(self):
        super().__init__(self.sock, timeout=600)
        self.ended = threading.Event()

    def say(self, text):
        self.send(text if isinstance(text, bytes) else text.encode() + b"\r\n")

    @property
    def commands(self):
        return [line.rstrip(b"\r\n").decode("utf-8", "surrogateescape") for line in self.lines]

    def verbs(self):
        return [command.split(" ", 1)[0].upper() for command in self.commands]

    def next_command(self):
        """The next line without its end; raises Closed when the client is gone."""
        line = self.line()
        self.lines.append(line)
        return line.rstrip(b"\r\n")

    def open_data(self, timeout=PATIENCE):
        """The data connection, in the mode that the client asked for last."""
        if self.target:
            return socket.create_connection(self.target, timeout)
        if not self.listener:
            raise AssertionError("a transfer command came without PASV, EPSV, PORT or EPRT")
        self.listener.settimeout(timeout)
        data, _ = self.listener.accept()
        self.close_listener()
        data.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return data

    def listen(self):
        self.close_listener()
        self.target = None
        host = self.sock.getsockname()[0]
        self.listener = socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=4
        )
        return host, self.listener.getsockname()[1]

    def close_listener(self):
        if self.listener:
            self.listener.close()
            self.listener = None

    def command_waiting(self):
        """The verb of a command that has come in the middle of something, without taking it."""
        while b"\n" not in self.pending and select.select([self.sock], [], [], 0)[0]:
            self.more(0)
        line, end, _ = bytes(self.pending).partition(b"\n")
        return line.strip(b"\r \xff\xf4\xf2").upper() if end else b""

    def hold(self):
        """Do nothing, not even read, until the other side has closed or the test ends."""
        watch = select.poll()
        watch.register(self.sock, select.POLLRDHUP)
        while not self.server.stopping.is_set() and not watch.poll(50):
            pass
        raise Gone


class RudeServer:
    """A scripted FTP server on a loopback address. Use as a context manager."""

    settings = {"ask_features": False}  # of Sallyport for it, unless the test says otherwise: it counts commands

    def __init__(self, host="127.0.0.1", table=None, greeting="220 rude server", files=None, backlog=512, port=0):
        self.host = host
        self.greeting = greeting
        self.table = {verb.upper(): action for verb, action in (table or {}).items()}
        self.files = files or {}
        self.uploads = []
        self.history = []  # every session there ever was
        self.errors = []
        self.epsv = True
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family, backlog=backlog)
        self.port = self.listener.getsockname()[1]

    @property
    def address(self):
        return join_host_port(self.host, self.port)

    def __enter__(self):
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, kind, *_):
        self.stop()
        if self.errors and kind is None:
            raise self.errors[0]

    def stop(self):
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._acceptor.join(5)  # whoever came last is among the threads, and started
        for session in self.history:
            with contextlib.suppress(OSError):
                session.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    # what it saw

    def sessions(self):
        """Control connections that neither side has ended."""
        return sum(1 for session in self.history if not session.ended.is_set())

    def commands(self):
        return list(itertools.chain.from_iterable(session.commands for session in list(self.history)))

    def verbs(self):
        return [command.split(" ", 1)[0].upper() for command in self.commands()]

    def wait_verb(self, verb, times=1, timeout=None):
        eventually(
            lambda: self.verbs().count(verb) >= times,
            timeout,
            lambda: f"the server has not seen {times} {verb}: {self.commands()[-20:]}",
        )

    def wait_gone(self, timeout=None):
        eventually(lambda: self.sessions() == 0, timeout, lambda: f"{self.sessions()} sessions still open")

    def last(self):
        return self.history[-1]

    def wait_upload(self, count=1, timeout=None):
        return eventually(
            lambda: len(self.uploads) >= count and self.uploads[-1].end and self.uploads[-1], timeout, "an upload ended"
        )

    # its threads

    def _accept(self):
        while not self.stopping.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            session = Session(self, sock, len(self.history))
            self.history.append(session)
            thread = threading.Thread(target=self._serve, args=(session,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, session):
        try:
            self._act(session, self.greeting, b"")
            while True:
                command = session.next_command()
                verb, _, argument = command.lstrip(b"\xff\xf4\xf2").partition(b" ")
                verb = verb.decode("ascii", "replace").upper()
                action = self.table.get(verb, self.table.get("*", getattr(self, f"on_{verb.lower()}", unknown)))
                if isinstance(action, list):
                    with self._lock:
                        count = session.counts[verb] = session.counts.get(verb, 0) + 1
                    action = action[min(count, len(action)) - 1]
                self._act(session, action, argument)
        except (Closed, Gone, ConnectionError):
            pass
        except OSError as error:
            if not self.stopping.is_set() and error.errno != 9:  # a script may have closed the socket itself
                self.errors.append(error)
        except Exception as error:  # shown by the test's thread
            if not self.stopping.is_set():
                self.errors.append(error)
        finally:
            session.close_listener()
            if session.data:
                session.data.close()
            session.ended.set()  # before the other side can know it
            session.close()

    def _act(self, session, action, argument):
        if callable(action):
            action(session, argument)
        elif action is not None:
            session.say(action)

    # the well-behaved commands

    def on_user(self, s, _):
        s.say("331 Password, please")

    def on_pass(self, s, _):
        s.say("230 Logged on")

    def on_quit(self, s, _):
        s.say("221 Bye")
        raise Gone

    def on_syst(self, s, _):
        s.say("215 UNIX Type: L8")

    def on_feat(self, s, _):
        features = ("EPSV", "MDTM", "MLST type*;size*;modify*;", "REST STREAM", "SIZE", "UTF8")
        s.say("\r\n ".join(("211-Features", *features)) + "\r\n211 End")

    def on_noop(self, s, _):
        s.say("200 Fine")

    def on_type(self, s, argument):
        s.say(b"200 Type " + argument + b"\r\n")

    on_mode = on_stru = on_opts = on_clnt = on_allo = on_site = on_type

    def on_pwd(self, s, _):
        s.say('257 "/" is current')

    on_xpwd = on_pwd

    def on_cwd(self, s, argument):
        s.say(b"250 Now in " + argument + b"\r\n")

    on_xcwd = on_cwd

    def on_cdup(self, s, _):
        s.say("250 Up")

    def on_mkd(self, s, argument):
        s.say(b'257 "' + argument + b'" made\r\n')

    def on_rmd(self, s, _):
        s.say("250 Gone")

    def on_dele(self, s, argument):
        s.say("250 Gone" if self.files.pop(argument, None) is not None else "550 No such file")

    def on_rnfr(self, s, argument):
        s.rename = argument
        s.say("350 And the new name?" if argument in self.files else "550 No such file")

    def on_rnto(self, s, argument):
        self.files[argument] = self.files.pop(s.rename)
        s.say("250 Renamed")

    def on_size(self, s, argument):
        s.say(f"213 {len(self.files[argument])}" if argument in self.files else "550 No such file")

    def on_mdtm(self, s, argument):
        s.say("213 20240102030405" if argument in self.files else "550 No such file")

    def on_stat(self, s, argument):
        s.say(b"211-Status\r\n all is well\r\n211 End\r\n" if not argument else b"213 " + argument + b"\r\n")

    def on_help(self, s, _):
        s.say(b"214-Help\r\n none\r\n214 End\r\n")

    def on_rest(self, s, argument):
        s.rest = int(argument)
        s.say(f"350 Restarting at {s.rest}")

    def on_abor(self, s, _):
        s.say("226 Nothing to abort")

    def on_pasv(self, s, _):
        host, port = s.listen()
        s.say(f"227 Entering Passive Mode ({host.replace('.', ',')},{port // 256},{port % 256}).")

    def on_epsv(self, s, _):
        if not self.epsv:
            s.say("500 EPSV not understood")
            return
        s.say(f"229 Entering Extended Passive Mode (|||{s.listen()[1]}|)")

    def on_port(self, s, argument):
        numbers = [int(n) for n in argument.split(b",")]
        s.close_listener()
        s.target = (".".join(map(str, numbers[:4])), numbers[4] * 256 + numbers[5])
        s.say("200 PORT")

    def on_eprt(self, s, argument):
        _, _, host, port, _ = argument.decode().split(argument[:1].decode())
        s.close_listener()
        s.target = (host, int(port))
        s.say("200 EPRT")

    def on_retr(self, s, argument):
        if argument not in self.files:
            s.say("550 No such file")
            return
        offset, s.rest = s.rest, 0
        send_content(s, self.files[argument][offset:])

    def on_list(self, s, _):
        rows = [b"-rw-r--r-- 1 u g %d Jan  2  2024 %s\r\n" % (len(data), name) for name, data in self.files.items()]
        send_content(s, b"".join(rows))

    def on_nlst(self, s, _):
        send_content(s, b"".join(name + b"\r\n" for name in self.files))

    def on_mlsd(self, s, _):
        facts = b"type=file;size=%d;modify=20240102030405; %s\r\n"
        send_content(s, b"".join(facts % (len(data), name) for name, data in self.files.items()))

    def on_stor(self, s, argument):
        receive_content(s, "STOR", argument)

    def on_appe(self, s, argument):
        receive_content(s, "APPE", argument)

    def on_stou(self, s, _):
        receive_content(s, "STOU", b"unique.%d" % len(self.uploads), b"150 FILE: unique.%d\r\n" % len(self.uploads))


def unknown(session, _):
    session.say("500 Unknown command")


def send_content(session, content, first="150 Here it comes", final="226 Sent"):
    """A transfer to the client that watches for ABOR, and for the client's end."""
    session.say(first)
    with session.open_data() as data:
        view = memoryview(content)
        while view:
            readable, writable, _ = select.select([session.sock], [data], [], 60)
            if readable and session.command_waiting() == b"ABOR":
                session.next_command()
                reset(data)
                session.say("426 Aborted")
                session.say("226 ABOR done")
                return
            if writable:
                data.setblocking(False)
                try:
                    view = view[data.send(view[: 1 << 18]) :]
                except BlockingIOError:
                    pass
                except ConnectionError:
                    session.say("426 Broken data connection")
                    return
    session.say(final)


@contextlib.contextmanager
def servers_on_one_port(*hosts, tries=20):
    """A RudeServer on each address, all on one port, which may be somebody else's on one of them: then another."""
    for last in [False] * (tries - 1) + [True]:
        made = []
        try:
            for host in hosts:
                made.append(RudeServer(host=host, port=made[0].port if made else 0))
            break
        except OSError as why:
            for server in made:
                server.listener.close()
            if last or why.errno != errno.EADDRINUSE:
                raise
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(server) for server in made]


def receive_content(session, verb, name, first="150 Send it", final="226 Stored", keep=True):
    """A transfer from the client; records how its data connection ended."""
    upload = Upload(verb, name, session.rest)
    session.rest = 0
    session.server.uploads.append(upload)
    session.say(first)
    got = bytearray()
    with session.open_data() as data:
        while True:
            readable, _, _ = select.select([session.sock, data], [], [], 600)
            if session.sock in readable and session.command_waiting() == b"ABOR":
                session.next_command()
                session.say("426 Aborted")
                session.say("226 ABOR done")
                upload.content, upload.size = bytes(got), len(got)
                # how the client's side ends its data connection is part of what is asked of it
                upload.end = drain(data)[1]
                return
            if data in readable:
                try:
                    chunk = data.recv(1 << 18)
                except ConnectionError:
                    upload.end = RST
                    break
                if not chunk:
                    upload.end = FIN
                    break
                upload.size += len(chunk)
                if keep:
                    got += chunk
    upload.content = bytes(got)
    if upload.end == FIN:
        if keep:
            old = session.server.files.get(name, b"") if verb == "APPE" else b""
            old = session.server.files.get(name, b"")[: upload.offset] if upload.offset else old
            session.server.files[name] = old + upload.content
        session.say(final)
    else:
        session.say("426 Broken data connection")


# ------------------------------------------------------------------------------ actions for scripts


def hang(_session, _argument):
    """No answer; goes on reading, so that what comes later is seen."""


def freeze(session, _argument):
    """No answer, and nothing is read any more."""
    session.hold()


def close(_session, _argument):
    raise Gone


def reset_control(session, _argument):
    session.reset()
    raise Gone


def say(text, then=None):
    """Say something, then do something."""

    def act(session, argument):
        session.say(text)
        if then:
            then(session, argument)

    return act


def truncated(size, then=None, final=None, how=RST):
    """RETR: 150, `size` bytes, then the data connection ends by `how`; then `then` or the final reply."""

    def act(session, argument):
        session.say("150 Here it comes")
        data = session.open_data()
        data.sendall(b"x" * size)
        # what was sent must have left before a RST destroys it
        eventually(lambda: unsent(data) == 0)
        if how == RST:
            reset(data)
        else:
            data.close()
        if then:
            then(session, argument)
        elif final:
            session.say(final)

    return act


def stalled(size):
    """RETR: 150, `size` bytes, and no more; watches the control connection."""

    def act(session, _argument):
        session.say("150 Here it comes")
        session.data = session.open_data()
        session.data.sendall(b"x" * size)

    return act


def never_read(session, _argument):
    """STOR: 150, and the data connection is never read; watches the control connection."""
    session.say("150 Send it")
    session.data = session.open_data()


def cut_after(size, then):
    """STOR: 150, `size` bytes are read, then RST on the data connection, then `then`."""

    def act(session, argument):
        session.say("150 Send it")
        data = session.open_data()
        got = 0
        while got < size:
            got += len(data.recv(size - got) or b"x" * size)
        reset(data)
        then(session, argument)

    return act


def unsent(sock):
    """Bytes in the send queue that the peer's kernel has not acknowledged."""
    import array
    import fcntl

    count = array.array("i", [0])
    fcntl.ioctl(sock, 0x5411, count)  # SIOCOUTQ
    return count[0]


# --------------------------------------------------------------------------------------------- crowd


class Crowd:
    """Many clients in step: each step is sent on all, then answered on all."""

    def __init__(self, count, host, port, **options):
        self.members = []
        try:
            for _ in range(count):
                self.members.append(RudeClient(host, port, greeted=False, **options))
        except OSError:
            self.close()
            raise
        self.data = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def expect(self, *codes):
        for member in self.members:
            member.expect(*codes)
        return self

    def ask(self, text, *codes):
        for member in self.members:
            member.say(text)
        return self.expect(*codes)

    def logon(self):
        return self.expect(220).ask("USER u", 331).ask("PASS p", 230)

    def open_data(self):
        for member in self.members:
            member.say("EPSV")
        for member in self.members:
            port = int(re.search(rb"\(\|\|\|(\d+)\|\)", member.expect(229).raw)[1])
            self.data.append(socket.create_connection((member.host, port), member.timeout))
        return self

    def ends(self, timeout=None):
        """How each was closed."""
        return [member.wait_end(timeout) for member in self.members]

    def close(self):
        for thing in self.members + getattr(self, "data", []):
            thing.close()

    def reset(self):
        for member in self.members:
            member.reset()
