#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Measures Sallyport, its peers and a bare relay side by side, in turn, and writes the tables.

Called by run.sh, which builds what is needed; see README.md.
"""

import argparse
import copy
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import sys
import tempfile
import time

import bench_counts
import bench_flame
import bench_meter
import bench_peers
import bench_report
import bench_workloads


class Bench:
    """Runs workloads × rounds × peers; keeps instances that can be shared."""

    def __init__(self, context, settings, peers, workloads, rounds):
        self.context = context
        self.settings = settings
        self.peers = peers
        self.workloads = workloads
        self.rounds = rounds
        self.runs = {}  # (workload, peer) -> list of figures
        self.reasons = {}  # (workload, peer) -> why there are none
        self._instances = {}
        self._unable = {}  # (peer, variant) -> why it does not start
        self._origin = None
        self.meter_kind = ""

    def run(self):
        self._origin, self.meter_kind = bench_peers.start_origin(self.context)
        try:
            for workload in self.workloads:
                self._run_workload(workload)
        finally:
            self._stop_all()
            self._origin.stop()

    def _run_workload(self, workload):
        if workload.same_runs in [w.name for w in self.workloads]:
            for table in (self.runs, self.reasons):
                table.update({(workload.name, p.name): table[workload.same_runs, p.name]
                              for p in self.peers if (workload.same_runs, p.name) in table})
            return
        self._stop_all(keep=workload.variant)
        rounds = min(self.rounds, workload.rounds or self.rounds)
        say("%s (%d round%s)" % (workload.title, rounds, "" if rounds == 1 else "s"))
        for number in range(rounds):
            # Another one begins in each round, so that none is always first.
            shift = number % len(self.peers)
            for peer in self.peers[shift:] + self.peers[:shift]:
                self._run_one(workload, peer)
        for peer in self.peers:
            say("    %-22s %s" % (peer.title, self._in_short(workload, peer)))

    def _in_short(self, workload, peer):
        runs = self.runs.get((workload.name, peer.name))
        if not runs:
            return "– " + self.reasons.get((workload.name, peer.name), "")
        values = [run[workload.value] for run in runs]
        return "%s %s" % (bench_report.number(statistics.median(values)), workload.unit)

    def _run_one(self, workload, peer):
        key = (workload.name, peer.name)
        if key in self.reasons:
            return
        reason = peer.missing(self.context) or bench_workloads.can(peer, workload)
        if reason is None:
            try:
                self._measure(workload, peer)
                return
            except (bench_workloads.Failed, RuntimeError) as error:
                reason = str(error)
        self.reasons[key] = reason

    def _measure(self, workload, peer):
        key = bench_workloads.instance_key(peer, workload)
        if isinstance(peer, bench_peers.Direct):
            figures = bench_workloads.measure(self.context, peer, self._origin, workload,
                                              self.settings)
        elif key is None:
            self._stop_all()  # they have the same addresses
            instance = bench_peers.start(peer, self._context(workload), workload.variant,
                                         self.settings.idle_timeout(workload))
            try:
                figures = bench_workloads.measure(self.context, peer, instance, workload,
                                                  self.settings)
            finally:
                instance.stop()
        else:
            figures = bench_workloads.measure(self.context, peer, self._instance(peer, workload),
                                              workload, self.settings)
        self.runs.setdefault((workload.name, peer.name), []).append(figures)

    def _context(self, workload):
        if workload.workers is None:
            return self.context
        context = copy.copy(self.context)
        context.workers = workload.workers
        return context

    def _instance(self, peer, workload):
        key = bench_workloads.instance_key(peer, workload)
        if key in self._unable:
            raise RuntimeError(self._unable[key])
        instance = self._instances.get(key)
        if instance is not None and not instance.alive():
            instance.stop()
            instance = None
        if instance is None:
            try:
                instance = bench_peers.start(peer, self.context, workload.variant,
                                             self.settings.idle_timeout(workload))
            except RuntimeError as error:
                self._unable[key] = str(error)
                raise
            self._instances[key] = instance
        return instance

    def _stop_all(self, keep=None):
        for key in list(self._instances):
            if keep is None or key[1] != keep:
                self._instances.pop(key).stop()


def say(text):
    print(text, file=sys.stderr, flush=True)


def choose(names, known, what):
    chosen = []
    for name in names.split(","):
        if name not in known:
            raise SystemExit("bench: no %s is called \"%s\"; there are: %s"
                             % (what, name, ", ".join(known)))
        chosen.append(known[name])
    return chosen


def machine():
    """What the figures were measured on."""
    model = platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
            model = next(line.split(":", 1)[1].strip() for line in info
                         if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": model, "cpus": len(os.sched_getaffinity(0)), "kernel": platform.release().split("-")[0],
            "date": time.strftime("%Y-%m-%d")}


MARKS = ("<!-- results -->\n", "<!-- end of results -->\n")


def put_into(path, text):
    """Replaces what is between the marks; charts are not taken along."""
    with open(path, encoding="utf-8") as file:
        old = file.read()
    head, first, rest = old.partition(MARKS[0])
    _, second, tail = rest.partition(MARKS[1])
    if not first or not second:
        raise SystemExit("bench: %s has no marks %s" % (path, " ".join(MARKS)))
    lines = [line for line in text.splitlines() if not line.startswith("![")]
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + first + "\n" + "\n".join(lines[2:]).strip() + "\n\n" + second + tail)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="directory of bench_origin, _load, _relay")
    parser.add_argument("--sallyport", help="the sallyport program")
    parser.add_argument("--cache", help="directory that fetch_peers.sh has filled")
    parser.add_argument("--out", default="bench-results", help="for tables and charts")
    parser.add_argument("--only", help="workloads, with commas")
    parser.add_argument("--peers", help="peers, with commas")
    parser.add_argument("--rounds", type=int, help="3, or 1 with --quick")
    parser.add_argument("--seconds", type=float, help="of each run: 2, or 0.3 with --quick")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)),
                        help="threads of the relay, HAProxy and Sallyport (all CPUs)")
    parser.add_argument("--meter", default="auto", choices=("auto", "cgroup2", "cgroup1", "proc"))
    parser.add_argument("--quick", action="store_true", help="under a minute, less exact")
    parser.add_argument("--syscalls", action="store_true",
                        help="count system calls a unit of work with strace instead")
    parser.add_argument("--allocations", action="store_true",
                        help="count calls of malloc and its kin a unit of work instead")
    parser.add_argument("--flame", action="store_true",
                        help="draw flame graphs (perf) into the --out directory instead")
    parser.add_argument("--readme", help="a file whose part between the marks is replaced")
    parser.add_argument("--list", action="store_true", help="name workloads and peers")
    return parser.parse_args()


def end_in_order(number, _):
    """SIGTERM unwinds the stack, so that all that was started is stopped."""
    raise SystemExit(128 + number)


def raise_limits():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def main():
    args = arguments()
    if args.list:
        for workload in bench_workloads.ALL:
            print("%-16s %s" % (workload.name, workload.title))
        for peer in bench_peers.ALL:
            print("%-16s %s" % (peer.name, peer.title))
        return
    signal.signal(signal.SIGTERM, end_in_order)
    kind, metered, true = bench_meter.check(args.meter)
    say("CPU meter: %s (%.3f s metered where %.3f s were used)" % (kind, metered, true))
    peers = choose(args.peers or ",".join(bench_peers.DEFAULT), bench_peers.BY_NAME, "peer")
    counted = (bench_counts.SystemCalls if args.syscalls else
               bench_counts.Allocations if args.allocations else None)
    if (counted or args.flame) and not args.only:
        workloads = [bench_workloads.BY_NAME[name] for name in bench_counts.WORKLOADS]
    elif args.only:
        workloads = choose(args.only, bench_workloads.BY_NAME, "workload")
    else:
        workloads = [w for w in bench_workloads.ALL if w.quick or not args.quick]
    settings = bench_workloads.Settings(args.seconds or (0.3 if args.quick else 2.0), args.quick)
    # In memory where that can be had: disks make noise, and one peer waits for them in each logon.
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    work_dir = tempfile.mkdtemp(prefix="sallyport-bench-", dir=shm)
    os.chmod(work_dir, 0o755)
    began = time.monotonic()
    stopped = None
    try:
        context = bench_peers.Context(args.bin, args.sallyport, args.cache and
                                      os.path.abspath(args.cache), work_dir, args.workers,
                                      args.meter, raise_limits())
        context.make_certificate()
        if counted:
            bench_counts.run(context, settings, peers, workloads, counted(context))
            return
        if args.flame:
            bench_flame.run(context, settings, peers, workloads, args.out)
            return
        bench = Bench(context, settings, peers, workloads,
                      args.rounds or (1 if args.quick else 3))
        try:
            bench.run()
        except (KeyboardInterrupt, SystemExit) as why:
            if not bench.runs:
                raise
            stopped = why  # what has been measured is written all the same
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)
    os.makedirs(args.out, exist_ok=True)
    facts = machine()
    facts.update(workers=args.workers, meter=kind, seconds=settings.seconds, rounds=bench.rounds,
                 took_s=round(time.monotonic() - began), stopped=stopped is not None)
    bench_report.write(args.out, facts, peers, workloads, bench.runs, bench.reasons)
    with open(os.path.join(args.out, "results.json"), "w", encoding="utf-8") as file:
        json.dump({"facts": facts,
                   "runs": [{"workload": w, "peer": p, "rounds": runs}
                            for (w, p), runs in bench.runs.items()],
                   "reasons": [{"workload": w, "peer": p, "reason": why}
                               for (w, p), why in bench.reasons.items()]}, file, indent=1)
    with open(os.path.join(args.out, "results.md"), encoding="utf-8") as file:
        text = file.read()
    print(text)
    if stopped is not None:
        raise stopped
    if args.readme:
        put_into(args.readme, text)


if __name__ == "__main__":
    main()
