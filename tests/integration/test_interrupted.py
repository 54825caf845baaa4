"""Interrupted calls: whatever breaks off, and wherever, is billed once and marked with who said so.

The join is the provider's own record (GET /mock/ledger) with the ledger, by attempt id.
"""
import concurrent.futures
import json
import socket
import time
import unittest

import truth
from cluster import Cluster
from process import wait_until

POLICIES = {"dp0": "cancel", "dp1": "drain"}
TOKENS = 6
CLIENTS = 48
CONFIG = """
providers:
  - {{name: mock, dialect: openai, base_url: "{mock}/v1", credentials: [{{name: main, api_key: "sk-mock-0001"}}],
      timeouts: {{connect: 2s, first_token: 1s, idle: 1s, total: 30s}}}}
models:
  - {{name: mock-large, provider: mock, price: {{input: 2.5, output: 10, cached_input: 0.25}}}}
  - {{name: mock-small, provider: mock, price: {{input: 0.25, output: 2}}}}
organizations: [{{name: acme}}]
teams: [{{name: support, organization: acme}}]
budgets:
  - {{name: all, scope: {{team: support}}, limit_usd: 100, window: lifetime, on_partition: leased}}
"""


class InterruptedCluster(Cluster):
    """Two data planes, one for each policy on clients that leave."""

    def __init__(self):
        super().__init__(data_planes=2, sample=False)

    def start_data(self, name, *flags):
        super().start_data(name, "--on-disconnect", POLICIES[name], "--lease-wait", "5s", *flags)

    def __enter__(self):
        super().__enter__()
        self.apply(CONFIG.format(mock=self.mock_url))
        self.wait_ready()
        self.key = self.create_key("app")
        return self

    def settle(self):
        """(ledger's rows, provider's calls) once nothing is in flight any more."""
        wait_until(lambda: not any(self.metric("spillway_streams_open", self.ports[f"{name}-ops"]) for name in self.data),
                   "the last stream's end", 30)
        calls = self.mock_ledger()
        return self.wait_ledger(len(calls), seconds=60), calls


def read_and_leave(port, key, request_id, take):
    """Streams one answer, takes exactly `take` bytes of it (or what there is), and goes. Returns the bytes.

    Going while bytes wait unread resets the connection; otherwise it ends with FIN: both happen.
    """
    body = json.dumps({"model": "mock-small", "stream": True, "messages": [{"role": "user", "content": "Say something"}]})
    head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: spillway\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nx-request-id: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n")
    got = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall((head + body).encode())
        while len(got) < take and not got.endswith(b"\r\n0\r\n\r\n"):
            part = client.recv(take - len(got))
            if not part:
                break
            got += part
    return bytes(got)


def tokens_in(answer):
    """Content events that are there with their end."""
    return sum(b'"content":"token' in event for event in answer.split(b"\n\n")[:-1])


class EveryByte(unittest.TestCase):
    def test_a_client_that_leaves_at_any_byte_is_billed_once_and_as_its_policy_says(self):
        with InterruptedCluster() as cluster:
            cluster.mock_behaviour({"model": "*", "tokens": TOKENS, "ttft_ms": 10, "gap_ms": 15})
            whole = [read_and_leave(cluster.ports[name], cluster.key, f"{name}-whole-{turn}", 1 << 20)
                     for name in POLICIES for turn in range(3)]
            self.assertTrue(all(answer.endswith(b"\r\n0\r\n\r\n") for answer in whole), whole)
            self.assertEqual({tokens_in(answer) for answer in whole}, {TOKENS})
            length = max(map(len, whole))
            began = time.monotonic()
            seen = self.leave_everywhere(cluster, length)
            took = time.monotonic() - began
            rows, calls = cluster.settle()
            records, _ = truth.compare(rows, calls)
            print(f"\n{len(seen)} disconnects, at each of {length} bytes under both policies, in {took:.1f} s; "
                  f"provider served {len(calls)}, ledger has {records} records")
            self.judge(rows, calls, seen, length)
            self.assertEqual(truth.tokens_short(rows, seen), {})
            self.assertEqual(cluster.cli("ledger", "verify", check=False).returncode, 0)
            account = cluster.cli_json("budgets", "show", "all")["accounts"][0]
            self.assertEqual(account["settled_nanos"], sum(row["hold_nanos"] for row in rows))
            self.assertEqual(account["reserved_nanos"], 0)

    def leave_everywhere(self, cluster, length):
        """request id -> content events its client got."""
        def one(job):
            name, take = job
            request_id = f"{name}-{take}"
            return request_id, tokens_in(read_and_leave(cluster.ports[name], cluster.key, request_id, take))

        jobs = [(name, take) for take in range(length + 1) for name in POLICIES]
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            return dict(pool.map(one, jobs))

    def judge(self, rows, calls, seen, length):
        for name, policy in POLICIES.items():
            mine = [row for row in rows if row["instance"] == name and row["attempt_id"]]
            estimated = [row for row in mine if row["source"] == "estimated"]
            attempts = {row["attempt_id"] for row in mine}
            print(f"{policy}: {len(mine)} records, {len(estimated)} estimated; "
                  f"{truth.Errors(mine, {attempt: call for attempt, call in calls.items() if attempt in attempts})}")
            served = {row["request_id"] for row in mine if row["attempt_id"] in calls}
            # Who left before a byte came may have left before the call began.
            self.assertGreaterEqual(len(served), length - 1)
            self.assertEqual({row["source"] for row in mine if row["attempt_id"] in calls} - {"provider", "estimated"}, set())
            if policy == "drain":
                self.assertEqual([row["request_id"] for row in mine if row["source"] != "provider"], [])
            else:
                self.assertGreater(len(estimated), length // 2)
                self.assertEqual({row["end"] for row in estimated}, {"client_left"})


class WholeAnswers(unittest.TestCase):
    def test_a_client_that_does_not_wait_for_its_answer_is_billed_once(self):
        with InterruptedCluster() as cluster:
            cluster.mock_behaviour({"model": "*", "tokens": 10, "gap_ms": 20})  # the answer comes after 200 ms

            def leave(job):
                name, wait_ms = job
                body = json.dumps({"model": "mock-small", "messages": [{"role": "user", "content": "Say something"}]})
                with socket.create_connection(("127.0.0.1", cluster.ports[name]), timeout=30) as client:
                    client.sendall((f"POST /v1/chat/completions HTTP/1.1\r\nHost: spillway\r\nAuthorization: Bearer {cluster.key}\r\n"
                                    f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode())
                    client.settimeout(wait_ms / 1000)
                    try:
                        client.recv(1)
                    except TimeoutError:
                        pass

            with concurrent.futures.ThreadPoolExecutor(24) as pool:
                list(pool.map(leave, [(name, wait_ms) for wait_ms in range(5, 400, 10) for name in POLICIES]))
            rows, calls = cluster.settle()
            truth.compare(rows, calls)
            sources = {name: {row["source"] for row in rows if row["instance"] == name and row["attempt_id"] in calls}
                       for name in POLICIES}
            print(f"\n{len(calls)} whole answers left at 5 to 395 ms of 200: {truth.Errors(rows, calls)}")
            self.assertEqual(sources, {"dp0": {"estimated", "provider"}, "dp1": {"provider"}})


class Killed(unittest.TestCase):
    SHORT, LONG = 8, 200

    def test_a_stream_that_outgrew_its_estimate_is_billed_for_what_its_client_got(self):
        with InterruptedCluster() as cluster:
            cluster.mock_behaviour({"model": "*", "tokens": self.SHORT})
            for _ in range(12):  # from ten on the data plane believes that answers are short
                self.assertEqual(cluster.chat(cluster.key, "mock-small").status, 200)
            cluster.mock_behaviour({"model": "*", "tokens": self.LONG, "gap_ms": 10})
            body = json.dumps({"model": "mock-small", "stream": True, "messages": [{"role": "user", "content": "Say something"}]})
            with socket.create_connection(("127.0.0.1", cluster.ports["dp0"]), timeout=30) as client:
                client.sendall((f"POST /v1/chat/completions HTTP/1.1\r\nHost: spillway\r\nAuthorization: Bearer {cluster.key}\r\n"
                                f"Content-Type: application/json\r\nx-request-id: outgrown\r\n"
                                f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
                got = b""
                while tokens_in(got) < self.LONG // 2:
                    got += client.recv(65536)
                cluster.data["dp0"].kill()
            cluster.start_data("dp0")
            cluster.wait_ready()
            rows, calls = cluster.settle()
            truth.compare(rows, calls)
            record = next(row for row in rows if row["request_id"] == "outgrown")
            self.assertEqual((record["source"], record["end"]), ("estimated", "abandoned"))
            self.assertGreaterEqual(record["output_tokens"], tokens_in(got), record)


class Broken(unittest.TestCase):
    """One row each of the rules of billing: what the provider does, and what must stand in the ledger then."""
    AFTER = 4
    # name, behaviour, stream, source, end, output tokens (None: at least the provider's own), status
    ROWS = [
        ("U9 cut with FIN", {"cut_after": AFTER}, True, "estimated", "upstream_cut", AFTER, 200),
        ("U9 cut with RST", {"cut_after": AFTER, "cut_how": "rst"}, True, "estimated", "upstream_cut", AFTER, 200),
        ("U9 clean end without finish", {"cut_after": AFTER, "cut_how": "end"}, True, "estimated", "upstream_cut", AFTER, 200),
        ("U10 cut inside an event", {"cut_after": AFTER, "cut_inside_event": True}, True, "estimated", "upstream_cut", AFTER, 200),
        ("U10 garbage event", {"malformed_event_at": AFTER}, True, "estimated", "upstream_error", AFTER, 200),
        ("U8 stall", {"stall_after": AFTER}, True, "estimated", "upstream_stalled", AFTER, 200),
        ("U12 error event", {"error_event_at": AFTER, "gap_ms": 30}, True, "estimated", "upstream_error", AFTER, 200),
        ("U12 error event at once", {"error_event_at": 0}, True, "estimated", "upstream_error", 0, 502),
        ("U11 whole answer cut", {"cut_after": AFTER}, False, "estimated", "upstream_cut", None, 502),
        ("U5 reset before headers", {"reset_after_body": True}, True, "estimated", "upstream_cut", 0, 502),
        ("U6 hang before headers", {"hang": True}, True, "estimated", "upstream_stalled", 0, 504),
        ("U17 stream without usage", {"no_usage": True}, True, "estimated", "finished", TOKENS, 200),
        ("U17 answer without usage", {"no_usage": True}, False, "estimated", "finished", TOKENS, 200),
        ("U17 stream with zero usage", {"explicit_zero_usage": True}, True, "provider", "finished", 0, 200),
        ("U17 answer with zero usage", {"explicit_zero_usage": True}, False, "provider", "finished", 0, 200),
        ("usage in the last content event", {"usage_in_last_content": True}, True, "provider", "finished", TOKENS, 200),
        ("no [DONE] behind usage", {"no_done": True}, True, "provider", "finished", TOKENS, 200),
        ("U13 429", {"status": 429, "retry_after": 0}, True, "none", "upstream_error", 0, 429),
        ("U15 503", {"status": 503}, True, "none", "upstream_error", 0, None),
        ("U16 400", {"status": 400}, True, "none", "upstream_error", 0, 400),
    ]

    def test_each_is_billed_and_marked_as_promised(self):
        with InterruptedCluster() as cluster:
            for name, behaviour, stream, *_ in self.ROWS:
                cluster.mock_behaviour({"model": "mock-small", "tokens": TOKENS} | behaviour)
                answer = cluster.chat(cluster.key, "mock-small", stream=stream, headers={"x-request-id": self.request_id(name)})
                with self.subTest(name):
                    self.check_answer(name, answer)
                cluster.mock_behaviour(None, "DELETE")
            rows, calls = cluster.settle()
            truth.compare(rows, calls)
            for row in self.ROWS:
                with self.subTest(row[0]):
                    self.check_records(row, [found for found in rows if found["request_id"] == self.request_id(row[0])], calls)
            print(f"\n{len(self.ROWS)} faults: {truth.Errors(rows, calls)}")
            self.assertEqual(cluster.cli("ledger", "verify", check=False).returncode, 0)

    @staticmethod
    def request_id(name):
        return "row-" + "".join(letter if letter.isalnum() else "-" for letter in name.lower())

    def check_answer(self, name, answer):
        _, behaviour, stream, _, end, _, status = next(row for row in self.ROWS if row[0] == name)
        if status is not None:
            self.assertEqual(answer.status, status, answer.body)
        if not stream or answer.status != 200:
            return
        events = answer.events()
        if end == "finished":
            self.assertEqual(events[-1] == "[DONE]", not behaviour.get("no_done"), events[-1])
        else:  # never a silent truncation
            self.assertNotIn("[DONE]", events)
            self.assertIn('"error"', events[-1])

    def check_records(self, row, records, calls):
        name, _, _, source, end, output, _ = row
        self.assertGreaterEqual(len(records), 1)
        for record in records:
            self.assertEqual((record["source"], record["end"]), (source, end), record)
            if output is None:  # what such calls are likely to make
                self.assertGreaterEqual(record["output_tokens"], calls[record["attempt_id"]]["output_tokens"], record)
            elif source == "estimated":  # counted by events or by bytes, whichever is more
                self.assertGreaterEqual(record["output_tokens"], output, record)
                self.assertLessEqual(record["output_tokens"], 2 * output, record)
            else:
                self.assertEqual(record["output_tokens"], output, record)
            self.assertIn(record["attempt_id"], calls)
            if source == "none" or "zero" in name:
                self.assertEqual((record["cost_nanos"], record["input_tokens"]), (0, 0), record)
            else:
                self.assertGreater(record["cost_nanos"], 0)
                self.assertGreater(record["input_tokens"], 0)
        self.assertEqual(sum(record["winner"] for record in records), 1, records)


if __name__ == "__main__":
    unittest.main()
