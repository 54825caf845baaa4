"""What deploy/quickstart says about ports, before it builds or starts anything. In a folder of its own."""
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

from cluster import TOP, free_port

FLAGS = ("--traffic-port", "--ops-port", "--admin-port", "--admin-ops-port", "--nats-port", "--mock-port")
CHECKED = 9  # of the toolchain's stand-in: the ports were found good


class Quickstart(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="spillway-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        shutil.copytree(TOP / "deploy", self.folder / "deploy")
        (self.folder / "deploy/toolchain").write_text(f"#!/bin/sh\nexit {CHECKED}\n")
        self.ports = {}
        while len(set(self.ports.values())) < len(FLAGS):
            self.ports = {flag: free_port() for flag in FLAGS}

    def another_port(self):
        while (port := free_port()) in self.ports.values():
            pass
        return port

    def start(self, **environment):
        flags = [str(part) for pair in self.ports.items() for part in pair]
        done = subprocess.run([self.folder / "deploy/quickstart", *flags], capture_output=True, text=True, timeout=30,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment})
        return done.returncode, done.stderr

    def stand_in(self, name, *arguments):
        """A process that .run/ records as `name`, with these arguments."""
        process = subprocess.Popen([sys.executable, "-c", "input()", self.folder / ".run", *arguments, "end"],
                                   stdin=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdin.close)
        (self.folder / ".run").mkdir(exist_ok=True)
        (self.folder / f".run/{name}.pid").write_text(f"{process.pid}\n")

    def test_free_ports_are_taken_as_they_are(self):
        self.assertEqual(self.start(), (CHECKED, ""))

    def test_a_taken_port_is_named_with_its_flag(self):
        for flag in FLAGS:
            with self.subTest(flag), socket.create_server(("127.0.0.1", self.ports[flag])):
                code, said = self.start()
                self.assertEqual(code, 1, said)
                self.assertIn(f"port {self.ports[flag]} ", said)
                self.assertIn(f"{flag} N", said)

    def test_one_port_for_two_is_refused_with_both_flags(self):
        for first, second in zip(FLAGS, FLAGS[1:]):
            free, self.ports[second] = self.ports[second], self.ports[first]
            with self.subTest(f"{first} {second}"):
                code, said = self.start()
                self.assertEqual(code, 2, said)
                self.assertIn(f"{first} and {second} are both {self.ports[first]}", said)
            self.ports[second] = free

    def test_what_is_no_port_is_refused_with_its_flag(self):
        for flag in FLAGS:
            free = self.ports[flag]
            for text in ("0", "65536", "99999999999999999999", "-1", "http", ""):
                self.ports[flag] = text
                with self.subTest(f"{flag} {text}"):
                    self.assertEqual(self.start(), (2, f"quickstart: {flag} needs a port number, 1 to 65535, not '{text}'\n"))
            self.ports[flag] = free
        del self.ports["--traffic-port"]
        code, said = self.start(SPILLWAY_QUICKSTART_TRAFFIC_PORT="0")
        self.assertEqual(code, 2, said)
        self.assertIn("--traffic-port", said)

    def test_what_runs_is_known_by_its_own_ports(self):
        # Somebody else's listener on the port that is asked for: that is not what runs here.
        traffic, ops = self.ports["--traffic-port"], self.ports["--ops-port"]
        running = self.another_port()
        self.stand_in("dataplane", "--listen", f"127.0.0.1:{running}", "--ops-listen", f"127.0.0.1:{ops}")
        with socket.create_server(("127.0.0.1", traffic)):
            code, said = self.start()
            self.assertEqual(code, 1, said)
            self.assertIn(f"dataplane runs already, not with --traffic-port {traffic}", said)
            self.assertIn("deploy/quickstart stop", said)
        self.ports["--traffic-port"] = running
        self.assertEqual(self.start(), (CHECKED, ""))

    def test_every_program_is_known_by_the_arguments_it_is_started_with(self):
        at = {flag: f"127.0.0.1:{port}" for flag, port in self.ports.items()}
        self.stand_in("nats", "-p", str(self.ports["--nats-port"]))
        self.stand_in("mockprovider", "--listen", at["--mock-port"])
        self.stand_in("controlplane", "--listen", at["--admin-port"], "--ops-listen", at["--admin-ops-port"])
        self.stand_in("dataplane", "--listen", at["--traffic-port"], "--ops-listen", at["--ops-port"])
        self.assertEqual(self.start(), (CHECKED, ""))
        for flag, name in zip(FLAGS, ("dataplane", "dataplane", "controlplane", "controlplane", "nats", "mockprovider")):
            known, self.ports[flag] = self.ports[flag], self.another_port()
            with self.subTest(flag):
                code, said = self.start()
                self.assertEqual(code, 1, said)
                self.assertIn(f"{name} runs already, not with {flag} {self.ports[flag]}", said)
            self.ports[flag] = known


if __name__ == "__main__":
    unittest.main()
