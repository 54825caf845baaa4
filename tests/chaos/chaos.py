"""Chaos: real processes are killed, cut off and restored under load; no spend may be lost, counted
twice, or go beyond a hard budget. Joined with the provider's own record of its calls at each round's end.

Scenarios (all when none is named):
  fail-open     200 requests/s for 60 s while the control plane, then NATS, are dead: 0 failures
  kills         random kill -9 of any process, under several budgets; --kills in rounds of --round-kills
  stream-lost   the same, and nats-server restarted on an empty directory in half of its deaths; now and then
                the usage stream is deleted while it runs
  cuts          --rounds times: data plane-NATS, control plane-NATS or data plane-provider is cut, by silence
                or by reset, in one or both directions
  restore       --rounds times: backup under load, control plane wiped, restored, replayed
  hammer        --rounds times: 100 clients at the end of one budget on three data planes, any process killed
                (open: the control plane dead), then any link cut; with cap, with finish and with open

A run that was cut short goes on where its --state file says: finished rounds are not repeated.
"""
import argparse
import json
import os
import pathlib
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import cuts  # noqa: E402
import fail_open  # noqa: E402
import hammer  # noqa: E402
import kills  # noqa: E402
import restore  # noqa: E402

SCENARIOS = {
    "fail-open": fail_open.round_of,
    "kills": kills.round_of,
    "stream-lost": lambda options, seed, size: kills.round_of(options, seed, size, wipe_share=0.5),
    "cuts": cuts.round_of,
    "restore": restore.round_of,
    "hammer": hammer.round_of,
}


class Book:
    """What finished rounds came to, on disk when a file is named."""

    def __init__(self, path, seed):
        self.path = pathlib.Path(path) if path else None
        known = json.loads(self.path.read_text()) if self.path and self.path.exists() else {}
        self.seed, self.rounds = known.get("seed", seed), known.get("rounds", {})

    def add(self, scenario, figures):
        self.rounds.setdefault(scenario, []).append(figures)
        if self.path:
            fresh = self.path.with_suffix(".new")
            fresh.write_text(json.dumps({"seed": self.seed, "rounds": self.rounds}, indent=1))
            os.replace(fresh, self.path)

    def sums(self, scenario):
        total = {}
        for figures in self.rounds.get(scenario, []):
            for name, value in figures.items():
                total[name] = max(total.get(name, 0), value) if name == "overshot" else total.get(name, 0) + value
        return total


def sizes(options, scenario, done):
    """How large each round is that is still to come."""
    if scenario == "fail-open":
        return [] if done else [1]
    if scenario not in ("kills", "stream-lost"):
        return [1] * (options.rounds - len(done))
    left = options.kills - sum(figures["kills"] for figures in done)
    return [min(options.round_kills, left - at) for at in range(0, max(left, 0), options.round_kills)]


def run(options, scenario, book, deadline):
    """False: a round failed, or time was up before the last one."""
    for size in sizes(options, scenario, book.rounds.get(scenario, [])):
        number = len(book.rounds.get(scenario, []))
        if time.monotonic() > deadline:
            print(f"{scenario}: time is up after {number} rounds; the same command with --state goes on")
            return False
        print(f"{scenario}: round {number}")
        try:
            book.add(scenario, SCENARIOS[scenario](options, book.seed + number, size))
        except AssertionError as error:
            print(f"{scenario}: round {number}, seed {book.seed + number} FAILED: {error}")
            if options.trace:
                traceback.print_exc()
            return False
    sums = book.sums(scenario)
    print(f"{scenario}: seed {book.seed}, {len(book.rounds.get(scenario, []))} rounds, sums {sums}")
    if sums.get("short"):
        print(f"{scenario}: FAILED: {sums['short']} records have fewer tokens than their clients got")
    return not sums.get("short")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], default=[])
    parser.add_argument("--kills", type=int, default=100, help="of kills and stream-lost, all rounds together (100)")
    parser.add_argument("--round-kills", type=int, default=100, help="of one round, before its join (100)")
    parser.add_argument("--rounds", type=int, default=3, help="of cuts, restore and hammer (3)")
    parser.add_argument("--minutes", type=float, default=6, help="bound of a round's faults (6)")
    parser.add_argument("--total-minutes", type=float, default=600, help="no round begins after so long (600)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first round; the next ones count up")
    parser.add_argument("--state", help="file that keeps the figures of finished rounds")
    parser.add_argument("--trace", action="store_true", help="print where a check failed")
    options = parser.parse_args()
    book = Book(options.state, options.seed)
    deadline = time.monotonic() + options.total_minutes * 60
    scenarios = options.scenario or list(SCENARIOS)
    passed = sum(run(options, scenario, book, deadline) for scenario in scenarios)
    print(f"{passed} passed, {len(scenarios) - passed} failed")
    sys.exit(1 if passed < len(scenarios) else 0)


if __name__ == "__main__":
    main()
