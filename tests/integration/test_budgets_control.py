"""The control plane's side of budgets: killed, restored from a backup, told that a data plane is gone."""
import http.client
import os
import shutil
import subprocess
import threading
import unittest

from process import wait_until
from test_budgets import CALL_NANOS, TOKENS, BudgetCluster, usd


def hard(fits):
    return (f"{{name: hard, scope: {{team: support}}, limit_usd: {usd(fits)}, window: day, "
            "on_partition: leased, on_overrun: cap}")


def ask_and_lose(cluster, number):
    """A call whose data plane dies under it."""
    try:
        cluster.ask(number)
    except (OSError, http.client.HTTPException):
        pass


class BudgetsOfTheControlPlane(unittest.TestCase):
    def test_kill_and_restart_under_load_keeps_a_hard_budget_exact(self):
        fits = 400
        with BudgetCluster([hard(fits)]) as cluster:
            load = threading.Thread(target=cluster.hammer, args=(30, 30))
            load.start()
            for _ in range(3):
                wait_until(lambda: cluster.metric("spillway_lease_grants_total", cluster.ports["admin-ops"]), "grants")
                cluster.control.kill()
                cluster.start_control()
            load.join()
            wait_until(lambda: cluster.metric("spillway_lease_grants_total", cluster.ports["admin-ops"]), "grants")
            cluster.hammer(clients=30, rounds=20)
            spent, served = cluster.spent_at_provider()
            self.assertLessEqual(spent, fits * CALL_NANOS)
            self.assertGreaterEqual(spent, 0.99 * fits * CALL_NANOS)
            cluster.wait_ledger(served)
            self.assertEqual(cluster.shown("hard")["status"]["settled_nanos"], spent)

    def test_a_restored_backup_grants_nothing_twice(self):
        fits = 300
        # Only with backups made by itself is usage kept until a backup has it: then all of it comes back.
        with BudgetCluster([hard(fits)], control=["--backup-every", "24h"]) as cluster:
            cluster.hammer(clients=10, rounds=5)
            cluster.cli("backup", "create")
            cluster.hammer(clients=20, rounds=5)
            before, _ = cluster.spent_at_provider()
            cluster.control.kill()
            backup = max((cluster.folder / "backups").iterdir())
            subprocess.run([cluster.binary("spillway-controlplane"), "--data-dir", cluster.folder / "controlplane",
                            "--restore", backup], check=True, capture_output=True, timeout=60,
                           env=os.environ | cluster.sanitizer_environment())
            self.assertTrue((cluster.folder / "controlplane" / "restored").exists())
            cluster.start_control()
            gate = lambda: cluster.metric("spillway_lease_gate_shut", cluster.ports["admin-ops"])
            wait_until(lambda: gate() == 0 and not (cluster.folder / "controlplane" / "restored").exists(),
                       "the gate to open once all have reported")
            cluster.hammer(clients=30, rounds=20)
            spent, served = cluster.spent_at_provider()
            self.assertGreater(spent, before)
            self.assertLessEqual(spent, fits * CALL_NANOS)
            self.assertGreaterEqual(spent, 0.99 * fits * CALL_NANOS)
            cluster.wait_ledger(served)
            self.assertEqual(cluster.shown("hard")["status"]["settled_nanos"], spent)

    def test_the_lease_of_a_lost_disk_is_shown_stays_set_aside_and_is_freed_when_told(self):
        fits = 300
        with BudgetCluster([hard(fits)]) as cluster:
            cluster.hammer(clients=30, rounds=3)
            # A call in flight: whatever else dp1 has at this moment, it dies with money in its hands.
            cluster.mock_behaviour({"model": "*", "tokens": TOKENS, "ttft_ms": 20_000})
            names = sorted(cluster.data)
            caught = threading.Thread(target=ask_and_lose, args=(cluster, names.index("dp1")))
            caught.start()
            wait_until(lambda: cluster.shown("hard")["status"]["reserved_nanos"] > 0, "the call to be in flight")
            cluster.data["dp1"].kill()
            caught.join()
            cluster.mock_behaviour({"model": "*", "tokens": TOKENS})
            shutil.rmtree(cluster.folder / "dp1")
            shown = wait_until(lambda: (lambda now: now if now["status"]["stranded_nanos"] > 0 else None)(
                cluster.shown("hard")), "the lost lease to be shown as stranded", 40)
            holders = [holder for account in shown["accounts"] for holder in account["holders"]]
            self.assertIn("dp1", {holder["instance"] for holder in holders if holder["stranded_nanos"] > 0})
            cluster.cli("fleet", "retire", "dp1")
            stranded = cluster.shown("hard")["status"]["stranded_nanos"]
            self.assertGreater(stranded, 0)
            del cluster.data["dp1"]
            cluster.hammer(clients=30, rounds=20)
            spent, _ = cluster.spent_at_provider()
            self.assertLessEqual(spent, fits * CALL_NANOS)
            self.assertGreaterEqual(spent, 0.99 * fits * CALL_NANOS - stranded)
            cluster.cli("fleet", "retire", "dp1", "--free-leases")
            self.assertEqual(cluster.shown("hard")["status"]["stranded_nanos"], 0)
            cluster.hammer(clients=30, rounds=20)
            spent, _ = cluster.spent_at_provider()
            self.assertGreaterEqual(spent, 0.99 * fits * CALL_NANOS)
            self.assertLessEqual(spent, fits * CALL_NANOS + stranded)
