"""The processes that a lane measures: the mock provider directly, nginx before it, Spillway before it."""
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from cluster import call, free_port  # noqa: E402
from machine import pinned  # noqa: E402
from process import Process, wait_until  # noqa: E402

KEY = "sk-sw-benchmarkkey-0123456789012345678901234567890123456789012"
GATEWAY_CORE, OTHER_CORE = 0, 1


def governance(budgets):
    """A rate limit, and `budgets` budgets: two hold for the measured key, the others for other scopes of every kind."""
    if budgets == 0:
        return ""
    rows = ["{name: team-month, scope: {team: bench}, limit_usd: 100000000, window: month, time_zone: Europe/Berlin}",
            "{name: key-day, scope: {each: key}, limit_usd: 10000000, window: day}"]
    others = ("user: user-{}", "feature: feature-{}", "user: user-{}, feature: chat", "tags: {{project: project-{}}}")
    rows += [f"{{name: other-{n}, scope: {{{others[n % len(others)].format(n)}}}, limit_usd: 50, window: month}}"
             for n in range(budgets - len(rows))]
    return ("budgets:\n" + "".join(f"  - {row}\n" for row in rows) +
            "rate_limits:\n  - {name: key-minute, scope: {each: key}, requests: 1000000000, tokens: 100000000000, "
            "per: minute}\n")


def resources(mock_port):
    """What every measured gateway is configured with, besides keys and governance."""
    return f"""
providers:
  - {{name: mock, dialect: openai, base_url: "http://127.0.0.1:{mock_port}/v1",
      credentials: [{{name: main, api_key: sk-mock-0001}}], timeouts: {{first_token: 60s, idle: 60s, total: 600s}}}}
models:
  - {{name: mock-bench, provider: mock, upstream_model: mock-bench-upstream, price: {{input: 2.5, output: 10}}}}
organizations: [{{name: acme}}]
teams: [{{name: bench, organization: acme}}]
"""


class Targets:
    """Starts what a lane needs; every process is ended by pid in close().

    gateways: name -> {"keys": number of API keys, "budgets": number of budgets, 0: no limits either}.
    """

    key = KEY

    def __init__(self, gateways=None, buffering=True, mock_flags=(), nginx=True):
        self.build = pathlib.Path(os.environ["SPILLWAY_BUILD"])
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="spillway-bench-"))
        self.processes, self.ports = {}, {}
        try:
            self.start_mock(mock_flags)
            if nginx:
                self.start_nginx(buffering)
            for name, size in (gateways or {"spillway": {"keys": 10_000, "budgets": 2}}).items():
                self.start_spillway(name, **size)
        except BaseException:
            self.close()
            raise

    def start_mock(self, flags):
        port_file = self.folder / "mock.port"
        mock = Process("mock", pinned(OTHER_CORE, [self.build / "bin/spillway-mockprovider", "--listen", "127.0.0.1:0",
                                                   "--port-file", port_file, "--no-ledger", *flags]), self.folder).start()
        self.processes["direct"] = mock
        self.ports["direct"] = int(mock.wait_for_file(port_file).split()[1])

    def start_nginx(self, buffering):
        port = free_port()
        folder = self.folder / "nginx"
        folder.mkdir()
        text = (HERE / "nginx.conf.in").read_text()
        for name, value in {"DIR": folder, "MOCK": self.ports["direct"], "PORT": port,
                            "BUFFERING": "on" if buffering else "off"}.items():
            text = text.replace(f"@{name}@", str(value))
        (folder / "nginx.conf").write_text(text)
        self.processes["nginx"] = Process("nginx", pinned(GATEWAY_CORE, ["nginx", "-c", folder / "nginx.conf"]), folder).start()
        wait_until(lambda: self.accepts(port), "nginx")
        self.ports["nginx"] = port

    def start_spillway(self, name, keys, budgets):
        config = self.folder / f"{name}.yaml"
        lines = [f"  - {{name: key-{n}, team: bench, models: [mock-bench], secret_sha256: "
                 f"{hashlib.sha256(f'other-{n}'.encode()).hexdigest()}}}" for n in range(keys - 1)]
        config.write_text(resources(self.ports["direct"]) + governance(budgets) + f"""keys:
  - {{name: bench, team: bench, models: [mock-bench], secret_sha256: {hashlib.sha256(KEY.encode()).hexdigest()}}}
""" + "\n".join(lines) + "\n")
        port_file = self.folder / f"{name}.port"
        gateway = Process(name, pinned(GATEWAY_CORE, [
            self.build / "bin/spillway-dataplane", "--config", config, "--listen", "127.0.0.1:0", "--ops-listen",
            "127.0.0.1:0", "--threads", "1", "--data-dir", self.folder / f"{name}-data", "--access-log",
            self.folder / f"{name}.access.log", "--connections-max", "19000", "--port-file", port_file]), self.folder).start()
        self.processes[name] = gateway
        ports = dict(line.split() for line in gateway.wait_for_file(port_file, 120).splitlines())
        self.ports[name], self.ports[f"{name}-ops"] = int(ports["traffic"]), int(ports["ops"])
        wait_until(lambda: call(self.ports[f"{name}-ops"], "GET", "/readyz").status == 200, "readiness", 120)

    @staticmethod
    def accepts(port):
        import socket
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def close(self):
        if "nginx" in self.processes:
            self.processes.pop("nginx").terminate()  # its master ends its worker
        for process in self.processes.values():
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def behaviour(self, value):
        answer = call(self.ports["direct"], "PUT", "/mock/behaviour", body=json.dumps(value))
        assert answer.status < 300, answer.body


def body_of(size, stream=False, model="mock-bench"):
    """A chat body of about `size` bytes with several messages."""
    fields = {"model": model, "messages": [{"role": "system", "content": "You are terse."}], "temperature": 0.2}
    if stream:
        fields["stream"] = True
    text = "The quick brown fox jumps over the lazy dog and asks how the weather is in Lisbon. "
    while len(json.dumps(fields)) < size:
        room = size - len(json.dumps(fields))
        fields["messages"].append({"role": "user", "content": (text * (1 + min(room, 2000) // len(text)))[:max(20, min(room, 2000))]})
    return json.dumps(fields)
