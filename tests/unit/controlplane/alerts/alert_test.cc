// Which alerts there are, and how they read.
#include "controlplane/alerts/alert.h"

#include <catch2/catch_all.hpp>
#include <set>
#include <string>
#include <vector>

#include "controlplane/alerts/alert_text.h"

namespace spillway::alerts {
namespace {

constexpr Nanos kDollar = 1'000'000'000;
constexpr int64_t kNewYearMs = 1'767'225'600'000;  // 2026-01-01T00:00:00Z

AccountSpend Account(Nanos settled, Nanos limit = 10 * kDollar) {
  return {.budget_id = "b1",
          .budget = "support-month",
          .subject = "",
          .window_start_ms = kNewYearMs,
          .window_end_ms = kNewYearMs + 86'400'000,
          .settled = settled,
          .limit = limit,
          .thresholds = {80, 50, 95},
          .notify = {},
          .frozen = false};
}

std::vector<std::string> Conditioned(const AccountSpend& account) {
  std::vector<std::string> names;
  for (const v1::Alert& alert : Conditions(account))
    names.push_back(alert.type() + " " + std::to_string(alert.threshold_percent()));
  return names;
}

TEST_CASE("conditions hold from the threshold on, to the nano-dollar") {
  struct Case {
    const char* name;
    Nanos settled, limit;
    std::vector<std::string> want;
  };
  const Case kCases[] = {
      {"nothing", 0, 10 * kDollar, {}},
      {"just below", 5 * kDollar - 1, 10 * kDollar, {}},
      {"reached", 5 * kDollar, 10 * kDollar, {"budget_threshold 50"}},
      {"two at once", 8 * kDollar, 10 * kDollar, {"budget_threshold 50", "budget_threshold 80"}},
      {"all but a nano-dollar",
       10 * kDollar - 1,
       10 * kDollar,
       {"budget_threshold 50", "budget_threshold 80", "budget_threshold 95"}},
      {"exhausted",
       10 * kDollar,
       10 * kDollar,
       {"budget_threshold 50", "budget_threshold 80", "budget_threshold 95",
        "budget_exhausted 100"}},
      {"a limit that no product of percents fits in 64 bits",
       INT64_MAX / 2 + 1,
       INT64_MAX,
       {"budget_threshold 50"}},
      {"a limit of nothing, unspent", 0, 0, {}},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      CHECK(Conditioned(Account(test.settled, test.limit)) == test.want);
    }
  }
}

TEST_CASE("a threshold of 100 is the end itself, one above it stands alone") {
  AccountSpend account = Account(10 * kDollar);
  account.thresholds = {100, 100, 120};
  CHECK(Conditioned(account) == std::vector<std::string>{"budget_exhausted 100"});
  account.settled = 12 * kDollar;
  CHECK(Conditioned(account) ==
        std::vector<std::string>{"budget_exhausted 100", "budget_threshold 120"});
  account.thresholds = {};
  account.frozen = true;
  CHECK(Conditioned(account) ==
        std::vector<std::string>{"budget_exhausted 100", "budget_frozen 0"});
}

TEST_CASE("keys tell budgets, subjects, windows and thresholds apart") {
  std::set<std::string> keys;
  int count = 0;
  for (const char* budget : {"b1", "b12"})
    for (const char* subject : {"", "alice", "bob"})
      for (const int64_t window : {int64_t{0}, kNewYearMs})
        for (const Nanos settled : {5 * kDollar, 8 * kDollar}) {
          AccountSpend account = Account(settled);
          account.budget_id = budget;
          account.subject = subject;
          account.window_start_ms = window;
          keys.insert(KeyOf(Conditions(account).back()));
          ++count;
        }
  CHECK(keys.size() == static_cast<size_t>(count));
  // What was spent, and when, does not make it another one.
  v1::Alert alert = Conditions(Account(5 * kDollar)).front();
  const std::string key = KeyOf(alert);
  alert.set_spent_nanos(1);
  alert.set_at_ms(5);
  CHECK(KeyOf(alert) == key);
  CHECK(IdOf(alert).size() == 32);
}

TEST_CASE("bodies hold what receivers need, escaped for where they go") {
  AccountSpend account = Account(8'250'000'001);
  account.subject = "<alice & \"co\">";
  v1::Alert alert = Conditions(account).back();
  alert.set_at_ms(kNewYearMs + 1500);
  alert.set_id("0123");
  CHECK(WebhookBody(alert) ==
        R"j({"id":"0123","type":"budget_threshold","budget":"support-month",)j"
        R"j("subject":"<alice & \"co\">","threshold_percent":80,"spent_usd":"8.250000001",)j"
        R"j("limit_usd":"10","window_start":"2026-01-01T00:00:00.000Z",)j"
        R"j("window_end":"2026-01-02T00:00:00.000Z","at":"2026-01-01T00:00:01.500Z",)j"
        R"j("text":"budget \"support-month\" for \"<alice & \"co\">\": USD 8.250000001 of 10 )j"
        R"j(spent, past 80 %"})j");
  const std::string slack = SlackBody(alert);
  CHECK(slack.starts_with(R"({"text":"Spillway: budget \"support-month\")"));
  CHECK(slack.contains("&lt;alice &amp; "));
  CHECK_FALSE(slack.contains("<alice"));
  CHECK(slack.contains("mrkdwn"));
  alert.set_window_end_ms(0);
  CHECK(WebhookBody(alert).contains(R"("window_end":null)"));
  alert.set_type(std::string(kExhausted));
  CHECK(SentenceOf(alert).ends_with("it is exhausted"));
  alert.set_type(std::string(kFrozen));
  CHECK(SentenceOf(alert).contains("frozen"));
}

}  // namespace
}  // namespace spillway::alerts
