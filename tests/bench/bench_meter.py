# SPDX-License-Identifier: ISC
"""CPU and memory of a process tree.

CPU comes from a control group where one can be made (version 2, then version 1), since it counts
children that have gone as well, to the microsecond. Otherwise /proc/PID/stat is summed over the
tree: what lives, and what its ancestors have waited for (cutime, cstime).
"""

import os
import resource
import subprocess
import sys
import time

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def _mounts(kind):
    with open("/proc/self/mounts", encoding="ascii", errors="replace") as mounts:
        for line in mounts:
            _, path, fstype, options = line.split()[:4]
            if fstype == kind:
                yield path, options.split(",")


def _read(path):
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


class Cgroup2:
    """cpu.stat of a version 2 group: there with or without the cpu controller."""

    kind = "cgroup v2 cpu.stat"

    @staticmethod
    def roots():
        for path, _ in _mounts("cgroup2"):
            own = next((line[3:].strip("\n") for line in open("/proc/self/cgroup", encoding="ascii")
                        if line.startswith("0::")), "/")
            yield path + own.rstrip("/")
            yield path

    @staticmethod
    def usage(path):
        for line in _read(path + "/cpu.stat").splitlines():
            if line.startswith("usage_usec "):
                return int(line.split()[1]) / 1e6
        raise OSError("no usage_usec in " + path)


class Cgroup1:
    """cpuacct.usage of a version 1 group."""

    kind = "cgroup v1 cpuacct.usage"

    @staticmethod
    def roots():
        for path, options in _mounts("cgroup"):
            if "cpuacct" in options:
                yield path

    @staticmethod
    def usage(path):
        return int(_read(path + "/cpuacct.usage")) / 1e9


class ControlGroup:
    """One control group: made here, removed by close()."""

    def __init__(self, interface, path):
        self._interface = interface
        self.path = path
        os.mkdir(path)
        try:
            interface.usage(path)
        except OSError:
            os.rmdir(path)
            raise

    def enter(self):
        """Runs in the child between fork and exec."""
        with open(self.path + "/cgroup.procs", "w", encoding="ascii") as procs:
            procs.write("0")

    def started(self, pid):
        pass

    def cpu(self):
        return self._interface.usage(self.path)

    def pids(self):
        return [int(pid) for pid in _read(self.path + "/cgroup.procs").split()]

    def close(self):
        for _ in range(50):
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.02)


class ProcessTree:
    """Sums /proc/PID/stat over the tree under one process."""

    kind = "/proc/PID/stat with the children waited for"

    def __init__(self):
        self._root = None

    def enter(self):
        pass

    def started(self, pid):
        self._root = pid

    @staticmethod
    def _stat(pid):
        """parent, seconds of the process and of the children that it has waited for."""
        fields = _read("/proc/%d/stat" % pid).rpartition(")")[2].split()
        return int(fields[1]), sum(int(field) for field in fields[11:15]) * TICK_S

    def _tree(self):
        stats = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    stats[int(name)] = self._stat(int(name))
                except (OSError, IndexError, ValueError):
                    pass
        children = {}
        for pid, (parent, _) in stats.items():
            children.setdefault(parent, []).append(pid)
        found, queue = {}, [self._root]
        while queue:
            pid = queue.pop()
            if pid in stats:
                found[pid] = stats[pid][1]
                queue.extend(children.get(pid, ()))
        return found

    def cpu(self):
        return sum(self._tree().values())

    def pids(self):
        return list(self._tree())

    def close(self):
        pass


_serial = 0


def make_group(name, wanted="auto"):
    """A group of its own for one peer. `wanted`: auto, cgroup2, cgroup1 or proc."""
    global _serial
    _serial += 1
    for key, interface in (("cgroup2", Cgroup2), ("cgroup1", Cgroup1)):
        if wanted not in ("auto", key):
            continue
        for root in interface.roots():
            path = "%s/sallyport-bench-%d-%d-%s" % (root, os.getpid(), _serial, name)
            try:
                return ControlGroup(interface, path), interface.kind
            except OSError:
                continue
        if wanted == key:
            raise SystemExit("bench: no control group can be made for " + key)
    return ProcessTree(), ProcessTree.kind


def quiet_cpu(group, limit=2.0, step=0.04):
    """The group's CPU seconds once it has come to rest (or `limit` has passed)."""
    end = time.monotonic() + limit
    last = group.cpu()
    while True:
        time.sleep(step)
        now = group.cpu()
        if now - last < 0.02 * step or time.monotonic() > end:
            return now
        last = now


def pss_kib(group):
    """Proportional set size of the whole tree's own memory, in KiB: anonymous and shared.

    File pages are left out: their share falls when any other process maps the same library.
    """
    total = 0
    for pid in group.pids():
        try:
            lines = _read("/proc/%d/smaps_rollup" % pid).splitlines()
        except OSError:
            continue  # it has gone in the meantime
        parts = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
        if "Pss_Anon" in parts:
            total += parts["Pss_Anon"] + parts.get("Pss_Shmem", 0)
        else:
            total += parts.get("Pss", 0)
    return total


BURN = """
import os, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        burn(0.05)
        os._exit(0)
    os.waitpid(pid, 0)
burn(0.05)
"""


def check(wanted="auto"):
    """Burns CPU in children that come and go and compares the meter with what wait4 says.

    Returns (kind, metered seconds, true seconds); exits when they differ by more than a tenth.
    """
    group, kind = make_group("check", wanted)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = group.cpu() if isinstance(group, ControlGroup) else 0.0
    child = subprocess.Popen([sys.executable, "-S", "-c", BURN + "\nos.read(0, 1)"],
                             stdin=subprocess.PIPE, preexec_fn=group.enter)
    group.started(child.pid)
    metered = quiet_cpu(group, limit=10.0, step=0.1) - start
    child.communicate(b"x")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    group.close()
    true = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    if not 0.9 * true <= metered <= 1.1 * true:
        raise SystemExit("bench: the CPU meter (%s) says %.3f s where %.3f s were used"
                         % (kind, metered, true))
    return kind, metered, true
