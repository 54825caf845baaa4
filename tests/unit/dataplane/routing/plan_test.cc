#include "dataplane/routing/plan.h"

#include <catch2/catch_all.hpp>
#include <string>

namespace spillway {
namespace {

struct TargetRow {
  std::string model;
  int credentials = 1;
  int64_t timeout_ms = 0;
  int64_t total_ms = 600'000;
};

RouteSpec RouteOf(const std::vector<TargetRow>& targets, int attempts_max) {
  RouteSpec route;
  route.name = "r";
  route.attempts_max = attempts_max;
  for (const TargetRow& row : targets) {
    auto provider = std::make_shared<ProviderSpec>();
    provider->name = "p-" + row.model;
    provider->total_timeout_ms = row.total_ms;
    provider->credentials.resize(static_cast<size_t>(row.credentials));
    auto model = std::make_shared<ModelSpec>();
    model->name = row.model;
    model->provider = provider;
    route.targets.push_back({.model = model, .timeout_ms = row.timeout_ms});
  }
  return route;
}

std::string Render(const Plan& plan) {
  std::string text;
  for (const PlannedAttempt& attempt : plan.attempts)
    text += (text.empty() ? "" : " ") + attempt.model->name + std::to_string(attempt.credential);
  return text;
}

TEST_CASE("attempts: targets in order, credentials in turn, never too many") {
  struct Row {
    std::string_view name;
    std::vector<TargetRow> targets;
    int attempts_max;
    uint64_t turn;
    std::string_view want;
  };
  const auto row = GENERATE(values<Row>({
      {"one target, one credential", {{"a"}}, 3, 5, "a0"},
      {"two targets", {{"a"}, {"b"}}, 3, 0, "a0 b0"},
      {"credentials in turn", {{"a", 3}}, 3, 0, "a0 a1 a2"},
      {"rotated", {{"a", 3}}, 3, 1, "a1 a2 a0"},
      {"rotated far", {{"a", 3}}, 3, 3'000'000'002, "a2 a0 a1"},
      {"at most so many", {{"a", 3}}, 2, 0, "a0 a1"},
      {"credentials leave room for the targets behind", {{"a", 5}, {"b", 5}}, 3, 0, "a0 a1 b0"},
      {"more targets than attempts", {{"a", 2}, {"b", 2}, {"c", 2}, {"d"}}, 3, 1, "a1 b1 c1"},
      {"what one does not use the next may", {{"a", 1}, {"b", 4}}, 4, 0, "a0 b0 b1 b2"},
      {"a provider without credentials", {{"a", 0}, {"b"}}, 3, 9, "a0 b0"},
      {"one attempt", {{"a", 2}, {"b"}}, 1, 0, "a0"},
      {"no attempts given", {{"a"}, {"b"}}, 0, 0, "a0"},
      {"the turn's overflow", {{"a", 2}}, 2, UINT64_MAX, "a1 a0"},
  }));
  INFO(row.name);
  const auto plan = MakePlan(RouteOf(row.targets, row.attempts_max), row.turn, 0);
  REQUIRE(plan);
  CHECK(Render(*plan) == row.want);
}

TEST_CASE("an attempt's time is the least of what provider, target and client say") {
  struct Row {
    int64_t provider_ms;
    int64_t target_ms;
    int64_t client_ms;
    int64_t want;
  };
  const auto row = GENERATE(values<Row>({{600'000, 0, 0, 600'000},
                                         {600'000, 5'000, 0, 5'000},
                                         {600'000, 5'000, 2'000, 2'000},
                                         {600'000, 5'000, 9'000, 5'000},
                                         {1'000, 5'000, 0, 1'000},
                                         {600'000, 0, 30, 30}}));
  const auto plan =
      MakePlan(RouteOf({{"a", 1, row.target_ms, row.provider_ms}}, 3), 0, row.client_ms);
  REQUIRE(plan);
  CHECK(plan->attempts[0].timeout_ms == row.want);
}

TEST_CASE("a plan outlives its route") {
  Result<Plan> plan = MakePlan(RouteOf({{"a"}}, 3), 0, 0);
  REQUIRE(plan);
  CHECK(plan->attempts[0].model->provider->name == "p-a");
}

TEST_CASE("a route without targets has no plan") {
  const auto plan = MakePlan(RouteOf({}, 3), 0, 0);
  REQUIRE_FALSE(plan);
  CHECK(plan.error().code == ErrorCode::kModelNotFound);
}

TEST_CASE("statuses and failures that may be tried elsewhere") {
  struct Row {
    int status;
    AttemptFailure want;
    bool retry;
  };
  const auto row = GENERATE(values<Row>({{400, AttemptFailure::kRejected, false},
                                         {401, AttemptFailure::kCredential, true},
                                         {403, AttemptFailure::kCredential, true},
                                         {404, AttemptFailure::kRejected, false},
                                         {413, AttemptFailure::kRejected, false},
                                         {422, AttemptFailure::kRejected, false},
                                         {429, AttemptFailure::kRateLimited, true},
                                         {500, AttemptFailure::kServerError, true},
                                         {503, AttemptFailure::kServerError, true},
                                         {529, AttemptFailure::kServerError, true}}));
  CHECK(FailureOfStatus(row.status) == row.want);
  CHECK(MayRetry(FailureOfStatus(row.status)) == row.retry);
  CHECK(MayRetry(AttemptFailure::kConnect));
  CHECK(MayRetry(AttemptFailure::kReset));
  CHECK(MayRetry(AttemptFailure::kTimeout));
}

}  // namespace
}  // namespace spillway
