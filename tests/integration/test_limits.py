"""Rate limits over three data planes: ten periods admit ten limits, whoever is asked and however the load comes."""
import http.client
import json
import threading
import time
import unittest

from cluster import SAMPLE, Cluster
from process import wait_until

LIMIT = 40        # requests of a second
TOKENS = 60       # of every answer
PERIODS = 10
# A period begins with the first request it counts; offers end a little before the end of the last one.
MARGIN_S = 0.15
# Every offer has limits of its own, whose first period begins with it.
RUNS = ("connected", "cut", "alone")
CONFIG = SAMPLE + """
rate_limits:
""" + "".join(f"""
  - {{{{name: {kind}-{run}, scope: {{{{feature: {kind}-{run}}}}}, {figure}, per: second}}}}
""" for run in RUNS for kind, figure in (
    ("steady", f"requests: {LIMIT}"), ("bursts", f"requests: {LIMIT}"), ("one", f"requests: {LIMIT}"),
    ("words", f"tokens: {LIMIT * TOKENS}, token_kind: output"))) + """
  - {{name: minute, scope: {{each: feature}}, requests: 1000000, tokens: 100000000, per: minute}}
  - {{name: few, scope: {{feature: few}}, requests: 3, per: hour}}
  - {{name: few-words, scope: {{feature: few-words}}, tokens: 100, token_kind: output, per: hour}}
"""


def evenly(rate):
    """Requests at a steady rate, to each data plane in turn."""
    return [(number / rate, number % 3) for number in range(int(rate * PERIODS))]


def in_bursts(count):
    """One request that begins the first period, then everything in a tenth of each second, to all at once."""
    return [(0, 0)] + [(second + 0.3 + 0.1 * number / count, number % 3)
                       for second in range(PERIODS) for number in range(count)]


def mostly_to_one(rate):
    """Four of five to the same data plane."""
    return [(at, 0 if number % 5 else 1 + number // 5 % 2) for number, (at, _) in enumerate(evenly(rate))]


SCHEDULES = {"steady": evenly(1.5 * LIMIT), "bursts": in_bursts(int(1.75 * LIMIT)),
             "one": mostly_to_one(1.5 * LIMIT), "words": evenly(1.5 * LIMIT)}


class Offer:
    """Sends requests under one feature when they are due, from threads with kept connections."""

    def __init__(self, cluster, key, feature, schedule, workers=8):
        self.ports = [cluster.ports[name] for name in sorted(cluster.data)]
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json",
                        "x-spillway-metadata": json.dumps({"feature": feature})}
        self.due = iter(sorted(schedule))
        self.answers, self.errors, self.skipped = [], [], 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work) for _ in range(workers)]

    def start(self, at):
        self.began, self.end = at, at + PERIODS - MARGIN_S
        for thread in self.threads:
            thread.start()
        return self

    def finish(self):
        for thread in self.threads:
            thread.join(60)
        return self

    def work(self):
        connections = {}
        body = json.dumps({"model": "mock-small", "messages": [{"role": "user", "content": "Say something"}],
                           "max_completion_tokens": TOKENS})
        while True:
            with self.lock:
                due, to = next(self.due, (None, 0))
            if due is None:
                break
            time.sleep(max(0.0, self.began + due - time.monotonic()))
            if time.monotonic() > self.end:
                with self.lock:
                    self.skipped += 1
                continue
            try:
                if to not in connections:
                    connections[to] = http.client.HTTPConnection("127.0.0.1", self.ports[to], timeout=30)
                connections[to].request("POST", "/v1/chat/completions", body, self.headers)
                response = connections[to].getresponse()
                text = response.read()
                headers = {name.lower(): value for name, value in response.getheaders()}
                with self.lock:
                    self.answers.append((response.status, headers, json.loads(text)))
                if response.will_close:
                    connections.pop(to).close()
            except (OSError, http.client.HTTPException) as error:
                with self.lock:
                    self.errors.append(repr(error))
                if to in connections:
                    connections.pop(to).close()
        for connection in connections.values():
            connection.close()

    @property
    def admitted(self):
        return sum(status == 200 for status, _, _ in self.answers)

    @property
    def tokens(self):
        return sum(body["usage"]["completion_tokens"] for status, _, body in self.answers if status == 200)

    @property
    def refused(self):
        return [(headers, body) for status, headers, body in self.answers if status == 429]


class RateLimits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(data_planes=3, sample=False).__enter__()
        cls.cluster.apply(CONFIG.format(mock=cls.cluster.mock_url))
        cls.cluster.wait_ready()
        cls.cluster.mock_behaviour({"model": "*", "tokens": TOKENS})
        cls.key = cls.cluster.create_key("app")
        cls.wait_live(3)
        for name in cls.cluster.data:  # the key is known everywhere
            wait_until(lambda name=name: cls.ask("warm", name).status == 200, f"the key at {name}")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    @classmethod
    def ask(cls, feature, name="dp0"):
        return cls.cluster.chat(cls.key, "mock-small", data_plane=name, max_completion_tokens=TOKENS,
                                headers={"x-spillway-metadata": json.dumps({"feature": feature})})

    @classmethod
    def wait_live(cls, count):
        """Until every data plane counts three and hears that many of them, itself included."""
        for name in cls.cluster.data:
            wait_until(lambda name=name: cls.cluster.metric("spillway_limit_fleet", cls.cluster.ports[f"{name}-ops"])
                       == 3 + count, f"{count} data planes heard at {name}")

    def offer(self, run, schedules, meanwhile=lambda began: None):
        began = time.monotonic() + 0.1
        offers = {kind: Offer(self.cluster, self.key, f"{kind}-{run}", schedule).start(began)
                  for kind, schedule in schedules.items()}
        meanwhile(began)
        for offer in offers.values():
            offer.finish()
            self.assertEqual(offer.errors, [])
            self.assertEqual({status for status, _, _ in offer.answers}, {200, 429})
        return offers

    def test_1_ten_periods_admit_ten_limits_within_two_percent(self):
        offers = self.offer("connected", SCHEDULES)
        print(", ".join(f"{kind}: {offers[kind].admitted}" for kind in SCHEDULES), f"of {PERIODS * LIMIT}")
        for kind in ("steady", "bursts", "one"):
            with self.subTest(kind):
                self.assertGreaterEqual(offers[kind].admitted, 0.98 * PERIODS * LIMIT)
                self.assertLessEqual(offers[kind].admitted, 1.02 * PERIODS * LIMIT)
        with self.subTest("words"):
            self.assertGreaterEqual(offers["words"].tokens, 0.98 * PERIODS * LIMIT * TOKENS)
            self.assertLessEqual(offers["words"].tokens, 1.02 * PERIODS * LIMIT * TOKENS)

    def test_2_headers_tell_the_tightest_limit_and_when_to_come_back(self):
        seen = [self.ask("few") for _ in range(4)]
        self.assertEqual([answer.status for answer in seen], [200, 200, 200, 429])
        for number, answer in enumerate(seen):
            self.assertEqual(answer.headers["x-ratelimit-limit-requests"], "3")
            self.assertEqual(answer.headers["x-ratelimit-remaining-requests"], str(max(2 - number, 0)))
            self.assertRegex(answer.headers["x-ratelimit-reset-requests"], r"^(59m\d+s|1h0m0s)$")
            self.assertEqual(answer.headers["x-ratelimit-limit-tokens"], "100000000")  # of the other limit
        refused = seen[-1]
        self.assertEqual(refused.json()["error"]["code"], "rate_limit_exceeded")
        self.assertIn("'few'", refused.json()["error"]["message"])
        self.assertTrue(3_500 < int(refused.headers["retry-after"]) <= 3_600, refused.headers)
        wait_until(lambda: self.ask("few", "dp2").status == 429, "the refusal elsewhere")

        # An estimate is reserved and corrected to what was used: 60 of 100 tokens, then 120.
        spent = [self.ask("few-words") for _ in range(3)]
        self.assertEqual((spent[0].status, spent[2].status), (200, 429))
        self.assertEqual(spent[2].headers["x-ratelimit-limit-tokens"], "100")
        self.assertEqual(spent[2].headers["x-ratelimit-remaining-tokens"], "40" if spent[1].status == 429 else "0")
        self.assertIn("tokens", spent[2].json()["error"]["message"])
        self.assertGreater(int(spent[2].headers["retry-after"]), 3_500)

    def test_3_when_nats_is_killed_under_load_the_total_stays_within_the_limit(self):
        def kill(began):
            wait_until(lambda: time.monotonic() > began + 3.45, "the middle of the fourth period")
            self.cluster.nats.kill()

        offers = self.offer("cut", SCHEDULES, kill)
        self.wait_live(1)
        for kind in ("steady", "bursts", "one"):
            with self.subTest(kind):
                self.assertLessEqual(offers[kind].admitted, PERIODS * LIMIT)
        self.assertGreaterEqual(offers["steady"].admitted, 0.9 * PERIODS * LIMIT)
        self.assertLessEqual(offers["words"].tokens, PERIODS * LIMIT * TOKENS)
        # And from the first request on: every data plane has its share.
        offers = self.offer("alone", SCHEDULES)
        for kind in ("steady", "bursts", "one"):
            with self.subTest(f"{kind}, alone"):
                self.assertLessEqual(offers[kind].admitted, PERIODS * LIMIT)
        self.assertGreaterEqual(offers["steady"].admitted, 0.95 * PERIODS * LIMIT)
        self.assertLessEqual(offers["words"].tokens, PERIODS * LIMIT * TOKENS)


if __name__ == "__main__":
    unittest.main()
