# SPDX-License-Identifier: ISC
"""System calls of a proxy per unit of work, counted by strace -c while a load runs.

strace slows everything down, so only the counts mean something. Run through bench.py --syscalls.
"""

import os
import signal
import subprocess
import time

import bench_peers
import bench_workloads

WORKLOADS = ("logon-1", "logon-32", "noop-32", "small-32", "small-stor-32")


class Counter:
    """strace on a running tree, forks followed."""

    def __init__(self, pids, path):
        self._path = path
        command = ["strace", "-f", "-c", "-S", "calls", "-o", path]
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


def count(context, peer, instance, workload, settings):
    """System calls a unit of work, by name."""
    load = bench_workloads.Load(context, peer, workload, settings)
    try:
        load.wait_ready()
        counter = Counter(instance.group.pids(), os.path.join(context.work_dir, "strace"))
        report = load.go()
        time.sleep(0.3)  # what children still do when they end
        calls = counter.stop()
        bench_workloads.check(workload, report)
        return {name: number / report["ops"] for name, number in calls.items()}
    finally:
        load.end()


def _print(workload, peers, columns, reasons):
    shown = [peer for peer in peers if peer.name in columns]
    print("### %s\n" % workload.title)
    for peer in peers:
        if peer.name in reasons:
            print("- %s: – %s" % (peer.title, reasons[peer.name]))
    if not shown:
        return
    names = sorted({name for column in columns.values() for name in column},
                   key=lambda name: -max(column.get(name, 0) for column in columns.values()))
    print("\n| system calls | %s |" % " | ".join(peer.title for peer in shown))
    print("| --- |" + " --: |" * len(shown))
    for name in names:
        cells = [columns[peer.name].get(name, 0.0) for peer in shown]
        if max(cells) >= 0.005:
            print("| %s | %s |" % (name, " | ".join("%.2f" % cell if cell >= 0.005 else ""
                                                    for cell in cells)))
    print("| all | %s |\n" % " | ".join("%.2f" % sum(columns[peer.name].values())
                                        for peer in shown), flush=True)


def run(context, settings, peers, workloads):
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
                    instance = bench_peers.start(peer, context, workload.variant, 900.0)
                    try:
                        columns[peer.name] = count(context, peer, instance, workload, settings)
                    finally:
                        instance.stop()
                except (bench_workloads.Failed, RuntimeError) as error:
                    reasons[peer.name] = str(error)
            _print(workload, peers, columns, reasons)
    finally:
        origin.stop()
