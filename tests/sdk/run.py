"""Starts a cluster, runs the Python SDK's tests here and the Node SDK's in a child, adds them up."""
import os
import pathlib
import re
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

from cluster import Cluster  # noqa: E402  (the path is set above)


def main():
    with Cluster() as cluster:
        os.environ["OPENAI_BASE_URL"] = f"http://127.0.0.1:{cluster.ports['dp0']}/v1"
        os.environ["OPENAI_API_KEY"] = cluster.create_key("sdk")
        os.environ["NARROW_API_KEY"] = cluster.create_key("sdk-narrow", "--models", "mock-small")
        os.environ["MOCK_URL"] = cluster.mock_url
        suite = unittest.TestLoader().discover(str(HERE), pattern="openai_python_test.py")
        result = unittest.TextTestRunner(verbosity=2).run(suite)
        failed = len(result.failures) + len(result.errors)
        passed = result.testsRun - failed
        node = subprocess.run(["node", "--test", "--test-reporter=tap", os.environ["SPILLWAY_NODE_TEST"]],
                              capture_output=True, text=True, timeout=120)
        print(node.stdout[-6000:], node.stderr[-2000:])
        good, bad = (int(m[1]) if (m := re.search(rf"^# {word} (\d+)", node.stdout, re.M)) else 0
                     for word in ("pass", "fail"))
        if node.returncode != 0 and bad == 0:
            bad = 1
        print(f"{passed + good} passed, {failed + bad} failed")


main()
