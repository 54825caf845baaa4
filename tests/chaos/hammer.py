"""100 clients at the end of one budget on three data planes, while any process is killed -9 or cut off.

One account after another, of budgets `each: user`: leased + cap, leased + finish, and open, which is attacked with
the control plane dead; then each again, while links are cut between any two. What the provider bills for an
account's calls is its truth.
"""
import concurrent.futures
import random
import threading
import time

from cuts import CutWorld
from link import CUTS
from traffic import ask
from world import BoundWatch, budget, truth, wait_until

CLIENTS = 100
TOKENS = 100
FITS = 600  # calls
CALL_NANOS = TOKENS * 1_000
LIMIT = FITS * CALL_NANOS
REFUSALS = 4  # of a client, one after another, that end it when no process is to be killed any more
KILLS = 4
CUTS_EACH = 4
CUT_SECONDS_MAX = 5  # contact counts as lost after 2.5
POLICIES = {"cap": "support", "finish": "sales", "open": "ops"}
ATTACKS = [("cap", "kill_any"), ("finish", "kill_any"), ("open", "kill_control"),
           *((policy, "cut_any") for policy in POLICIES)]


def budgets():
    return [budget("cap", {"team": "support", "each": "user"}, LIMIT),
            budget("finish", {"team": "sales", "each": "user"}, LIMIT, overrun="finish"),
            budget("open", {"team": "ops", "each": "user"}, LIMIT, partition="open")]


class Hammer:
    """The clients of one account."""

    def __init__(self, world, policy, subject, seed):
        self.world, self.policy, self.subject = world, policy, subject
        self.dice = random.Random(seed)
        self.faults_over = threading.Event()
        self.lock = threading.Lock()
        self.outcomes = {}
        self.life = 0  # of the clients
        self.cuts = 0

    def client(self, number):
        dice = random.Random(f"{self.subject}-{number}")
        refused, turn = 0, 0
        deadline = time.monotonic() + 120
        while (refused < REFUSALS or not self.faults_over.is_set()) and time.monotonic() < deadline:
            turn += 1
            tokens = dice.choice([TOKENS, TOKENS, TOKENS // 4, TOKENS * 3]) if self.policy == "finish" else TOKENS
            body = {"model": "plain", "user": self.subject, "max_completion_tokens": tokens, "stream": dice.random() < 0.5,
                    "messages": [{"role": "user", "content": "Say something"}]}
            name = dice.choice(sorted(self.world.data))
            _, outcome = ask(self.world.ports[name], self.world.keys[POLICIES[self.policy]], body,
                             f"{self.subject}-{self.life}-{number}-{turn}")
            with self.lock:
                self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
            refused = refused + 1 if outcome == "429 budget_exceeded" else 0
            pause = min(refused, 10) or 10 * outcome.startswith("502")  # as a client's back-off
            if pause and not self.faults_over.is_set():
                self.faults_over.wait(0.05 * pause)
        return time.monotonic() < deadline

    def run(self, faults):
        self.faults_over.clear()
        self.life += 1
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self.client, number) for number in range(CLIENTS)]
            try:
                faults()
            finally:
                self.faults_over.set()
            assert all(client.result() for client in clients), f"{self.subject}: clients were not refused for good in time"

    def kill_any(self):
        for _ in range(KILLS):
            time.sleep(self.dice.uniform(0.05, 0.4))
            self.world.kill_some(self.dice)
        self.world.wait_ready()

    def cut_any(self):
        """One link after another, sometimes two at once, healed again after a bounded time."""
        for _ in range(CUTS_EACH):
            time.sleep(self.dice.uniform(0.05, 0.4))
            names = self.dice.sample(sorted(self.world.links), 2 if self.dice.random() < 0.2 else 1)
            for name in names:
                self.world.links[name].cut(self.dice.choice(CUTS))
            time.sleep(self.dice.uniform(0.2, CUT_SECONDS_MAX))
            for name in names:
                self.world.links[name].heal()
            self.cuts += len(names)
        self.world.wait_ready()

    def kill_control(self):
        time.sleep(self.dice.uniform(0.1, 1.0))
        self.world.kill("control")
        if self.dice.random() < 0.5:  # one that comes back has heard of nothing
            victim = self.dice.choice(sorted(self.world.data))
            self.world.kill(victim)
            self.world.revive(victim)
        served = lambda: self.outcomes.get("ok", 0)
        at, until = served(), time.monotonic() + 6
        wait_until(lambda: served() > at + 2 * FITS or time.monotonic() > until, "the end of what is left", 20)


def spent(world):
    return sum(truth.call_nanos(row) for row in world.mock_ledger().values())


def teach_short(world):
    """Nine of ten answers are short, the data planes learn; what comes then costs far more than it reserves."""
    for name in sorted(world.data) * 12:
        body = first_body("warm") | {"max_completion_tokens": TOKENS // 4}
        ask(world.ports[name], world.keys[POLICIES["finish"]], body, f"warm-{time.monotonic_ns()}")


def attack(world, policy, fault, subject, seed):
    """One account's whole life under attack by the Hammer's `fault`: (nano-dollars above the limit, bound, cuts)."""
    pace = {"model": "*", "tokens": TOKENS * 4}
    # Under cuts the money lasts for longer than a cut that contact is lost in.
    world.mock_behaviour(pace | {"ttft_ms": 800 if fault == "cut_any" else 400 if policy == "cap" else 20})
    if policy == "finish":
        teach_short(world)
        # Calls that last: their risk is in several heartbeats, so that the printed bound can be caught.
        world.mock_behaviour(pace | {"ttft_ms": 1200})
    before = spent(world)
    watch = BoundWatch(world, [policy])
    hammer = Hammer(world, policy, subject, seed)
    if policy == "open":
        # The bound that holds is the one before contact was lost: all have heard something, most is left.
        hammer.outcomes["first"] = sum(
            ask(world.ports[name], world.keys[POLICIES[policy]], first_body(subject), f"{subject}-first-{name}")[1] == "ok"
            for name in world.data)
        watch.look(policy)
        watch.stop()
    hammer.run(getattr(hammer, fault))
    if fault == "kill_control":
        world.revive("control")
    world.wait_quiet()
    hammer.run(lambda: None)  # what the dead held is back by now
    bound = watch.stop()[policy]
    rows, calls = world.wait_quiet()
    if fault == "cut_any":
        bound += unseen(rows, calls, subject)
    billed = spent(world) - before
    account = account_of(world, policy, subject)
    stranded = account["stranded_nanos"]
    print(f"  {policy}, {fault}: {subject} spent {billed / LIMIT:.2%} of its limit, settled {account['settled_nanos'] / LIMIT:.2%}, "
          f"stranded {stranded / LIMIT:.2%}, bound {bound / LIMIT:.2%}; kills {world.kills}; cuts {hammer.cuts}; {hammer.outcomes}")
    over, allowed = billed - LIMIT, 0 if policy == "cap" else bound
    assert over <= allowed, f"{policy}: {subject} was overshot by {over} nano-dollars, bound {allowed}"
    if policy == "cap":
        # All are back: what is not settled by now nobody may keep from the clients, but for one reservation.
        used = account["settled_nanos"] + stranded
        assert used >= LIMIT * 0.99 - CALL_NANOS, f"{subject}: only {used / LIMIT:.2%} was usable: {account}"
    return max(over, 0), bound, hammer.cuts


def unseen(rows, calls, subject):
    """What the provider billed beyond the holds of calls that were cut off from it: none of it can be in a bound."""
    return sum(max(0, truth.call_nanos(calls[row["attempt_id"]]) - row["hold_nanos"]) for row in rows
               if row["user"] == subject and row["source"] == "estimated" and row["attempt_id"] in calls)


def first_body(subject):
    return {"model": "plain", "user": subject, "max_completion_tokens": TOKENS, "messages": [{"role": "user", "content": "Hi"}]}


def account_of(world, policy, subject):
    shown = world.cli_json("budgets", "show", policy, "--subject", subject)["accounts"]
    assert shown, f"budget {policy} knows no {subject}"
    return shown[0]


def round_of(options, seed, size):
    with CutWorld(budgets()) as world:
        figures, bounds, cuts = {}, dict.fromkeys(POLICIES, 0), 0
        for number, (policy, fault) in enumerate(ATTACKS):
            over, bound, made = attack(world, policy, fault, f"{policy}-{fault}-{seed}", seed * 10 + number)
            figures[f"over_{policy}_nanos"] = figures.get(f"over_{policy}_nanos", 0) + over
            bounds[policy] = max(bounds[policy], bound)
            cuts += made
        kills = sum(world.kills.values())
        return {"hammers": len(ATTACKS), "kills": kills, "cuts": cuts} | figures | world.join(bounds=bounds)
