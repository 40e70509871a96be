# SPDX-License-Identifier: ISC
"""Flame graphs: where a proxy's CPU goes under a load, by sampling with perf. Run through bench.py --flame.

One SVG for each workload and peer: a box is a function, as wide as its share of the samples, on top of its caller;
its tooltip says how much that is. The kernel's part is told by its colour.
"""

import collections
import os
import re
import signal
import subprocess
import time
from xml.sax.saxutils import escape

import bench_peers
import bench_workloads

WIDTH, ROW, MARGIN, LETTER = 1400, 17, 10, 6.6
KERNEL, USER = "#c8553d", "#0b6e4f"
LEAST = 0.0005  # of the samples; narrower boxes are left out
FRAME = re.compile(r"^\s+[0-9a-f]+ (.+) \((.*)\)$")


class Box:
    """A function within a stack."""

    def __init__(self, in_kernel=False):
        self.samples = 0
        self.in_kernel = in_kernel
        self.callees = {}

    def add(self, stack):
        """A sample: (name, in_kernel) from the outermost caller on."""
        box = self
        box.samples += 1
        for name, in_kernel in stack:
            box = box.callees.setdefault(name, Box(in_kernel))
            box.samples += 1

    def depth(self):
        return 1 + max((callee.depth() for callee in self.callees.values()), default=0)


def _stacks(text):
    """Of what `perf script` prints: paragraphs of frames, the innermost first."""
    for paragraph in text.split("\n\n"):
        frames = [FRAME.match(line) for line in paragraph.splitlines()]
        stack = [(frame[1].split("+0x")[0], "kernel" in frame[2] or frame[2].endswith(".ko"))
                 for frame in frames if frame]
        if stack:
            yield stack[::-1]


def _draw(box, name, left, level, whole, height, lines):
    width = box.samples / whole.samples * WIDTH
    y = height - MARGIN - (level + 1) * ROW
    share = "%.1f %%" % (100 * box.samples / whole.samples)
    label = name if len(name) * LETTER < width else name[:max(0, int(width / LETTER) - 1)]
    lines.append('<g><title>%s: %s</title><rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>'
                 '<text x="%.1f" y="%d">%s</text></g>'
                 % (escape(name), share, MARGIN + left, y, max(width - 0.5, 0.5), ROW - 1,
                    KERNEL if box.in_kernel else USER, MARGIN + left + 3, y + 12,
                    escape(label) if len(label) > 2 else ""))
    for callee_name, callee in sorted(box.callees.items()):
        if callee.samples >= LEAST * whole.samples:
            _draw(callee, callee_name, left, level + 1, whole, height, lines)
        left += callee.samples / whole.samples * WIDTH


def _svg(whole, title):
    height = 40 + whole.depth() * ROW + MARGIN
    lines = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d">' % (WIDTH + 2 * MARGIN, height),
             '<style>text{font:11px monospace;fill:#fff}.head{font:bold 14px sans-serif;fill:#222}</style>',
             '<rect width="100%" height="100%" fill="#fff"/>',
             '<text x="%d" y="24" class="head">%s, %d samples</text>' % (MARGIN, escape(title), whole.samples)]
    _draw(whole, "all", 0.0, 0, whole, height, lines)
    return "\n".join(lines + ["</svg>"]) + "\n"


def _sample(context, peer, instance, workload, settings):
    """The stacks of a run, as a tree."""
    data = os.path.join(context.work_dir, "perf.data")
    load = bench_workloads.Load(context, peer, workload, settings)
    try:
        load.wait_ready()
        pids = ",".join(map(str, instance.group.pids()))
        with subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-g", "-o", data, "-p", pids],
                              stderr=subprocess.DEVNULL) as perf:
            try:
                time.sleep(0.5)  # until it has taken hold
                bench_workloads.check(workload, load.go())
            finally:
                perf.send_signal(signal.SIGINT)  # or the end of this block would wait for it for ever
        shown = subprocess.run(["perf", "script", "-i", data, "-F", "ip,sym,dso"], check=True, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        raise bench_workloads.Failed("perf: %s" % error) from error
    finally:
        load.end()
    whole = Box()
    for stack in _stacks(shown.stdout):
        whole.add(stack)
    if whole.samples == 0:
        raise bench_workloads.Failed("perf took no samples")
    return whole


def _outline(box, whole, level=0, least=0.05, levels=12):
    """The widest boxes as text, as deep as is of use."""
    for name, callee in sorted(box.callees.items(), key=lambda item: -item[1].samples):
        if callee.samples >= least * whole.samples and level < levels:
            yield "%5.1f %%  %s%s" % (100 * callee.samples / whole.samples, "  " * level, name)
            yield from _outline(callee, whole, level + 1, least)


def _by_function(whole):
    """Samples in a function itself, by name."""
    own = collections.Counter()

    def walk(box, name):
        own[name] += box.samples - sum(callee.samples for callee in box.callees.values())
        for callee_name, callee in box.callees.items():
            walk(callee, callee_name)

    walk(whole, "all")
    return own


def run(context, settings, peers, workloads, out):
    """Writes flame-WORKLOAD-PEER.svg and prints the widest boxes."""
    os.makedirs(out, exist_ok=True)
    origin, _ = bench_peers.start_origin(context)
    try:
        for workload in workloads:
            for peer in peers:
                try:
                    reason = peer.missing(context) or bench_workloads.can(peer, workload)
                    if reason is not None:
                        raise bench_workloads.Failed(reason)
                    instance = bench_peers.start(peer, context, workload.variant, 900.0)
                    try:
                        whole = _sample(context, peer, instance, workload, settings)
                    finally:
                        instance.stop()
                except (bench_workloads.Failed, RuntimeError) as error:
                    print("%s, %s: – %s\n" % (workload.title, peer.title, error))
                    continue
                title = "%s: %s" % (peer.title, workload.title)
                path = os.path.join(out, "flame-%s-%s.svg" % (workload.name, peer.name))
                with open(path, "w", encoding="utf-8") as file:
                    file.write(_svg(whole, title))
                print("### %s (%s)\n\n%s\n" % (title, path, "\n".join(_outline(whole, whole))))
                print("In themselves: %s\n"
                      % ", ".join("%s %.1f %%" % (name, 100 * n / whole.samples)
                                  for name, n in _by_function(whole).most_common(12)), flush=True)
    finally:
        origin.stop()
