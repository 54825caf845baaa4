"""Chaos: random kill -9 of every process under load; no spend may be lost or counted twice.

Scenarios (all when none is named):
  fail-open     200 requests/s for 60 s while the control plane, then NATS, are dead: 0 failures
  kills         random kills of data planes, control plane and nats-server
  stream-lost   the same with NATS' stream deleted, and nats-server restarted on an empty directory
"""
import argparse
import random
import sys
import time
import pathlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import truth  # noqa: E402
from cluster import Cluster  # noqa: E402
from load import Load  # noqa: E402
from process import wait_until  # noqa: E402


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def settle(cluster, what):
    """Waits until the ledger and the provider agree on the number of calls, then joins them."""
    calls = cluster.mock_ledger()
    rows = cluster.wait_ledger(len(calls), seconds=120)
    records, estimated = truth.compare(rows, calls)
    gaps = cluster.cli_json("ledger", "gaps")
    assert not gaps["items"], gaps
    spent = sum(row["cost_nanos"] for row in rows)
    print(f"{what}: provider served {len(calls)} calls; ledger has {records} records, {estimated} estimated; "
          f"gaps 0; {spent} nano-dollars")
    return len(calls), records, estimated


def fail_open(options):
    with Cluster() as cluster:
        key = cluster.create_key("app")
        load = Load([cluster.ports["dp0"]], key, rate=200, workers=24).start()
        wait_until(lambda: load.sent > 400, "warm traffic")
        mark = len(load.latencies)
        before = load.latencies[:mark]
        cluster.control.kill()
        time.sleep(15)
        cluster.nats.kill()
        time.sleep(45)
        during = load.latencies[mark:]
        load.pause()
        cluster.data["dp0"].kill()
        began = time.monotonic()
        cluster.start_data("dp0")
        wait_until(cluster.ready, "readiness from disk", 10)
        ready_s = time.monotonic() - began
        load.resume()
        time.sleep(3)
        cluster.start_nats()
        cluster.start_control()
        time.sleep(3)
        load.stop()
        print(f"fail-open: {load.sent} requests, {load.streams} streams, {len(load.failures)} failed; "
              f"p99 before {percentile(before, .99) * 1000:.1f} ms, during {percentile(during, .99) * 1000:.1f} ms; "
              f"ready from disk in {ready_s * 1000:.0f} ms")
        assert not load.failures, load.failures[:3]
        calls = cluster.mock_ledger()
        rows = cluster.wait_ledger(len(calls), seconds=120)
        truth.compare(rows, calls, exact=True)
        total = sum(truth.cost_nanos(row["model"], row["input_tokens"], row["output_tokens"], row.get("cached", 0))
                    for row in calls.values())
        spent = sum(row["cost_nanos"] for row in rows)
        assert spent == total, (spent, total)
        print(f"fail-open: ledger {spent} = provider {total} nano-dollars over {len(calls)} calls")


def chaos(options, lose_streams):
    dice = random.Random(options.seed)
    name = "stream-lost" if lose_streams else "kills"
    with Cluster(data_planes=2) as cluster:
        key = cluster.create_key("app")
        cluster.mock_behaviour({"model": "*", "tokens": 12, "gap_ms": 5})
        load = Load([cluster.ports["dp0"], cluster.ports["dp1"]], key, rate=120, workers=24).start()
        deadline = time.monotonic() + options.minutes * 60
        kills = {"control": 0, "nats": 0, "dp0": 0, "dp1": 0}
        while sum(kills.values()) < options.kills and time.monotonic() < deadline:
            time.sleep(dice.uniform(0.05, 0.6))
            victim = dice.choice(list(kills))
            kills[victim] += 1
            if victim == "control":
                cluster.control.kill()
                time.sleep(dice.uniform(0, 0.5))
                cluster.start_control()
            elif victim == "nats":
                cluster.nats.kill()
                time.sleep(dice.uniform(0, 0.5))
                cluster.start_nats(wipe=lose_streams and dice.random() < 0.5)
            else:
                cluster.data[victim].kill()
                cluster.start_data(victim)
            if sum(kills.values()) % 20 == 0:
                print(f"{name}: {sum(kills.values())} kills, {load.sent} requests sent")
        load.stop()
        # The last data planes may have died with open calls: they start once more and replay.
        for process in cluster.data.values():
            assert process.running(), process.tail()
        print(f"{name}: seed {options.seed}, kills {kills}, {load.sent} requests, "
              f"{len(load.failures)} cut by a dying data plane")
        settle(cluster, name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", choices=["fail-open", "kills", "stream-lost", []], default=[])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=6, help="bound of each scenario")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    scenarios = options.scenario or ["fail-open", "kills", "stream-lost"]
    failed = 0
    for scenario in scenarios:
        try:
            if scenario == "fail-open":
                fail_open(options)
            else:
                chaos(options, lose_streams=scenario == "stream-lost")
        except AssertionError as error:
            failed += 1
            print(f"{scenario}: FAILED: {error}")
    print(f"{len(scenarios) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
