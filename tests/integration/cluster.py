"""A whole Spillway on free ports in a temporary folder, for tests. Python standard library only.

    with Cluster() as cluster:
        key = cluster.create_key("app", team="support")
        cluster.chat(key, "assistant")
"""
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from process import Process, wait_until

TOP = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = """
providers:
  - {{name: mock, dialect: openai, base_url: "{mock}/v1", credentials: [{{name: main, api_key: "sk-mock-0001"}}],
      timeouts: {{connect: 2s, first_token: 5s, idle: 5s, total: 120s}}}}
models:
  - {{name: mock-large, provider: mock, price: {{input: 2.5, output: 10, cached_input: 0.25}}}}
  - {{name: mock-small, provider: mock, price: {{input: 0.25, output: 2}}}}
  - {{name: mock-embedding, provider: mock, price: {{input: 0.02}}}}
routes:
  - {{name: assistant, strategy: priority, targets: [{{model: mock-large}}], fallbacks: [mock-small]}}
organizations: [{{name: acme}}]
teams: [{{name: support, organization: acme}}]
users: [{{name: alice, team: support}}]
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer:
    """An HTTP answer, read whole."""

    def __init__(self, response):
        self.status, self.headers = response.status, {k.lower(): v for k, v in response.getheaders()}
        self.complete = True
        try:
            self.body = response.read()
        except (http.client.IncompleteRead, ConnectionError, socket.timeout) as cut:
            self.body, self.complete = getattr(cut, "partial", b""), False

    def json(self):
        return json.loads(self.body)

    def events(self):
        """The data of each server-sent event."""
        blocks = self.body.decode().split("\n\n")
        return [line[5:].strip() for block in blocks for line in block.split("\n") if line.startswith("data:")]


def call(port, method, path, headers=None, body=None, timeout=30):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Cluster:
    def __init__(self, data_planes=1, sample=True):
        self.build = pathlib.Path(os.environ["SPILLWAY_BUILD"])
        self.nats_server = os.environ.get("SPILLWAY_NATS_SERVER", "nats-server")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="spillway-test-"))
        self.data_plane_count, self.sample = data_planes, sample
        self.passwords = {role: self.secret_file(f"nats-{role}.password", "p" + os.urandom(16).hex())
                          for role in ("controlplane", "dataplane")}
        self.nats_port = free_port()
        self.nats = self.mock = self.control = None
        self.data = {}
        self.ports = {}

    # -- life ------------------------------------------------------------------------------------

    def __enter__(self):
        try:
            self.start_nats()
            self.start_mock()
            self.start_control()
            for number in range(self.data_plane_count):
                self.start_data(f"dp{number}")
            if self.sample:
                self.apply(SAMPLE.format(mock=self.mock_url))
                self.wait_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, *_):
        for process in [*self.data.values(), self.control, self.mock, self.nats]:
            if process is not None:
                process.kill()
        if kind is not None or os.environ.get("SPILLWAY_KEEP"):
            print(f"cluster's folder kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def secret_file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def binary(self, name):
        return self.build / "bin" / name

    def sanitizer_environment(self):
        return {
            "TSAN_OPTIONS": f"suppressions={TOP}/tests/tsan.supp ignore_noninstrumented_modules=1 halt_on_error=1",
            "LSAN_OPTIONS": f"suppressions={TOP}/tests/lsan.supp",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }

    def start_nats(self, wipe=False):
        store = self.folder / "nats"
        if wipe:
            shutil.rmtree(store, ignore_errors=True)
        env = {"SPILLWAY_NATS_CONTROLPLANE_PASSWORD": self.passwords["controlplane"].read_text(),
               "SPILLWAY_NATS_DATAPLANE_PASSWORD": self.passwords["dataplane"].read_text(),
               "SPILLWAY_NATS_STORE_DIR": str(store)}
        self.nats = Process("nats", [self.nats_server, "-c", TOP / "deploy/nats.conf", "-a", "127.0.0.1",
                                     "-p", self.nats_port], self.folder, env).start()
        wait_until(lambda: self.accepts(self.nats_port), "nats-server on its port")

    def delete_stream(self, stream):
        """On the running nats-server, as the control plane's user and in plain protocol; False: it is not there."""
        login = json.dumps({"verbose": False, "user": "controlplane", "pass": self.passwords["controlplane"].read_text()})
        inbox = "_INBOX_CONTROLPLANE.delete"
        with socket.create_connection(("127.0.0.1", self.nats_port), timeout=20) as client:
            client.sendall(f"CONNECT {login}\r\nSUB {inbox} 1\r\n"
                           f"PUB $JS.API.STREAM.DELETE.{stream} {inbox} 0\r\n\r\n".encode())
            lines = client.makefile("rb")
            while line := lines.readline():
                if line.startswith(b"PING"):
                    client.sendall(b"PONG\r\n")
                elif line.startswith(b"MSG"):
                    return json.loads(lines.read(int(line.split()[-1]))).get("success", False)
                else:
                    assert line.startswith(b"INFO"), line
        raise AssertionError("nats-server closed the connection")

    def start_mock(self, *flags):
        port_file = self.folder / "mock.port"
        port_file.unlink(missing_ok=True)
        port = self.ports.get("mock", 0)
        self.mock = Process("mock", [self.binary("spillway-mockprovider"), "--listen", f"127.0.0.1:{port}",
                                     "--port-file", port_file, *flags], self.folder, self.sanitizer_environment()).start()
        self.ports["mock"] = int(self.mock.wait_for_file(port_file).split()[1])

    def start_control(self, *flags):
        port_file = self.folder / "control.port"
        port_file.unlink(missing_ok=True)
        self.control = Process("controlplane", [
            self.binary("spillway-controlplane"), "--listen", f"127.0.0.1:{self.ports.get('admin', 0)}",
            "--ops-listen", f"127.0.0.1:{self.ports.get('admin-ops', 0)}", "--data-dir", self.folder / "controlplane",
            "--backup-dir", self.folder / "backups", "--nats", f"nats://127.0.0.1:{self.nats_port}",
            "--nats-user", "controlplane", "--nats-password-file", self.passwords["controlplane"],
            "--signing-key", self.folder / "signing.key", "--seal-key", self.folder / "seal.key",
            "--admin-token-file", self.folder / "admin.token", "--port-file", port_file, *flags],
            self.folder, self.sanitizer_environment()).start()
        ports = dict(line.split() for line in self.control.wait_for_file(port_file).splitlines())
        self.ports["admin"], self.ports["admin-ops"] = int(ports["grpc"]), int(ports["ops"])

    def start_data(self, name, *flags):
        port_file = self.folder / f"{name}.port"
        port_file.unlink(missing_ok=True)
        self.data[name] = Process(name, [
            self.binary("spillway-dataplane"), "--listen", f"127.0.0.1:{self.ports.get(name, 0)}",
            "--ops-listen", f"127.0.0.1:{self.ports.get(name + '-ops', 0)}", "--data-dir", self.folder / name,
            "--instance-id", name, "--nats", f"nats://127.0.0.1:{self.nats_port}", "--nats-user", "dataplane",
            "--nats-password-file", self.passwords["dataplane"], "--verify-key", self.folder / "signing.key.pub",
            "--seal-key", self.folder / "seal.key", "--access-log", self.folder / f"{name}.access.log",
            "--port-file", port_file, *flags], self.folder, self.sanitizer_environment()).start()
        ports = dict(line.split() for line in self.data[name].wait_for_file(port_file).splitlines())
        self.ports[name], self.ports[f"{name}-ops"] = int(ports["traffic"]), int(ports["ops"])

    @staticmethod
    def accepts(port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def ready(self, name="dp0"):
        try:
            return call(self.ports[f"{name}-ops"], "GET", "/readyz", timeout=5).status == 200
        except OSError:
            return False

    def wait_ready(self, seconds=20):
        for name in self.data:
            wait_until(lambda name=name: self.ready(name), f"readiness of {name}", seconds)

    # -- the operator ----------------------------------------------------------------------------

    @property
    def mock_url(self):
        return f"http://127.0.0.1:{self.ports['mock']}"

    def cli(self, *args, check=True, input=None, env=None):
        environment = {**os.environ, "SPILLWAY_ADMIN": f"127.0.0.1:{self.ports['admin']}",
                       "SPILLWAY_ADMIN_TOKEN": (self.folder / "admin.token").read_text().strip(),
                       "HOME": str(self.folder), **self.sanitizer_environment(), **(env or {})}
        done = subprocess.run([str(self.binary("spillway")), *map(str, args)], capture_output=True, text=True,
                              env=environment, timeout=90, input=input)
        if check and done.returncode != 0:
            raise AssertionError(f"spillway {' '.join(map(str, args))} exited with {done.returncode}:\n"
                                 f"{done.stdout}{done.stderr}\ncontrol plane:\n{self.control.tail(8)}")
        return done

    def cli_json(self, *args, **options):
        return json.loads(self.cli(*args, "-o", "json", **options).stdout)

    def apply(self, yaml, *flags, check=True):
        path = self.folder / "apply.yaml"
        path.write_text(yaml)
        return self.cli("apply", "-f", path, *flags, check=check)

    def create_key(self, name, *flags, team="support"):
        return self.cli_json("keys", "create", name, "--team", team, *flags)["secret"]

    # -- the application -------------------------------------------------------------------------

    def request(self, key, path, body, data_plane="dp0", headers=None, timeout=30):
        return call(self.ports[data_plane], "POST", path,
                    {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **(headers or {})},
                    body if isinstance(body, (str, bytes)) else json.dumps(body), timeout)

    def chat(self, key, model="assistant", stream=False, data_plane="dp0", headers=None, **fields):
        body = {"model": model, "messages": [{"role": "user", "content": "Say something"}], **fields}
        if stream:
            body["stream"] = True
        return self.request(key, "/v1/chat/completions", body, data_plane, headers)

    def get(self, key, path, data_plane="dp0"):
        return call(self.ports[data_plane], "GET", path, {"Authorization": f"Bearer {key}"})

    # -- the truth -------------------------------------------------------------------------------

    def mock_behaviour(self, behaviour, method="PUT"):
        answer = call(self.ports["mock"], method, "/mock/behaviour", body=json.dumps(behaviour) if behaviour else None)
        assert answer.status < 300, answer.body

    def mock_ledger(self):
        """attempt id -> what the provider would bill."""
        text = call(self.ports["mock"], "GET", "/mock/ledger", timeout=60).body.decode()
        return {row["attempt_id"]: row for row in map(json.loads, text.splitlines())}

    def ledger(self):
        """attempt id -> the ledger's event."""
        return {row["attempt_id"]: row for row in self.ledger_rows() if row["attempt_id"]}

    def ledger_rows(self):
        return self.cli_json("ledger", "events", "--since", "24h", "--limit", 0)["items"]

    def wait_ledger(self, count, seconds=30):
        """Waits until the ledger holds that many events and no attempt is open."""
        def settled():
            rows = self.ledger_rows()
            gaps = self.cli_json("ledger", "gaps")
            return rows if len(rows) >= count and not gaps["items"] and not gaps.get("open_started") else None
        try:
            return wait_until(settled, f"{count} events in the ledger", seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}: {len(self.ledger_rows())} there; {self.cli_json('ledger', 'gaps')}; "
                                 f"{self.cli_json('fleet', 'list')}") from None

    def metric(self, name, port):
        """Sum of a metric's samples."""
        text = call(port, "GET", "/metrics").body.decode()
        values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                  if line.startswith((name + "{", name + " "))]
        return sum(values) if values else None
