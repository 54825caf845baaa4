"""The end of a hard budget: three data planes, a hundred clients, and the provider's own count as the truth.

The long form, with cuts between any two processes and many kills, is tests/chaos/run.
"""
import http.client
import random
import threading
import time
import unittest

from process import wait_until
from test_budgets import NANOS_PER_TOKEN, TOKENS, BudgetCluster

CLIENTS = 100
COST = 60 * NANOS_PER_TOKEN        # of a usual call,
RESERVED = TOKENS * NANOS_PER_TOKEN  # and what it may cost at most


def budget(name, nanos, **fields):
    more = "".join(f", {key}: {value}" for key, value in fields.items())
    return f"{{name: {name}, scope: {{team: support}}, limit_usd: {nanos / 1e9:.9f}, window: day{more}}}"


def billed(cluster):
    """What the provider bills, calls included whose caller died."""
    return sum(row["output_tokens"] for row in cluster.mock_ledger().values()) * NANOS_PER_TOKEN


class Hammer:
    """A hundred clients, each of which asks one data plane after the other until `enough` refusals in a row."""

    def __init__(self, cluster, enough=6):
        self.cluster, self.enough = cluster, enough
        self.answers, self.lock = [], threading.Lock()
        self.threads = [threading.Thread(target=self.client, args=(number,)) for number in range(CLIENTS)]

    def client(self, number):
        refused = 0
        for turn in range(10_000):
            try:
                answer = self.cluster.ask(number + turn)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)  # that data plane is dead: a client's pause before it tries the next
                continue
            code = None if answer.status == 200 else answer.json().get("error", {}).get("code")
            with self.lock:
                self.answers.append((answer.status, code))
            refused = refused + 1 if code == "budget_exceeded" else 0
            if refused >= self.enough:
                return

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join()


class TheEndOfABudget(unittest.TestCase):
    def test_leased_and_capped_is_exact_and_used_up(self):
        limit = 200 * COST
        with BudgetCluster([budget("hard", limit, on_partition="leased", on_overrun="cap")]) as cluster:
            cluster.mock_behaviour({"model": "*", "tokens": COST // NANOS_PER_TOKEN})
            self.assertEqual(cluster.shown("hard")["status"]["overshoot_bound_nanos"], 0)
            with Hammer(cluster) as hammer:
                pass
            spent = billed(cluster)
            self.assertLessEqual(spent, limit)
            self.assertGreaterEqual(spent, 0.99 * limit)
            self.assertEqual({answer for answer in hammer.answers if answer[0] != 200}, {(429, "budget_exceeded")})
            served = sum(status == 200 for status, _ in hammer.answers)
            cluster.wait_ledger(served)
            self.assertEqual(cluster.shown("hard")["status"]["settled_nanos"], spent)

    def test_finish_stays_within_the_bound_printed_while_its_calls_run(self):
        usual = 20
        taught = 3 * 12 * usual * NANOS_PER_TOKEN
        limit = taught + 50 * 22 * NANOS_PER_TOKEN  # about fifty calls as they were so far
        with BudgetCluster([budget("soft", limit, on_partition="leased")]) as cluster:
            cluster.mock_behaviour({"model": "*", "tokens": usual})
            for number in range(3 * 12):  # each data plane learns how long answers are
                self.assertEqual(cluster.ask(number).status, 200)
            # Now they are as long as the client allows, and all run at once.
            cluster.mock_behaviour({"model": "*", "tokens": TOKENS, "ttft_ms": 4_000})
            with Hammer(cluster, enough=1) as hammer:
                wait_until(lambda: len(hammer.answers) >= CLIENTS // 4, "the end of the budget")
                bounds = []
                while not any(status == 200 for status, _ in hammer.answers):
                    bounds.append(cluster.shown("soft")["status"]["overshoot_bound_nanos"])
            over = billed(cluster) - limit
            self.assertGreater(over, 0)
            self.assertLessEqual(over, max(bounds))
            self.assertLessEqual(max(bounds), CLIENTS * RESERVED)

    def test_open_without_the_control_plane_stays_within_its_bound(self):
        limit = 120 * COST
        with BudgetCluster([budget("open", limit, on_partition="open", on_overrun="cap")]) as cluster:
            cluster.mock_behaviour({"model": "*", "tokens": COST // NANOS_PER_TOKEN})
            for number in range(6):
                self.assertEqual(cluster.ask(number).status, 200)
            bound = cluster.shown("open")["status"]["overshoot_bound_nanos"]
            self.assertGreater(bound, 0)
            cluster.control.kill()
            with Hammer(cluster) as hammer:
                pass
            spent = billed(cluster)
            self.assertGreater(spent, limit)  # it is open: each spent what it had heard of
            self.assertLessEqual(spent, limit + bound)
            self.assertIn((429, "budget_exceeded"), hammer.answers)

    def test_kill_9_of_any_process_overshoots_nothing_and_strands_nothing(self):
        limit = 250 * COST
        seed = random.randrange(1 << 32)
        draw = random.Random(seed)
        print(f"seed {seed} ", end="", flush=True)
        with BudgetCluster([budget("hard", limit, on_partition="leased", on_overrun="cap")]) as cluster:
            cluster.mock_behaviour({"model": "*", "tokens": COST // NANOS_PER_TOKEN, "ttft_ms": 200})
            with Hammer(cluster):
                for victim in draw.sample(["control", "nats", *sorted(cluster.data)], 3):
                    time.sleep(draw.uniform(0.1, 0.5))  # anywhere in the run
                    self.kill_and_start(cluster, victim)
            self.assertLessEqual(billed(cluster), limit)
            wait_until(lambda: all(self.in_contact(cluster, name) for name in cluster.data), "contact", 20)
            for number in range(len(cluster.data)):  # so that each process has an account of its own
                cluster.ask(number)
            wait_until(lambda: self.all_closed(cluster), "the leases of those that died to be closed", 40)
            cluster.mock_behaviour({"model": "*", "tokens": COST // NANOS_PER_TOKEN})
            with Hammer(cluster):
                pass
            self.assertLessEqual(billed(cluster), limit)
            # A call that died with its data plane counts with what it reserved: that is settled, if not spent.
            settled = lambda: cluster.shown("hard")["status"]["settled_nanos"]
            wait_until(lambda: settled() >= 0.99 * limit, "99 % of the budget to be used", 20)
            self.assertLessEqual(settled(), limit)
            self.assertGreaterEqual(settled(), billed(cluster))

    @staticmethod
    def kill_and_start(cluster, victim):
        if victim == "control":
            cluster.control.kill()
            cluster.start_control()
        elif victim == "nats":
            cluster.nats.kill()
            cluster.start_nats()
        else:
            cluster.data[victim].kill()
            cluster.start_data(victim)
            wait_until(lambda: cluster.ready(victim), f"readiness of {victim}")

    @staticmethod
    def all_closed(cluster):
        """No lease but those of the processes that live."""
        holders = [holder for account in cluster.shown("hard")["accounts"] for holder in account["holders"]]
        return sum(holder["state"] != "closed" for holder in holders) <= len(cluster.data)

    @staticmethod
    def in_contact(cluster, name):
        return cluster.metric("spillway_lease_contact", cluster.ports[f"{name}-ops"]) == 1


if __name__ == "__main__":
    unittest.main()
