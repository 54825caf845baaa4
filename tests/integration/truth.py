"""Joins the ledger with the provider's own record of its calls, attempt by attempt."""

# Nano-dollars per million tokens, as in cluster.SAMPLE.
PRICES = {
    "mock-large": {"input": 2_500_000_000, "output": 10_000_000_000, "cached": 250_000_000},
    "mock-small": {"input": 250_000_000, "output": 2_000_000_000, "cached": 250_000_000},
    "mock-embedding": {"input": 20_000_000, "output": 0, "cached": 20_000_000},
}


def cost_nanos(model, input_tokens, output_tokens, cached=0):
    price = PRICES[model]
    total = (input_tokens - cached) * price["input"] + cached * price["cached"] + output_tokens * price["output"]
    return (total + 500_000) // 1_000_000


def compare(ledger_rows, provider_calls, exact=False):
    """Raises AssertionError when a call is missing, doubled, or a provider-sourced record differs.

    exact: every record must be the provider's own figure. Returns (records, estimated).
    """
    by_attempt = {}
    for row in ledger_rows:
        if not row["attempt_id"]:
            continue
        assert row["attempt_id"] not in by_attempt, f"attempt {row['attempt_id']} stands twice in the ledger"
        by_attempt[row["attempt_id"]] = row
    missing = [attempt for attempt in provider_calls if attempt not in by_attempt]
    assert not missing, f"{len(missing)} of {len(provider_calls)} calls are not in the ledger: {missing[:3]}"
    estimated = 0
    for attempt, call in provider_calls.items():
        row = by_attempt[attempt]
        if row["source"] != "provider":
            estimated += 1
            assert not exact or row["source"] == "none" and call["status"] >= 400, \
                f"attempt {attempt} is {row['source']}, end {row['end']}: {call}"
            continue
        got = (row["input_tokens"], row["output_tokens"], row["cached_input_tokens"])
        want = (call["input_tokens"], call["output_tokens"], call.get("cached", 0))
        assert got == want, f"attempt {attempt}: ledger {got}, provider {want}"
        want_cost = cost_nanos(row["model"], *want)
        assert row["cost_nanos"] == want_cost, f"attempt {attempt}: cost {row['cost_nanos']}, provider {want_cost}"
    return len(by_attempt), estimated
