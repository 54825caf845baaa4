"""200 requests/s while the control plane, then NATS, are dead: nobody notices, nothing is lost."""
import time

from load import Load
from world import Cluster, truth, wait_until

READY_S_MAX = 2.0  # from disk; of release programs


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def round_of(options, seed, size):
    with Cluster() as cluster:
        key = cluster.create_key("app")
        load = Load([cluster.ports["dp0"]], key, rate=200, workers=24).start()
        wait_until(lambda: load.sent > 400, "warm traffic")
        mark = len(load.latencies)
        before = load.latencies[:mark]
        cluster.control.kill()
        time.sleep(15 * min(1, options.minutes))
        cluster.nats.kill()
        time.sleep(45 * min(1, options.minutes))
        during = load.latencies[mark:]
        load.pause()
        cluster.data["dp0"].kill()
        began = time.monotonic()
        cluster.start_data("dp0")
        wait_until(cluster.ready, "readiness from disk", 10)
        ready_s = time.monotonic() - began
        load.resume()
        at = load.sent
        wait_until(lambda: load.sent > at + 400, "traffic after the restart")
        cluster.start_nats()
        cluster.start_control()
        at = load.sent
        wait_until(lambda: load.sent > at + 400, "traffic after everything is back")
        load.stop()
        print(f"  {load.sent} requests, {load.streams} streams, {len(load.failures)} failed; "
              f"p99 before {percentile(before, .99) * 1000:.1f} ms, during {percentile(during, .99) * 1000:.1f} ms; "
              f"ready from disk in {ready_s * 1000:.0f} ms")
        assert not load.failures, load.failures[:3]
        assert ready_s <= READY_S_MAX or cluster.build.name != "release", f"ready from disk after {ready_s:.2f} s"
        calls = cluster.mock_ledger()
        rows = cluster.wait_ledger(len(calls), seconds=120)
        records, estimated = truth.compare(rows, calls, exact=True)
        total = sum(truth.call_nanos(row) for row in calls.values())
        spent = sum(row["cost_nanos"] for row in rows)
        assert spent == total, (spent, total)
        print(f"  ledger {spent} = provider {total} nano-dollars over {len(calls)} calls")
        return {"requests": load.sent, "calls": len(calls), "records": records, "estimated": estimated}
