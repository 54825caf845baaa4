"""Joins the ledger with the provider's own record of its calls, attempt by attempt."""

# Nano-dollars per million tokens: the models of cluster.SAMPLE and of the budget tests.
PRICES = {
    "mock-large": {"input": 2_500_000_000, "output": 10_000_000_000, "cached": 250_000_000},
    "mock-small": {"input": 250_000_000, "output": 2_000_000_000, "cached": 250_000_000},
    "mock-embedding": {"input": 20_000_000, "output": 0, "cached": 20_000_000},
    "plain": {"input": 0, "output": 1_000_000_000, "cached": 0},
    "cheap": {"input": 0, "output": 100_000_000, "cached": 0},
}


def cost_nanos(model, input_tokens, output_tokens, cached=0):
    price = PRICES[model]
    total = (input_tokens - cached) * price["input"] + cached * price["cached"] + output_tokens * price["output"]
    return (total + 500_000) // 1_000_000


def call_nanos(call, model=None):
    """What the provider bills for one of its calls; without a model it never learned of one."""
    name = model or call["model"]
    if not name:
        return 0
    return cost_nanos(name, call["input_tokens"], call["output_tokens"], call.get("cached", 0))


def by_attempt(ledger_rows):
    """attempt id -> row. Raises AssertionError when one attempt stands twice."""
    joined = {}
    for row in ledger_rows:
        if not row["attempt_id"]:
            continue
        assert row["attempt_id"] not in joined, f"attempt {row['attempt_id']} stands twice in the ledger"
        joined[row["attempt_id"]] = row
    return joined


def compare(ledger_rows, provider_calls, exact=False):
    """Raises AssertionError when a call is missing, doubled, or a provider-sourced record differs.

    exact: every record must be the provider's own figure. Returns (records, estimated).
    """
    joined = by_attempt(ledger_rows)
    missing = [attempt for attempt in provider_calls if attempt not in joined]
    assert not missing, f"{len(missing)} of {len(provider_calls)} calls are not in the ledger: {missing[:3]}"
    invented = [attempt for attempt, row in joined.items()
                if row["source"] == "provider" and attempt not in provider_calls]
    assert not invented, f"{len(invented)} records name a provider's figures of calls it never had: {invented[:3]}"
    estimated = 0
    for attempt, call in provider_calls.items():
        row = joined[attempt]
        if row["source"] != "provider":
            estimated += 1
            assert not exact or row["source"] == "none" and call["status"] >= 400, \
                f"attempt {attempt} is {row['source']}, end {row['end']}: {call}"
            assert row["source"] == "estimated" or call_nanos(call, row["model"]) == 0, \
                f"attempt {attempt} is {row['source']}, end {row['end']}, and was billed: {call}"
            continue
        got = (row["input_tokens"], row["output_tokens"], row["cached_input_tokens"])
        want = (call["input_tokens"], call["output_tokens"], call.get("cached", 0))
        assert got == want, f"attempt {attempt}: ledger {got}, provider {want}"
        want_cost = cost_nanos(row["model"], *want)
        assert row["cost_nanos"] == want_cost, f"attempt {attempt}: cost {row['cost_nanos']}, provider {want_cost}"
    return len(joined), estimated


class Errors:
    """How far the estimated records are from what the provider bills."""

    def __init__(self, ledger_rows, provider_calls):
        self.relative, self.estimated, self.billed, self.below, self.unknown = [], 0, 0, 0, 0
        for attempt, row in by_attempt(ledger_rows).items():
            if row["source"] != "estimated":
                continue
            if attempt not in provider_calls:  # it died on the way
                self.unknown += 1
                continue
            billed = call_nanos(provider_calls[attempt], row["model"])
            self.estimated += row["cost_nanos"]
            self.billed += billed
            self.below += row["cost_nanos"] < billed
            if billed:
                self.relative.append((row["cost_nanos"] - billed) / billed)

    def __str__(self):
        if not self.relative:
            return f"no estimated record of a billed call, {self.unknown} of calls the provider never had"
        ordered = sorted(abs(error) for error in self.relative)
        pick = lambda share: ordered[min(len(ordered) - 1, int(len(ordered) * share))]
        total = (self.estimated - self.billed) / max(self.billed, 1)
        return (f"error of {len(ordered)} estimated records: sum {total:+.2%}, median {pick(.5):.2%}, p95 {pick(.95):.2%}, "
                f"worst {ordered[-1]:.2%}; {self.below} below the provider's figure, "
                f"{self.unknown} more of calls the provider never had")


def tokens_short(ledger_rows, tokens_seen):
    """Records with fewer output tokens than the client got. tokens_seen: request id -> content events."""
    billed = {}
    for row in ledger_rows:
        billed[row["request_id"]] = billed.get(row["request_id"], 0) + row["output_tokens"]
    return {request: (billed.get(request, 0), seen) for request, seen in tokens_seen.items()
            if seen > billed.get(request, 0)}
