# SPDX-License-Identifier: ISC
"""Tables (Markdown) and bar charts (SVG) from the runs."""

import os
import statistics
from xml.sax.saxutils import escape

from bench_peers import BESIDE_TLS_ONLY
from bench_workloads import NOT_ASKED

NONE = "–"
BY_DESIGN = (BESIDE_TLS_ONLY, NOT_ASKED)


def number(value):
    """Three significant digits, no exponent."""
    if value >= 100:
        return "{:,.0f}".format(value)
    if value >= 10:
        return "%.1f" % value
    return "%.2f" % value


class Results:
    """Medians, spreads and ratios of paired rounds."""

    def __init__(self, runs):
        self._runs = runs

    def values(self, workload, peer, key=None):
        return [run[key or workload.value] for run in self._runs.get((workload.name, peer), ())
                if (key or workload.value) in run]

    def median(self, workload, peer, key=None):
        values = self.values(workload, peer, key)
        return statistics.median(values) if values else None

    def spread(self, workload, peer):
        """Half of what lies between the least and the greatest, of the median."""
        values = self.values(workload, peer)
        if len(values) < 2 or statistics.median(values) == 0:
            return None
        return (max(values) - min(values)) / 2 / statistics.median(values)

    def ratio(self, workload, peer, baseline=None):
        """The median of the ratios of the rounds: each to the baseline in the same round."""
        mine = self.values(workload, peer)
        theirs = self.values(workload, baseline or workload.baseline)
        ratios = [a / b for a, b in zip(mine, theirs) if b > 0]
        return statistics.median(ratios) if ratios else None


def _cell(results, workload, peer):
    median = results.median(workload, peer.name)
    if median is None:
        return NONE
    text = number(median)
    spread = results.spread(workload, peer.name)
    if spread is not None:
        text += " ±%.0f %%" % (100 * spread)
    ratio = results.ratio(workload, peer.name)
    if ratio is not None and peer.name != workload.baseline:
        text += " (×%.2f)" % ratio
    return text


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |",
             "| --- |" + " --: |" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _main_tables(results, peers, workloads):
    parts = []
    for plain in (True, False):
        chosen = [w for w in workloads if (w.baseline == "relay") == plain]
        shown = [p for p in peers
                 if any(results.values(w, p.name) for w in chosen)]
        if not chosen or not shown:
            continue
        base = "the bare relay" if plain else "HAProxy"
        parts.append("### %s\n\nMedian ± half the spread (× the ratio to %s of the same round). "
                     "Less is better.\n" % ("Without TLS" if plain else "With TLS to the client",
                                            base))
        rows = [["%s: %s" % (w.title, w.unit)] + [_cell(results, w, p) for p in shown]
                for w in chosen]
        parts.append(_table(["workload"] + [p.title for p in shown], rows))
    return parts


def _speed_table(results, peers, workloads):
    rows = []
    shown = [p for p in peers if any(results.values(w, p.name, "rate") for w in workloads)]
    for workload in workloads:
        if workload.mode in ("idle", "expire") or workload.same_runs:
            continue
        row = ["%s: %s, p50 / p99 ms, cores of the proxy"
               % (workload.title, "MiB/s" if workload.bulk() else "a second")]
        for peer in shown:
            rate = results.median(workload, peer.name, "mib_s" if workload.bulk() else "rate")
            if rate is None:
                row.append(NONE)
                continue
            row.append("%s, %s / %s, %.2f" % (
                number(rate), number(results.median(workload, peer.name, "p50_us") / 1e3),
                number(results.median(workload, peer.name, "p99_us") / 1e3),
                results.median(workload, peer.name, "cores")))
        rows.append(row)
    if not rows or not shown:
        return []
    return ["### Throughput and latency\n\nLoad, origin and proxy share the CPUs, so these are "
            "less exact than CPU per unit of work.\n",
            _table(["workload"] + [p.title for p in shown], rows)]


def _timeout_table(results, peers, workloads):
    rows = []
    for workload in workloads:
        if workload.mode != "expire":
            continue
        for peer in peers:
            if not results.values(workload, peer.name):
                continue
            get = {key: results.median(workload, peer.name, key)
                   for key in ("told", "silent", "late_p50", "late", "span_s",
                               "noop_p99_before_ms", "noop_p99_meanwhile_ms",
                               "noop_max_meanwhile_ms", "cpu_us_each")}
            rows.append(["%s, %d sessions" % (peer.title, workload.sessions),
                         "%d" % get["told"], "%d" % get["silent"],
                         "%s / %s" % (number(get["late_p50"]), number(get["late"])),
                         "%.2f" % get["span_s"],
                         number(get["noop_p99_before_ms"]),
                         "%s (%s)" % (number(get["noop_p99_meanwhile_ms"]),
                                      number(get["noop_max_meanwhile_ms"])),
                         number(get["cpu_us_each"])])
    if not rows:
        return []
    return ["### Mass timeout\n\nAll sessions are touched at once and then left alone; 32 others "
            "send a NOOP each 10 ms.\n",
            _table(["proxy", "told 421", "closed without a word", "late: p50 / last, ms",
                    "first to last, s", "others' NOOP p99 before, ms",
                    "meanwhile p99 (max), ms", "CPU µs a session, with the others"], rows)]


def _reason_lists(peers, workloads, reasons):
    parts = []
    for peer in peers:
        grouped = {}
        for workload in workloads:
            reason = reasons.get((workload.name, peer.name))
            if reason is not None and reason not in BY_DESIGN:
                grouped.setdefault(reason, []).append(workload.name)
        for reason, names in grouped.items():
            parts.append("- %s: %s (%s)" % (peer.title, reason, ", ".join(names)))
    if not parts:
        return []
    return ["### What %s stands for\n" % NONE,
            "Rows about scale are asked of the relay, HAProxy and Sallyport only. Others:\n",
            "\n".join(parts) + "\n"]


# --- charts ----------------------------------------------------------------------------------

COLOURS = {"sallyport": "#0b6e4f", "relay": "#8a8f98", "relay-copy": "#b0b4bb",
           "origin": "#c9ccd1"}
OTHER = "#c8553d"
ROW, BAR, LEFT, WIDTH, RIGHT, HEAD = 22, 16, 170, 420, 150, 34


def _panel(results, workload, peers, top):
    """One workload: a bar for each peer; what is far longer than the baseline's is cut, and says so."""
    shown = [p for p in peers if results.median(workload, p.name) is not None]
    values = {p.name: results.median(workload, p.name) for p in shown}
    base = values.get(workload.baseline) or min(values.values())
    longest = min(max(values.values()), max(base * 12, 1e-9))
    lines = ['<text x="12" y="%d" class="head">%s: %s</text>'
             % (top + 20, escape(workload.title), escape(workload.unit))]
    y = top + HEAD
    for peer in shown:
        value = values[peer.name]
        cut = value > longest
        width = max(1.0, min(value, longest) / longest * WIDTH)
        ratio = results.ratio(workload, peer.name)
        label = number(value) + (" (×%.2f)" % ratio if ratio is not None and
                                 peer.name != workload.baseline else "")
        lines.append('<text x="%d" y="%d" text-anchor="end">%s</text>'
                     % (LEFT - 8, y + BAR - 4, escape(peer.title)))
        lines.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>'
                     % (LEFT, y, width, BAR, COLOURS.get(peer.name, OTHER)))
        if cut:
            lines.append('<path d="M %d %d l 6 0 l -6 %d l -6 0 z" fill="#fff"/>'
                         % (LEFT + WIDTH - 30, y, BAR))
        lines.append('<text x="%.1f" y="%d">%s</text>'
                     % (LEFT + width + 6, y + BAR - 4, escape(label)))
        y += ROW
    return lines, y + 10


def _chart(results, workloads, peers):
    lines, y = [], 6
    for workload in workloads:
        if any(results.median(workload, p.name) is not None for p in peers):
            panel, y = _panel(results, workload, peers, y)
            lines += panel
    if not lines:
        return None
    total = LEFT + WIDTH + RIGHT
    return "\n".join(
        ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">'
         % (total, y, total, y),
         '<style>text{font:12px sans-serif;fill:#222}.head{font-weight:bold;font-size:13px}</style>',
         '<rect width="100%" height="100%" fill="#fff"/>'] + lines + ["</svg>"]) + "\n"


def write(directory, facts, peers, workloads, runs, reasons):
    """results.md and one SVG a group of workloads."""
    results = Results(runs)
    charts = []
    for group in dict.fromkeys(w.group for w in workloads):
        svg = _chart(results, [w for w in workloads if w.group == group], peers)
        if svg is not None:
            name = "%s.svg" % group.lower()
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                file.write(svg)
            charts.append("![%s](%s)" % (group, name))
    parts = ["## Side by side\n",
             "%(date)s, %(cpus)d × %(cpu)s, Linux %(kernel)s; %(workers)d workers each; "
             "rounds of %(seconds)g s, interleaved, %(rounds)d of them; CPU of the proxy's process tree by "
             "%(meter)s; all of it took %(took_s)d s.\n" % facts]
    if facts["stopped"]:
        parts.append("This run was stopped before its end.\n")
    parts += _main_tables(results, peers, workloads)
    parts += _timeout_table(results, peers, workloads)
    parts += _speed_table(results, peers, workloads)
    parts += _reason_lists(peers, workloads, reasons)
    parts += ["\n".join(charts) + "\n"] if charts else []
    with open(os.path.join(directory, "results.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(parts))
