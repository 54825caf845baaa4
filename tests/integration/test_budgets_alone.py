"""Budgets of a data plane alone: the whole limit is its own, and what was spent outlives the process."""
import concurrent.futures
import unittest

from cluster import Cluster
from process import Process, wait_until

# Only output costs: a call of 100 tokens costs exactly 100,000 nano-dollars.
CONFIG = """
providers:
  - {{name: mock, dialect: openai, base_url: "{mock}/v1", credentials: [{{name: main, api_key: "sk-mock-0001"}}]}}
models:
  - {{name: plain, provider: mock, price: {{input: 0, output: 1}}}}
keys:
  - {{name: laptop, secret: "${{env:LAPTOP_KEY}}"}}
budgets:
  - {{name: mine, scope: {{key: laptop}}, limit_usd: {limit}, window: lifetime, on_overrun: cap}}
"""
SECRET = "a-long-enough-secret-for-a-laptop"
CALLS = 20


class BudgetsAlone(unittest.TestCase):
    def start(self, cluster):
        port_file = cluster.folder / "alone.port"
        port_file.unlink(missing_ok=True)
        command = [cluster.binary("spillway-dataplane"), "--config", cluster.folder / "gateway.yaml", "--listen",
                   "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data-dir", cluster.folder / "alone",
                   "--port-file", port_file]
        process = Process("alone", command, cluster.folder, {"LAPTOP_KEY": SECRET}).start()
        cluster.data["alone"] = process
        ports = dict(line.split() for line in process.wait_for_file(port_file).splitlines())
        cluster.ports["alone"], cluster.ports["alone-ops"] = int(ports["traffic"]), int(ports["ops"])
        wait_until(lambda: cluster.ready("alone"), "readiness")
        return process

    def call(self, cluster):
        return cluster.chat(SECRET, "plain", data_plane="alone", max_completion_tokens=100)

    def test_exact_and_kept_over_kills(self):
        cluster = Cluster(sample=False)
        try:
            cluster.start_mock()
            (cluster.folder / "gateway.yaml").write_text(
                CONFIG.format(mock=cluster.mock_url, limit=f"{CALLS * 100_000 / 1e9:.6f}"))
            cluster.mock_behaviour({"model": "*", "tokens": 100})
            process = self.start(cluster)
            answers = []
            for life in range(3):
                with concurrent.futures.ThreadPoolExecutor(8) as pool:
                    answers += pool.map(lambda _: self.call(cluster), range(12))
                if life == 1:
                    self.assertEqual(process.terminate(), 0)
                else:
                    process.kill()
                process = self.start(cluster)
            refused = self.call(cluster)
            self.assertEqual(refused.status, 429)
            error = refused.json()["error"]
            self.assertEqual(error["code"], "budget_exceeded")
            self.assertIn("'mine'", error["message"])
            cost = sum(row["output_tokens"] for row in cluster.mock_ledger().values()) * 1_000
            self.assertLessEqual(cost, CALLS * 100_000)
            self.assertGreaterEqual(cost, (CALLS - 1) * 100_000)
            self.assertTrue(any(answer.status == 200 for answer in answers))
        finally:
            cluster.__exit__(None, None, None)


if __name__ == "__main__":
    unittest.main()
