"""A data plane alone: one YAML file, hot reload, usage on disk. No NATS, no control plane."""
import os
import subprocess
import unittest

from cluster import Cluster
from process import Process, wait_until

CONFIG = """
providers:
  - {{name: mock, dialect: openai, base_url: "{mock}/v1", credentials: [{{name: main, api_key: "${{env:PROVIDER_KEY}}"}}]}}
models:
  - {{name: mock-small, provider: mock, price: {{input: 0.25, output: 2}}}}
keys:
  - {{name: laptop, secret: "${{env:LAPTOP_KEY}}"}}
{extra}
"""
SECRET = "a-long-enough-secret-for-a-laptop"


class Standalone(unittest.TestCase):
    def test_serves_reloads_and_counts(self):
        cluster = Cluster(sample=False)
        try:
            cluster.start_mock()
            config = cluster.folder / "gateway.yaml"
            config.write_text(CONFIG.format(mock=cluster.mock_url, extra=""))
            env = {"PROVIDER_KEY": "sk-mock-0001", "LAPTOP_KEY": SECRET}
            port_file, data_dir = cluster.folder / "alone.port", cluster.folder / "alone"
            command = [cluster.binary("spillway-dataplane"), "--config", config, "--listen", "127.0.0.1:0",
                       "--ops-listen", "127.0.0.1:0", "--data-dir", data_dir, "--port-file", port_file]
            cluster.data["alone"] = Process("alone", command, cluster.folder, env).start()
            ports = dict(line.split() for line in cluster.data["alone"].wait_for_file(port_file).splitlines())
            cluster.ports["alone"], cluster.ports["alone-ops"] = int(ports["traffic"]), int(ports["ops"])
            wait_until(lambda: cluster.ready("alone"), "readiness")
            self.assertEqual(cluster.chat(SECRET, "mock-small", data_plane="alone").status, 200)
            self.assertEqual(cluster.chat("wrong", "mock-small", data_plane="alone").status, 401)

            # A good edit takes effect, a bad one keeps what was good.
            config.write_text(CONFIG.format(mock=cluster.mock_url, extra="routes: [{name: fast, targets: [{model: mock-small}]}]"))
            wait_until(lambda: cluster.chat(SECRET, "fast", data_plane="alone").status == 200, "the new route")
            config.write_text("models: [{name: broken")
            wait_until(lambda: "gateway.yaml" in cluster.data["alone"].tail(), "a log line about the bad file")
            self.assertEqual(cluster.chat(SECRET, "fast", data_plane="alone").status, 200)

            calls = cluster.mock_ledger()
            self.assertEqual(cluster.data["alone"].terminate(), 0)
            usage = subprocess.run([*map(str, command[:1]), "--usage", str(data_dir)], capture_output=True, text=True,
                                   env=dict(os.environ), timeout=30)
            self.assertEqual(usage.returncode, 0, usage.stderr)
            want = sum(row["output_tokens"] for row in calls.values())
            self.assertIn(str(want), usage.stdout)
        finally:
            cluster.__exit__(None, None, None)

    def test_a_bad_flag_is_one_line_and_exit_two(self):
        cluster = Cluster(sample=False)
        try:
            for flags in (["--no-such-flag"], ["--config", "/nonexistent.yaml"], ["--listen", "nonsense"]):
                done = subprocess.run([str(cluster.binary("spillway-dataplane")), *flags], capture_output=True,
                                      text=True, timeout=30)
                self.assertEqual(done.returncode, 2, (flags, done.stderr))
                self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        finally:
            cluster.__exit__(None, None, None)


if __name__ == "__main__":
    unittest.main()
