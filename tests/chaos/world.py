"""A cluster with budgets that processes are killed in, and what must hold of it afterwards."""
import json
import sys
import threading
import time

import truth
from cluster import Cluster
from process import wait_until

CONFIG = """
providers:
  - {{name: mock, dialect: openai, base_url: "{mock}/v1", credentials: [{{name: main, api_key: "sk-mock-0001"}}],
      timeouts: {{connect: 2s, first_token: 3s, idle: 3s, total: 20s}}}}
models:
  - {{name: mock-large, provider: mock, price: {{input: 2.5, output: 10, cached_input: 0.25}}}}
  - {{name: mock-small, provider: mock, price: {{input: 0.25, output: 2}}}}
  - {{name: plain, provider: mock, price: {{input: 0, output: 1}}}}
routes:
  - {{name: assistant, strategy: priority, targets: [{{model: mock-large}}], fallbacks: [mock-small]}}
organizations: [{{name: acme}}]
teams: [{{name: support, organization: acme}}, {{name: sales, organization: acme}}, {{name: ops, organization: acme}}]
budgets:
{budgets}
"""


def usd(nanos):
    return f"{nanos // 10**9}.{nanos % 10**9:09d}"


def budget(name, scope, nanos, window="lifetime", partition="leased", overrun="cap"):
    return {"name": name, "scope": scope, "limit": nanos, "window": window, "on_partition": partition, "on_overrun": overrun}


def as_yaml(spec):
    scope = ", ".join(f"{kind}: {value}" for kind, value in spec["scope"].items())
    return (f"  - {{name: {spec['name']}, scope: {{{scope}}}, limit_usd: {usd(spec['limit'])}, window: {spec['window']}, "
            f"on_partition: {spec['on_partition']}, on_overrun: {spec['on_overrun']}}}")


class World(Cluster):
    """Data planes dp0 ..., one key for each team, budgets that every call falls under."""

    def __init__(self, budgets, data_planes=3, lease_wait="1s"):
        super().__init__(data_planes=data_planes, sample=False)
        self.budgets, self.lease_wait = budgets, lease_wait
        self.keys, self.kills, self.streams_deleted = {}, {}, 0

    def start_data(self, name, *flags):
        super().start_data(name, "--lease-wait", self.lease_wait, *flags)

    def __enter__(self):
        super().__enter__()
        try:
            self.apply(CONFIG.format(mock=self.mock_url, budgets="\n".join(map(as_yaml, self.budgets))))
            self.wait_ready()
            self.keys = {team: self.create_key(f"app-{team}", team=team) for team in ("support", "sales", "ops")}
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    # -- faults ----------------------------------------------------------------------------------

    def processes(self):
        return ["control", "nats", *self.data]

    def kill(self, victim):
        {"control": self.control, "nats": self.nats}.get(victim, self.data.get(victim)).kill()
        self.kills[victim] = self.kills.get(victim, 0) + 1

    def revive(self, victim, wipe=False):
        if victim == "control":
            self.start_control()
        elif victim == "nats":
            self.start_nats(wipe=wipe)
        else:
            self.start_data(victim)

    def delete_usage(self):
        """The usage stream goes, nats-server lives on; nothing happens when it was just lost in another way."""
        self.streams_deleted += self.delete_stream("SPILLWAY_USAGE")

    def kill_some(self, dice, victims=None, wipe_share=0.0):
        """kill -9 of one process, sometimes of two at once; up again after at most half a second."""
        chosen = dice.sample(victims or self.processes(), 2 if dice.random() < 0.2 else 1)
        for victim in chosen:
            self.kill(victim)
        time.sleep(dice.uniform(0, 0.5))
        for victim in sorted(chosen, key=lambda name: name != "nats"):
            self.revive(victim, wipe=victim == "nats" and dice.random() < wipe_share)
        return len(chosen)

    # -- what must hold --------------------------------------------------------------------------

    def wait_quiet(self, seconds=240):
        """(ledger's rows, provider's calls) once every call has ended and every record has arrived."""
        for process in [self.nats, self.control, *self.data.values()]:
            assert process.running(), f"{process.name} died by itself:\n{process.tail()}"
        self.wait_ready()
        wait_until(lambda: not any(self.metric("spillway_streams_open", self.ports[f"{name}-ops"]) for name in self.data),
                   "the last stream's end", 60)

        def joined():
            asked = self.cli("ledger", "gaps", "-o", "json", check=False)
            gaps = json.loads(asked.stdout) if asked.returncode == 0 else {"items": ["unknown"]}
            if gaps["items"] or gaps["open_started"]:
                return None
            calls = self.mock_ledger()
            rows = self.ledger_rows()
            known = {row["attempt_id"] for row in rows}
            return (rows, calls) if all(attempt in known for attempt in calls) else None

        try:
            return wait_until(joined, "quiet", seconds)
        except AssertionError:
            calls, rows = self.mock_ledger(), self.ledger_rows()
            known = {row["attempt_id"] for row in rows}
            missing = [attempt for attempt in calls if attempt not in known]
            raise AssertionError(f"not quiet within {seconds} s: {len(calls)} calls, {len(rows)} records, missing {missing[:5]} "
                                 f"({len(missing)}); {self.cli_json('ledger', 'gaps')}; {self.cli_json('fleet', 'list')}") from None

    def join(self, seen=None, bounds=None, seconds=240):
        """Every check of an end; returns figures that may be added up over rounds, and prints the rest."""
        rows, calls = self.wait_quiet(seconds)
        records, estimated = truth.compare(rows, calls)
        errors = truth.Errors(rows, calls)
        short = truth.tokens_short(rows, seen or {})
        print(f"  provider served {len(calls)} calls; ledger has {records} records, {estimated} estimated; {errors}; "
              f"{len(short)} records with fewer tokens than their client got {list(short.items())[:2] if short else ''}")
        verified = self.cli("ledger", "verify", check=False)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        over = self.check_budgets(rows, calls, bounds or {})
        return {"calls": len(calls), "records": records, "estimated": estimated, "short": len(short),
                "billed_nanos": errors.billed, "estimated_nanos": errors.estimated, "overshot": over}

    def check_budgets(self, rows, calls, bounds):
        """Settled figures are the ledger's; no hard budget is overshot, by the provider's own count."""
        worst = 0
        for spec in self.budgets:
            settled, spent = {}, {}
            for row in rows:
                if not row["attempt_id"] or not matches(spec, row):
                    continue
                subject = row[spec["scope"]["each"]] if "each" in spec["scope"] else ""
                settled[subject] = settled.get(subject, 0) + row["hold_nanos"]
                if row["attempt_id"] in calls:
                    spent[subject] = spent.get(subject, 0) + truth.call_nanos(calls[row["attempt_id"]], row["model"])
            accounts = {account["subject"]: account for account in self.cli_json("budgets", "show", spec["name"])["accounts"]}
            for subject, nanos in settled.items():
                got = accounts.get(subject, {}).get("settled_nanos", 0)
                assert got == nanos, f"budget {spec['name']} '{subject}': settled {got}, the ledger's records say {nanos}"
            over = max((nanos - spec["limit"] for nanos in spent.values()), default=0)
            bound = 0 if spec["on_overrun"] == "cap" and spec["on_partition"] != "open" else bounds.get(spec["name"], 0)
            most = max(spent.values(), default=0)
            print(f"  budget {spec['name']}: {len(settled)} accounts, most spent {most / spec['limit']:.2%} of {usd(spec['limit'])} USD, "
                  f"overshoot {max(over, 0)} nano-dollars, bound {bound}")
            assert over <= bound, f"budget {spec['name']} was overshot by {over} nano-dollars, bound {bound}"
            worst = max(worst, over)
        return max(worst, 0)


def matches(spec, row):
    scope = {kind: value for kind, value in spec["scope"].items() if kind != "each"}
    named = bool(row.get(spec["scope"]["each"])) if "each" in spec["scope"] else True
    return named and all(row[kind] == value for kind, value in scope.items())


class BoundWatch:
    """The largest overshoot bound that `budgets show` printed, for each budget, while faults happen."""

    def __init__(self, world, names):
        self.world, self.names = world, names
        self.largest = {name: 0 for name in names}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping.wait(0.1):
            for name in self.names:
                self.look(name)

    def look(self, name):
        try:
            status = self.world.cli_json("budgets", "show", name)["status"]
        except (AssertionError, OSError, ValueError):
            return  # the control plane is down just now
        self.largest[name] = max(self.largest[name], status["overshoot_bound_nanos"])

    def stop(self):
        self.stopping.set()
        self.thread.join(120)
        return self.largest


__all__ = ["BoundWatch", "Cluster", "World", "budget", "truth", "usd", "wait_until"]
