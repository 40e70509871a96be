# SPDX-License-Identifier: ISC
"""Real FTP clients, each driven to do the same few things."""

import abc
import ftplib
import os
import re
import shutil
import urllib.parse
from pathlib import Path

from support import join_host_port, run


class Client(abc.ABC):
    """One user at one address. `home` is a folder for the client's own files."""

    name = "?"
    ipv6 = True

    def __init__(self, front, user, password, home):
        self.host, self.port = front.host, front.port
        self.user, self.password = user, password
        self.environment = os.environ | {"HOME": str(home), "LC_ALL": "C.UTF-8"}
        self.home = Path(home)

    def run(self, *argv, **options):
        done = run(argv, env=self.environment, cwd=self.home, **options)
        assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @abc.abstractmethod
    def put(self, local, remote):
        """Upload a file."""

    @abc.abstractmethod
    def get(self, remote, local):
        """Download a file."""

    @abc.abstractmethod
    def names(self, folder):
        """The names in a folder."""


class Curl(Client):
    name = "curl"

    def url(self, path):
        return f"ftp://{join_host_port(self.host, self.port)}/{urllib.parse.quote(path)}"

    def curl(self, *arguments):
        return self.run("curl", "-sS", "--user", f"{self.user}:{self.password}", "--max-time", "60", *arguments)

    def put(self, local, remote):
        self.curl("-T", local, self.url(remote))

    def get(self, remote, local):
        self.curl("-o", local, self.url(remote))

    def names(self, folder):
        return self.curl("--list-only", self.url(folder) + "/").split()


class Lftp(Client):
    name = "lftp"

    def lftp(self, commands):
        settings = (
            "set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 20; set net:persist-retries 0; "
            "set ftp:ssl-allow no; set ftp:use-feat yes; set xfer:log no; "
        )
        script = self.home / "lftp.script"
        target = f"open -u {quoted(self.user)},{quoted(self.password)} ftp://{join_host_port(self.host, self.port)}"
        script.write_text(settings + "\n" + target + "\n" + commands + "\n", errors="surrogateescape")
        return self.run("lftp", "-f", script, timeout=240)

    def put(self, local, remote):
        self.lftp(f"put {quoted(local)} -o {quoted(remote)}")

    def get(self, remote, local):
        self.lftp(f"get {quoted(remote)} -o {quoted(local)}")

    def names(self, folder):
        return [name.rstrip("/") for name in self.lftp(f"cls -1 {quoted(folder)}/").split()]


class Ftplib(Client):
    name = "ftplib"

    def connection(self):
        ftp = ftplib.FTP(timeout=60)
        ftp.connect(self.host, self.port)
        ftp.login(self.user, self.password)
        return ftp

    def put(self, local, remote):
        with self.connection() as ftp, open(local, "rb") as file:
            ftp.storbinary(f"STOR {remote}", file)

    def get(self, remote, local):
        with self.connection() as ftp, open(local, "wb") as file:
            ftp.retrbinary(f"RETR {remote}", file.write)

    def names(self, folder):
        with self.connection() as ftp:
            return ftp.nlst(folder)


class Ncftp(Client):
    name = "ncftp"
    ipv6 = False

    def access(self):
        return ["-u", self.user, "-p", self.password, "-P", str(self.port), "-t", "30", "-r", "1"]

    def put(self, local, remote):
        folder, name = os.path.split(remote)
        self.run("ncftpput", *self.access(), "-C", self.host, local, f"{folder}/{name}")

    def get(self, remote, local):
        self.run("ncftpget", *self.access(), "-C", self.host, remote, local)

    def names(self, folder):
        listing = self.run("ncftpls", "-l", *self.access(), f"ftp://{self.host}/{folder}/")
        return [line.split()[-1] for line in listing.splitlines() if line]


class Tnftp(Client):
    name = "tnftp"

    def session(self, commands):
        (self.home / ".netrc").write_text("")
        host = self.host
        script = f'open {host} {self.port}\nuser {quoted(self.user)} "{self.password}"\nbinary\n{commands}\nquit\n'
        done = run(
            ["tnftp", "-i", "-n", "-v", "-p"], env=self.environment, cwd=self.home, stdin=None, input=script, timeout=60
        )
        assert not re.search(r"^([45]\d\d[ -]|Not connected)", done.stdout, re.MULTILINE), done.stdout + done.stderr
        return done.stdout

    def put(self, local, remote):
        self.session(f"put {quoted(local)} {quoted(remote)}")

    def get(self, remote, local):
        self.session(f"get {quoted(remote)} {quoted(local)}")

    def names(self, folder):
        listing = self.home / "names"
        self.session(f"nlist {quoted(folder)} {quoted(listing)}")
        return listing.read_text().split()


ALL = {kind.name: kind for kind in (Curl, Lftp, Ftplib, Ncftp, Tnftp)}


def quoted(text):
    """For lftp's and tnftp's command lines."""
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def is_installed(name):
    return name == "ftplib" or shutil.which(name) is not None
