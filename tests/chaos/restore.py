"""Backup under load, the control plane's folder wiped, restored and replayed: the same totals, nothing granted twice."""
import random
import shutil
import subprocess
import time

from kills import budgets, use_up
from traffic import Traffic
from world import BoundWatch, World, wait_until


class BackedUpWorld(World):
    """Its control plane frees usage only behind backups, as it does when it makes them by itself."""

    def start_control(self, *flags):
        super().start_control("--backup-every", "1h", *flags)


def round_of(options, seed, size):
    """Odd seeds change the configuration behind the backup; every third also loses NATS' streams."""
    dice = random.Random(seed)
    changed, stream_lost = seed % 2 == 1, seed % 3 == 0
    with BackedUpWorld(budgets(40)) as world:
        world.mock_behaviour({"model": "*", "tokens": 120, "gap_ms": 8})
        traffic = Traffic(world, seed=seed).start()
        watch = BoundWatch(world, ["soft"])
        wait_for(traffic, dice.randint(150, 400))
        world.cli("backup", "create")
        wait_for(traffic, dice.randint(150, 400))
        if changed:
            world.create_key("later")
        wait_for(traffic, dice.randint(20, 150))
        began = time.monotonic()
        world.kill("control")
        wipe_and_restore(world)
        if stream_lost:
            world.kill("nats")
            world.revive("nats", wipe=True)
        if dice.random() < 0.5:
            victim = dice.choice(sorted(world.data))
            world.kill(victim)
            world.revive(victim)
        wait_for(traffic, 100)
        world.start_control(*(["--adopt"] if changed and not stream_lost else ["--discard"]))
        if stream_lost:
            open_by_hand(world, traffic)
        wait_open(world)
        took = time.monotonic() - began
        wait_for(traffic, dice.randint(300, 600))
        traffic.stop()
        world.wait_ready()
        use_up(world, "hard", "sales")
        bounds = watch.stop()
        print(f"  seed {seed}: backup, wipe, restore{', streams lost' if stream_lost else ''}"
              f"{', configuration changed since' if changed else ''}; grants again after {took:.1f} s; "
              f"requests {dict(traffic.outcomes)}")
        return {"restores": 1, "requests": traffic.sent} | world.join(traffic.seen, bounds)


def wait_for(traffic, more):
    at = traffic.sent
    wait_until(lambda: traffic.sent >= at + more, f"{more} more requests", 60)


def wipe_and_restore(world):
    folder = world.folder / "controlplane"
    backup = max((world.folder / "backups").iterdir())
    shutil.rmtree(folder)
    subprocess.run([world.binary("spillway-controlplane"), "--data-dir", folder, "--restore", backup],
                   check=True, capture_output=True, timeout=60, env=dict(world.control.env))


def gate(world):
    """1: shut, 0: grants are made; None: the restored figures are not there yet."""
    if (world.folder / "controlplane" / "restored").exists():
        return None
    return world.metric("spillway_lease_gate_shut", world.ports["admin-ops"])


def open_by_hand(world, traffic):
    """Where usage may be lost the gate stays shut until somebody says so: when nothing is missing any more and
    every data plane has reported, some heartbeats later, nothing is granted twice by it."""
    wait_until(lambda: gate(world) == 1, "the gate shut by the loss of the stream", 60)
    wait_until(lambda: not world.cli_json("ledger", "gaps")["items"], "a ledger without gaps", 90)
    wait_for(traffic, 500)
    wait_until(lambda: world.cli("budgets", "open-gate", check=False).returncode == 0, "the gate opened by hand", 60)


def wait_open(world):
    try:
        wait_until(lambda: gate(world) == 0, "the gate open", 60)
    except AssertionError as late:
        status = world.cli_json("budgets", "show", "hard")["status"]
        figures = {name: world.metric(f"spillway_ledger_{name}", world.ports["admin-ops"])
                   for name in ("messages_total", "lag_messages", "stalled", "records_total", "stream_changes_total")}
        raise AssertionError(f"{late}: {status['refusing']}; ledger {figures}; {world.cli_json('ledger', 'gaps')}") from None
