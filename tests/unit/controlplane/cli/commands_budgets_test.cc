// Budgets and alerts from the command line, against a server that answers as told.
#include <grpcpp/grpcpp.h>

#include <catch2/catch_all.hpp>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "common/clock.h"
#include "controlplane/cli/budget_text.h"
#include "controlplane/cli/program.h"
#include "controlplane/cli/show_resource.h"
#include "spillway/v1/admin.grpc.pb.h"

namespace spillway::cli {
namespace {

constexpr int64_t kNowMs = 1'767'225'600'000;  // 2026-01-01T00:00:00Z, ManualClock's
constexpr int64_t kUsd = 1'000'000'000;

class FakeAdmin final : public v1::AdminService::Service {
 public:
  grpc::Status ListBudgets(grpc::ServerContext*, const v1::ListBudgetsRequest* request,
                           v1::ListBudgetsResponse* response) override {
    // One budget a page.
    const size_t at = request->page_token().empty() ? 0 : std::stoul(request->page_token());
    if (at < budgets.size()) *response->add_budgets() = budgets[at];
    if (at + 1 < budgets.size()) response->set_next_page_token(std::to_string(at + 1));
    return grpc::Status::OK;
  }
  grpc::Status ShowBudget(grpc::ServerContext*, const v1::ShowBudgetRequest* request,
                          v1::ShowBudgetResponse* response) override {
    if (request->name() != "support-month") return {grpc::StatusCode::NOT_FOUND, "no budget"};
    show_request = *request;
    *response = shown;
    return grpc::Status::OK;
  }
  grpc::Status FreezeBudget(grpc::ServerContext*, const v1::FreezeBudgetRequest* request,
                            v1::ApplyResponse* response) override {
    froze = *request;
    response->set_revision(8);
    v1::Change& change = *response->add_changes();
    change.set_action(v1::Change::ACTION_UPDATE);
    change.set_kind(v1::KIND_TEAM);
    change.set_name(request->name());
    return grpc::Status::OK;
  }
  grpc::Status RaiseBudget(grpc::ServerContext*, const v1::RaiseBudgetRequest* request,
                           v1::ApplyResponse* response) override {
    raised = *request;
    response->set_revision(9);
    return grpc::Status::OK;
  }
  grpc::Status LowerRaise(grpc::ServerContext*, const v1::LowerRaiseRequest* request,
                          v1::ApplyResponse* response) override {
    lowered = request->name();
    response->set_revision(10);
    return grpc::Status::OK;
  }
  grpc::Status OpenBudgetGate(grpc::ServerContext*, const v1::OpenBudgetGateRequest*,
                              v1::OpenBudgetGateResponse* response) override {
    response->set_was_shut(true);
    response->add_waited_for("dp-7");
    return grpc::Status::OK;
  }
  grpc::Status ListAlerts(grpc::ServerContext*, const v1::ListAlertsRequest*,
                          v1::ListAlertsResponse* response) override {
    *response = alerts;
    return grpc::Status::OK;
  }
  grpc::Status TestAlertSink(grpc::ServerContext*, const v1::TestAlertSinkRequest* request,
                             v1::TestAlertSinkResponse* response) override {
    if (request->sink() == "nobody") return {grpc::StatusCode::NOT_FOUND, "no alert_sink/nobody"};
    response->set_delivered(request->sink() == "ops");
    response->set_http_status(request->sink() == "ops" ? 204 : 500);
    if (!response->delivered()) response->set_error("it answered 500");
    response->set_elapsed_us(12'345);
    return grpc::Status::OK;
  }

  std::vector<v1::BudgetStatus> budgets;
  v1::ShowBudgetResponse shown;
  v1::ShowBudgetRequest show_request;
  v1::FreezeBudgetRequest froze;
  v1::RaiseBudgetRequest raised;
  std::string lowered;
  v1::ListAlertsResponse alerts;
};

struct Run {
  int exit = 0;
  std::string out;
  std::string err;
};

class World {
 public:
  World() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&admin);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }
  ~World() { server_->Shutdown(); }
  Run operator()(std::vector<std::string> words) {
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    const ManualClock clock;
    Surroundings surroundings{.in = in,
                              .out = out,
                              .err = err,
                              .in_is_terminal = false,
                              .environment = [](const char*) { return std::nullopt; },
                              .clock = clock};
    words.insert(words.end(), {"--admin", "127.0.0.1:" + std::to_string(port_), "--token", "t"});
    const int exit = RunProgram(words, surroundings);
    return {exit, out.str(), err.str()};
  }
  FakeAdmin admin;

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

v1::BudgetStatus Status(const std::string& name) {
  v1::BudgetStatus status;
  v1::Budget& budget = *status.mutable_budget();
  budget.set_name(name);
  budget.mutable_scope()->set_team("support");
  budget.set_limit_nanos(500 * kUsd);
  budget.set_window(v1::WINDOW_MONTH);
  budget.set_time_zone("Europe/Berlin");
  budget.set_on_partition(v1::ON_PARTITION_LEASED);
  budget.add_alerts(80);
  status.set_accounts(1);
  status.set_limit_nanos(520 * kUsd);
  status.set_settled_nanos(412'500'000'000);
  status.set_reserved_nanos(kUsd / 2);
  status.set_leased_nanos(30 * kUsd);
  status.set_stranded_nanos(10 * kUsd);
  status.set_remainder_nanos(77'500'000'000);
  status.set_overshoot_bound_nanos(1'250'000'000);
  status.set_window_start_ms(kNowMs);
  status.set_window_end_ms(kNowMs + 31 * int64_t{86'400'000});
  return status;
}

v1::ShowBudgetResponse Shown() {
  v1::ShowBudgetResponse shown;
  *shown.mutable_status() = Status("support-month");
  shown.mutable_status()->mutable_budget()->set_raise_nanos(20 * kUsd);
  shown.mutable_status()->mutable_budget()->set_raise_until_ms(kNowMs + 3'600'000);
  v1::BudgetAccount& account = *shown.add_accounts();
  account.set_window_start_ms(kNowMs);
  account.set_window_end_ms(kNowMs + 31 * int64_t{86'400'000});
  account.set_limit_nanos(520 * kUsd);
  account.set_settled_nanos(412'500'000'000);
  account.set_leased_nanos(30 * kUsd);
  account.set_stranded_nanos(10 * kUsd);
  account.set_remainder_nanos(77'500'000'000);
  account.set_overshoot_bound_nanos(1'250'000'000);
  account.set_overshoot_bound_why("calls in flight may cost more than they reserved");
  v1::BudgetHolder& connected = *account.add_holders();
  connected.set_instance("dp-1");
  connected.set_incarnation("aa11");
  connected.set_leased_nanos(20 * kUsd);
  connected.set_state("live");
  v1::BudgetHolder& away = *account.add_holders();
  away.set_instance("dp-2");
  away.set_incarnation("bb22");
  away.set_leased_nanos(10 * kUsd);
  away.set_stranded_nanos(10 * kUsd);
  away.set_state("silent");
  away.set_last_heard_ms(kNowMs - 300'000);
  return shown;
}

TEST_CASE("budgets list shows every budget of every page") {
  World world;
  CHECK(world({"budgets"}).err == "no budgets\n");
  world.admin.budgets = {Status("a"), Status("b")};
  world.admin.budgets[1].mutable_budget()->set_frozen(true);
  const Run list = world({"budgets", "list"});
  INFO(list.out << list.err);
  CHECK(list.exit == kOk);
  CHECK(list.out ==
        "NAME  WHOSE         LIMIT USD  WINDOW               ACCOUNTS  SETTLED  RESERVED  LEASED  "
        "STRANDED  REMAINDER  RESETS AT             OVERSHOOT BOUND  STATE\n"
        "a     team=support        520  month Europe/Berlin         1    412.5       0.5      30  "
        "      10       77.5  2026-02-01 00:00:00Z             1.25  open\n"
        "b     team=support        520  month Europe/Berlin         1    412.5       0.5      30  "
        "      10       77.5  2026-02-01 00:00:00Z             1.25  frozen\n");
  const Run json = world({"budgets", "-o", "json"});
  CHECK(
      json.out.starts_with("{\n  \"items\": [\n    {\n      \"budget\": {\n"
                           "        \"name\": \"a\""));
  CHECK(json.out.contains("\"settled_nanos\": 412500000000,\n      \"settled_usd\": \"412.5\""));
  CHECK(json.out.contains("\"overshoot_bound_usd\": \"1.25\""));
  CHECK(json.out.contains("\"resets_at\": \"2026-02-01T00:00:00.000Z\""));
  CHECK(json.out.contains("\"on_partition\": \"leased\""));
}

TEST_CASE("budgets show names the holders, what is stranded, and the bound") {
  World world;
  world.admin.shown = Shown();
  const Run show = world({"budgets", "show", "support-month"});
  INFO(show.out << show.err);
  CHECK(show.exit == kOk);
  CHECK(
      show.out.contains("limit       USD 500, raised by USD 20 until 2026-01-01 01:00:00Z "
                        "(now USD 520)\n"));
  CHECK(show.out.contains(
      "policies    on_exhausted reject, on_partition leased, on_overrun finish\n"));
  CHECK(show.out.contains("dp-1        aa11            0         0      20         0  live\n"));
  CHECK(show.out.contains("10        10  silent, last heard 5 m ago\n"));
  CHECK(show.out.contains("overshoot bound: at most USD 1.25 more"));
  CHECK(show.out.contains("calls in flight may cost more than they reserved"));
  CHECK(show.out.contains("fleet retire"));
  const Run one = world({"budgets", "show", "support-month", "--subject", "alice"});
  CHECK(one.exit == kOk);
  CHECK(world.admin.show_request.subject() == "alice");
  const Run json = world({"budgets", "show", "support-month", "-o", "json"});
  CHECK(json.out.starts_with("{\n  \"status\": {"));
  CHECK(json.out.contains("\"accounts\": [\n    {\n      \"subject\": \"\""));
  CHECK(json.out.contains("\"holders\": [\n        {\n          \"instance\": \"dp-1\""));
  CHECK(world({"budgets", "show", "nobody"}).exit == kFailed);
}

TEST_CASE("freeze, unfreeze, raise and lower say what they mean to the server") {
  World world;
  const Run frozen = world({"budgets", "freeze", "b", "--no-wait"});
  CHECK(frozen.exit == kOk);
  CHECK(frozen.out.contains("revision 8"));
  CHECK(world.admin.froze.frozen());
  world({"budgets", "unfreeze", "b", "--no-wait"});
  CHECK_FALSE(world.admin.froze.frozen());
  CHECK(world.admin.froze.name() == "b");
  CHECK(world({"budgets", "raise", "b", "--usd", "12.50", "--until", "2026-01-02", "--no-wait"})
            .exit == kOk);
  CHECK(world.admin.raised.nanos() == 12'500'000'000);
  CHECK(world.admin.raised.until_ms() == kNowMs + 86'400'000);
  CHECK(world({"budgets", "raise", "b", "--usd", "1", "--until", "8h", "--no-wait"}).exit == kOk);
  CHECK(world.admin.raised.until_ms() == kNowMs + 8 * 3'600'000);
  CHECK(
      world({"budgets", "lower", "b", "--no-wait", "-o", "json"}).out.contains("\"revision\": 10"));
  CHECK(world.admin.lowered == "b");
  const Run opened = world({"budgets", "open-gate"});
  CHECK(opened.out == "the gate is open: budgets grant again\n");
  CHECK(opened.err.contains("dp-7"));
}

TEST_CASE("alerts are listed with their deliveries, and sinks tested") {
  World world;
  CHECK(world({"alerts"}).err == "no alerts about the running windows\n");
  v1::Alert& alert = *world.admin.alerts.add_alerts();
  alert.set_type("budget_threshold");
  alert.set_budget("support-month");
  alert.set_threshold_percent(80);
  alert.set_spent_nanos(400 * kUsd);
  alert.set_limit_nanos(500 * kUsd);
  alert.set_at_ms(kNowMs);
  v1::AlertDelivery& delivery = *alert.add_deliveries();
  delivery.set_sink("ops");
  delivery.set_state("pending");
  delivery.set_attempts(3);
  delivery.set_last_error("it answered 503");
  const Run list = world({"alerts", "list"});
  CHECK(list.out.contains("80        400        500  ops pending (3 tries: it answered 503)"));
  CHECK(world({"alerts", "list", "-o", "json"}).out.contains("\"spent_usd\": \"400\""));
  const Run good = world({"alerts", "test", "ops"});
  CHECK(good.exit == kOk);
  CHECK(good.out == "ops took the test alert: HTTP 204 in 12 ms\n");
  const Run bad = world({"alerts", "test", "broken"});
  CHECK(bad.exit == kFailed);
  CHECK(bad.out == "broken did not take the test alert: it answered 500\n");
  CHECK(world({"alerts", "test", "nobody"}).exit == kFailed);
}

TEST_CASE("scopes and windows read as they were written") {
  v1::Scope scope;
  CHECK(ScopeText(scope) == "everything");
  scope.set_team("support");
  (*scope.mutable_tags())["env"] = "prod";
  scope.set_each("user");
  CHECK(ScopeText(scope) == "team=support, tag:env=prod, each user");
  v1::Budget budget;
  budget.set_window(v1::WINDOW_ROLLING);
  budget.set_rolling_hours(24);
  CHECK(WindowText(budget) == "last 24 h");
  budget.set_window(v1::WINDOW_LIFETIME);
  CHECK(WindowText(budget) == "lifetime");
  budget.set_window(v1::WINDOW_DAY);
  CHECK(WindowText(budget) == "day");
}

}  // namespace
}  // namespace spillway::cli
