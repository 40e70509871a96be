# SPDX-License-Identifier: ISC
"""The peers: how each is configured, started and stopped.

Each has a loopback address of its own, so that all of them can use the same ports side by side.
A peer is given what its manual recommends for its work and nothing that knows of this benchmark.
"""

import ctypes
import os
import signal
import socket
import subprocess
import time

import bench_meter

CONTROL_PORT = 2121
ORIGIN = "127.0.100.1"
ORIGIN_PORT = 2100
PORTS = (10000, 10511)  # passive ports of the origin, and of those who relay port by port
PROXY_PORTS = (20000, 29999)  # passive ports of those who speak FTP

BESIDE_TLS_ONLY = "measured beside TLS only"
PLAIN, TLS, EXPIRE = "plain", "tls", "expire"


PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def child_of(group):
    """What a child does before exec: it joins its group, and ends when this program does."""
    def enter():
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        group.enter()
    return enter


class Context:
    """What peers need to know of this run."""

    def __init__(self, bin_dir, sallyport, cache, work_dir, workers, meter, max_files):
        self.bin_dir = bin_dir
        self.sallyport = sallyport
        self.root = os.path.join(cache, "root") if cache else None
        self.libpath = ""
        if cache and os.path.exists(os.path.join(cache, "libpath")):
            with open(os.path.join(cache, "libpath"), encoding="ascii") as file:
                self.libpath = ":".join(os.path.join(cache, path)
                                        for path in file.read().strip().split(":"))
        self.work_dir = work_dir
        self.workers = workers
        self.meter = meter
        self.max_files = max_files
        self.certificate = os.path.join(work_dir, "certificate.pem")
        self.key = os.path.join(work_dir, "key.pem")
        self.both = os.path.join(work_dir, "both.pem")

    def make_certificate(self):
        """A P-256 certificate, as a server of today has."""
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                        "/CN=bench.example.net", "-keyout", self.key, "-out", self.certificate],
                       check=True, stderr=subprocess.DEVNULL)
        with open(self.both, "w", encoding="ascii") as both:
            for path in (self.certificate, self.key):
                with open(path, encoding="ascii") as part:
                    both.write(part.read())
        os.chmod(self.both, 0o600)


class Peer:
    """One way of standing between the load and the origin."""

    name = ""
    title = ""
    address = ""
    port = CONTROL_PORT
    user = "bench"
    tls = None  # None, "explicit" or "implicit": how its clients speak TLS
    no_prot = False
    modes = None  # of workloads for which it makes sense; None: all
    beside_tls_only = False  # a yardstick for the TLS workloads, whether it speaks TLS or not
    max_sessions = None
    max_sessions_why = ""

    def missing(self, context):
        """Why it cannot run here, or None."""
        return None

    def variant_missing(self, variant):
        if variant == TLS and self.tls is None and not self.beside_tls_only:
            return "no TLS towards clients"
        if variant != TLS and self.beside_tls_only:
            return BESIDE_TLS_ONLY
        return None

    def command(self, context, directory, variant, idle_timeout):
        raise NotImplementedError

    def _program(self, context, path):
        return os.path.join(context.root, path) if context.root else ""

    def _missing_program(self, context, path):
        if not os.path.exists(self._program(context, path)):
            return "not fetched"
        return None


class BareRelay(Peer):
    name = "relay"
    title = "bare relay"
    address = "127.0.11.1"
    extra = ()

    def variant_missing(self, variant):
        if variant == EXPIRE:
            return "has no timeouts"
        return super().variant_missing(variant)

    def command(self, context, directory, variant, idle_timeout):
        return [os.path.join(context.bin_dir, "bench_relay"),
                "--listen", "%s:%d" % (self.address, self.port),
                "--target", "%s:%d" % (ORIGIN, ORIGIN_PORT), "--ports", "%d-%d" % PORTS,
                "--threads", str(context.workers), *self.extra]


class CopyRelay(BareRelay):
    name = "relay-copy"
    title = "copying relay (no TLS)"
    address = "127.0.12.1"
    extra = ("--copy",)
    beside_tls_only = True


class HAProxy(Peer):
    name = "haproxy"
    title = "HAProxy TCP"
    address = "127.0.13.1"
    tls = "implicit"
    no_prot = True
    tuning = ""
    options = ""

    def missing(self, context):
        return self._missing_program(context, "usr/sbin/haproxy")

    def command(self, context, directory, variant, idle_timeout):
        ssl = " ssl crt " + context.both if variant == TLS else ""
        timeout = "%dms" % int(idle_timeout * 1000)
        path = os.path.join(directory, "haproxy.cfg")
        with open(path, "w", encoding="ascii") as config:
            config.write(f"""global
    nbthread {context.workers}
    maxconn {(context.max_files - 1500) // 2}
{self.tuning}
defaults
    mode tcp
    timeout connect 5s
    timeout client {timeout}
    timeout server {timeout if variant != EXPIRE else '1h'}
{self.options}
listen control
    bind {self.address}:{self.port}{ssl}
    server origin {ORIGIN}:{ORIGIN_PORT}
listen data
    bind {self.address}:{PORTS[0]}-{PORTS[1]}{ssl}
    server origin {ORIGIN}
""")
        return [self._program(context, "usr/sbin/haproxy"), "-db", "-f", path]


class HAProxyTuned(HAProxy):
    name = "haproxy-tuned"
    title = "HAProxy TCP, splice"
    address = "127.0.14.1"
    tuning = "    tune.pipesize 1048576\n    maxpipes 256\n"
    options = "    option splice-request\n    option splice-response\n"

    def variant_missing(self, variant):
        if variant == TLS:
            return "splices plain connections only: see HAProxy TCP"
        return super().variant_missing(variant)


class Squid(Peer):
    name = "squid"
    title = "squid ftp_port"
    address = "127.0.15.1"
    user = "bench@%s:%d" % (ORIGIN, ORIGIN_PORT)

    def missing(self, context):
        return self._missing_program(context, "usr/sbin/squid")

    def command(self, context, directory, variant, idle_timeout):
        path = os.path.join(directory, "squid.conf")
        share = os.path.join(context.root, "usr/share/squid")
        user = "cache_effective_user proxy" if os.geteuid() == 0 else ""
        os.chmod(directory, 0o777)  # it writes its logs as its own user
        with open(path, "w", encoding="ascii") as config:
            config.write(f"""ftp_port {self.address}:{self.port}
http_port {self.address}:3128
http_access allow all
cache deny all
visible_hostname bench
pid_filename {directory}/squid.pid
access_log {directory}/access.log
cache_log {directory}/cache.log
coredump_dir {directory}
mime_table {share}/mime.conf
icon_directory {share}/icons
error_directory {share}/errors/templates
pinger_enable off
unlinkd_program {context.root}/usr/lib/squid/unlinkd
max_filedescriptors {context.max_files}
ftp_client_idle_timeout {int(idle_timeout)} seconds
shutdown_lifetime 0 seconds
{user}
""")
        return [self._program(context, "usr/sbin/squid"), "-N", "-f", path]


class SuSE(Peer):
    name = "suse"
    title = "SuSE ftp-proxy"
    address = "127.0.16.1"
    max_sessions = 510
    max_sessions_why = "MaxClients is 512 at most"

    def missing(self, context):
        return self._missing_program(context, "usr/sbin/ftp-proxy")

    def command(self, context, directory, variant, idle_timeout):
        path = os.path.join(directory, "ftp-proxy.conf")
        with open(path, "w", encoding="ascii") as config:
            config.write(f"""[-Global-]
ServerType standalone
Listen {self.address}
Port {self.port}
DestinationAddress {ORIGIN}
DestinationPort {ORIGIN_PORT}
MaxClients 512
ForkLimit 100000000
TimeOut {int(idle_timeout)}
LogDestination {directory}/ftp-proxy.log
PidFile {directory}/ftp-proxy.pid
""")
        return [self._program(context, "usr/sbin/ftp-proxy"), "-d", "-n", "-f", path]


class ProFTPD(Peer):
    name = "proftpd"
    title = "proftpd + mod_proxy"
    address = "127.0.17.1"
    tls = "explicit"

    def missing(self, context):
        return self._missing_program(context, "usr/lib/proftpd/mod_proxy.so")

    def command(self, context, directory, variant, idle_timeout):
        path = os.path.join(directory, "proftpd.conf")
        tls = ""
        if variant == TLS:
            tls = f"""TLSEngine on
TLSRequired off
TLSProtocol TLSv1.2 TLSv1.3
TLSECCertificateFile {context.certificate}
TLSECCertificateKeyFile {context.key}
TLSCACertificateFile {context.certificate}
TLSOptions NoSessionReuseRequired
TLSLog none
"""
        user = "User nobody\nGroup nogroup\n" if os.geteuid() == 0 else ""
        with open(path, "w", encoding="ascii") as config:
            config.write(f"""ModulePath {context.root}/usr/lib/proftpd
LoadModule mod_tls.c
LoadModule mod_proxy.c
{tls}ServerName bench
ServerType standalone
DefaultAddress {self.address}
SocketBindTight on
Port {self.port}
{user}UseIPv6 off
UseReverseDNS off
MaxInstances none
ScoreboardFile {directory}/scoreboard
PidFile {directory}/proftpd.pid
SystemLog {directory}/proftpd.log
TransferLog {directory}/xferlog
WtmpLog off
DelayEngine off
PassivePorts {PROXY_PORTS[0]} {PROXY_PORTS[1]}
TimeoutIdle {int(idle_timeout)}
TimeoutNoTransfer 0
TimeoutLogin 300
TimeoutStalled 3600
ProxyEngine on
ProxyLog none
ProxyTables {directory}/tables
ProxyRole reverse
ProxyReverseConnectPolicy Random
ProxyTLSEngine off
ProxyReverseServers ftp://{ORIGIN}:{ORIGIN_PORT}
""")
        os.makedirs(os.path.join(directory, "tables"), exist_ok=True)
        return [self._program(context, "usr/sbin/proftpd"), "-q", "-n", "-c", path]


class Sallyport(Peer):
    name = "sallyport"
    title = "Sallyport"
    address = "127.0.18.1"
    tls = "explicit"
    pool = ""

    def missing(self, context):
        if not context.sallyport or not os.path.exists(context.sallyport):
            return "not built"
        return None

    def command(self, context, directory, variant, idle_timeout):
        path = os.path.join(directory, "sallyport.conf")
        tls = ""
        if variant == TLS:
            tls = f'tls = explicit\n    certificate = "{context.certificate}"\n' \
                  f'    private_key = "{context.key}"'
        with open(path, "w", encoding="ascii") as config:
            config.write(f"""workers = {context.workers}
max_sessions = {(context.max_files - 1500) // 2}
admin {{ socket = "{directory}/admin.sock" }}
log {{ format = json  file = "{directory}/sallyport.log" }}
listener bench {{
    bind = {{ "{self.address}:{self.port}" }}
    passive_ports = "{PROXY_PORTS[0]}-{PROXY_PORTS[1]}"
    {tls}
}}
pool origin {{
    {self.pool}
    server origin {{ address = "{ORIGIN}:{ORIGIN_PORT}" }}
}}
policy default {{ idle_timeout = {int(idle_timeout)}s }}
route {{ pool = origin  policy = default }}
""")
        return [context.sallyport, "-c", path]


class SallyportEarly(Sallyport):
    """The same with the one setting that speaks of logons only."""

    name = "sallyport-early"
    title = "Sallyport, early_connect"
    address = "127.0.19.1"
    modes = ("logon",)
    pool = "early_connect = yes"


class Direct(Peer):
    """The origin itself. With TLS: what TLS costs without a proxy."""

    name = "origin"
    title = "origin itself"
    address = ORIGIN
    port = ORIGIN_PORT
    tls = "explicit"
    beside_tls_only = True


ALL = (BareRelay(), CopyRelay(), HAProxy(), HAProxyTuned(), Squid(), SuSE(), ProFTPD(), Sallyport(),
       SallyportEarly(), Direct())
BY_NAME = {peer.name: peer for peer in ALL}
DEFAULT = [peer.name for peer in ALL]


class Instance:
    """A running peer in a group of its own."""

    def __init__(self, group, process, directory):
        self.group = group
        self.process = process
        self.directory = directory

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        """Ends the tree: asks its root, then ends what is left of the group."""
        pids = self.group.pids()
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                pass
        for _ in range(50):
            left = [pid for pid in self.group.pids() if pid in pids or self.group_is_exact()]
            if not left:
                break
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)
        if self.alive():
            self.process.kill()
        self.process.wait()
        self.group.close()

    def group_is_exact(self):
        return isinstance(self.group, bench_meter.ControlGroup)


def _greeted(address, port, implicit):
    try:
        with socket.create_connection((address, port), timeout=2.0) as connection:
            return implicit or connection.recv(4) in (b"220 ", b"220-")
    except OSError:
        return False


def start(peer, context, variant, idle_timeout, more_environment=None):
    """Starts a peer and waits until it greets. Raises RuntimeError with its last words."""
    directory = os.path.join(context.work_dir, "%s-%s-%d" % (peer.name, variant, time.monotonic_ns()))
    os.makedirs(directory)
    command = peer.command(context, directory, variant, idle_timeout)
    environment = dict(os.environ, **(more_environment or {}))
    if context.root and command[0].startswith(context.root):
        environment["LD_LIBRARY_PATH"] = context.libpath
    group, _ = bench_meter.make_group(peer.name, context.meter)
    output = os.path.join(directory, "output")
    with open(output, "wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                   cwd=directory, env=environment, preexec_fn=child_of(group))
    group.started(process.pid)
    instance = Instance(group, process, directory)
    implicit = variant == TLS and peer.tls == "implicit"
    end = time.monotonic() + 20.0
    while time.monotonic() < end and instance.alive():
        if _greeted(peer.address, peer.port, implicit):
            return instance
        time.sleep(0.05)
    instance.stop()
    with open(output, encoding="utf-8", errors="replace") as out:
        words = out.read().strip().splitlines()
    last = next((line for line in words if "FATAL" in line or "ALERT" in line),
                words[-1] if words else "no word")
    raise RuntimeError("does not start: " + last.replace(directory, "…"))


def start_origin(context):
    """The origin that all of them share, in a group of its own as well."""
    group, kind = bench_meter.make_group("origin", context.meter)
    process = subprocess.Popen([os.path.join(context.bin_dir, "bench_origin"),
                                "--listen", "%s:%d" % (ORIGIN, ORIGIN_PORT),
                                "--ports", "%d-%d" % PORTS, "--certificate", context.certificate,
                                "--key", context.key],
                               stdout=subprocess.PIPE, preexec_fn=child_of(group), text=True)
    group.started(process.pid)
    if process.stdout.readline().strip() != "ready":
        raise SystemExit("bench: the origin does not start")
    return Instance(group, process, context.work_dir), kind
