#include "dataplane/metering/full_counts.h"

#include <set>

#include "dataplane/metering/frame.h"
#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

std::vector<v1::Aggregate> DrainOf(FullCounts& counts) {
  std::vector<v1::Aggregate> rows;
  while (const auto shown = counts.Peek()) {
    rows.push_back(shown->aggregate);
    counts.Drop(*shown);
  }
  return rows;
}

std::string Joined(const std::vector<std::string>& budgets) {
  std::vector<std::shared_ptr<const std::string>> accounts;
  for (const std::string& budget : budgets) {
    v1::Account account;
    account.set_budget_id(budget);
    account.set_window_start_s(1'767'225'600);
    accounts.push_back(std::make_shared<const std::string>(account.SerializeAsString()));
  }
  return JoinAccounts(accounts);
}

TEST_CASE("each aggregate names every Started that its sum is of") {
  const std::string attribution = EncodeAttribution({.team = "t"});
  const std::string accounts = Joined({"a", "b"});
  FullCounts counts;
  constexpr int64_t kEnds = 1'500;
  for (int64_t seq = 1; seq <= kEnds; ++seq)
    counts.Add({.attribution = attribution,
                .usage = {.input = 2},
                .cost = 10,
                .started_seq = seq,
                .accounts = accounts,
                .hold = 30});
  std::set<int64_t> ended;
  const auto rows = DrainOf(counts);
  CHECK(rows.size() == 3);
  for (const v1::Aggregate& row : rows) {
    CHECK(row.ByteSizeLong() < kRecordBytesMax);
    CHECK(row.attempts() == row.ended_started_size());
    CHECK(row.cost_nanos() == 10 * row.attempts());
    CHECK(row.usage().input_tokens() == 2 * row.attempts());
    REQUIRE(row.accounts_size() == 2);
    CHECK(row.accounts(1).account().budget_id() == "b");
    CHECK(row.accounts(1).charged() == 30 * row.attempts());
    ended.insert(row.ended_started().begin(), row.ended_started().end());
  }
  CHECK(ended.size() == kEnds);
  CHECK(counts.empty());
}

TEST_CASE("an aggregate charges the accounts of its own ends, however many there are") {
  const std::string attribution = EncodeAttribution({.team = "t"});
  FullCounts counts;
  for (int64_t i = 0; i < 300; ++i) {
    const std::string accounts = Joined({std::string(60, 'x') + std::to_string(i)});
    counts.Add({.attribution = attribution,
                .cost = 10,
                .started_seq = i + 1,
                .accounts = accounts,
                .hold = 30});
  }
  for (const v1::Aggregate& row : DrainOf(counts)) {
    Nanos charged = 0;
    for (const v1::AccountCharge& charge : row.accounts()) charged += charge.charged();
    CHECK(charged == Nanos{30} * row.ended_started_size());
  }
  CHECK(counts.empty());
}

TEST_CASE("what comes between Peek and Drop stays") {
  const std::string attribution = EncodeAttribution({.team = "t"});
  const std::string accounts = Joined({"a"});
  FullCounts counts;
  const FullCounts::End end{
      .attribution = attribution, .cost = 10, .started_seq = 7, .accounts = accounts, .hold = 30};
  counts.Add(end);
  const auto shown = counts.Peek();
  REQUIRE(shown.has_value());
  counts.Add(end);
  counts.Drop(*shown);
  const auto left = DrainOf(counts);
  REQUIRE(left.size() == 1);
  CHECK(left[0].SerializeAsString() == shown->aggregate.SerializeAsString());
}

TEST_CASE("beyond its rows attributions are merged, accounts are not") {
  FullCounts counts;
  const size_t more = 100;
  const std::string accounts = Joined({"late"});
  for (size_t i = 0; i < FullCounts::kRowsMax + more; ++i) {
    const std::string attribution = EncodeAttribution({.team = "t" + std::to_string(i)});
    const bool late = i >= FullCounts::kRowsMax;
    counts.Add({.attribution = attribution,
                .cost = 10,
                .accounts = late ? accounts : std::string_view(),
                .hold = 10});
  }
  const auto rows = DrainOf(counts);
  REQUIRE(rows.size() == FullCounts::kRowsMax + 1);
  const v1::Aggregate& merged = rows.back();
  CHECK(merged.attribution().team() == "(overflow)");
  CHECK(merged.attempts() == static_cast<int64_t>(more));
  CHECK(merged.accounts(0).account().budget_id() == "late");
  CHECK(merged.accounts(0).charged() == static_cast<int64_t>(more) * 10);
}

}  // namespace
}  // namespace spillway
