# SPDX-License-Identifier: ISC
"""Real FTP servers on free loopback ports: vsftpd, ProFTPD, Pure-FTPd, pyftpdlib.

Each serves one user from a directory of its own. The daemons come from the cache that tests/run.sh fills
(the Debian packages conflict with one another, so they are unpacked there, not installed) or from the
system. Nothing here is about Sallyport.
"""

import abc
import contextlib
import dbm.ndbm
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from support import accepts, cache_folder, connections_to, eventually, free_port, join_host_port, stop_process

USER = "alice"
PASSWORD = "open sesame"


class Unavailable(Exception):
    """This machine cannot run this server; the text says why."""


def find_daemon(package, name):
    """The daemon's path: from the cache, else from the system."""
    cached = cache_folder() / "servers" / package / "usr"
    for folder in (cached / "sbin", cached / "bin"):
        if (folder / name).exists():
            return str(folder / name)
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not found:
        raise Unavailable(f"{name} is neither in {cached} nor installed; run tests/run.sh once")
    return found


class RealServer(abc.ABC):
    """A running daemon. `root` is what the user sees as "/"."""

    name = "?"
    anonymous = False  # whether USER anonymous works beside the user
    keeps_outer_spaces = True  # of names, in what it stores
    can = frozenset({"mlsd", "stou", "appe", "rest", "size", "mdtm", "abor"})

    def __init__(self, folder, host="127.0.0.1"):
        self.folder = Path(folder)
        self.host = host
        self.port = 0
        self.user = USER
        self.password = PASSWORD
        self.root = self.folder / "root"
        self.process = None
        self.root.mkdir(parents=True)
        self.folder.chmod(0o755)
        self.root.chmod(0o777)

    @property
    def address(self):
        return join_host_port(self.host, self.port)

    @abc.abstractmethod
    def command(self):
        """Write what configuration it needs and return the argument vector."""

    def start(self, port=None):
        for _ in range(5):  # somebody else may take the port between our look and the daemon's bind
            self.port = port or free_port(self.host)
            self.output = open(self.folder / "output.log", "ab")
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=self.output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            with contextlib.suppress(AssertionError):
                eventually(lambda: self.process.poll() is not None or accepts(self.host, self.port), 10)
                if self.process.poll() is None:
                    # the probe's session must not be counted among those of a test; one that comes back has others
                    eventually(lambda: port is not None or self.sessions() == 0, 10)
                    return self
            self.stop()
        raise Unavailable(f"{self.name} does not start: {(self.folder / 'output.log').read_text()[-2000:]}")

    def stop(self):
        if self.process:
            stop_process(self.process)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)  # children that serve sessions: our own group
            self.output.close()
            self.process = None

    def kill(self):
        """As a crash would end it, sessions and all; start(port) brings it back."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.output.close()
        self.process = None

    def sessions(self):
        """Control connections that the server has open."""
        return connections_to(self.port)

    def commands(self):
        """Command lines that the server has seen, in order, or None when it keeps no such log."""
        return None

    def put(self, name, content, mtime=None):
        """Place a file where the user finds it."""
        path = self.root / name if isinstance(name, str) else Path(os.fsdecode(os.fsencode(self.root) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
        if mtime is not None:
            os.utime(path, (mtime, mtime))
        return path

    def fresh_folder(self, name):
        path = self.root / name
        path.mkdir(parents=True)
        path.chmod(0o777)
        return path


class Vsftpd(RealServer):
    """With a virtual user when a private mount namespace can hold a PAM service of our own (root)."""

    name = "vsftpd"
    anonymous = True
    can = RealServer.can - {"mlsd"}

    def command(self):
        daemon = find_daemon("vsftpd", "vsftpd")
        log = self.folder / "vsftpd.log"
        empty = self.folder / "empty"
        empty.mkdir(exist_ok=True)
        settings = {
            "listen": "YES",
            "listen_address": self.host,
            "listen_port": self.port,
            "background": "NO",
            "anonymous_enable": "YES",
            "anon_root": self.root,
            "anon_upload_enable": "YES",
            "anon_mkdir_write_enable": "YES",
            "anon_other_write_enable": "YES",
            "anon_world_readable_only": "NO",
            "anon_umask": "022",
            "local_umask": "022",
            "write_enable": "YES",
            "secure_chroot_dir": empty,
            "seccomp_sandbox": "NO",
            "isolate": "NO",
            "isolate_network": "NO",
            "one_process_model": "NO",
            "xferlog_enable": "YES",
            "xferlog_std_format": "NO",
            "log_ftp_protocol": "YES",
            "vsftpd_log_file": log,
            "ascii_download_enable": "YES",
            "ascii_upload_enable": "YES",
            "async_abor_enable": "YES",
            "ls_recurse_enable": "YES",
            "idle_session_timeout": 900,
            "data_connection_timeout": 900,
            "max_clients": 0,
            "session_support": "NO",
            "force_dot_files": "YES",
        }
        if os.geteuid() != 0:
            settings["run_as_launching_user"] = "YES"
            self.user = "anonymous"
            return self._configured(settings, [daemon])
        guest = next(
            u.pw_name for u in pwd.getpwall() if 0 < u.pw_uid < 1000 and Path(u.pw_dir).is_dir() and u.pw_dir != "/"
        )
        settings |= {
            "ftp_username": guest,
            "chroot_local_user": "YES",
            "allow_writeable_chroot": "YES",
            "local_enable": "YES",
            "guest_enable": "YES",
            "guest_username": guest,
            "local_root": self.root,
            "virtual_use_local_privs": "YES",
            "pam_service_name": "sallyport-test",
        }
        with dbm.ndbm.open(str(self.folder / "users"), "n") as users:  # the format that pam_userdb reads
            users[USER] = PASSWORD
        services = self.folder / "pam.d"
        services.mkdir(exist_ok=True)
        (services / "sallyport-test").write_text(
            f"auth required pam_userdb.so db={self.folder}/users\n"
            "account required pam_permit.so\n"
            "session required pam_permit.so\n"
        )
        inside = 'mount --bind "$1" /etc/pam.d && shift && exec "$@"'
        namespace = ["unshare", "--mount", "sh", "-c", inside, "sh", str(services)]
        if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode != 0:
            settings |= {"local_enable": "NO", "guest_enable": "NO", "run_as_launching_user": "YES"}
            self.user = "anonymous"
            return self._as_guest(pwd.getpwnam(guest), settings, daemon)
        return self._configured(settings, [*namespace, daemon])

    def _as_guest(self, guest, settings, daemon):
        """Root's vsftpd wants an anonymous root folder that nobody may write to; anybody else's does not."""
        become = ["setpriv", f"--reuid={guest.pw_uid}", f"--regid={guest.pw_gid}", "--clear-groups"]
        command = self._configured(settings, [*become, daemon])
        for path in (self.folder, self.root, self.folder / "vsftpd.conf"):
            os.chown(path, guest.pw_uid, guest.pw_gid)
        return command

    def _configured(self, settings, argv):
        file = self.folder / "vsftpd.conf"
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return [*argv, str(file)]

    def commands(self):
        log = self.folder / "vsftpd.log"
        if not log.exists():
            return []
        lines = log.read_text(errors="replace").splitlines()
        return [line.split(', "', 1)[1][:-1] for line in lines if "FTP command:" in line and ', "' in line]


class Proftpd(RealServer):
    """AuthUserFile with one virtual user."""

    name = "proftpd"

    def command(self):
        daemon = find_daemon("proftpd-core", "proftpd")
        root = os.geteuid() == 0
        owner = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.geteuid())
        group = "nogroup" if root else "self"
        users, groups = self.folder / "passwd", self.folder / "group"
        users.write_text(f"{USER}:{crypt_sha512(PASSWORD)}:{owner.pw_uid}:{owner.pw_gid}::{self.root}:/bin/sh\n")
        groups.write_text(f"{group}:x:{owner.pw_gid}:\n")
        for file in (users, groups):
            file.chmod(0o600)
        file = self.folder / "proftpd.conf"
        file.write_text(
            f"""ServerName test
ServerType standalone
DefaultServer on
Port {self.port}
DefaultAddress {self.host}
SocketBindTight on
UseIPv6 {"on" if ":" in self.host else "off"}
UseReverseDNS off
User {owner.pw_name}
{f"Group {group}" if root else ""}
MaxInstances none
PidFile {self.folder}/pid
ScoreboardFile {self.folder}/scoreboard
DelayEngine off
ControlsEngine off
AuthOrder mod_auth_file.c
AuthUserFile {users}
AuthGroupFile {groups}
AuthPAM off
RequireValidShell off
{"DefaultRoot ~" if root else ""}
WtmpLog off
TransferLog none
SystemLog {self.folder}/system.log
LogFormat commands "%r"
ExtendedLog {self.folder}/commands.log ALL commands
Umask 022
AllowOverwrite on
AllowStoreRestart on
AllowRetrieveRestart on
TimeoutIdle 900
TimeoutLogin 900
TimeoutNoTransfer 0
TimeoutStalled 0
TimesGMT on
ListOptions -a
"""
        )
        file.chmod(0o644)
        return [daemon, "-n", "-c", str(file)]

    def commands(self):
        log = self.folder / "commands.log"
        return log.read_text(errors="replace").splitlines() if log.exists() else []


class PureFtpd(RealServer):
    """PureDB with one virtual user; needs root for its chroot."""

    name = "pureftpd"
    keeps_outer_spaces = False  # it makes them "_"

    def command(self):
        if os.geteuid() != 0:
            raise Unavailable("pure-ftpd needs root: its virtual users are always in a chroot")
        daemon = find_daemon("pure-ftpd", "pure-ftpd")
        tool = find_daemon("pure-ftpd", "pure-pw")
        nobody = pwd.getpwnam("nobody")
        database = self.folder / "users.pdb"
        # its own tool would choose a hash that takes seconds of CPU at each logon
        hashed = crypt_sha512(PASSWORD)
        users = self.folder / "users"
        users.write_text(f"{USER}:{hashed}:{nobody.pw_uid}:{nobody.pw_gid}::{self.root}/./::::::::::::\n")
        subprocess.run([tool, "mkdb", database, "-f", users], capture_output=True, check=True)
        where = ["-S", f"{self.host},{self.port}", "-l", f"puredb:{database}", "-g", str(self.folder / "pid")]
        limits = ["-c", "10000", "-C", "10000", "-u", "1", "-I", "15", "-L", "20000:20", "-U", "022:022"]
        return [daemon, *where, *limits, "-A", "-E", "-H", "-z", "-D"]


class Pyftpdlib(RealServer):
    """In a process of its own; logs the commands that it sees."""

    name = "pyftpdlib"
    anonymous = True

    def command(self):
        return [sys.executable, str(Path(__file__).parent / "pyftpdlib_server.py"), self.host, str(self.port)] + (
            [str(self.root), USER, PASSWORD, str(self.folder / "commands.log")]
        )

    def commands(self):
        log = self.folder / "commands.log"
        return log.read_text(errors="replace").splitlines() if log.exists() else []


ALL = {kind.name: kind for kind in (Vsftpd, Proftpd, PureFtpd, Pyftpdlib)}


def crypt_sha512(password):
    done = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=password + "\n", text=True, capture_output=True, check=True
    )
    return done.stdout.strip()


def sessions_gone(*servers, timeout=None):
    """Wait until none of the servers has a control connection open."""
    eventually(
        lambda: all(server.sessions() == 0 for server in servers),
        timeout,
        lambda: {server.name: server.sessions() for server in servers},
    )


def wait_for_command(server, verb, since=0, timeout=None):
    """Wait until the server has logged `verb` behind its first `since` commands."""
    eventually(
        lambda: any(line.split(" ", 1)[0].upper() == verb for line in server.commands()[since:]),
        timeout,
        lambda: f"{server.name} has not seen {verb}: {server.commands()[since:]}",
    )
