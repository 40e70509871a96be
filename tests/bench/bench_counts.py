# SPDX-License-Identifier: ISC
"""System calls or allocations of a proxy per unit of work, counted while a load runs.

System calls are counted by strace -c, which slows everything down, so that only the counts mean something;
allocations of the C library by a library that is loaded before it. Run through bench.py --syscalls or --allocations.
"""

import os
import signal
import struct
import subprocess
import time

import bench_peers
import bench_workloads

WORKLOADS = ("logon-1", "logon-32", "noop-32", "small-32", "small-stor-32")


class SystemCalls:
    """strace on a running tree, forks followed."""

    what = "system calls"
    environment = {}

    def __init__(self, context):
        self._path = os.path.join(context.work_dir, "strace")
        self._process = None

    def start(self, pids):
        command = ["strace", "-f", "-c", "-S", "calls", "-o", self._path]
        for pid in pids:
            command += ["-p", str(pid)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        # It says of each process when it has taken hold of it and of its threads.
        for _ in pids:
            line = self._process.stderr.readline()
            if "attached" not in line:
                self._process.kill()
                self._process.wait()
                raise bench_workloads.Failed("strace: " + (line.strip() or "it cannot attach"))

    def stop(self):
        """Calls by name."""
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=20)
        calls = {}
        with open(self._path, encoding="ascii", errors="replace") as table:
            for line in table:
                words = line.split()
                # % time, seconds, usecs/call, calls, [errors,] name
                if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
                    calls[words[-1]] = int(words[3])
        return calls


class Allocations:
    """Calls of malloc and its kin in a tree, each process of which was started with `environment`."""

    what = "allocations"
    _names = ("malloc", "calloc", "realloc", "free")
    _form = "=%dQ" % len(_names)

    def __init__(self, context):
        self._path = os.path.join(context.work_dir, "allocations")
        with open(self._path, "wb") as file:
            file.write(bytes(struct.calcsize(self._form)))
        os.chmod(self._path, 0o666)  # a peer may have given up its rights
        library = os.path.join(os.path.abspath(context.bin_dir), "libbench_allocs.so")
        if not os.path.exists(library):
            raise SystemExit("bench: %s is not built" % library)
        self.environment = {"LD_PRELOAD": library, "BENCH_ALLOCS": self._path}
        self._before = ()

    def _read(self):
        with open(self._path, "rb") as file:
            return struct.unpack(self._form, file.read())

    def start(self, _pids):
        self._before = self._read()

    def stop(self):
        """Calls by name."""
        return dict(zip(self._names, (b - a for a, b in zip(self._before, self._read()))))


def count(context, peer, instance, workload, settings, counter):
    """What the counter counts for a unit of work, by name."""
    load = bench_workloads.Load(context, peer, workload, settings)
    try:
        load.wait_ready()
        counter.start(instance.group.pids())
        report = load.go()
        time.sleep(0.3)  # what children still do when they end
        calls = counter.stop()
        bench_workloads.check(workload, report)
        return {name: number / report["ops"] for name, number in calls.items()}
    finally:
        load.end()


def _print(workload, peers, columns, reasons, what):
    shown = [peer for peer in peers if peer.name in columns]
    print("### %s\n" % workload.title)
    for peer in peers:
        if peer.name in reasons:
            print("- %s: – %s" % (peer.title, reasons[peer.name]))
    if not shown:
        return
    names = sorted({name for column in columns.values() for name in column},
                   key=lambda name: -max(column.get(name, 0) for column in columns.values()))
    print("\n| %s | %s |" % (what, " | ".join(peer.title for peer in shown)))
    print("| --- |" + " --: |" * len(shown))
    for name in names:
        cells = [columns[peer.name].get(name, 0.0) for peer in shown]
        if max(cells) >= 0.005:
            print("| %s | %s |" % (name, " | ".join("%.2f" % cell if cell >= 0.005 else ""
                                                    for cell in cells)))
    print("| all | %s |\n" % " | ".join("%.2f" % sum(columns[peer.name].values())
                                        for peer in shown), flush=True)


def run(context, settings, peers, workloads, counter):
    """Prints a table for each workload."""
    origin, _ = bench_peers.start_origin(context)
    try:
        for workload in workloads:
            columns, reasons = {}, {}
            for peer in peers:
                reason = peer.missing(context) or bench_workloads.can(peer, workload)
                try:
                    if reason is not None:
                        raise bench_workloads.Failed(reason)
                    instance = bench_peers.start(peer, context, workload.variant, 900.0,
                                                 counter.environment)
                    try:
                        columns[peer.name] = count(context, peer, instance, workload, settings,
                                                   counter)
                    finally:
                        instance.stop()
                except (bench_workloads.Failed, RuntimeError) as error:
                    reasons[peer.name] = str(error)
            _print(workload, peers, columns, reasons, counter.what)
    finally:
        origin.stop()
