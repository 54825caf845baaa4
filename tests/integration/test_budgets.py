"""Budgets over three data planes: exact to the nano-dollar, with the provider's own count as the truth."""
import concurrent.futures
import json
import threading
import unittest

from cluster import Cluster
from process import wait_until

# Only output costs: 1 USD per million tokens, so that a call of N tokens costs exactly N * 1,000 nano-dollars.
CONFIG = """
providers:
  - {{name: mock, dialect: openai, base_url: "{mock}/v1", credentials: [{{name: main, api_key: "sk-mock-0001"}}]}}
models:
  - {{name: plain, provider: mock, price: {{input: 0, output: 1}}}}
  - {{name: cheap, provider: mock, price: {{input: 0, output: 0.1}}}}
organizations: [{{name: acme}}]
teams: [{{name: support, organization: acme}}, {{name: sales, organization: acme}}]
users: [{{name: alice, team: support}}]
budgets:
{budgets}
"""
NANOS_PER_TOKEN = 1_000
TOKENS = 100
CALL_NANOS = TOKENS * NANOS_PER_TOKEN


def usd(calls):
    return f"{calls * CALL_NANOS / 1e9:.9f}".rstrip("0")


class BudgetCluster(Cluster):
    """Data planes with the product's own --lease-wait; `control`: flags of the control plane."""

    def __init__(self, budgets, data_planes=3, control=()):
        super().__init__(data_planes=data_planes, sample=False)
        self.budgets, self.control_flags = budgets, control

    def start_control(self, *flags):
        super().start_control(*self.control_flags, *flags)

    def __enter__(self):
        super().__enter__()
        self.apply(self.config(self.budgets))
        self.wait_ready()
        self.mock_behaviour({"model": "*", "tokens": TOKENS})
        self.key = self.create_key("app")
        return self

    def config(self, budgets):
        return CONFIG.format(mock=self.mock_url, budgets="\n".join(f"  - {budget}" for budget in budgets))

    def ask(self, number=0, model="plain", **fields):
        names = sorted(self.data)
        return self.chat(self.key, model, data_plane=names[number % len(names)],
                         max_completion_tokens=TOKENS, **fields)

    def spent_at_provider(self):
        """What the provider billed, and how many calls it served."""
        rows = [row for row in self.mock_ledger().values() if row["status"] == 200]
        return sum(row["output_tokens"] for row in rows) * NANOS_PER_TOKEN, len(rows)

    def hammer(self, clients, rounds, model="plain"):
        """Every client asks `rounds` times; returns the answers' statuses and codes."""
        answers, lock = [], threading.Lock()

        def client(number):
            for turn in range(rounds):
                answer = self.ask(number + turn, model)
                code = answer.json().get("error", {}).get("code") if answer.status != 200 else None
                with lock:
                    answers.append((answer.status, code))

        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            list(pool.map(client, range(clients)))
        return answers

    def shown(self, name):
        return self.cli_json("budgets", "show", name)


class Budgets(unittest.TestCase):
    def test_a_hard_budget_is_used_up_and_never_overshot(self):
        fits = 600
        budget = (f"{{name: hard, scope: {{team: support}}, limit_usd: {usd(fits)}, window: day, "
                  "on_partition: leased, on_overrun: cap}")
        with BudgetCluster([budget]) as cluster:
            answers = cluster.hammer(clients=100, rounds=12)
            spent, served = cluster.spent_at_provider()
            self.assertLessEqual(spent, fits * CALL_NANOS)
            self.assertGreaterEqual(spent, 0.99 * fits * CALL_NANOS)
            self.assertEqual(served, sum(status == 200 for status, _ in answers))
            self.assertEqual({code for status, code in answers if status != 200}, {"budget_exceeded"})
            self.assertEqual({status for status, _ in answers}, {200, 429})
            rows = cluster.wait_ledger(served)
            self.assertEqual(sum(row["cost_nanos"] for row in rows), spent)

    def test_twenty_concurrent_calls_that_fit_are_all_admitted(self):
        budget = (f"{{name: twenty, scope: {{team: support}}, limit_usd: {usd(20)}, window: day, "
                  "on_partition: leased, on_overrun: cap}")
        for data_planes in (1, 3):
            with self.subTest(data_planes=data_planes), BudgetCluster([budget], data_planes) as cluster:
                cluster.mock_behaviour({"model": "*", "tokens": TOKENS, "ttft_ms": 1500})
                with concurrent.futures.ThreadPoolExecutor(20) as pool:
                    statuses = [answer.status for answer in pool.map(cluster.ask, range(20))]
                self.assertEqual(statuses, [200] * 20)
                self.assertEqual(cluster.ask(0).status, 429)

    def test_a_refusal_names_the_budget_and_when_it_resets(self):
        budget = f"{{name: tiny, scope: {{team: support}}, limit_usd: {usd(1)}, window: day, on_overrun: cap}}"
        with BudgetCluster([budget], 1) as cluster:
            self.assertEqual(cluster.ask().status, 200)
            refused = cluster.ask()
            self.assertEqual(refused.status, 429)
            error = refused.json()["error"]
            self.assertEqual(error["code"], "budget_exceeded")
            self.assertIn("tiny", error["message"])
            self.assertRegex(error["message"], r"20\d\d-\d\d-\d\dT")
            self.assertGreater(int(refused.headers["retry-after"]), 0)

    def test_an_edited_limit_keeps_what_was_spent(self):
        with BudgetCluster([f"{{name: b, scope: {{team: support}}, limit_usd: {usd(5)}, window: day, on_overrun: cap}}"],
                           1) as cluster:
            self.assertEqual(sum(cluster.ask().status == 200 for _ in range(8)), 5)
            cluster.apply(cluster.config(
                [f"{{name: b, scope: {{team: support}}, limit_usd: {usd(7)}, window: day, on_overrun: cap}}"]))
            self.assertEqual(sum(cluster.ask().status == 200 for _ in range(5)), 2)

    def test_freezing_is_immediate_and_a_raise_gives_room(self):
        with BudgetCluster([f"{{name: b, scope: {{team: support}}, limit_usd: {usd(2)}, window: day, on_overrun: cap}}"],
                           1) as cluster:
            self.assertEqual(cluster.ask().status, 200)
            cluster.cli("budgets", "freeze", "b")
            self.assertEqual(cluster.ask().json()["error"]["code"], "budget_exceeded")
            cluster.cli("budgets", "unfreeze", "b")
            self.assertEqual(cluster.ask().status, 200)
            self.assertEqual(cluster.ask().status, 429)
            cluster.cli("budgets", "raise", "b", "--usd", usd(1), "--until", "2099-01-01")
            self.assertEqual(cluster.ask().status, 200)
            self.assertEqual(cluster.ask().status, 429)

    def test_each_user_has_a_budget_of_their_own(self):
        with BudgetCluster([f"{{name: per-user, scope: {{each: user}}, limit_usd: {usd(2)}, window: day, on_overrun: cap}}"],
                           1) as cluster:
            for user in ("ann", "bob"):
                statuses = [cluster.ask(user=user).status for _ in range(3)]
                self.assertEqual(statuses, [200, 200, 429], user)
            header = {"x-spillway-metadata": json.dumps({"user": "eve"})}
            self.assertEqual([cluster.ask(headers=header).status for _ in range(3)], [200, 200, 429])

    def test_every_budget_of_a_request_must_hold(self):
        with BudgetCluster([f"{{name: team, scope: {{team: support}}, limit_usd: {usd(10)}, window: day, on_overrun: cap}}",
                            f"{{name: feature, scope: {{each: feature}}, limit_usd: {usd(3)}, window: day, on_overrun: cap}}"],
                           1) as cluster:
            headers = [{"x-spillway-metadata": json.dumps({"feature": name})} for name in "abcd"]
            admitted = [sum(cluster.ask(headers=header).status == 200 for _ in range(5)) for header in headers]
            self.assertEqual(admitted, [3, 3, 3, 1])

    def test_exhausted_budgets_may_downgrade_or_warn(self):
        with BudgetCluster([f"{{name: down, scope: {{model: plain}}, limit_usd: {usd(1)}, window: day, on_overrun: cap, "
                            "on_exhausted: {downgrade: cheap}}"], 1) as cluster:
            self.assertEqual(cluster.ask().status, 200)
            second = cluster.ask()
            self.assertEqual(second.status, 200)
            self.assertEqual(second.headers["x-spillway-downgraded"], "cheap")
            self.assertEqual(second.headers["x-spillway-model"], "cheap")
        with BudgetCluster([f"{{name: warn, scope: {{team: support}}, limit_usd: {usd(1)}, window: day, on_exhausted: warn}}"],
                           1) as cluster:
            self.assertEqual([cluster.ask().status for _ in range(3)], [200] * 3)
            warning = wait_until(lambda: cluster.ask().headers.get("x-spillway-budget-warning"), "the warning")
            self.assertEqual(warning, "warn")

    def test_without_the_control_plane_leased_stops_and_open_goes_on_within_its_bound(self):
        fits = 60
        leased = f"{{name: leased, scope: {{team: support}}, limit_usd: {usd(fits)}, window: day, on_partition: leased, on_overrun: cap}}"
        with BudgetCluster([leased]) as cluster:
            self.assertEqual([cluster.ask(number).status for number in range(3)], [200] * 3)
            cluster.control.kill()
            cluster.hammer(clients=10, rounds=20)
            spent, _ = cluster.spent_at_provider()
            self.assertLessEqual(spent, fits * CALL_NANOS)
        opened = f"{{name: open, scope: {{team: support}}, limit_usd: {usd(fits)}, window: day, on_partition: open, on_overrun: cap}}"
        with BudgetCluster([opened]) as cluster:
            self.assertEqual([cluster.ask(number).status for number in range(3)], [200] * 3)
            bound = cluster.shown("open")["status"]["overshoot_bound_nanos"]
            cluster.control.kill()
            answers = cluster.hammer(clients=10, rounds=40)
            spent, _ = cluster.spent_at_provider()
            self.assertLessEqual(spent, fits * CALL_NANOS + bound)
            self.assertIn((429, "budget_exceeded"), answers)

    def test_a_restart_in_an_outage_goes_by_each_budgets_policy(self):
        fits = 20
        guard = f"{{name: guard, scope: {{model: plain}}, limit_usd: {usd(fits)}, window: day, open_unheard: true, on_overrun: cap}}"
        promise = f"{{name: promise, scope: {{model: cheap}}, limit_usd: {usd(fits)}, window: day, on_overrun: cap}}"
        with BudgetCluster([guard, promise], data_planes=1) as cluster:
            self.assertEqual([cluster.ask(model=model).status for model in ("plain", "cheap")], [200, 200])
            bounds = {name: cluster.shown(name)["status"]["overshoot_bound_nanos"] for name in ("guard", "promise")}
            saved = lambda: cluster.metric("spillway_snapshot_disk_revision", cluster.ports["dp0-ops"])
            wait_until(lambda: saved() >= 2, "the configuration to be on disk")
            for process in (cluster.control, cluster.nats, cluster.data["dp0"]):
                process.kill()
            cluster.start_data("dp0")
            cluster.wait_ready()
            wait_until(lambda: cluster.metric("spillway_lease_contact", cluster.ports["dp0-ops"]) == 0, "the outage to be seen")
            # It has heard of no account: the whole limit, and no more, where the budget says so; else nothing.
            answers = [cluster.ask(model="plain") for _ in range(fits + 5)]
            self.assertEqual([answer.status for answer in answers], [200] * fits + [429] * 5)
            refused = cluster.ask(model="cheap")
            self.assertEqual((refused.status, refused.json()["error"]["code"]), (429, "budget_exceeded"))
            self.assertIn("control plane", refused.json()["error"]["message"])
            cluster.start_nats()
            cluster.start_control()
            wait_until(lambda: cluster.ask(model="cheap").status == 200, "contact to be back")
            _, served = cluster.spent_at_provider()
            rows = cluster.wait_ledger(served)
            self.assertEqual(len(rows), served)
            settled = {name: cluster.shown(name)["status"]["settled_nanos"] for name in bounds}
            self.assertEqual(settled["guard"], (fits + 1) * CALL_NANOS)
            for name, bound in bounds.items():
                self.assertLessEqual(settled[name] - fits * CALL_NANOS, bound, name)

    def test_money_of_a_killed_data_plane_comes_back_with_it(self):
        fits = 300
        budget = (f"{{name: hard, scope: {{team: support}}, limit_usd: {usd(fits)}, window: day, "
                  "on_partition: leased, on_overrun: cap}")
        with BudgetCluster([budget]) as cluster:
            cluster.hammer(clients=30, rounds=3)
            cluster.data["dp1"].kill()
            cluster.start_data("dp1")
            cluster.wait_ready()
            cluster.hammer(clients=50, rounds=12)
            spent, served = cluster.spent_at_provider()
            self.assertLessEqual(spent, fits * CALL_NANOS)
            closed = lambda: [holder for account in cluster.shown("hard")["accounts"] for holder in account["holders"]
                              if holder["state"] == "closed"]
            wait_until(closed, "the close of the killed data plane's lease")
            cluster.hammer(clients=10, rounds=3)
            spent, served = cluster.spent_at_provider()
            self.assertLessEqual(spent, fits * CALL_NANOS)
            self.assertGreaterEqual(spent, 0.99 * fits * CALL_NANOS)


if __name__ == "__main__":
    unittest.main()
