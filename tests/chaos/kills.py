"""Random kill -9 of any process, under budgets and leases; then everything is joined."""
import concurrent.futures
import random
import time

from traffic import Traffic, ask
from world import BoundWatch, World, budget

# With 12 users and three teams these are used up within a round.
NANOS_PER_KILL = {"sales": 600_000, "user": 150_000, "ops": 500_000}
DELETE_SHARE = 0.1  # of the kills, where streams are to be lost
SMALL_CALL_NANOS = 500_000  # more than a small call reserves at most


def budgets(kills):
    return [
        budget("everything", {"organization": "acme"}, 10**15, overrun="finish"),
        budget("hard", {"team": "sales"}, NANOS_PER_KILL["sales"] * kills, window="month"),
        budget("hard-each", {"each": "user"}, max(NANOS_PER_KILL["user"] * kills, 10_000_000)),
        budget("soft", {"team": "ops"}, NANOS_PER_KILL["ops"] * kills, window="24h", overrun="finish"),
        budget("rolling", {"team": "support"}, 10**15, window="24h", partition="open", overrun="finish"),
    ]


def round_of(options, seed, kills, wipe_share=0.0):
    """At most `kills` kills, at most options.minutes; figures of the join."""
    dice = random.Random(seed)
    with World(budgets(kills)) as world:
        world.mock_behaviour({"model": "*", "tokens": 120, "gap_ms": 12})
        traffic = Traffic(world, seed=seed).start()
        watch = BoundWatch(world, ["soft"])
        began, done = time.monotonic(), 0
        while done < kills and time.monotonic() < began + options.minutes * 60:
            time.sleep(dice.uniform(0.02, 0.5))
            before = done
            done += world.kill_some(dice, wipe_share=wipe_share)
            if wipe_share and dice.random() < DELETE_SHARE:
                world.delete_usage()
            if done // 25 != before // 25:
                print(f"  {done} kills after {time.monotonic() - began:.0f} s, {traffic.sent} requests")
        traffic.stop()
        world.wait_ready()
        use_up(world, "hard", "sales")
        bounds = watch.stop()
        print(f"  seed {seed}: kills {world.kills}, usage stream deleted {world.streams_deleted} times "
              f"in {time.monotonic() - began:.0f} s; requests {dict(traffic.outcomes)}")
        return {"kills": done, "deleted": world.streams_deleted, "requests": traffic.sent} | world.join(traffic.seen, bounds)


def use_up(world, name, team):
    """With everybody back, spends small calls until the budget refuses: nothing may be kept from its clients."""
    body = {"model": "mock-small", "max_completion_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]}
    world.mock_behaviour({"model": "*", "tokens": 4})

    def client(number):
        refused, turn = 0, 0
        deadline = time.monotonic() + 120
        while refused < 8 and time.monotonic() < deadline:
            turn += 1
            port = world.ports[f"dp{(number + turn) % len(world.data)}"]
            _, outcome = ask(port, world.keys[team], body, f"end-{name}-{number}-{turn}")
            refused = refused + 1 if outcome == "429 budget_exceeded" else 0
        return refused

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        refused = list(pool.map(client, range(8)))
    assert min(refused) == 8, f"budget {name} did not come to its end: {world.cli_json('budgets', 'show', name)}"
    world.wait_quiet()
    account = world.cli_json("budgets", "show", name)["accounts"][0]
    unused = account["limit_nanos"] - account["settled_nanos"] - account["stranded_nanos"]
    print(f"  budget {name} used up: settled {account['settled_nanos'] / account['limit_nanos']:.2%}, "
          f"stranded {account['stranded_nanos'] / account['limit_nanos']:.2%}, unused {unused} nano-dollars")
    assert unused <= SMALL_CALL_NANOS, f"budget {name} refuses with {unused} nano-dollars left: {account}"
