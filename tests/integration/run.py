#!/usr/bin/env python3
"""Runs the cluster tests: real nats-server, control plane, data planes and mock provider.

usage: run.py BUILD_DIR [FILTER]
"""
import os
import pathlib
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


class Progress(unittest.TextTestResult):
    """One line a test, with its time."""

    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def getDescription(self, test):
        return test.id()


def main():
    os.environ["SPILLWAY_BUILD"] = str(pathlib.Path(sys.argv[1]).resolve())
    loader = unittest.TestLoader()
    if len(sys.argv) > 2 and sys.argv[2]:
        loader.testNamePatterns = [f"*{sys.argv[2]}*"]
    suite = loader.discover(str(HERE), pattern="test_*.py")
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Progress)
    result = runner.run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print(f"{result.testsRun - failed - len(result.skipped)} passed, {failed} failed", flush=True)


if __name__ == "__main__":
    main()
