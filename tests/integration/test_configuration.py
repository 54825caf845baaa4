"""Configuration from the operator to the data planes: pushes, refusals, crashes, rollbacks."""
import random
import re
import threading
import time
import unittest

from cluster import SAMPLE, Cluster, call
from process import wait_until


def debug(cluster, name="dp0"):
    return call(cluster.ports[f"{name}-ops"], "GET", "/debug/snapshot").json()


class Configuration(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(data_planes=2).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def test_applying_the_same_file_again_changes_nothing(self):
        before = self.cluster.cli_json("revisions", "list")["items"][0]["revision"]
        self.cluster.apply(SAMPLE.format(mock=self.cluster.mock_url))
        self.assertEqual(self.cluster.cli_json("revisions", "list")["items"][0]["revision"], before)

    def test_a_change_waits_for_the_whole_fleet(self):
        out = self.cluster.cli("keys", "create", "waits", "--team", "support").stdout
        self.assertRegex(out, r"active on 2/2 in \d+(\.\d+)? ms")

    def test_a_revoked_key_is_refused_everywhere_at_once(self):
        key = self.cluster.create_key("short-lived")
        for name in self.cluster.data:
            self.assertEqual(self.cluster.chat(key, data_plane=name).status, 200)
        self.cluster.cli("keys", "revoke", "short-lived")
        for name in self.cluster.data:
            self.assertEqual(self.cluster.chat(key, data_plane=name).status, 401)

    def test_a_rotated_key_keeps_its_old_secret_for_the_grace_period(self):
        old = self.cluster.create_key("rotating")
        new = self.cluster.cli_json("keys", "rotate", "rotating", "--grace", "1h")["secret"]
        self.assertEqual(self.cluster.chat(old).status, 200)
        self.assertEqual(self.cluster.chat(new).status, 200)
        newest = self.cluster.cli_json("keys", "rotate", "rotating", "--grace", "0s")["secret"]
        self.assertEqual(self.cluster.chat(new).status, 401)
        self.assertEqual(self.cluster.chat(newest).status, 200)

    def test_rollback_neither_unrevokes_a_key_nor_removes_an_undeclared_one(self):
        start = self.cluster.cli_json("revisions", "list")["items"][0]["revision"]
        key = self.cluster.create_key("kept")
        gone = self.cluster.create_key("gone")
        self.cluster.cli("keys", "revoke", "gone")
        self.cluster.cli("rollback", start)
        self.assertEqual(self.cluster.chat(key).status, 200)
        self.assertEqual(self.cluster.chat(gone).status, 401)

    def test_a_bad_file_names_every_fault_and_changes_nothing(self):
        before = self.cluster.cli_json("revisions", "list")["items"][0]["revision"]
        bad = SAMPLE.format(mock=self.cluster.mock_url).replace("provider: mock, price: {input: 0.25, output: 2}",
                                                                "provider: nobody, price: {input: -1}")
        done = self.cluster.apply(bad, check=False)
        self.assertNotEqual(done.returncode, 0)
        text = done.stdout + done.stderr
        self.assertIn("mock-small", text)
        self.assertIn("price", text)
        self.assertEqual(self.cluster.cli_json("revisions", "list")["items"][0]["revision"], before)

    def test_the_provider_key_is_in_no_file_in_clear(self):
        hits = [str(path) for path in self.cluster.folder.rglob("*")
                if path.is_file() and path.name != "apply.yaml" and b"sk-mock-0001" in path.read_bytes()]
        self.assertEqual(hits, [])

    def test_a_late_data_plane_gets_the_same_state(self):
        self.cluster.start_data("late")
        try:
            wait_until(lambda: self.cluster.ready("late"), "readiness of the late one")
            wait_until(lambda: debug(self.cluster, "late")["digest"] == debug(self.cluster)["digest"], "equal digests")
        finally:
            self.cluster.data["late"].terminate()
            del self.cluster.data["late"]


class Crashes(unittest.TestCase):
    def test_kill_nine_of_the_control_plane_at_any_point_of_apply(self):
        dice = random.Random(7)
        with Cluster() as cluster:
            for round_number in range(12):
                yaml = SAMPLE.format(mock=cluster.mock_url) + f"""
keys:
  - {{name: round-{round_number}, team: support}}
"""
                path = cluster.folder / "crash.yaml"
                path.write_text(yaml)
                worker = threading.Thread(target=lambda: cluster.cli("apply", "-f", path, "--no-wait", check=False))
                worker.start()
                time.sleep(dice.random() * 0.08)
                cluster.control.kill()
                worker.join()
                cluster.start_control()
                committed = cluster.cli_json("revisions", "list")["items"][0]["revision"]
                wait_until(lambda: debug(cluster)["revision"] == committed, f"revision {committed} on the data plane")
            fleet = cluster.cli_json("fleet", "list")["items"]
            self.assertFalse(any(row.get("nack_reason") for row in fleet), fleet)

    def test_damaged_files_on_disk_fall_back_to_what_is_good(self):
        with Cluster() as cluster:
            key = cluster.create_key("app")
            for number in range(4):
                cluster.create_key(f"k{number}")
            wait_until(lambda: list((cluster.folder / "dp0").rglob("*snapshot*")), "snapshots on disk")
            cluster.data["dp0"].terminate()
            cluster.control.kill()
            cluster.nats.kill()
            files = sorted((path for path in (cluster.folder / "dp0").rglob("*") if path.is_file()
                            and "snapshot" in str(path.relative_to(cluster.folder))), key=lambda p: p.stat().st_mtime)
            newest = files[-1]
            damaged = bytearray(newest.read_bytes())
            damaged[len(damaged) // 2] ^= 0x40
            newest.write_bytes(damaged)
            cluster.start_data("dp0")
            # Whether the damaged file was the newest snapshot or a log beside it: never 401 for a known key.
            wait_until(cluster.ready, "readiness from an older file", 5)
            self.assertEqual(cluster.chat(key).status, 200)

    def test_without_any_source_a_data_plane_is_not_ready_and_says_why(self):
        with Cluster(sample=False) as cluster:
            cluster.control.kill()
            cluster.nats.kill()
            cluster.start_data("fresh")
            self.assertEqual(call(cluster.ports["fresh-ops"], "GET", "/readyz").status, 503)
            reason = wait_until(lambda: re.search(rb"not ready: .*(snapshot|configuration).*",
                                                  call(cluster.ports["fresh-ops"], "GET", "/readyz").body), "a reason", 5)
            print(reason[0].decode())
            self.assertEqual(cluster.chat("sk-sw-aaaaaaaaaaaa-" + "b" * 43, data_plane="fresh").status, 503)


if __name__ == "__main__":
    unittest.main()
