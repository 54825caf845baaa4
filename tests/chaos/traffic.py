"""Clients for chaos: they know what they got of every answer, whatever broke it off."""
import collections
import http.client
import json
import random
import threading
import time


class Traffic:
    """`rate` requests/s from `workers` threads until stop(), over all teams, users, models and data planes.

    seen: request id -> content events of its stream that arrived. outcomes: how requests ended.
    """

    def __init__(self, world, rate=120, workers=24, users=12, seed=0):
        self.world, self.users, self.seed = world, users, seed
        self.gap = workers / rate
        self.seen, self.outcomes = {}, collections.Counter()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(workers)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    @property
    def sent(self):
        return sum(self.outcomes.values())

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(90)
        assert not any(thread.is_alive() for thread in self.threads), "a client hangs"
        return self

    def work(self, number):
        dice = random.Random(f"{self.seed}-{number}")
        due, turn = time.monotonic() + dice.random() * self.gap, 0
        while not self.stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + self.gap, time.monotonic() - 1)
            turn += 1
            request_id = f"chaos-{self.seed}-{number}-{turn}"
            tokens, outcome = self.one(request_id, dice)
            with self.lock:
                self.outcomes[outcome] += 1
                if tokens:
                    self.seen[request_id] = tokens

    def one(self, request_id, dice):
        team = dice.choice(list(self.world.keys))
        # Now and then an answer is far longer than nine of ten are.
        tokens = 120 if dice.random() < 0.08 else dice.randint(4, 40)
        body = {"model": dice.choice(["assistant", "mock-small"]), "stream": dice.random() < 0.6,
                "max_completion_tokens": tokens, "user": f"u{dice.randrange(self.users)}",
                "messages": [{"role": "user", "content": "word " * dice.randint(1, 30)}]}
        return ask(self.world.ports[dice.choice(sorted(self.world.data))], self.world.keys[team], body, request_id)


def ask(port, key, body, request_id, timeout=40):
    """One request on a connection of its own: (content events that came, how it ended)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    tokens = 0
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {
            "Authorization": f"Bearer {key}", "Content-Type": "application/json", "x-request-id": request_id})
        response = connection.getresponse()
        if response.status != 200 or not body.get("stream"):
            text = response.read()
            return 0, "ok" if response.status == 200 else f"{response.status} {code_of(text)}"
        last = b""
        while line := response.readline():
            tokens += b'"content":"token' in line
            last = line.strip() or last
        return tokens, "ok" if last == b"data: [DONE]" else "cut in its stream"
    except (OSError, http.client.HTTPException) as error:
        return tokens, f"cut: {type(error).__name__}"
    finally:
        connection.close()


def code_of(text):
    try:
        return json.loads(text)["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return "?"
