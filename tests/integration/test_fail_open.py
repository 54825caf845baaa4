"""Killing the control plane and NATS disturbs nobody, and not one call is lost or billed twice."""
import time
import unittest

import truth
from cluster import Cluster
from load import Load
from process import wait_until


class FailOpen(unittest.TestCase):
    def test_traffic_flows_while_everything_behind_it_is_dead(self):
        with Cluster() as cluster:
            key = cluster.create_key("app")
            narrow = cluster.create_key("narrow", "--models", "mock-small")
            load = Load([cluster.ports["dp0"]], key, rate=100, workers=8).start()
            wait_until(lambda: load.sent > 50, "the first requests")
            cluster.control.kill()
            at = load.sent
            wait_until(lambda: load.sent > at + 100, "requests without the control plane")
            cluster.nats.kill()
            at = load.sent
            wait_until(lambda: load.sent > at + 200, "requests without NATS")

            # Keys and allow-lists hold.
            self.assertEqual(cluster.chat("sk-sw-aaaaaaaaaaaa-" + "b" * 43).status, 401)
            self.assertEqual(cluster.chat(narrow, "mock-large").status, 404)
            self.assertEqual(cluster.chat(narrow, "mock-small").status, 200)

            # A data plane that starts now is ready from its disk.
            load.pause()
            cluster.data["dp0"].kill()
            began = time.monotonic()
            cluster.start_data("dp0")
            wait_until(cluster.ready, "readiness from disk", 5)
            print(f"ready from disk after {time.monotonic() - began:.2f} s")
            load.resume()
            at = load.sent
            wait_until(lambda: load.sent > at + 100, "requests after the restart")

            cluster.start_nats()
            cluster.start_control()
            at = load.sent
            wait_until(lambda: load.sent > at + 100, "requests after everything is back")
            load.stop()
            self.assertEqual(load.failures, [])

            calls = cluster.mock_ledger()
            rows = cluster.wait_ledger(len(calls))
            records, estimated = truth.compare(rows, calls, exact=True)
            print(f"{load.sent} requests, {load.streams} streams; {records} records, {estimated} estimated")
            self.assertEqual(records, len(calls))

    def test_a_wiped_bus_loses_nothing(self):
        with Cluster() as cluster:
            key = cluster.create_key("app")
            for _ in range(20):
                self.assertEqual(cluster.chat(key).status, 200)
            cluster.nats.kill()
            for _ in range(20):
                self.assertEqual(cluster.chat(key).status, 200)
            cluster.start_nats(wipe=True)
            for _ in range(20):
                self.assertEqual(cluster.chat(key).status, 200)
            calls = cluster.mock_ledger()
            truth.compare(cluster.wait_ledger(60, seconds=60), calls, exact=True)
            # Configuration flows again too.
            cluster.create_key("later")
            cluster.wait_ready()
            self.assertIn("active on 1/1", cluster.cli("keys", "revoke", "later").stdout)

    def test_a_stream_deleted_on_a_live_bus_loses_nothing(self):
        with Cluster() as cluster:
            load = Load([cluster.ports["dp0"]], cluster.create_key("app"), rate=100, workers=8).start()
            for changes in (1, 2):
                at = load.sent
                wait_until(lambda: load.sent > at + 100, "requests")
                wait_until(lambda: cluster.delete_stream("SPILLWAY_USAGE"), "the stream to delete")
                wait_until(lambda: cluster.metric("spillway_ledger_stream_changes_total",
                                                  cluster.ports["admin-ops"]) == changes, "another stream")
            at = load.sent
            wait_until(lambda: load.sent > at + 100, "requests after it")
            load.stop()
            self.assertEqual(load.failures, [])
            calls = cluster.mock_ledger()
            records, _ = truth.compare(cluster.wait_ledger(len(calls), seconds=60), calls, exact=True)
            self.assertEqual(records, len(calls))

    def test_a_killed_data_plane_settles_its_open_calls_as_estimates(self):
        with Cluster() as cluster:
            key = cluster.create_key("app")
            cluster.mock_behaviour({"model": "mock-small", "tokens": 400, "gap_ms": 20})
            load = Load([cluster.ports["dp0"]], key, rate=40, workers=8, model="mock-small").start()
            wait_until(lambda: load.in_flight >= 6 and len(cluster.mock_ledger()) >= 0, "calls in flight")
            time.sleep(0.5)  # some tokens of each
            cluster.data["dp0"].kill()
            load.stopping.set()
            cluster.mock_behaviour(None, "DELETE")
            cluster.start_data("dp0")
            cluster.wait_ready()
            load.stop()
            calls = cluster.mock_ledger()
            self.assertGreater(len(calls), 0)
            _, estimated = truth.compare(cluster.wait_ledger(len(calls)), calls)
            self.assertGreater(estimated, 0)


if __name__ == "__main__":
    unittest.main()
