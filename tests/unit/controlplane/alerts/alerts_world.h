#pragma once

#include <catch2/catch_all.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/utc.h"
#include "controlplane/alerts/alerts.h"
#include "controlplane/store/store.h"
#include "tests/fakes/temp_folder.h"

namespace spillway::alerts {

inline constexpr Nanos kUsd = 1'000'000'000;

// Takes posts and answers as a test says; one thread.
class FakePoster final : public Poster {
 public:
  struct Taken {
    std::string url, body;
    std::map<std::string, std::string> headers;
  };
  Result<int> Post(const SinkPost& post) override {
    taken.push_back({std::string(post.url),
                     std::string(post.body),
                     {post.headers.begin(), post.headers.end()}});
    return answer(taken.back());
  }
  std::vector<Taken> taken;
  std::function<Result<int>(const Taken&)> answer = [](const Taken&) { return Result<int>(204); };

  std::vector<std::string> Ids() const {
    std::vector<std::string> ids;
    ids.reserve(taken.size());
    for (const Taken& post : taken) ids.push_back(post.headers.at("x-spillway-delivery"));
    return ids;
  }
};

class FakeSinks final : public SinkDirectory {
 public:
  std::map<std::string, v1::AlertSink::Kind> sinks = {{"ops", v1::AlertSink::KIND_WEBHOOK}};
  std::vector<std::string> Names() const override {
    std::vector<std::string> names;
    names.reserve(sinks.size());
    for (const auto& [name, kind] : sinks) names.push_back(name);
    return names;
  }
  Result<SinkTarget> Find(const std::string& name) const override {
    const auto at = sinks.find(name);
    if (at == sinks.end()) return Fail(ErrorCode::kNotFound, "there is no alert_sink/" + name);
    return SinkTarget{.name = name,
                      .kind = at->second,
                      .url = Secret("https://" + name + ".test/hook/token"),
                      .signing_secret = Secret("shared")};
  }
};

// Alerts over a real store; the process may "die" and come back.
struct AlertsWorld {
  TempFolder folder;
  ManualClock clock;
  const int64_t opened_wall_ms = clock.WallMs();
  const int64_t opened_ns = clock.MonotonicNs();
  FakePoster poster;
  FakeSinks sinks;
  std::vector<AccountSpend> accounts;  // what the budgets have
  AlertsOptions options;
  std::unique_ptr<Store> store;
  std::unique_ptr<Alerts> alerts;

  AlertsWorld() { Open(); }
  void Open() {
    alerts.reset();
    store.reset();
    auto opened = Store::Open({.path = folder.Path("db")});
    REQUIRE(opened.has_value());
    store = std::move(*opened);
    auto made = Alerts::Open({.store = *store,
                              .clock = clock,
                              .sinks = sinks,
                              .poster = poster,
                              .accounts =
                                  [this](const std::function<void(AccountSpend)>& each) {
                                    for (const AccountSpend& account : accounts) each(account);
                                  },
                              .window_ms = [this] { return WindowMs(); }},
                             options);
    REQUIRE(made.has_value());
    alerts = std::move(*made);
  }
  int64_t WindowMs() const { return opened_wall_ms + (clock.MonotonicNs() - opened_ns) / kNsPerMs; }
  AccountSpend Account(Nanos settled, const std::string& subject = "") const {
    const int64_t day = clock.WallMs() / kDayMs * kDayMs;
    return {.budget_id = "b1",
            .budget = "support",
            .subject = subject,
            .window_start_ms = day,
            .window_end_ms = day + kDayMs,
            .settled = settled,
            .limit = 10 * kUsd,
            .thresholds = {50, 80},
            .notify = {},
            .frozen = false};
  }
  void Spend(Nanos settled, const std::string& subject = "") {
    alerts->Note(Account(settled, subject));
    alerts->Turn();
  }
  v1::ListAlertsResponse List() const {
    const auto list = alerts->List({});
    REQUIRE(list.has_value());
    return *list;
  }
};

}  // namespace spillway::alerts
