"""What an operator does to running processes: drain, probe, make a token, boot from a seed."""
import http.client
import json
import re
import shutil
import signal
import subprocess
import unittest

import truth
from cluster import SAMPLE, Cluster, call, free_port
from process import wait_until


def status(port, path):
    answer = call(port, "GET", path, timeout=5)
    return answer.status, answer.body.decode()


class SlowStream:
    """One streamed answer of mock-small, read as far as its first event."""

    def __init__(self, cluster, key):
        self.connection = http.client.HTTPConnection("127.0.0.1", cluster.ports["dp0"], timeout=30)
        body = json.dumps({"model": "mock-small", "stream": True, "messages": [{"role": "user", "content": "Say something"}]})
        self.connection.request("POST", "/v1/chat/completions", body,
                                {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
        self.response = self.connection.getresponse()
        self.first = self.response.readline()

    def rest(self):
        try:
            return [line.strip() for line in self.response.read().split(b"\n") if line.strip()]
        finally:
            self.connection.close()


class DataPlane(unittest.TestCase):
    def test_a_drain_finishes_its_streams_and_exits_with_zero(self):
        with Cluster() as cluster:
            key = cluster.create_key("app")
            cluster.mock_behaviour({"model": "mock-small", "tokens": 40, "gap_ms": 50})
            stream = SlowStream(cluster, key)
            self.assertEqual(stream.response.status, 200)
            self.assertEqual(status(cluster.ports["dp0-ops"], "/readyz"), (200, "ready\n"))
            process = cluster.data["dp0"].process
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: status(cluster.ports["dp0-ops"], "/readyz") == (503, "not ready: draining\n"), "a 503 that says why", 5)
            self.assertEqual(status(cluster.ports["dp0-ops"], "/livez")[0], 200)
            self.assertIsNone(process.poll(), "it waits for its stream")
            wait_until(lambda: not cluster.accepts(cluster.ports["dp0"]), "the closed traffic port", 5)
            lines = stream.rest()
            self.assertGreater(len(lines), 5, "the stream went on behind the signal")
            self.assertEqual(lines[-1], b"data: [DONE]")
            self.assertEqual(process.wait(30), 0)
            calls = cluster.mock_ledger()
            records, estimated = truth.compare(cluster.wait_ledger(1), calls, exact=True)
            self.assertEqual((records, estimated), (1, 0))

    def test_a_seed_snapshot_serves_without_disk_and_bus(self):
        with Cluster() as cluster:
            key = cluster.create_key("app")
            cluster.start_data("dp1")  # it begins its data-dir with everything that is published by now
            cluster.wait_ready()
            base = wait_until(lambda: max((cluster.folder / "dp1/snapshots").glob("*.base"), default=None), "a base on disk")
            seed = shutil.copy(base, cluster.folder / "seed")
            cluster.control.kill()
            cluster.nats.kill()
            cluster.nats_port = free_port()
            cluster.start_data("alone")
            wait_until(lambda: "no configuration" in status(cluster.ports["alone-ops"], "/readyz")[1], "a reason why it is not ready")
            cluster.start_data("seeded", "--seed-snapshot", seed)
            wait_until(lambda: cluster.ready("seeded"), "readiness from the seed")
            self.assertEqual(json.loads(status(cluster.ports["seeded-ops"], "/debug/snapshot")[1])["source"], "seed")
            self.assertEqual(cluster.chat(key, data_plane="seeded").status, 200)
            self.assertEqual(cluster.chat("sk-sw-aaaaaaaaaaaa-" + "b" * 43, data_plane="seeded").status, 401)
            self.assertFalse(cluster.ready("alone"))


class ControlPlane(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(data_planes=0, sample=False).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def ask(self, path):
        code, body = status(self.cluster.ports["admin-ops"], path)
        return code, json.loads(body) if path == "/readyz" else body

    def test_it_lives_and_is_ready_and_says_when_it_cannot_write(self):
        writable = (200, {"ready": True, "writable": True})
        self.assertEqual(self.ask("/livez"), (200, "ok\n"))
        wait_until(lambda: self.ask("/readyz") == writable, "readiness")
        self.cluster.control.kill()
        self.cluster.nats.kill()
        self.cluster.start_control()
        # What is there may be read; the configuration is changed by whom the bus knows as its writer.
        code, said = self.ask("/readyz")
        self.assertEqual((code, said["ready"], said["writable"]), (200, True, False))
        self.assertIn("NATS is away", said["why"])
        self.assertEqual(self.ask("/livez"), (200, "ok\n"))
        self.assertEqual(self.cluster.cli("get", "teams", check=False).returncode, 0)
        refused = self.cluster.apply(SAMPLE.format(mock=self.cluster.mock_url), check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("NATS is away", refused.stdout + refused.stderr)
        self.cluster.start_nats()
        wait_until(lambda: self.ask("/readyz") == writable, "readiness with the bus", 60)

    def test_a_new_admin_token_is_made_without_an_old_one(self):
        command = [self.cluster.binary("spillway-controlplane"), "--data-dir", self.cluster.folder / "controlplane",
                   "--new-admin-token"]
        busy = subprocess.run(command, capture_output=True, text=True, timeout=60, env=self.cluster.control.env)
        self.assertEqual((busy.returncode, busy.stdout), (1, ""), "the store has one process at a time")
        self.assertEqual(self.cluster.control.terminate(), 0)
        made = subprocess.run(command, capture_output=True, text=True, timeout=60, env=self.cluster.control.env)
        self.assertEqual(made.returncode, 0, made.stderr)
        token = made.stdout.strip()
        self.assertRegex(token, r"^sk-admin-\S{32,}$")
        name = re.search(r'admin token "([^"]+)"', made.stderr)[1]
        self.assertNotIn(token, made.stderr)
        self.cluster.start_control()
        shown = self.cluster.cli_json("tokens", "list", env={"SPILLWAY_ADMIN_TOKEN": token})
        self.assertIn(name, [row["name"] for row in shown["items"]])
        wrong = self.cluster.cli("tokens", "list", env={"SPILLWAY_ADMIN_TOKEN": token[:-1] + "!"}, check=False)
        self.assertNotEqual(wrong.returncode, 0)


if __name__ == "__main__":
    unittest.main()
