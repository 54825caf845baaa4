#include <algorithm>
#include <catch2/catch_all.hpp>
#include <chrono>
#include <print>
#include <random>

#include "common/clock.h"
#include "dataplane/snapshot/compile_money.h"
#include "dataplane/snapshot/scope_index.h"

namespace spillway {
namespace {

using Dimension = ScopeSpec::Dimension;
using Tags = std::vector<std::pair<std::string, std::string>>;

v1::Scope Scope(const std::vector<std::pair<std::string, std::string>>& fields) {
  v1::Scope scope;
  for (const auto& [name, value] : fields) {
    if (name == "organization") scope.set_organization(value);
    if (name == "team") scope.set_team(value);
    if (name == "user") scope.set_user(value);
    if (name == "key") scope.set_key(value);
    if (name == "feature") scope.set_feature(value);
    if (name == "route") scope.set_route(value);
    if (name == "model") scope.set_model(value);
    if (name == "provider") scope.set_provider(value);
    if (name == "each") scope.set_each(value);
    if (name.starts_with("tag:")) (*scope.mutable_tags())[name.substr(4)] = value;
  }
  return scope;
}

// A request of alice's, on its way to model "mini".
struct Request {
  Tags tags = {{"project", "apollo"}, {"stage", "prod"}};
  Facts facts = {.organization = "acme",
                 .team = "support",
                 .user = "alice",
                 .key = "bot",
                 .feature = "triage",
                 .route = "tier",
                 .model = "mini",
                 .provider = "openai",
                 .tags = tags};
};

std::vector<uint32_t> MatchOf(const std::vector<ScopeSpec>& scopes, const Facts& facts) {
  std::vector<const ScopeSpec*> pointers;
  pointers.reserve(scopes.size());
  for (const ScopeSpec& scope : scopes) pointers.push_back(&scope);
  return ScopeIndex(pointers).Match(facts);
}

struct Row {
  std::string name;
  std::vector<std::pair<std::string, std::string>> scope;
  bool want;
  std::string subject = {};
};

}  // namespace

TEST_CASE("a scope matches when all that it names is so") {
  const auto row = GENERATE(values<Row>({
      {"nothing named", {}, true},
      {"organization", {{"organization", "acme"}}, true},
      {"another organization", {{"organization", "acm"}}, false},
      {"team", {{"team", "support"}}, true},
      {"another team", {{"team", "Support"}}, false},
      {"user", {{"user", "alice"}}, true},
      {"another user", {{"user", "bob"}}, false},
      {"key", {{"key", "bot"}}, true},
      {"another key", {{"key", "alice"}}, false},
      {"feature", {{"feature", "triage"}}, true},
      {"route", {{"route", "tier"}}, true},
      {"model", {{"model", "mini"}}, true},
      {"provider", {{"provider", "openai"}}, true},
      {"tag", {{"tag:stage", "prod"}}, true},
      {"a tag of another value", {{"tag:stage", "test"}}, false},
      {"a tag that is not there", {{"tag:city", "prod"}}, false},
      {"two tags", {{"tag:stage", "prod"}, {"tag:project", "apollo"}}, true},
      {"two tags, one wrong", {{"tag:stage", "prod"}, {"tag:project", "gemini"}}, false},
      {"everything at once",
       {{"organization", "acme"},
        {"team", "support"},
        {"user", "alice"},
        {"key", "bot"},
        {"feature", "triage"},
        {"route", "tier"},
        {"model", "mini"},
        {"provider", "openai"},
        {"tag:stage", "prod"}},
       true},
      {"all but one",
       {{"organization", "acme"},
        {"team", "support"},
        {"user", "alice"},
        {"key", "bot"},
        {"feature", "triage"},
        {"route", "tier"},
        {"model", "mini"},
        {"provider", "azure"}},
       false},
      {"each user", {{"each", "user"}}, true, "alice"},
      {"each team of an organization",
       {{"organization", "acme"}, {"each", "team"}},
       true,
       "support"},
      {"each team of another", {{"organization", "other"}, {"each", "team"}}, false},
      {"each model", {{"each", "model"}}, true, "mini"},
      {"each provider", {{"each", "provider"}}, true, "openai"},
      {"each key", {{"each", "key"}}, true, "bot"},
      {"each feature", {{"each", "feature"}}, true, "triage"},
      {"each route", {{"each", "route"}}, true, "tier"},
      {"each organization", {{"each", "organization"}}, true, "acme"},
      {"each value of a tag", {{"each", "tag:project"}}, true, "apollo"},
      {"each value of a tag that is not there", {{"each", "tag:city"}}, false},
      {"each tag with a tag", {{"each", "tag:project"}, {"tag:stage", "prod"}}, true, "apollo"},
  }));
  CAPTURE(row.name);
  const Request request;
  const ScopeSpec scope = CompileScope(Scope(row.scope));
  CHECK(Matches(scope, request.facts) == row.want);
  CHECK(MatchOf({scope}, request.facts).size() == (row.want ? 1 : 0));
  if (row.want) CHECK(SubjectOf(scope, request.facts) == row.subject);
}

TEST_CASE("an empty text matches no scope that names it, and no each of it") {
  for (const char* dimension : {"organization", "team", "user", "key", "feature", "route", "model",
                                "provider", "tag:stage"}) {
    CAPTURE(dimension);
    CHECK_FALSE(Matches(CompileScope(Scope({{dimension, "x"}})), Facts{}));
    CHECK_FALSE(Matches(CompileScope(Scope({{"each", dimension}})), Facts{}));
    CHECK(MatchOf({CompileScope(Scope({{"each", dimension}}))}, Facts{}).empty());
  }
  CHECK(Matches(CompileScope({}), Facts{}));
  const Tags tags = {{"stage", ""}};
  CHECK(MatchOf({CompileScope(Scope({{"each", "tag:stage"}}))}, {.tags = tags}).empty());
}

TEST_CASE("whether the target must be known") {
  CHECK(CompileScope(Scope({{"model", "m"}})).ByTarget());
  CHECK(CompileScope(Scope({{"provider", "p"}, {"team", "t"}})).ByTarget());
  CHECK(CompileScope(Scope({{"each", "model"}})).ByTarget());
  CHECK(CompileScope(Scope({{"each", "provider"}})).ByTarget());
  CHECK_FALSE(CompileScope(Scope({{"route", "r"}, {"each", "user"}})).ByTarget());
  CHECK_FALSE(CompileScope({}).ByTarget());
}

TEST_CASE("the index finds what a walk over all scopes finds") {
  std::mt19937_64 random(20261121);
  const auto word = [&] { return std::string(1, static_cast<char>('a' + random() % 4)); };
  constexpr std::array kNames = {"organization", "team",  "user",     "key",      "feature",
                                 "route",        "model", "provider", "tag:zone", "tag:stage"};
  std::vector<ScopeSpec> scopes;
  for (int i = 0; i < 2'000; ++i) {
    std::vector<std::pair<std::string, std::string>> fields;
    for (const char* name : kNames) {
      if (random() % 4 == 0) fields.emplace_back(name, word());
    }
    if (random() % 3 == 0) fields.emplace_back("each", kNames[random() % kNames.size()]);
    scopes.push_back(CompileScope(Scope(fields)));
  }
  std::vector<const ScopeSpec*> pointers;
  pointers.reserve(scopes.size());
  for (const ScopeSpec& scope : scopes) pointers.push_back(&scope);
  const ScopeIndex index(pointers);
  size_t found = 0;
  for (int i = 0; i < 2'000; ++i) {
    std::array<std::string, 8> texts;
    for (std::string& text : texts) text = random() % 8 == 0 ? std::string() : word();
    Tags tags;
    if (random() % 2 == 0) tags.emplace_back("stage", word());
    if (random() % 2 == 0) tags.emplace_back("zone", word());
    const Facts facts{.organization = texts[0],
                      .team = texts[1],
                      .user = texts[2],
                      .key = texts[3],
                      .feature = texts[4],
                      .route = texts[5],
                      .model = texts[6],
                      .provider = texts[7],
                      .tags = tags};
    std::vector<uint32_t> want;
    for (uint32_t n = 0; n < scopes.size(); ++n)
      if (Matches(scopes[n], facts)) want.push_back(n);
    REQUIRE(index.Match(facts) == want);
    found += want.size();
  }
  CHECK(found > 10'000);
}

TEST_CASE("tags that come twice find a scope once") {
  const Tags tags = {{"a", "x"}, {"a", "x"}};
  CHECK(MatchOf({CompileScope(Scope({{"tag:a", "x"}})), CompileScope(Scope({{"each", "tag:a"}}))},
                {.tags = tags}) == std::vector<uint32_t>{0, 1});
}

namespace {

// Ten thousand of the kinds that a company has, of which a request falls under five.
std::vector<std::shared_ptr<const BudgetSpec>> ManyBudgets() {
  std::vector<std::shared_ptr<const BudgetSpec>> budgets;
  const auto add = [&](const std::vector<std::pair<std::string, std::string>>& fields) {
    BudgetSpec spec;
    spec.name = "budget-" + std::to_string(budgets.size());
    spec.scope = CompileScope(Scope(fields));
    budgets.push_back(std::make_shared<const BudgetSpec>(std::move(spec)));
  };
  add({{"each", "user"}});
  add({{"organization", "acme"}});
  for (int i = 0; i < 4'999; ++i)
    add({{"user", "user-" + std::to_string(i)}, {"organization", "acme"}});
  for (int i = 0; i < 2'500; ++i) add({{"team", "team-" + std::to_string(i)}});
  for (int i = 0; i < 2'499; ++i)
    add({{"team", "team-" + std::to_string(i)}, {"feature", "feature-" + std::to_string(i % 7)}});
  return budgets;
}

}  // namespace

TEST_CASE("matching costs by what matches", "[.benchmark]") {
  const auto specs = ManyBudgets();
  const Clock& clock = SystemClock();
  const int64_t build_start = clock.MonotonicNs();
  const ScopedSpecs<BudgetSpec> budgets(specs);
  std::println("index of {} budgets: {:.1f} ms", budgets.size(),
               static_cast<double>(clock.MonotonicNs() - build_start) / 1e6);
  const Facts facts{.organization = "acme",
                    .team = "team-77",
                    .user = "user-4242",
                    .key = "bot",
                    .feature = "feature-0",
                    .route = "tier"};
  constexpr int kRounds = 200'000;
  size_t found = 0;
  const int64_t start = clock.MonotonicNs();
  std::vector<BudgetMatch> out;
  for (int i = 0; i < kRounds; ++i) {
    out.clear();
    budgets.Append(facts, /*by_target=*/false, out);
    found += out.size();
  }
  std::println("MatchBudgets, 5 of 10,000: {:.0f} ns",
               static_cast<double>(clock.MonotonicNs() - start) / kRounds);
  CHECK(found == size_t{5} * kRounds);
}

}  // namespace spillway
