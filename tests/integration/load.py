"""Steady mixed traffic against a cluster: whole answers and streams, on kept connections."""
import http.client
import json
import random
import threading
import time


class Load:
    """Sends `rate` requests/s from `workers` threads until stop(); counts what failed and how.

    A request counts as failed when it was not answered with 200 or its stream did not end with
    [DONE]. pause() returns once nothing is in flight; after resume() every connection is new, so that
    the data plane may be restarted in between.
    """

    def __init__(self, ports, key, rate=200, workers=16, model="assistant"):
        self.ports, self.key, self.model = ports, key, model
        self.gap = workers / rate
        self.sent = self.streams = 0
        self.failures = []
        self.latencies = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.going = threading.Event()
        self.going.set()
        self.in_flight = 0
        self.pauses = 0
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(workers)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def pause(self):
        self.going.clear()
        self.pauses += 1
        while True:
            with self.lock:
                if self.in_flight == 0:
                    return
            time.sleep(0.01)

    def resume(self):
        self.going.set()

    def stop(self):
        self.stopping.set()
        self.going.set()
        for thread in self.threads:
            thread.join(60)

    def work(self, number):
        dice = random.Random(number)
        connection, pauses = None, 0
        due = time.monotonic() + dice.random() * self.gap
        while not self.stopping.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due + self.gap, time.monotonic() - 1)
            self.going.wait()
            if self.stopping.is_set():
                break
            if connection and pauses != self.pauses:
                connection.close()
                connection = None
            pauses = self.pauses
            with self.lock:
                self.in_flight += 1
            connection = self.one(connection, dice)
            with self.lock:
                self.in_flight -= 1
        if connection:
            connection.close()

    def one(self, connection, dice):
        stream = dice.random() < 0.5
        body = json.dumps({"model": self.model, "stream": stream,
                           "messages": [{"role": "user", "content": "word " * dice.randint(1, 200)}]})
        began = time.monotonic()
        failure = None
        try:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", dice.choice(self.ports), timeout=30)
            connection.request("POST", "/v1/chat/completions", body,
                               {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                failure = f"{response.status} {answer[:200]!r}"
            elif stream and not answer.endswith(b"data: [DONE]\n\n"):
                failure = f"stream without its end: {answer[-200:]!r}"
            if response.will_close:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as error:
            failure = f"{type(error).__name__}: {error}"
            connection.close()
            connection = None
        with self.lock:
            self.sent += 1
            self.streams += stream
            self.latencies.append(time.monotonic() - began)
            if failure:
                self.failures.append(failure)
        return connection
