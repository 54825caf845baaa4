#include "dataplane/metering/journal.h"

#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

TEST_CASE("appended records are read back in order, across segments") {
  const TempFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  Journal& journal = *opened.journal;
  Meter meter(journal, clock);
  for (int i = 0; i < 500; ++i) {
    auto attempt = meter.Start(SampleAttempt());
    REQUIRE(attempt.has_value());
    CHECK(std::move(*attempt).Finish(SampleOutcome()).cost == 100'000 + 2'000 + 60'000);
    if (i % 20 == 0) journal.RunOnce();
  }
  journal.RunOnce();
  const auto records = ReadAll(journal, journal.incarnation());
  REQUIRE(records.size() == 1001);
  CHECK(records[0].hello().version() == "test");
  for (size_t i = 0; i < records.size(); ++i)
    REQUIRE(records[i].seq() == static_cast<int64_t>(i) + 1);
  CHECK(records[2].finished().started_seq() == 2);
  CHECK(records[2].finished().cost_nanos() == 162'000);
  CHECK(records[1].started().reserved_nanos() == 200'000);
  CHECK(records[1].started().attribution().feature() == "summary");
  CHECK(journal.stats().counted_ends == 0);
}

TEST_CASE("only what is synced can be read") {
  const TempFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  Meter meter(*opened.journal, clock);
  auto attempt = meter.Start(SampleAttempt());
  REQUIRE(attempt.has_value());
  CHECK(ReadAll(*opened.journal, opened.journal->incarnation()).size() == 1);
  opened.journal->RunOnce();
  CHECK(ReadAll(*opened.journal, opened.journal->incarnation()).size() == 2);
}

TEST_CASE("appends of many threads are gapless") {
  const TempFolder folder;
  auto options = SmallJournal();
  options.bytes_max = 64 * 1024 * 1024;
  options.segment_bytes = 8 * 1024 * 1024;
  options.threaded = true;
  auto opened = OpenJournal(folder.path(), SystemClock(), options);
  Meter meter(*opened.journal, SystemClock());
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&meter] {
        for (int i = 0; i < 2000; ++i) {
          auto attempt = meter.Start(SampleAttempt());
          if (attempt) std::move(*attempt).Finish(SampleOutcome());
        }
      });
    }
  }
  opened.journal->RunOnce();
  const auto records = ReadAll(*opened.journal, opened.journal->incarnation());
  REQUIRE(records.size() == 16'001);
  std::set<int64_t> ended;
  for (const auto& record : records)
    if (record.has_finished()) ended.insert(record.finished().started_seq());
  CHECK(ended.size() == 8000);
}

TEST_CASE("committed segments are freed, uncommitted and unbacked ones stay") {
  const TempFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  Journal& journal = *opened.journal;
  Meter meter(journal, clock);
  for (int i = 0; i < 500; ++i) {
    std::move(*meter.Start(SampleAttempt())).Finish(SampleOutcome());
    if (i % 20 == 0) journal.RunOnce();
  }
  journal.RunOnce();
  const int64_t before = journal.stats().bytes;
  SECTION("a mark frees") {
    journal.MarkCommitted(journal.incarnation(), 600, {});
    journal.RunOnce();
    CHECK(journal.stats().bytes < before);
    const auto left = journal.Read(journal.incarnation(), 1, INT64_MAX, 1024);
    REQUIRE(left.has_value());
    CHECK(left->front().seq > 1);
    CHECK(left->front().seq <= 601);
    CHECK(journal.States().back().committed_upto() == 600);
  }
  SECTION("not above the last backup") {
    journal.MarkCommitted(journal.incarnation(), 1001, 1);
    journal.RunOnce();
    CHECK(journal.stats().bytes == before);
    CHECK(journal.stats().uncommitted == 0);
    journal.MarkCommitted(journal.incarnation(), 1001, 1001);
    journal.RunOnce();
    CHECK(journal.stats().bytes < before);
  }
  SECTION("marks never go back, and name nothing that is not there") {
    journal.MarkCommitted(journal.incarnation(), 1'000'000, {});
    CHECK(journal.States().back().committed_upto() == 1001);
    journal.MarkCommitted(journal.incarnation(), 5, {});
    CHECK(journal.States().back().committed_upto() == 1001);
  }
}

TEST_CASE("journal metrics say what is held and for how long") {
  const TempFolder folder;
  ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  Meter meter(*opened.journal, clock);
  opened.journal->RunOnce();
  opened.journal->MarkCommitted(opened.journal->incarnation(), 1, {});
  for (int i = 0; i < 30; ++i) {
    std::move(*meter.Start(SampleAttempt())).Finish(SampleOutcome());
    clock.AdvanceMs(1000);
    opened.journal->RunOnce();
  }
  const Journal::Stats stats = opened.journal->stats();
  CHECK(stats.records == 61);
  CHECK(stats.uncommitted == 60);
  CHECK(stats.unshipped == 60);
  CHECK(stats.oldest_age_ms >= 28'000);
  CHECK(stats.oldest_age_ms <= 31'000);
  CHECK(stats.hours_left > 0.5);
  MetricsText text;
  opened.journal->Collect(text);
  const std::string metrics = std::move(text).Take();
  CHECK_THAT(metrics,
             Catch::Matchers::ContainsSubstring("spillway_journal_uncommitted_records 60"));
}

}  // namespace
}  // namespace spillway
