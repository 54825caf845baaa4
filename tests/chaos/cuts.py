"""Cuts between any two: data plane-NATS, control plane-NATS, data planes-provider; then everything is joined."""
import random
import time

from kills import budgets, use_up
from link import CUTS, Link
from traffic import Traffic
from world import BoundWatch, World

SECONDS_MAX = 12  # longer than the pings that find a silent peer: 5 s, twice


class CutWorld(World):
    """Every process reaches NATS, and the data planes the provider, over a link of its own."""

    def __init__(self, specs):
        super().__init__(specs)
        self.links = {}

    def start_mock(self, *flags):
        super().start_mock(*flags)
        self.links["provider"] = Link(self.ports["mock"])

    @property
    def mock_url(self):
        return f"http://127.0.0.1:{self.links['provider'].port}"

    def start_control(self, *flags):
        self.over_link("control", lambda: super(CutWorld, self).start_control(*flags))

    def start_data(self, name, *flags):
        self.over_link(name, lambda: super(CutWorld, self).start_data(name, *flags))

    def over_link(self, name, start):
        real = self.nats_port
        if name not in self.links:
            self.links[name] = Link(real)
        try:
            self.nats_port = self.links[name].port
            start()
        finally:
            self.nats_port = real

    def __exit__(self, kind, *rest):
        for link in self.links.values():
            link.close()
        super().__exit__(kind, *rest)


def plan(dice, data_planes):
    """Every pair in every way once, in any order; now and then a second pair at the same time."""
    whole = [(pair, how) for pair in ("data", "control", "provider") for how in CUTS]
    dice.shuffle(whole)
    for pair, how in whole:
        cuts = {dice.choice(data_planes) if pair == "data" else pair: how}
        if dice.random() < 0.3:
            cuts.setdefault(dice.choice([*data_planes, "control", "provider"]), dice.choice(CUTS))
        yield cuts


def round_of(options, seed, size):
    dice = random.Random(seed)
    with CutWorld(budgets(250)) as world:
        world.mock_behaviour({"model": "*", "tokens": 120, "gap_ms": 12})
        traffic = Traffic(world, seed=seed).start()
        watch = BoundWatch(world, ["soft"])
        began, done = time.monotonic(), 0
        for cuts in plan(dice, sorted(world.data)):
            if time.monotonic() > began + options.minutes * 60:
                break
            time.sleep(dice.uniform(0.2, 1.5))
            at = traffic.sent
            for name, how in cuts.items():
                world.links[name].cut(how)
            time.sleep(dice.uniform(0.3, SECONDS_MAX))
            for name in cuts:
                world.links[name].heal()
            done += len(cuts)
            print(f"  cut {', '.join(f'{name} {how}' for name, how in cuts.items())}: {traffic.sent - at} requests meanwhile")
        traffic.stop()
        world.wait_ready()
        use_up(world, "hard", "sales")
        bounds = watch.stop()
        print(f"  seed {seed}: {done} cuts in {time.monotonic() - began:.0f} s; requests {dict(traffic.outcomes)}")
        return {"cuts": done, "requests": traffic.sent} | world.join(traffic.seen, bounds)
