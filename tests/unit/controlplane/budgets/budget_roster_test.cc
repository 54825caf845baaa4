// New budgets: what they start with, and what ends after they were made.
#include "controlplane/budgets/budget_roster.h"

#include "controlplane/budgets/count_before.h"
#include "controlplane/budgets/overshoot.h"
#include "controlplane/budgets/scope_match.h"
#include "tests/unit/controlplane/budgets/desk_world.h"

namespace spillway {
namespace {

constexpr int64_t kHourMs = 3'600'000;

TEST_CASE("a scope matches what it names, and finds the subject of `each`") {
  v1::Attribution who;
  who.set_organization("acme");
  who.set_team("support");
  who.set_user("alice");
  v1::Tag& tag = *who.add_tags();
  tag.set_name("env");
  tag.set_value("prod");
  struct Row {
    const char* name;
    std::function<void(v1::Scope&)> fill;
    std::optional<std::string_view> want;
  };
  const Row rows[] = {
      {"everything", [](v1::Scope&) {}, ""},
      {"team", [](v1::Scope& scope) { scope.set_team("support"); }, ""},
      {"other team", [](v1::Scope& scope) { scope.set_team("sales"); }, std::nullopt},
      {"tag", [](v1::Scope& scope) { (*scope.mutable_tags())["env"] = "prod"; }, ""},
      {"other tag", [](v1::Scope& scope) { (*scope.mutable_tags())["env"] = "dev"; }, std::nullopt},
      {"each user", [](v1::Scope& scope) { scope.set_each("user"); }, "alice"},
      {"each tag", [](v1::Scope& scope) { scope.set_each("tag:env"); }, "prod"},
      {"each of nothing", [](v1::Scope& scope) { scope.set_each("feature"); }, std::nullopt},
      {"each within a team",
       [](v1::Scope& scope) {
         scope.set_team("support");
         scope.set_each("user");
       },
       "alice"}};
  for (const Row& row : rows) {
    INFO(row.name);
    v1::Scope scope;
    row.fill(scope);
    CHECK(SubjectIn(scope, who) == row.want);
  }
}

TEST_CASE("a new budget starts from what its scope spent in the running window, and is running") {
  DeskWorld world;
  ChargingSource source(kDp1, 'a');
  source.Run({.team = "support", .time_ms = kTestHourMs, .cost = 100});
  source.Run({.team = "support", .time_ms = kTestHourMs - kHourMs, .cost = 7});  // December
  source.Run({.team = "sales", .time_ms = kTestHourMs, .cost = 40});
  const int64_t running = source.Start({.team = "support", .reserved = 300});
  world.Apply({source.All()});
  v1::Budget budget = MakeBudget("team", 1000);
  budget.mutable_scope()->set_team("support");
  v1::Budget all = MakeBudget("all", 1000, v1::WINDOW_LIFETIME);
  world.Put(budget);
  world.Put(all);
  CHECK(world.Figures("team").settled == 400);
  CHECK(world.Figures("all").settled == 447);
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"), {}, 601) == 0);
  CHECK(world.Ask(kDp1, kHolder1, MakeAccount("team"), {}, 600) == 600);
  SECTION("what ran ends, and settles its difference") {
    source.Finish(running, {.team = "support", .cost = 120, .reserved = 300});
    source.Run({.team = "support", .cost = 5});  // planned before the budget was heard of
    world.Apply({source.Records(running + 1, source.last_seq())});
    CHECK(world.Figures("team").settled == 225);
    CHECK(world.Figures("all").settled == 272);
  }
  SECTION("what names its account is charged there and nowhere else") {
    const std::vector<v1::Account> accounts = {MakeAccount("team")};
    source.FinishOn(accounts, source.StartOn(accounts, 50), 20, 20);
    world.Apply({source.Records(running + 1, source.last_seq())});
    CHECK(world.Figures("team").settled == 420);
  }
  SECTION("a restart counts nothing again") {
    world.Restart();
    CHECK(world.Figures("team").settled == 400);
    world.Put(budget);
    CHECK(world.Figures("team").settled == 400);
  }
  SECTION("an edit of the limit keeps what was spent") {
    budget.set_limit_nanos(5000);
    world.Put(budget);
    CHECK(world.Figures("team").settled == 400);
    CHECK(world.Figures("team").limit == 5000);
  }
  SECTION("removed and brought back by a rollback: nothing counts twice") {
    const std::vector<v1::Account> accounts = {MakeAccount("team")};
    source.FinishOn(accounts, source.StartOn(accounts, 50), 20, 20);
    world.Apply({source.Records(running + 1, source.last_seq())});
    world.Remove("team");
    world.Put(budget);
    CHECK(world.Figures("team").settled == 420);
  }
}

TEST_CASE("each subject starts from its own spend, a rolling budget from its hours") {
  DeskWorld world;
  world.clock.AdvanceMs(5 * kHourMs + 1'000'000);
  UsageSource source(kDp1, 'a');
  for (int hour = 0; hour < 6; ++hour)
    source.Run({.team = hour % 2 == 0 ? "even" : "odd",
                .time_ms = kTestHourMs + hour * kHourMs,
                .cost = int64_t{1} << hour});
  world.Apply({source.All()});
  world.Restart();
  v1::Budget each = MakeBudget("each", 1000);
  each.mutable_scope()->set_each("team");
  world.Put(each);
  CHECK(world.Figures("each", "even").settled == 1 + 4 + 16);
  CHECK(world.Figures("each", "odd").settled == 2 + 8 + 32);
  CHECK(world.Figures("each", "none").settled == 0);
  v1::Budget rolling = MakeBudget("rolling", 1000, v1::WINDOW_ROLLING);
  rolling.set_rolling_hours(3);
  world.Put(rolling);
  CHECK(world.Figures("rolling").settled == 8 + 16 + 32);
  world.clock.AdvanceMs(kHourMs);
  world.desk->RunOnce();
  CHECK(world.Figures("rolling").settled == 16 + 32);
}

TEST_CASE("tags, and windows that begin within an hour, are counted from single events") {
  DeskWorld world;
  UsageSource source(kDp1, 'a');
  const auto add = [&](int64_t time_ms, Nanos cost, const std::string& env) {
    source.Add([&](v1::UsageRecord& record) {
      record.set_time_ms(time_ms);
      v1::Finished& finished = *record.mutable_finished();
      finished.set_cost_nanos(cost);
      finished.set_winner(true);
      v1::Tag& tag = *finished.mutable_attribution()->add_tags();
      tag.set_name("env");
      tag.set_value(env);
    });
  };
  // The day in Kathmandu (UTC+5:45) begins at 18:15 UTC.
  const int64_t dawn_ms = kTestHourMs - kHourMs * 6 + int64_t{15} * 60'000;
  add(dawn_ms - 1000, 1, "prod");
  add(dawn_ms + 1000, 2, "prod");
  add(dawn_ms + kHourMs, 4, "dev");
  world.Apply({source.All()});
  v1::Budget day = MakeBudget("day", 1000, v1::WINDOW_DAY);
  day.set_time_zone("Asia/Kathmandu");
  world.Put(day);
  CHECK(world.Figures("day").settled == 6);
  v1::Budget tagged = MakeBudget("tagged", 1000, v1::WINDOW_LIFETIME);
  (*tagged.mutable_scope()->mutable_tags())["env"] = "prod";
  world.Put(tagged);
  CHECK(world.Figures("tagged").settled == 3);
}

TEST_CASE("the overshoot bound is a number for each policy") {
  LeaseAccountFigures account{.limit = 1000, .exposure = 700, .remainder = 300};
  account.holders = {{.holder = "a"}, {.holder = "b"}};
  const std::map<std::string, LeaseBook::Hint> hints = {{"a", {.overrun = 30, .remainder = 400}},
                                                        {"b", {.overrun = 5, .remainder = 350}}};
  const auto hint_of = [&](const std::string& holder) {
    const auto at = hints.find(holder);
    return at == hints.end() ? LeaseBook::Hint{} : at->second;
  };
  struct Row {
    const char* name;
    v1::OnPartition partition;
    v1::OnOverrun overrun;
    bool unheard;
    Nanos want;
  };
  const Row rows[] = {
      {"leased, cap", v1::ON_PARTITION_LEASED, v1::ON_OVERRUN_CAP, false, 0},
      {"closed, cap", v1::ON_PARTITION_CLOSED, v1::ON_OVERRUN_CAP, false, 0},
      {"leased, finish", v1::ON_PARTITION_LEASED, v1::ON_OVERRUN_FINISH, false, 35},
      {"open, cap", v1::ON_PARTITION_OPEN, v1::ON_OVERRUN_CAP, false, 400 + 350 - 300},
      {"as by default", v1::ON_PARTITION_UNSPECIFIED, v1::ON_OVERRUN_UNSPECIFIED, false, 450 + 35},
      // c never heard of it, and each of the three may start anew and hear of nothing.
      {"open for those that never heard", v1::ON_PARTITION_OPEN, v1::ON_OVERRUN_CAP, true,
       450 + 1000 + 3 * 1000},
      {"leased, whoever never heard", v1::ON_PARTITION_LEASED, v1::ON_OVERRUN_CAP, true, 0}};
  for (const Row& row : rows) {
    INFO(row.name);
    v1::Budget budget = MakeBudget("b", 1000);
    budget.set_on_partition(row.partition);
    budget.set_on_overrun(row.overrun);
    budget.set_open_unheard(row.unheard);
    const OvershootBound bound = BoundOf(budget, account, hint_of, 3);
    CHECK(bound.nanos == row.want);
    CHECK_FALSE(bound.why.empty());
    const bool starts = row.unheard && row.partition == v1::ON_PARTITION_OPEN;
    CHECK(bound.why.contains("every further start in the same outage adds another limit") ==
          starts);
  }
}

TEST_CASE("a data plane that is silent is counted with the start it may have") {
  using State = LeaseHolderFigures::State;
  v1::Budget budget = MakeBudget("b", 1000);
  budget.set_on_partition(v1::ON_PARTITION_OPEN);
  budget.set_on_overrun(v1::ON_OVERRUN_CAP);
  budget.set_open_unheard(true);
  LeaseAccountFigures account{.limit = 1000, .exposure = 1000, .remainder = 0};
  const auto hint_of = [](const std::string&) { return LeaseBook::Hint{.remainder = 0}; };
  struct Row {
    const char* name;
    std::vector<State> holders;
    int64_t fleet_size;
    Nanos want;
  };
  const Row rows[] = {
      {"one, alive", {State::kLive}, 1, 1000},
      {"one, which the fleet does not count any more", {State::kSilent}, 0, 1000},
      {"one, behind a life of its own that is over", {State::kClosed}, 1, 2000},
      {"one, behind a life of its own that is not closed", {State::kTombstoned}, 1, 2000}};
  for (const Row& row : rows) {
    INFO(row.name);
    account.holders.clear();
    for (const State state : row.holders) account.holders.push_back({.state = state});
    CHECK(BoundOf(budget, account, hint_of, row.fleet_size).nanos == row.want);
  }
}

TEST_CASE("a budget is shown with its holders, page by page") {
  DeskWorld world;
  v1::Budget each = MakeBudget("each", 1000);
  each.mutable_scope()->set_each("user");
  world.Put(each);
  for (int i = 0; i < 5; ++i)
    REQUIRE(world.Ask(kDp1, kHolder1, MakeAccount("each", kJanuaryS, "u" + std::to_string(i)), {},
                      100 + i) == 100 + i);
  const BudgetReport report(*world.book);
  const v1::BudgetStatus status = report.Status(each);
  CHECK(status.accounts() == 5);
  CHECK(status.leased_nanos() == 510);
  CHECK(status.remainder_nanos() == 896);
  v1::ShowBudgetRequest request;
  request.set_page_size(2);
  std::vector<std::string> subjects;
  do {
    const auto page = report.Show(each, request);
    REQUIRE(page.has_value());
    for (const v1::BudgetAccount& account : page->accounts()) {
      subjects.push_back(account.subject());
      REQUIRE(account.holders_size() == 1);
      CHECK(account.holders(0).instance() == kDp1);
      CHECK(account.overshoot_bound_nanos() == 0);
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  CHECK(subjects == std::vector<std::string>{"u0", "u1", "u2", "u3", "u4"});
  request.set_subject("u3");
  const auto one = report.Show(each, request);
  REQUIRE(one.has_value());
  REQUIRE(one->accounts_size() == 1);
  CHECK(one->accounts(0).leased_nanos() == 103);
  CHECK_FALSE(report.Show(MakeBudget("plain", 10), request).has_value());
}

}  // namespace
}  // namespace spillway
