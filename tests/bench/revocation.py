"""Lane L9: from a key's revocation to its first refusal on every data plane."""
import http.client
import pathlib
import re
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import machine  # noqa: E402
from cluster import SAMPLE, Cluster  # noqa: E402
from load import Load  # noqa: E402
from process import wait_until  # noqa: E402


class Wiretap(threading.Thread):
    """A NATS subscriber in plain text protocol: notes the size of every configuration delta."""

    def __init__(self, port, password):
        super().__init__(daemon=True)
        self.sizes = []
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(b'CONNECT {"verbose":false,"user":"dataplane","pass":"%s"}\r\nSUB spillway.config.delta.* 1\r\nPING\r\n'
                            % password.encode())

    def run(self):
        stream = self.socket.makefile("rb")
        while line := stream.readline():
            if line.startswith(b"PING"):
                self.socket.sendall(b"PONG\r\n")
            elif line.startswith(b"MSG"):
                size = int(line.split()[-1])
                stream.read(size + 2)
                self.sizes.append(size)


class Doorway(threading.Thread):
    """Relays to the admin API and notes when each connection to it was opened: the command has started by then."""

    def __init__(self, admin_port):
        super().__init__(daemon=True)
        self.admin_port, self.opened_at = admin_port, 0.0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self):
        while True:
            caller, _ = self.listener.accept()
            self.opened_at = time.monotonic()
            admin = socket.create_connection(("127.0.0.1", self.admin_port))
            for source, sink in ((caller, admin), (admin, caller)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.relay, args=(source, sink), daemon=True).start()

    @staticmethod
    def relay(source, sink):
        try:
            while part := source.recv(65536):
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other direction has ended the connection


class Refusal(threading.Thread):
    """Asks one data plane with one key as fast as it answers, until it is refused."""

    def __init__(self, port, key):
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.key, self.refused_at, self.answers = key, None, 0
        self.asked = threading.Event()

    def run(self):
        while True:
            self.connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {self.key}"})
            response = self.connection.getresponse()
            response.read()
            self.answers += 1
            self.asked.set()
            if response.status == 401:
                self.refused_at = time.monotonic()
                return
            time.sleep(0.0005)


def middle_and_tail(values):
    ordered = sorted(values)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], "max": ordered[-1]}


def measure_revocations(keys, revocations):
    with Cluster(data_planes=2) as cluster:
        yaml = SAMPLE.format(mock=cluster.mock_url) + "keys:\n" + "".join(
            f"  - {{name: fleet-{n}, team: support}}\n" for n in range(keys))
        cluster.apply(yaml, "--timeout", "60s")
        app = cluster.create_key("app")
        tap = Wiretap(cluster.nats_port, cluster.passwords["dataplane"].read_text())
        tap.start()
        load = Load([cluster.ports[name] for name in cluster.data], app, rate=100, workers=4).start()
        wait_until(lambda: load.sent > 20, "load")
        doorway = Doorway(cluster.ports["admin"])
        doorway.start()
        typed_ms, total_ms, activation_ms = [], [], []
        for number in range(revocations):
            secret = cluster.create_key(f"victim-{number}")
            pollers = [Refusal(cluster.ports[name], secret) for name in cluster.data]
            for poller in pollers:
                poller.start()
                poller.asked.wait(10)
            began = time.monotonic()
            out = cluster.cli("keys", "revoke", f"victim-{number}", "--admin", doorway.address).stdout
            for poller in pollers:
                poller.join(10)
            refused_at = max(poller.refused_at for poller in pollers)
            typed_ms.append((refused_at - began) * 1000)
            total_ms.append((refused_at - doorway.opened_at) * 1000)
            if match := re.search(r"active on \d+/\d+ in ([\d.]+) (ms|s)", out):
                activation_ms.append(float(match[1]) * (1000 if match[2] == "s" else 1))
        load.stop()
        return {"keys": keys, "revocations": revocations, "errors": len(load.failures),
                "total_ms": middle_and_tail(total_ms), "typed_ms": middle_and_tail(typed_ms),
                "activation_ms": middle_and_tail(activation_ms),
                "delta_bytes": max(tap.sizes[-revocations:] or [0]),
                "resident_mb": {name: machine.resident_kb(process.pid) / 1024 for name, process in cluster.data.items()}}


if __name__ == "__main__":
    print(measure_revocations(int(sys.argv[1]), int(sys.argv[2])))
