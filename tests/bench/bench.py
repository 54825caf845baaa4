"""The performance lanes: CPU and time per request as ratios to nginx in the same run."""
import argparse
import datetime
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import time

import machine
from shipping import ShippingTargets
from targets import OTHER_CORE, Targets, body_of

TOP = pathlib.Path(__file__).resolve().parents[2]
OUT = TOP / "build" / "bench"
REQUEST_LUA = """
local file = io.open("{body}", "r")
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
"""


class Lane:
    """Measures direct, nginx and spillway in fresh random order each round."""

    def __init__(self, options):
        self.options = options
        self.rounds = options.rounds or (2 if options.quick else 5)
        self.seconds = 2 if options.quick else 8
        self.warmup = 1 if options.quick else 2
        self.notes = []

    def each_round(self, targets, measure, names=("direct", "nginx", "spillway")):
        rounds = []
        for _ in range(self.rounds):
            row, order = {}, list(names)
            random.shuffle(order)
            steal, total = machine.steal_and_total()
            for name in order:
                row[name] = measure(targets, name)
            stolen, now = machine.steal_and_total()
            share = (stolen - steal) / max(1, now - total)
            if share > 0.02:
                self.notes.append(f"steal {share:.1%} in one round")
            rounds.append(row)
        return rounds

    def wrk(self, targets, name, body, connections, path="/v1/chat/completions"):
        """One wrk run behind a warm-up: requests/s, latency and the target's CPU per request."""
        script = targets.folder / "request.lua"
        body_file = targets.folder / "body.json"
        body_file.write_text(body)
        script.write_text(REQUEST_LUA.format(body=body_file, key=targets.key))
        url = f"http://127.0.0.1:{targets.ports[name]}{path}"
        command = machine.pinned(OTHER_CORE, ["wrk", "-t1", f"-c{connections}", "--latency", "-s", script, url])
        subprocess.run(command + [f"-d{self.warmup}s"], capture_output=True, check=True)
        process = targets.processes[name]
        cpu, began = machine.fine_cpu_seconds(process.pid), time.monotonic()
        text = subprocess.run(command + [f"-d{self.seconds}s"], capture_output=True, text=True, check=True).stdout
        cpu, elapsed = machine.fine_cpu_seconds(process.pid) - cpu, time.monotonic() - began
        count = int(re.search(r"(\d+) requests in", text)[1])
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        if bad or re.search(r"Socket errors", text):
            raise SystemExit(f"{name}: wrong answers: {text}")
        millis = {key: to_ms(value) for key, value in re.findall(r"(50|99)%\s+([\d.]+[mu]?s)", text)}
        return {"rps": count / elapsed, "cpu_us": cpu / count * 1e6, "busy": cpu / elapsed,
                "p50_ms": millis["50"], "p99_ms": millis["99"]}

    def loadgen(self, targets, name, body, *flags):
        body_file = targets.folder / "body.json"
        body_file.write_text(body)
        command = machine.pinned(OTHER_CORE, [targets.build / "bin/spillway-loadgen", "--port", targets.ports[name],
                                              "--body", body_file, "--key", targets.key, "--seconds", self.seconds, "--warmup",
                                              self.warmup, *flags])
        process = targets.processes[name]
        cpu = machine.fine_cpu_seconds(process.pid)
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        result = json.loads(text)
        result["cpu_s"] = machine.fine_cpu_seconds(process.pid) - cpu
        if result["errors"] or result["out_of_order"]:
            self.notes.append(f"{name}: {result['errors']} errors ({result['first_error']}), {result['out_of_order']} out of order")
        return result


def to_ms(text):
    value = float(re.match(r"[\d.]+", text)[0])
    return value / 1000 if text.endswith("us") else value if text.endswith("ms") else value * 1000


def ratio(rounds, key, of="spillway", to="nginx"):
    return machine.median_spread([row[of][key] / row[to][key] for row in rounds])


def middle(rounds, name, key):
    return machine.median_spread([row[name][key] for row in rounds])[0]


def line(what, figure, bar, met):
    return {"what": what, "figure": figure, "bar": bar, "met": met}


def lane_l1(options, size=2048, bar=1.3, name="L1 CPU per request, 2 KB", start=Targets):
    lane, targets = Lane(options), start()
    try:
        targets.behaviour({"model": "*", "content_bytes": 1500})
        rounds = lane.each_round(targets, lambda t, n: lane.wrk(t, n, body_of(size), 8), ("nginx", "spillway"))
        value, low, high = ratio(rounds, "cpu_us")
        figure = (f"{value:.2f} × nginx ({low:.2f}–{high:.2f}); {middle(rounds, 'spillway', 'cpu_us'):.1f} µs against "
                  f"{middle(rounds, 'nginx', 'cpu_us'):.1f} µs")
        met = None if bar is None else value <= bar
        return lane, [line(name, figure, "–" if bar is None else f"≤ {bar} ×", met)], rounds
    finally:
        targets.close()


def lane_l1_100k(options):
    return lane_l1(options, 100 * 1024, 1.5, "L1 CPU per request, 100 KB")


def lane_l1_shipping(options):
    return lane_l1(options, 2048, None, "L1 CPU per request, 2 KB, with shipping and leases", ShippingTargets)


def lane_l2(options):
    lane, targets = Lane(options), Targets()
    try:
        targets.behaviour({"model": "*", "content_bytes": 1500})
        rounds = lane.each_round(targets, lambda t, n: lane.wrk(t, n, body_of(2048), 32))
        value, low, high = ratio(rounds, "rps")
        idle = 1 - middle(rounds, "spillway", "busy")
        headroom = middle(rounds, "direct", "rps") / max(middle(rounds, "spillway", "rps"), 1)
        if idle > 0.1:
            lane.notes.append(f"spillway's core idles {idle:.0%}: the frontier is the load generator's, not its own")
        if headroom < 1.3:
            lane.notes.append(f"the mock's own rate is only {headroom:.2f} × spillway's")
        figure = f"{value:.2f} × nginx ({low:.2f}–{high:.2f}); {middle(rounds, 'spillway', 'rps'):,.0f} requests/s"
        return lane, [line("L2 requests/s on one core", figure, "≥ 0.8 ×", value >= 0.8),
                      line("L2 one core to two", "not measurable here (two cores)", "≥ 1.8 ×", None)], rounds
    finally:
        targets.close()


def lane_l3(options):
    lane, targets = Lane(options), Targets()
    try:
        targets.behaviour({"model": "*", "content_bytes": 1500})
        rounds = lane.each_round(targets, lambda t, n: lane.loadgen(t, n, body_of(2048), "--connections", 1))
        added = lambda row, name: row[name]["latency_us"]["p50"] - row["direct"]["latency_us"]["p50"]
        value, low, high = machine.median_spread([added(row, "spillway") / max(1, added(row, "nginx")) for row in rounds])
        ours = machine.median_spread([added(row, "spillway") for row in rounds])[0]
        theirs = machine.median_spread([added(row, "nginx") for row in rounds])[0]
        figure = f"{value:.2f} × nginx ({low:.2f}–{high:.2f}); {ours:.0f} µs against {theirs:.0f} µs at p50"
        return lane, [line("L3 added latency", figure, "≤ 1.3 ×", value <= 1.3)], rounds
    finally:
        targets.close()


def lane_l4(options):
    lane, targets = Lane(options), Targets()
    try:
        targets.behaviour({"model": "*", "content_bytes": 1500, "ttft_ms": 20})
        rate = options.rate
        rounds = lane.each_round(targets, lambda t, n: lane.loadgen(t, n, body_of(2048), "--connections", 1000, "--rate", rate))
        value, low, high = machine.median_spread([
            (row["spillway"]["latency_us"]["p99"] - row["direct"]["latency_us"]["p99"]) / 1000 for row in rounds])
        figure = f"{value:.2f} ms ({low:.2f}–{high:.2f}) at {rate} requests/s"
        return lane, [line("L4 p99 added, open loop, 20 ms provider", figure, "≤ 1 ms", value <= 1)], rounds
    finally:
        targets.close()


def lane_l5(options):
    streams = 1000 if options.quick else options.streams
    events = 8 if options.quick else 64
    lane, targets = Lane(options), Targets(buffering=False, mock_flags=("--connections-max", "19000"))
    lane.rounds = 1 if options.quick else options.rounds or 3
    targets.behaviour({"model": "*", "tokens": events, "gap_ms": 400, "ttft_ms": 400})
    ramp = 3 if options.quick else 12

    def measure(t, name):
        process = t.processes[name]
        before = machine.resident_kb(process.pid)
        flags = ("--connections", streams, "--requests-per-connection", 1, "--ramp", ramp, "--warmup", 0, "--stream")
        peak = 0
        body_file = t.folder / "body.json"
        body_file.write_text(body_of(512, stream=True))
        command = machine.pinned(OTHER_CORE, [t.build / "bin/spillway-loadgen", "--port", t.ports[name], "--body", body_file,
                                              "--key", t.key, *flags])
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        while child.poll() is None:
            peak = max(peak, machine.resident_kb(process.pid))
            time.sleep(0.25)
        result = json.loads(child.stdout.read())
        result["kb_per_stream"] = (peak - before) / streams
        time.sleep(1)
        return result
    try:
        rounds = lane.each_round(targets, measure)
        ours = [row["spillway"] for row in rounds]
        expected = {row["direct"]["events"] for row in rounds}
        lost = sum(max(expected) - one["events"] for one in ours)
        errors = sum(one["errors"] for one in ours) + sum(one["out_of_order"] for one in ours)
        open_max = min(one["streams_open_max"] for one in ours)
        per_stream = max(one["kb_per_stream"] for one in ours)
        added = lambda row, name: row[name]["first_event_us"]["p50"] - row["direct"]["first_event_us"]["p50"]
        value, low, high = machine.median_spread([added(row, "spillway") / max(1, added(row, "nginx")) for row in rounds])
        ours_us = machine.median_spread([added(row, "spillway") for row in rounds])[0]
        nginx_us = machine.median_spread([added(row, "nginx") for row in rounds])[0]
        return lane, [
            line("L5 concurrent streams", f"{open_max:,} open, {lost} events lost, {errors} errors or reordered",
                 f"{streams:,}; 0; 0", open_max >= streams * 0.98 and lost == 0 and errors == 0),
            line("L5 resident per stream", f"{per_stream:.1f} KiB", "≤ 24 KiB", per_stream <= 24),
            line("L5 added time to first token, p50", f"{value:.2f} × nginx ({low:.2f}–{high:.2f}); {ours_us:.0f} µs against {nginx_us:.0f} µs",
                 "≤ 1.3 ×", value <= 1.3)], rounds
    finally:
        targets.close()


def lane_l5_unpaced(options):
    lane, targets = Lane(options), Targets(buffering=False)
    try:
        targets.behaviour({"model": "*", "tokens": 20})
        def measure(t, name):
            result = lane.loadgen(t, name, body_of(512, stream=True), "--connections", 8, "--stream", "--warmup", 0)
            result["cpu_us"] = result["cpu_s"] / max(1, result["answers"]) * 1e6
            return result
        rounds = lane.each_round(targets, measure, ("nginx", "spillway"))
        value, low, high = ratio(rounds, "cpu_us")
        figure = (f"{value:.2f} × nginx ({low:.2f}–{high:.2f}); {middle(rounds, 'spillway', 'cpu_us'):.0f} µs against "
                  f"{middle(rounds, 'nginx', 'cpu_us'):.0f} µs")
        return lane, [line("L5 CPU per unpaced stream of 23 events", figure, "≤ 1.2 ×", value <= 1.2)], rounds
    finally:
        targets.close()


def lane_l6(options):
    keys, budgets = (5_000, 100) if options.quick else (100_000, 1_000)
    lane = Lane(options)
    targets = Targets({"none": {"keys": 1, "budgets": 0}, "governed": {"keys": keys, "budgets": budgets}}, nginx=False)
    try:
        resident = {name: machine.resident_kb(targets.processes[name].pid) / 1024 for name in ("none", "governed")}
        targets.behaviour({"model": "*", "content_bytes": 1500})
        rounds = lane.each_round(targets, lambda t, n: lane.wrk(t, n, body_of(2048), 8), ("none", "governed"))
        value, low, high = ratio(rounds, "cpu_us", "governed", "none")
        figure = (f"{value - 1:+.1%} ({low - 1:+.1%} to {high - 1:+.1%}); {middle(rounds, 'governed', 'cpu_us'):.1f} µs against "
                  f"{middle(rounds, 'none', 'cpu_us'):.1f} µs")
        lines = [line(f"L6 CPU per request, {keys:,} keys and {budgets:,} budgets against none", figure, "≤ +10 %", value <= 1.1)]
    finally:
        targets.close()
    text, found = benchmark_of("snapshot_test", "100,000 keys: build, memory, deltas", r"resident: ([\d.]+) MB")
    held = float(found[1]) if found else float("inf")
    lines += [line("L6 100,000 keys, resident", f"{held:.1f} MB", "≤ 60 MB", held <= 60),
              line("L6 whole process after reading that file, resident",
                   f"{resident['governed']:.0f} MB against {resident['none']:.0f} MB", "–", None)]
    return lane, lines, rounds + [{"output": text[-2000:], "resident_mb": resident}]


def benchmark_of(program, name, pattern):
    """Runs one hidden test that prints figures; (its output, the match of the pattern or None)."""
    build = pathlib.Path(os.environ["SPILLWAY_BUILD"])
    exactly = name.replace(",", "\\,")  # a comma separates patterns
    command = machine.pinned(OTHER_CORE, [build / "tests" / program, exactly])
    text = subprocess.run(command, capture_output=True, text=True).stdout
    return text, re.search(pattern, text)


def lane_ledger(options):
    lane, lines, outputs = Lane(options), [], []
    for program, name, what in (("ledger_test", "ledger throughput", "no budgets"),
                                ("accounts_test", "ledger throughput with budgets", "three budgets charged by each")):
        text, found = benchmark_of(program, name, r"(\d+) per CPU second")
        value = int(found[1]) if found else 0
        lines.append(line(f"ledger records applied per second, one core, {what}", f"{value:,}", "≥ 50,000", value >= 50_000))
        outputs.append({"output": text[-2000:]})
    return lane, lines, outputs


def lane_l9(options):
    from revocation import measure_revocations
    lane = Lane(options)
    result = measure_revocations(keys=2_000 if options.quick else 100_000, revocations=20 if options.quick else 300)
    figure = lambda times: f"p50 {times['p50']:.1f} ms, p99 {times['p99']:.1f} ms, max {times['max']:.1f} ms"
    return lane, [line("L9 key revoked in the admin API (its connection opened) → refused by both data planes",
                       f"{figure(result['total_ms'])} with {result['keys']:,} keys; {result['errors']} errors under load",
                       "p99 ≤ 50 ms, 0 errors", result["total_ms"]["p99"] <= 50 and result["errors"] == 0),
                  line("L9 the same from the start of the command `spillway keys revoke`", figure(result["typed_ms"]), "–", None),
                  line("L9 committed → active on every data plane", figure(result["activation_ms"]), "–", None),
                  line("L9 delta of one key on the wire", f"{result['delta_bytes']} bytes", "< 2 KB", result["delta_bytes"] < 2048)
                  ], [result]


LANES = {"L1": lane_l1, "L1-100k": lane_l1_100k, "L1-shipping": lane_l1_shipping, "L2": lane_l2, "L3": lane_l3, "L4": lane_l4, "L5": lane_l5,
         "L5-unpaced": lane_l5_unpaced, "L6": lane_l6, "L9": lane_l9, "ledger": lane_ledger}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lane", nargs="*", choices=[*LANES, []], default=[])
    parser.add_argument("--quick", action="store_true", help="a smoke run: short windows, few rounds")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--streams", type=int, default=9000)
    parser.add_argument("--rate", type=int, default=8000, help="L4's fixed rate")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    about = machine.describe() | {"date": datetime.date.today().isoformat()}
    print(f"# {about['cpu']}, {about['cores']} cores, kernel {about['kernel']}, commit {about['commit']}, {about['date']}")
    print("| lane | figure | bar | met |\n| --- | --- | --- | --- |")
    for name in options.lane or LANES:
        lane, lines, rounds = LANES[name](options)
        for row in lines:
            met = {True: "yes", False: "**no**", None: "–"}[row["met"]]
            print(f"| {row['what']} | {row['figure']} | {row['bar']} | {met} |", flush=True)
        for note in dict.fromkeys(lane.notes):
            print(f"  note: {note}", file=sys.stderr)
        (OUT / f"{name}.json").write_text(json.dumps({"about": about, "lines": lines, "notes": lane.notes, "rounds": rounds}, indent=1))


if __name__ == "__main__":
    main()
