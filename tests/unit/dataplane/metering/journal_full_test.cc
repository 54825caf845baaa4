#include <map>
#include <set>
#include <utility>
#include <vector>

#include "dataplane/metering/journal.h"
#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

JournalOptions Tiny(JournalFull full) {
  return {.version = "test",
          .bytes_max = 128 * 1024,
          .segment_bytes = 32 * 1024,
          .full = full,
          .threaded = false};
}

TEST_CASE("a full journal with policy refuse refuses new attempts and still takes every end") {
  const TempFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, Tiny(JournalFull::kRefuse));
  Meter meter(*opened.journal, clock);
  std::vector<OpenAttempt> open;
  while (true) {
    auto attempt = meter.Start(SampleAttempt());
    opened.journal->RunOnce();
    if (!attempt) {
      CHECK(attempt.error().code == ErrorCode::kJournalFull);
      break;
    }
    open.push_back(std::move(*attempt));
    REQUIRE(open.size() < 10'000);
  }
  REQUIRE(open.size() > 50);
  CHECK(opened.journal->stats().full);
  for (OpenAttempt& attempt : open) {
    std::move(attempt).Finish(SampleOutcome());
    opened.journal->RunOnce();
  }
  CHECK(opened.journal->stats().counted_ends == 0);
  const auto kinds = KindsOf(ReadAll(*opened.journal, opened.journal->incarnation()));
  CHECK(kinds.at(v1::UsageRecord::kStarted) == kinds.at(v1::UsageRecord::kFinished));
  // Committed records make room again.
  opened.journal->MarkCommitted(opened.journal->incarnation(), opened.journal->stats().records, {});
  opened.journal->RunOnce();
  opened.journal->RunOnce();
  CHECK(meter.Start(SampleAttempt()).has_value());
  CHECK(opened.journal->stats().bytes <= 128 * 1024);
}

TEST_CASE("with policy refuse, streams that grow leave the space for ends alone") {
  const TempFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, Tiny(JournalFull::kRefuse));
  Journal& journal = *opened.journal;
  Meter meter(journal, clock);
  std::vector<OpenAttempt> open;
  while (open.size() < 40) {
    auto attempt = meter.Start(SampleAttempt());
    REQUIRE(attempt.has_value());
    open.push_back(std::move(*attempt));
    journal.RunOnce();
  }
  for (int64_t tokens = 256; tokens < 100 * 256; tokens += 256) {
    for (OpenAttempt& attempt : open) attempt.Outgrow({.input = 100, .output = tokens}, 0);
    journal.RunOnce();
  }
  CHECK_FALSE(journal.full());
  CHECK(meter.Start(SampleAttempt()).error().code == ErrorCode::kJournalFull);
  for (OpenAttempt& attempt : open) {
    std::move(attempt).Finish(SampleOutcome());
    journal.RunOnce();
  }
  CHECK(journal.stats().counted_ends == 0);
  CHECK(KindsOf(ReadAll(journal, journal.incarnation())).at(v1::UsageRecord::kFinished) == 40);
}

TEST_CASE("a full journal with policy count serves on, and its sums arrive when there is space") {
  const TempFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, Tiny(JournalFull::kCount));
  Journal& journal = *opened.journal;
  Meter meter(journal, clock);
  auto journalled_start = meter.Start(SampleAttempt());
  Nanos spent = 0;
  for (int i = 0; i < 2000; ++i) {
    auto info = SampleAttempt();
    info.team = i % 2 == 0 ? "even" : "odd";
    auto attempt = meter.Start(info);
    REQUIRE(attempt.has_value());
    spent += std::move(*attempt).Finish(SampleOutcome()).cost;
    journal.RunOnce();
  }
  spent += std::move(*journalled_start).Finish(SampleOutcome()).cost;
  CHECK(journal.stats().full);
  CHECK(journal.stats().counted_ends > 1000);
  std::map<int64_t, v1::UsageRecord> seen;
  const auto collect = [&] {
    journal.RunOnce();
    for (auto& record : ReadAll(journal, journal.incarnation())) seen[record.seq()] = record;
    journal.MarkCommitted(journal.incarnation(), journal.stats().records, {});
    journal.RunOnce();
  };
  for (int i = 0; i < 4; ++i) collect();
  CHECK_FALSE(journal.stats().full);
  Nanos total = 0;
  int64_t attempts = 0;
  std::set<int64_t> open;
  for (const auto& [seq, record] : seen) {
    if (record.has_started()) open.insert(seq);
    if (record.has_finished()) open.erase(record.finished().started_seq());
    total += record.finished().cost_nanos() + record.aggregate().cost_nanos();
    attempts += (record.has_finished() ? 1 : 0) + record.aggregate().attempts();
    for (const int64_t ended : record.aggregate().ended_started()) open.erase(ended);
  }
  CHECK(total == spent);
  CHECK(attempts == 2001);
  CHECK(open.empty());
  CHECK(static_cast<int64_t>(seen.size()) == journal.stats().records);
}

TEST_CASE("at the end, sums go to disk though attempts are still open") {
  const TempFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, Tiny(JournalFull::kCount));
  Journal& journal = *opened.journal;
  Meter meter(journal, clock);
  std::vector<OpenAttempt> open;
  while (journal.stats().counted_ends == 0) {
    auto stays = meter.Start(SampleAttempt());
    auto ends = meter.Start(SampleAttempt());
    REQUIRE((stays.has_value() && ends.has_value()));
    open.push_back(std::move(*stays));
    std::move(*ends).Finish(SampleOutcome());
    journal.RunOnce();
    REQUIRE(open.size() < 10'000);
  }
  const int64_t before = journal.stats().records;
  journal.AppendClosed();
  CHECK(journal.stats().records == before + 1);
  journal.RunOnce();
  const auto kinds = KindsOf(ReadAll(journal, journal.incarnation()));
  CHECK(kinds.at(v1::UsageRecord::kAggregate) == 1);
  CHECK_FALSE(kinds.contains(v1::UsageRecord::kClosed));
}

}  // namespace
}  // namespace spillway
