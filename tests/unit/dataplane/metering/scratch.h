#pragma once

#include <catch2/catch_all.hpp>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "dataplane/metering/data_dir.h"
#include "dataplane/metering/journal.h"
#include "dataplane/metering/meter.h"
#include "dataplane/metering/record_encoding.h"
#include "spillway/v1/usage.pb.h"
#include "tests/fakes/temp_folder.h"

namespace spillway {

// A data-dir and its journal, as one process has them.
struct OpenedJournal {
  std::unique_ptr<DataDir> dir;
  std::unique_ptr<Journal> journal;
};

inline JournalOptions SmallJournal() {
  return {.version = "test",
          .bytes_max = 4 * 1024 * 1024,
          .segment_bytes = 32 * 1024,
          .threaded = false};
}

inline OpenedJournal OpenJournal(const std::string& path, const Clock& clock,
                                 const JournalOptions& options,
                                 const std::string& instance = "dp-1") {
  auto dir = DataDir::Open(path, instance);
  if (!dir) FAIL(dir.error().message);
  OpenedJournal opened{.dir = std::make_unique<DataDir>(std::move(*dir))};
  auto journal = Journal::Open(*opened.dir, options, clock);
  if (!journal) FAIL(journal.error().message);
  opened.journal = std::move(*journal);
  return opened;
}

// All records of an incarnation that can be read, parsed.
inline std::vector<v1::UsageRecord> ReadAll(Journal& journal, const std::string& incarnation) {
  std::vector<v1::UsageRecord> records;
  int64_t from = 1;
  while (true) {
    auto run = journal.Read(incarnation, from, INT64_MAX, 60 * 1024);
    REQUIRE(run.has_value());
    if (run->empty()) return records;
    for (const StoredRecord& stored : *run) {
      v1::UsageRecord& record = records.emplace_back();
      REQUIRE(record.ParseFromString(stored.bytes));
      REQUIRE(record.seq() == stored.seq);
    }
    from = run->back().seq + 1;
  }
}

// How many records there are of each kind.
inline std::map<int, int> KindsOf(const std::vector<v1::UsageRecord>& records) {
  std::map<int, int> kinds;
  for (const v1::UsageRecord& record : records) ++kinds[record.body_case()];
  return kinds;
}

inline AttemptInfo SampleAttempt() {
  return {.request_id = "req-1",
          .attempt_id = "attempt-1",
          .attempt = 1,
          .organization = "acme",
          .team = "support",
          .user = "alice",
          .key = "bot",
          .feature = "summary",
          .route = "tier",
          .model = "gpt",
          .provider = "openai",
          .price = SimplePrice(1'000'000'000, 2'000'000'000, 100'000'000),
          .estimate = {.input = 100, .output = 50},
          .revision = 7,
          .stream = true};
}

inline AttemptOutcome SampleOutcome() {
  return {.usage = {.input = 120, .output = 30, .cached_input = 20},
          .source = v1::USAGE_SOURCE_PROVIDER,
          .end = v1::END_FINISHED,
          .http_status = 200,
          .winner = true,
          .duration_us = 1500,
          .first_token_us = 400};
}

// A Started whose end never comes, as after a kill; returns its seq.
inline int64_t StartAndForget(Journal& journal, const Clock& clock) {
  const AttemptInfo info = SampleAttempt();
  RecordBuffer record;
  EncodeStarted(clock.WallMs(),
                {.request_id = info.request_id,
                 .attempt_id = info.attempt_id,
                 .attempt = info.attempt,
                 .attribution = EncodeAttribution({.team = info.team, .key = info.key}),
                 .reserved = CostOf(info.estimate, info.price),
                 .estimate = info.estimate},
                record);
  const auto seq = journal.Append(record.view(), Journal::Kind::kStarted);
  REQUIRE(seq.has_value());
  return *seq;
}

// The same, when it came to hold more on the way.
inline void OutgrowAndForget(Journal& journal, const Clock& clock, int64_t started_seq,
                             int64_t output_tokens) {
  const AttemptInfo info = SampleAttempt();
  const TokenUsage covered{.input = info.estimate.input, .output = output_tokens};
  RecordBuffer record;
  EncodeStarted(clock.WallMs(),
                {.request_id = info.request_id,
                 .attempt_id = info.attempt_id,
                 .attempt = info.attempt,
                 .attribution = EncodeAttribution({.team = info.team, .key = info.key}),
                 .reserved = CostOf(covered, info.price),
                 .estimate = covered,
                 .started_seq = started_seq},
                record);
  REQUIRE(journal.Append(record.view(), Journal::Kind::kOther).has_value());
}

// Finished attempts, with the upkeep that a journal of small segments needs in between.
inline Nanos RunAttempts(Journal& journal, const Clock& clock, int n) {
  Meter meter(journal, clock);
  Nanos spent = 0;
  for (int i = 0; i < n; ++i) {
    spent += std::move(*meter.Start(SampleAttempt())).Finish(SampleOutcome()).cost;
    if (i % 20 == 0) journal.RunOnce();
  }
  return spent;
}

}  // namespace spillway
