"""One process of a cluster under test: started with a log of its own, ended by pid."""
import os
import pathlib
import signal
import subprocess
import time


def wait_until(condition, what, seconds=20.0):
    """Polls until condition() is true; returns its value. Fails with what was awaited."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {seconds} s")
        time.sleep(0.01)


class Process:
    def __init__(self, name, command, folder, env=None):
        self.name, self.command = name, [str(part) for part in command]
        self.log_path = pathlib.Path(folder) / f"{name}.log"
        self.env = dict(os.environ, **(env or {}))
        self.process = None

    def start(self):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)
        log.close()
        return self

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9, and reaped."""
        if self.running():
            self.process.send_signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def terminate(self, seconds=30):
        """SIGTERM; returns the exit code."""
        if self.running():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {seconds} s of SIGTERM:\n{self.tail()}") from None

    def tail(self, lines=25):
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def wait_for_file(self, path, seconds=20):
        """A port file, once it is complete (its last line ended)."""
        def complete():
            if not self.running():
                raise AssertionError(f"{self.name} ended at start:\n{self.tail()}")
            text = path.read_text() if path.exists() else ""
            return text if text.endswith("\n") else None
        return wait_until(complete, f"{path.name} of {self.name}", seconds)
