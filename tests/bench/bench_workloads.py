# SPDX-License-Identifier: ISC
"""The workloads: what the load generator is asked to do and what is made of its answer."""

import json
import os
import subprocess
import time

import bench_meter
from bench_peers import EXPIRE, PLAIN, TLS

GIB = 1 << 30
IDLE_SECONDS = 3.0  # what is given back within this time is not counted
NOT_ASKED = "not asked for this"
SCALE_PEERS = ("relay", "haproxy", "sallyport")


class Failed(Exception):
    """A peer cannot do a workload; the text says why."""


class Workload:
    """One row of the table. `value` is the figure that is compared; lower is better."""

    def __init__(self, name, title, unit, mode, sessions, variant=PLAIN, size=None, group="CPU",
                 only=None, quick=False, value="cpu", rounds=None, seconds=None,
                 same_runs=None, workers=None):
        self.name = name
        self.title = title
        self.unit = unit
        self.mode = mode
        self.sessions = sessions
        self.variant = variant
        self.size = size
        self.group = group
        self.only = only  # peers for which it makes sense; None: all
        self.quick = quick
        self.value = value
        self.rounds = rounds  # None: as many as asked for
        self.seconds = seconds
        self.same_runs = same_runs  # a workload whose runs tell this figure as well
        self.workers = workers  # None: as many as asked for
        self.baseline = "haproxy" if variant == TLS else "relay"

    def bulk(self):
        return self.size is not None and self.size > 1 << 20


def _bulk(streams):
    return GIB // streams


ALL = (
    Workload("logon-1", "logon, 1 at a time", "CPU µs", "logon", 1),
    Workload("logon-32", "logon, 32 at a time", "CPU µs", "logon", 32, quick=True),
    Workload("logon-256", "logon, 256 at a time", "CPU µs", "logon", 256),
    Workload("logon-1-wall", "logon, 1 at a time: p50", "wall µs", "logon", 1, group="wall",
             value="p50", same_runs="logon-1"),
    Workload("noop-32", "NOOP, 32 sessions", "CPU µs", "noop", 32, quick=True),
    Workload("small-32", "1 KiB RETR over PASV, 32 sessions", "CPU µs", "retr", 32, size=1024,
             quick=True),
    Workload("small-stor-32", "1 KiB STOR over PASV, 32 sessions", "CPU µs", "stor", 32, size=1024),
    Workload("retr-1", "RETR bulk, 1 stream", "CPU s/GiB", "retr", 1, size=_bulk(1)),
    Workload("retr-8", "RETR bulk, 8 streams", "CPU s/GiB", "retr", 8, size=_bulk(8), quick=True),
    Workload("stor-1", "STOR bulk, 1 stream", "CPU s/GiB", "stor", 1, size=_bulk(1)),
    Workload("stor-8", "STOR bulk, 8 streams", "CPU s/GiB", "stor", 8, size=_bulk(8)),
    Workload("noop-10", "NOOP, 10 sessions", "CPU µs", "noop", 10, group="scale", only=SCALE_PEERS),
    Workload("noop-1000", "NOOP, 1,000 sessions", "CPU µs", "noop", 1000, group="scale",
             only=SCALE_PEERS),
    Workload("noop-9000", "NOOP, 9,000 sessions", "CPU µs", "noop", 9000, group="scale",
             only=SCALE_PEERS, seconds=4.0),
    Workload("logon-32-w1", "logon, 32 at a time, 1 worker", "CPU µs", "logon", 32, group="scale",
             only=SCALE_PEERS, workers=1),
    Workload("retr-8-w1", "RETR bulk, 8 streams, 1 worker", "CPU s/GiB", "retr", 8, size=_bulk(8),
             group="scale", only=SCALE_PEERS, workers=1),
    Workload("idle-500", "idle session, 500 of them", "PSS KiB", "idle", 500, group="memory",
             value="pss", rounds=1),
    Workload("idle-2000", "idle session, 2,000 of them", "PSS KiB", "idle", 2000, group="memory",
             value="pss", rounds=1),
    Workload("idle-9000", "idle session, 9,000 of them", "PSS KiB", "idle", 9000, group="memory",
             value="pss", rounds=1),
    Workload("tls-idle-500", "idle TLS session, 500 of them", "PSS KiB", "idle", 500, TLS,
             group="memory", value="pss", rounds=1),
    Workload("tls-idle-2000", "idle TLS session, 2,000 of them", "PSS KiB", "idle", 2000, TLS,
             group="memory", value="pss", rounds=1),
    Workload("tls-idle-9000", "idle TLS session, 9,000 of them", "PSS KiB", "idle", 9000, TLS,
             group="memory", value="pss", rounds=1),
    Workload("expire-1000", "1,000 time out: last one told after", "ms", "expire", 1000, EXPIRE,
             group="timeout", value="late", rounds=1),
    Workload("expire-9000", "9,000 time out: last one told after", "ms", "expire", 9000, EXPIRE,
             group="timeout", value="late", rounds=1),
    Workload("tls-logon-32", "TLS logon (P-256), 32 at a time", "CPU µs", "logon", 32, TLS,
             group="TLS", quick=True),
    Workload("tls-retr-4", "TLS RETR bulk, 4 streams", "CPU s/GiB", "retr", 4, TLS,
             size=_bulk(4), group="TLS", quick=True),
    Workload("tls-stor-4", "TLS STOR bulk, 4 streams", "CPU s/GiB", "stor", 4, TLS,
             size=_bulk(4), group="TLS"),
)
BY_NAME = {workload.name: workload for workload in ALL}


class Settings:
    """How long and how much; --quick shrinks it."""

    def __init__(self, seconds, quick):
        self.seconds = seconds
        self.warmup = 0.1 if quick else 0.3
        self.bulk_divisor = 16 if quick else 1
        self.quick = quick

    def idle_timeout(self, workload):
        if workload.variant != EXPIRE:
            return 900.0
        return 5.0 if workload.sessions <= 1000 else 20.0


class Load:
    """A load generator that waits for us before and after what is measured."""

    def __init__(self, context, peer, workload, settings):
        seconds = max(settings.seconds, workload.seconds or 0.0)
        size = workload.size or 1024
        if workload.bulk():
            size //= settings.bulk_divisor
        command = [os.path.join(context.bin_dir, "bench_load"), "--mode", workload.mode,
                   "--target", "%s:%d" % (peer.address, peer.port), "--user", peer.user,
                   "--sessions", str(workload.sessions), "--duration", "%g" % seconds,
                   "--warmup", "%g" % settings.warmup, "--size", str(size), "--source",
                   "127.0.200.1", "--sources", "32", "--limit", "20", "--controlled",
                   "--idle-timeout", "%g" % settings.idle_timeout(workload)]
        if workload.variant == TLS and peer.tls is not None:
            command += ["--tls", peer.tls]
            if peer.no_prot:
                command += ["--no-prot"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True)

    def wait_ready(self):
        """The number of sessions that are logged on."""
        words = self._process.stdout.readline().split()
        if len(words) != 2 or words[0] != "ready":
            raise Failed("the load generator ended")
        return int(words[1])

    def go(self):
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Failed("the load generator ended")
        return json.loads(line)

    def end(self):
        try:
            self._process.stdin.write("end\n")
            self._process.stdin.close()
        except OSError:
            pass
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def check(workload, report):
    """Raises Failed when the work was not done."""
    errors = sum(report["errors"].values())
    sessions = report["up"] + report.get("told", 0) + report.get("silent", 0)
    if workload.mode != "logon" and sessions < 0.99 * workload.sessions:
        raise Failed("only %d sessions: %s" % (sessions, report["first_error"]))
    if workload.mode in ("idle", "expire"):
        return
    if report["ops"] == 0:
        raise Failed(report["first_error"] or "nothing was done")
    if errors > 0.01 * report["ops"]:
        raise Failed("%d errors in %d: %s" % (errors, report["ops"], report["first_error"]))


def _figures(workload, report, cpu, pss):
    """What goes into the tables, from one run."""
    figures = {"errors": sum(report["errors"].values()), "wall_s": report["wall_s"]}
    if workload.mode == "idle":
        figures["pss"] = pss / report["up"]
        return figures
    latency = report["latency"]
    figures["p50_us"], figures["p99_us"] = latency["p50_us"], latency["p99_us"]
    if workload.mode == "expire":
        late = report["late"]
        figures.update(told=report["told"], silent=report["silent"], late=late["max_us"] / 1e3,
                       late_p50=late["p50_us"] / 1e3, span_s=report["span_s"],
                       noop_p99_before_ms=latency["p99_us"] / 1e3,
                       noop_p99_meanwhile_ms=report["meanwhile"]["p99_us"] / 1e3,
                       noop_max_meanwhile_ms=report["meanwhile"]["max_us"] / 1e3,
                       cpu_us_each=cpu * 1e6 / workload.sessions)
        return figures
    figures["p50"] = latency["p50_us"]
    figures["rate"] = report["ops"] / report["wall_s"]
    if workload.bulk():
        figures["mib_s"] = report["bytes"] / (1 << 20) / report["wall_s"]
        figures["cpu"] = cpu / (report["bytes"] / GIB)
    else:
        figures["cpu"] = cpu * 1e6 / report["ops"]
    figures["cores"] = cpu / report["wall_s"]
    return figures


def measure(context, peer, instance, workload, settings):
    """One run of one workload against one peer. Raises Failed."""
    if peer.max_sessions is not None and workload.sessions > peer.max_sessions:
        raise Failed(peer.max_sessions_why)
    if workload.sessions * 2 + 700 > context.max_files:
        raise Failed("the limit of descriptors is %d" % context.max_files)
    group = instance.group
    idle = workload.mode == "idle"
    pss_before = bench_meter.pss_kib(group) if idle else 0
    load = Load(context, peer, workload, settings)
    try:
        load.wait_ready()
        if idle:
            time.sleep(IDLE_SECONDS)
            bench_meter.quiet_cpu(group)
            pss = bench_meter.pss_kib(group) - pss_before
        cpu_before = bench_meter.quiet_cpu(group)
        report = load.go()
        cpu = bench_meter.quiet_cpu(group) - cpu_before
        check(workload, report)
        return _figures(workload, report, cpu, pss if idle else 0)
    finally:
        load.end()
        if not instance.alive():
            raise Failed("it ended")


def can(peer, workload):
    """Why not, or None."""
    if workload.only is not None and peer.name not in workload.only:
        return NOT_ASKED
    if peer.modes is not None and workload.mode not in peer.modes:
        return NOT_ASKED
    return peer.variant_missing(workload.variant)


def instance_key(peer, workload):
    """Runs with the same key may share an instance; memory and timeouts need a fresh one."""
    if workload.mode in ("idle", "expire") or workload.group == "scale":
        return None
    return peer.name, workload.variant
