#!/usr/bin/env python3
"""make_seeds.py FOLDER: writes the seeds of snapshot_fuzzer again.

Each is a mode byte (see snapshot_fuzzer.cc) and serialised messages, written here by hand so that no
protobuf for Python is needed.
"""
import hashlib
import os
import struct
import sys


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def num(field, value):
    return varint(field << 3) + varint(value)


def blob(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


PROVIDER, MODEL, ROUTE, ORGANIZATION, TEAM, USER, KEY, BUDGET, RATE_LIMIT = range(1, 10)
GUARDRAIL = 10  # of a later version
ALERT_SINK, PRICE_BOOK = 13, 14


def entry(kind, name, inner):
    return num(1, kind) + blob(2, name) + blob(3, blob(1, name) + inner)


def provider(name, url="http://host:9100/v1", secret="sk-plain"):
    credential = blob(1, "main") + blob(2, blob(1, "${env:K}") + blob(2, secret))
    timeouts = num(1, 2000) + num(4, 60000)
    return entry(PROVIDER, name, num(2, 1) + blob(3, url) + blob(4, credential) + blob(5, timeouts))


def model(name, of):
    return entry(MODEL, name, blob(2, of) + blob(4, num(1, 250000000) + num(2, 5)))


def route(name, targets, fallbacks=()):
    inner = num(2, 1) + b"".join(blob(3, blob(1, t) + num(2, 900)) for t in targets)
    return entry(ROUTE, name, inner + b"".join(blob(4, f) for f in fallbacks) + blob(5, num(1, 2)))


def key(name, secret, team="t", revoked=0, routes=()):
    digest = hashlib.sha256(secret.encode()).digest()
    inner = blob(2, team) + b"".join(blob(5, r) for r in routes) + num(7, 1900000000000)
    return entry(KEY, name, inner + num(8, revoked) + blob(9, blob(1, "abcdefghijkl") + blob(2, digest)))


def named(kind, name, parent=None):
    return entry(kind, name, blob(2, parent) if parent else b"")


def budget(name, scope):
    return entry(BUDGET, name, blob(2, name + "-0123abcd") + blob(3, scope) + num(4, 5000000000) + num(5, 1))


def rate_limit(name, scope):
    return entry(RATE_LIMIT, name, blob(2, scope) + num(3, 10) + num(7, 2))


def whole_budget(name, number, zone="Europe/Berlin"):
    """Every field of a budget."""
    scope = blob(2, "t") + blob(3, "u") + blob(9, blob(1, "project") + blob(2, "x")) + blob(10, "key")
    inner = blob(2, f"{name}-{number}") + blob(3, scope) + num(4, 5000000000) + num(5, 4) + num(6, 36) + blob(7, zone)
    inner += blob(8, varint(50) + varint(90)) + blob(9, "ops") + num(10, 2) + blob(11, "m") + num(12, 1) + num(13, 1)
    return entry(BUDGET, name, inner + num(14, 2) + num(16, 1000) + num(17, 1900000000000))


def whole_rate_limit(name):
    inner = blob(2, blob(1, "o") + blob(10, "tag:project")) + num(3, 600) + num(4, 1 << 40) + num(5, 50) + num(6, 3) + num(7, 3)
    return entry(RATE_LIMIT, name, inner)


def alert_sink(name):
    sealed = blob(1, "${env:HOOK}") + blob(2, "https://hooks.example.com/x")
    return entry(ALERT_SINK, name, num(2, 1) + blob(3, sealed) + blob(4, sealed))


def price(rate):
    steps = blob(11, num(1, 200000) + blob(2, num(1, 2 * rate) + num(2, 3 * rate)))
    tiers = blob(12, blob(1, "batch") + num(2, 50))
    return num(1, rate) + num(2, 4 * rate) + num(3, rate // 10) + num(9, 7) + num(10, 1000) + steps + tiers


def price_book(name):
    return entry(PRICE_BOOK, name, blob(2, "2026-11-01") + blob(3, blob(1, "n") + blob(2, price(1000000)) + num(3, 8192)) +
                 num(4, 2) + blob(5, price(5000000)))


def entries(*list_of):
    return b"".join(blob(1, e) for e in list_of)


def delta(upserts=(), removals=()):
    out = b"".join(blob(3, e) for e in upserts)
    return out + b"".join(blob(4, num(1, kind) + blob(2, name)) for kind, name in removals)


STATE = entries(
    provider("p"), model("m", "p"), model("n", "p"), route("r", ["m"], ["s"]), route("s", ["n"]),
    named(ORGANIZATION, "o"), named(TEAM, "t", "o"), named(USER, "u", "t"), key("k", "secret", routes=["r"]),
    key("l", "other"))
POSITION = blob(1, "fuzz") + num(2, 1) + num(3, 2) + blob(4, bytes(32))
SIGNED = blob(1, blob(1, POSITION)) + blob(2, bytes(64)) + blob(3, "0123456789abcdef") + num(4, 1)

SEEDS = {
    "delta_key": (0, delta([key("new", "new-secret")])),
    "delta_revoke": (0, delta([key("k", "secret", revoked=1, routes=["r"])])),
    "delta_remove": (0, delta((), [(KEY, "k")])),
    "delta_move_secret": (0, delta([key("k2", "secret")], [(KEY, "k")])),
    "delta_team": (0, delta([named(ORGANIZATION, "o2"), named(TEAM, "t", "o2")])),
    "delta_route": (0, delta([route("r", ["m"], ["m"]), model("m2", "p")])),
    "delta_dangling": (0, delta((), [(MODEL, "m")])),
    "delta_twice": (0, delta([key("a", "x"), key("a", "y")], [(KEY, "a")])),
    "delta_later_kind": (0, delta([entry(GUARDRAIL, "b", b"")])),
    "delta_budget": (0, delta([budget("b", blob(2, "t") + blob(5, "triage") + blob(9, blob(1, "a") + blob(2, "x")))])),
    "delta_budget_each": (0, delta([budget("b", blob(7, "m") + blob(10, "tag:project")), rate_limit("l", blob(10, "key"))])),
    "delta_budget_dangling": (0, delta([budget("b", blob(2, "nobody"))])),
    "delta_budget_whole": (0, delta([alert_sink("ops"), whole_budget("w", 1)])),
    "delta_budget_no_such_zone": (0, delta([whole_budget("w", 1, "Atlantis/Harbour")])),
    "delta_budget_same_id": (0, delta([whole_budget("w", 1), whole_budget("v", 1), budget("w-1", b"")])),
    "delta_budget_frozen": (0, delta([entry(BUDGET, "f", blob(2, "f-1") + num(4, 1) + num(5, 5) + num(15, 1))])),
    "delta_rate_limit_whole": (0, delta([whole_rate_limit("l")])),
    "delta_alert_sink": (0, delta([alert_sink("ops")])),
    "delta_price_book": (0, delta([price_book("house"), entry(MODEL, "m3", blob(2, "p") + blob(4, price(250)))])),
    "entries_money": (1, STATE + entries(price_book("house"), alert_sink("ops"), whole_budget("w", 1),
                                         whole_rate_limit("l"), budget("b", blob(10, "user")))),
    "delta_everything_goes": (0, delta((), [(k, n) for k, n in (
        (KEY, "k"), (TEAM, "t"), (ORGANIZATION, "o"), (ROUTE, "r"), (MODEL, "m"), (PROVIDER, "p"))])),
    "entries_state": (1, STATE),
    "entries_cycle": (1, entries(provider("p"), model("m", "p"), route("a", ["m"], ["b"]),
                                 route("b", ["m"], ["a"]))),
    "entries_blank": (1, entries(b"", num(1, ROUTE), num(1, KEY) + blob(2, "k"))),
    "entries_twice": (1, entries(model("m", "p"), model("m", "p"), provider("p"))),
    "entries_chain": (1, entries(provider("p"), model("m", "p"),
                                 *[route(f"r{i}", ["m"], [f"r{i + 1}"] if i < 40 else []) for i in range(41)])),
    "entries_bad_url": (1, entries(provider("p", url="http://u:p@h/?q#f"))),
    "entries_bad_secret": (1, entries(provider("p", secret="a\r\nb"))),
    "entries_unknown_field": (1, STATE + blob(15, "later")),
    # A stored (raw) zstd frame around the state.
    "file": (2, b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(STATE)) +
             struct.pack("<I", len(STATE) << 3 | 1)[:3] + STATE),
    "file_whole": (2, blob(1, SIGNED) + blob(2, b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00") +
                   blob(3, hashlib.sha256(b"").digest())),
    "signed": (3, SIGNED),
    "manifest": (4, blob(1, POSITION) + blob(2, bytes(32)) + num(3, 100) + num(4, 200) + num(5, 3)),
    "manifest_huge": (4, blob(1, POSITION) + num(3, 1 << 62) + num(4, (1 << 64) - 1)),
    "latest": (5, blob(1, POSITION) + num(2, 1) + num(3, 3)),
    # One zero, 128 KiB long, 64 times: small in, large out.
    "bomb": (6, b"\x28\xb5\x2f\xfd\xa0\x00\x00\x80\x00" + b"\x02\x00\x10\x00" * 63 + b"\x03\x00\x10\x00"),
}


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, (mode, payload) in SEEDS.items():
        with open(os.path.join(folder, name), "wb") as out:
            out.write(bytes([mode]) + payload)


main()
