#pragma once

#include <catch2/catch_all.hpp>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/crypto/crc32c.h"
#include "controlplane/ledger/ledger.h"
#include "controlplane/store/store.h"
#include "spillway/v1/usage.pb.h"
#include "tests/fakes/temp_folder.h"

namespace spillway {

// A store and its ledger, as the control plane has them.
struct OpenedLedger {
  std::unique_ptr<Store> store;
  std::unique_ptr<Ledger> ledger;
};

inline OpenedLedger OpenLedger(const std::string& path, const LedgerOptions& options = {}) {
  auto store = Store::Open({.path = path + "/db"});
  if (!store) FAIL(store.error().message);
  OpenedLedger opened{.store = std::move(*store)};
  auto ledger = Ledger::Open(*opened.store, options);
  if (!ledger) FAIL(ledger.error().message);
  opened.ledger = std::move(*ledger);
  return opened;
}

inline constexpr int64_t kTestHourMs = 1'767'225'600'000;  // 2026-01-01T00:00:00Z

// What a data plane's journal would hold, and what it adds up to.
class UsageSource {
 public:
  UsageSource(std::string instance, char incarnation_digit)
      : UsageSource(std::move(instance), std::string(32, incarnation_digit)) {}
  UsageSource(std::string instance, std::string incarnation)
      : instance_(std::move(instance)), incarnation_(std::move(incarnation)) {
    Add([](v1::UsageRecord& record) { record.mutable_hello()->set_version("test"); });
  }

  struct Attempt {
    std::string team = "support";
    std::string key = "bot";
    std::string model = "gpt";
    int64_t time_ms = kTestHourMs;
    int64_t cost = 1000;
    int64_t input = 10;
    int64_t output = 5;
    int64_t reserved = 3000;
    bool winner = true;
  };

  int64_t Start(const Attempt& attempt) {
    return Add([&](v1::UsageRecord& record) {
      record.set_time_ms(attempt.time_ms);
      v1::Started& started = *record.mutable_started();
      started.set_request_id("r" + std::to_string(next_seq()));
      started.set_attempt_id("a" + std::to_string(next_seq()));
      Name(attempt, *started.mutable_attribution());
      started.set_reserved_nanos(attempt.reserved);
      started.mutable_estimate()->set_input_tokens(attempt.input);
    });
  }
  int64_t Outgrow(int64_t started_seq, const Attempt& attempt) {
    return Add([&](v1::UsageRecord& record) {
      record.set_time_ms(attempt.time_ms);
      v1::Started& now = *record.mutable_outgrown();
      now.set_started_seq(started_seq);
      now.set_request_id("r" + std::to_string(started_seq));
      now.set_attempt_id("a" + std::to_string(started_seq));
      Name(attempt, *now.mutable_attribution());
      now.set_reserved_nanos(attempt.reserved);
      now.mutable_estimate()->set_input_tokens(attempt.input);
    });
  }
  int64_t Finish(int64_t started_seq, const Attempt& attempt) {
    const int64_t seq =
        Add([&](v1::UsageRecord& record) { FillFinished(started_seq, attempt, record); });
    ++attempts_;
    cost_ += attempt.cost;
    input_ += attempt.input;
    by_team_[attempt.team] += attempt.cost;
    return seq;
  }
  int64_t Run(const Attempt& attempt) { return Finish(Start(attempt), attempt); }
  int64_t Abandon(int64_t started_seq, const Attempt& attempt) {
    return Add([&](v1::UsageRecord& record) {
      record.set_time_ms(attempt.time_ms);
      record.mutable_abandoned()->set_started_seq(started_seq);
      v1::Finished& estimate = *record.mutable_abandoned()->mutable_estimate();
      Name(attempt, *estimate.mutable_attribution());
      estimate.mutable_usage()->set_input_tokens(attempt.input);
      estimate.set_cost_nanos(attempt.reserved);
      estimate.set_source(v1::USAGE_SOURCE_ESTIMATED);
      estimate.set_end(v1::END_ABANDONED);
    });
  }
  template <typename Fill>
  int64_t Add(const Fill& fill) {
    v1::UsageRecord record;
    record.set_time_ms(kTestHourMs);
    record.set_seq(next_seq());
    fill(record);
    records_.push_back(record.SerializeAsString());
    return record.seq();
  }

  v1::UsageRun Records(int64_t from, int64_t to) const {
    v1::UsageRun run;
    run.set_instance(instance_);
    run.set_incarnation(incarnation_);
    run.set_first_seq(from);
    for (int64_t seq = from; seq <= to; ++seq) {
      run.add_records(records_[static_cast<size_t>(seq - 1)]);
      run.add_crc32c(Crc32c(run.records(run.records_size() - 1)));
    }
    return run;
  }
  v1::UsageRun All() const { return Records(1, last_seq()); }
  // Cut into runs of 1 to `max` records.
  std::vector<v1::UsageRun> Runs(std::minstd_rand& random, int64_t max = 20) const {
    std::vector<v1::UsageRun> runs;
    for (int64_t from = 1; from <= last_seq();) {
      const int64_t to =
          std::min(last_seq(), from + std::uniform_int_distribution<int64_t>(0, max - 1)(random));
      runs.push_back(Records(from, to));
      from = to + 1;
    }
    return runs;
  }

  const std::string& instance() const { return instance_; }
  const std::string& incarnation() const { return incarnation_; }
  int64_t last_seq() const { return static_cast<int64_t>(records_.size()); }
  int64_t next_seq() const { return last_seq() + 1; }
  int64_t cost() const { return cost_; }
  int64_t attempts() const { return attempts_; }
  int64_t input() const { return input_; }
  const std::map<std::string, int64_t>& by_team() const { return by_team_; }

  static void Name(const Attempt& attempt, v1::Attribution& attribution) {
    attribution.set_organization("acme");
    attribution.set_team(attempt.team);
    attribution.set_key(attempt.key);
    attribution.set_model(attempt.model);
  }

 private:
  static void FillFinished(int64_t started_seq, const Attempt& attempt, v1::UsageRecord& record) {
    record.set_time_ms(attempt.time_ms);
    v1::Finished& finished = *record.mutable_finished();
    finished.set_started_seq(started_seq);
    Name(attempt, *finished.mutable_attribution());
    finished.mutable_usage()->set_input_tokens(attempt.input);
    finished.mutable_usage()->set_output_tokens(attempt.output);
    finished.set_cost_nanos(attempt.cost);
    finished.set_source(v1::USAGE_SOURCE_PROVIDER);
    finished.set_end(v1::END_FINISHED);
    finished.set_winner(attempt.winner);
  }

  std::string instance_;
  std::string incarnation_;
  std::vector<std::string> records_;
  int64_t cost_ = 0;
  int64_t attempts_ = 0;
  int64_t input_ = 0;
  std::map<std::string, int64_t> by_team_;
};

inline v1::SpendRow TotalOf(const Ledger& ledger) {
  const auto spend = ledger.QuerySpend({});
  REQUIRE(spend.has_value());
  REQUIRE(spend->rows_size() <= 1);
  return spend->rows_size() == 0 ? v1::SpendRow() : spend->rows(0);
}

inline void CheckVerified(const Ledger& ledger) {
  const auto verified = ledger.Verify();
  REQUIRE(verified.has_value());
  for (const std::string& difference : verified->differences()) UNSCOPED_INFO(difference);
  CHECK(verified->differences().empty());
}

inline Ledger::Applied Apply(Ledger& ledger, const std::vector<v1::UsageRun>& runs) {
  Ledger::Position position = ledger.position();
  ++position.seq;
  auto applied = ledger.Apply(runs, position);
  REQUIRE(applied.has_value());
  return *applied;
}

}  // namespace spillway
