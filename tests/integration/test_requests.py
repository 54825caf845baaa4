"""What an application sees: every endpoint and refusal of the OpenAI dialect, on one data plane."""
import json
import socket
import unittest

from cluster import Cluster, call
from process import wait_until


class Requests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.key = cls.cluster.create_key("app")
        cls.narrow = cls.cluster.create_key("narrow", "--models", "mock-small")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def test_chat_is_answered_with_usage_and_headers(self):
        answer = self.cluster.chat(self.key)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.json()["object"], "chat.completion")
        self.assertGreater(answer.json()["usage"]["completion_tokens"], 0)
        self.assertEqual(answer.headers["x-spillway-model"], "mock-large")
        self.assertEqual(answer.headers["x-spillway-attempts"], "1")
        self.assertIn("x-request-id", answer.headers)
        self.assertRegex(answer.headers["x-spillway-cost-usd"], r"^\d+(\.\d+)?$")

    def test_a_request_id_of_the_client_is_kept(self):
        answer = self.cluster.chat(self.key, headers={"x-request-id": "my-request-7"})
        self.assertEqual(answer.headers["x-request-id"], "my-request-7")

    def test_a_stream_without_usage_hides_the_usage_event(self):
        answer = self.cluster.chat(self.key, stream=True)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertIn("text/event-stream", answer.headers["content-type"])
        events = answer.events()
        self.assertEqual(events[-1], "[DONE]")
        chunks = [json.loads(event) for event in events[:-1]]
        self.assertTrue(all(chunk["choices"] for chunk in chunks))

    def test_a_stream_with_usage_shows_it_last(self):
        answer = self.cluster.chat(self.key, stream=True, stream_options={"include_usage": True})
        last = json.loads(answer.events()[-2])
        self.assertEqual(last["choices"], [])
        self.assertGreater(last["usage"]["completion_tokens"], 0)

    def test_completions_and_embeddings(self):
        completion = self.cluster.request(self.key, "/v1/completions", {"model": "mock-small", "prompt": "Hello"})
        self.assertEqual(completion.status, 200, completion.body)
        self.assertEqual(completion.json()["object"], "text_completion")
        embedding = self.cluster.request(self.key, "/v1/embeddings", {"model": "mock-embedding", "input": ["a", "b"]})
        self.assertEqual(embedding.status, 200, embedding.body)
        self.assertEqual(len(embedding.json()["data"]), 2)

    def test_models_are_those_of_the_key(self):
        everything = [model["id"] for model in self.cluster.get(self.key, "/v1/models").json()["data"]]
        self.assertEqual(everything, ["assistant", "mock-embedding", "mock-large", "mock-small"])
        few = [model["id"] for model in self.cluster.get(self.narrow, "/v1/models").json()["data"]]
        self.assertEqual(few, ["mock-small"])
        self.assertEqual(self.cluster.get(self.narrow, "/v1/models/mock-small").json()["id"], "mock-small")
        self.assertEqual(self.cluster.get(self.narrow, "/v1/models/mock-large").status, 404)

    def test_refusals_name_their_reason(self):
        rows = [
            ("no key", None, {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}, 401, "invalid_api_key"),
            ("unknown key", "sk-sw-aaaaaaaaaaaa-" + "b" * 43, {"model": "assistant", "messages": []}, 401, "invalid_api_key"),
            ("unknown model", self.key, {"model": "nope", "messages": [{"role": "user", "content": "x"}]}, 404, "model_not_found"),
            ("not allowed", self.narrow, {"model": "mock-large", "messages": [{"role": "user", "content": "x"}]}, 404, "model_not_found"),
            ("two models", self.key, '{"model":"mock-small","model":"mock-large","messages":[{"role":"user","content":"x"}]}', 400, None),
            ("escaped second key", self.key, '{"model":"mock-small","mod\\u0065l":"mock-large","messages":[{"role":"user","content":"x"}]}', 400, None),
            ("no JSON", self.key, "{", 400, None),
            ("trailing bytes", self.key, '{"model":"assistant","messages":[{"role":"user","content":"x"}]}x', 400, None),
            ("model of the wrong type", self.key, {"model": 5, "messages": [{"role": "user", "content": "x"}]}, 400, None),
        ]
        for name, key, body, status, code in rows:
            with self.subTest(name):
                headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
                answer = call(self.cluster.ports["dp0"], "POST", "/v1/chat/completions", headers,
                              body if isinstance(body, str) else json.dumps(body))
                self.assertEqual(answer.status, status, answer.body)
                error = answer.json()["error"]
                self.assertTrue(error["message"] and error["type"])
                if code:
                    self.assertEqual(error["code"], code)

    def test_upstream_refusals_reach_the_client(self):
        self.cluster.mock_behaviour({"model": "mock-small", "status": 429, "retry_after": 7})
        try:
            answer = self.cluster.chat(self.key, "mock-small")
            self.assertEqual(answer.status, 429, answer.body)
            self.assertEqual(answer.headers.get("retry-after"), "7")
            self.assertIn("error", answer.json())
        finally:
            self.cluster.mock_behaviour(None, "DELETE")

    def test_a_failing_target_falls_back(self):
        self.cluster.mock_behaviour({"model": "mock-large", "status": 503})
        try:
            for stream in (False, True):
                answer = self.cluster.chat(self.key, stream=stream)
                self.assertEqual(answer.status, 200, answer.body)
                self.assertEqual(answer.headers["x-spillway-model"], "mock-small")
                self.assertEqual(answer.headers["x-spillway-attempts"], "2")
        finally:
            self.cluster.mock_behaviour(None, "DELETE")

    def test_a_cut_stream_never_looks_finished(self):
        self.cluster.mock_behaviour({"model": "mock-small", "cut_after": 3})
        try:
            answer = self.cluster.chat(self.key, "mock-small", stream=True)
            self.assertEqual(answer.status, 200)
            self.assertNotIn(b"[DONE]", answer.body)
            self.assertIn(b'"error"', answer.body)
        finally:
            self.cluster.mock_behaviour(None, "DELETE")

    def test_our_own_bad_credential_is_the_gateways_fault(self):
        self.cluster.mock_behaviour({"model": "mock-small", "status": 401})
        try:
            answer = self.cluster.chat(self.key, "mock-small")
            self.assertEqual(answer.status, 502, answer.body)
            self.assertEqual(answer.json()["error"]["code"], "upstream_credentials")
        finally:
            self.cluster.mock_behaviour(None, "DELETE")

    def test_expect_100_continue_is_answered(self):
        body = json.dumps({"model": "mock-small", "messages": [{"role": "user", "content": "x"}]}).encode()
        with socket.create_connection(("127.0.0.1", self.cluster.ports["dp0"]), timeout=10) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                           b"Connection: close\r\nContent-Type: application/json\r\n"
                           + f"Authorization: Bearer {self.key}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            self.assertTrue(client.recv(64).startswith(b"HTTP/1.1 100 Continue\r\n\r\n"))
            client.sendall(body)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer[:200])

    def test_metrics_and_access_log_hold_no_secret_and_no_prompt(self):
        prompt, provider_key = "a-prompt-to-look-for-1337", "sk-mock-0001"
        self.cluster.chat(self.key, messages=[{"role": "user", "content": prompt}], headers={"x-request-id": "canary"})
        access_log = self.cluster.folder / "dp0.access.log"
        wait_until(lambda: '"canary"' in access_log.read_text(), "the access log line")
        metrics = call(self.cluster.ports["dp0-ops"], "GET", "/metrics").body.decode()
        debug = call(self.cluster.ports["dp0-ops"], "GET", "/debug/snapshot").body.decode()
        logs = "".join(path.read_text(errors="replace") for path in self.cluster.folder.glob("*.log"))
        for secret in (prompt, provider_key, self.key, self.key.rsplit("-", 1)[1]):
            for place, text in (("metrics", metrics), ("debug", debug), ("logs", logs)):
                self.assertNotIn(secret, text, f"{secret[:6]}... in {place}")
        self.assertIn("spillway_requests_total", metrics)


if __name__ == "__main__":
    unittest.main()
