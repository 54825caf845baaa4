#include "dataplane/metering/journal.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <thread>

#include "common/crypto/crc32c.h"
#include "common/durable_file.h"
#include "dataplane/metering/replay.h"
#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

// Flips one byte of the record with `seq` in a folder's segments.
void FlipRecord(const std::string& folder, int64_t seq) {
  for (const std::string& path : SegmentFiles(folder)) {
    auto bytes = durable::ReadFile(path);
    REQUIRE(bytes.has_value());
    FrameScanner frames(*bytes);
    for (Frame frame; frames.Next(frame, true);) {
      if (frame.seq != seq) continue;
      const auto at = static_cast<std::streamoff>(frame.record.data() - bytes->data());
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(at);
      file.put(static_cast<char>(bytes->at(static_cast<size_t>(at)) ^ 0x40));
      return;
    }
  }
  FAIL("no such record");
}

std::map<int, int> KindsOf(const std::vector<v1::UsageRecord>& records) {
  std::map<int, int> kinds;
  for (const v1::UsageRecord& record : records) ++kinds[record.body_case()];
  return kinds;
}

TEST_CASE("appended records are read back in order, across segments") {
  const ScratchFolder folder;
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
  const ScratchFolder folder;
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
  const ScratchFolder folder;
  auto options = SmallJournal();
  options.bytes_max = 64 * 1024 * 1024;
  options.segment_bytes = 8 * 1024 * 1024;
  options.threaded = true;
  auto opened = OpenJournal(folder.path(), SystemClock(), options);
  Meter meter(*opened.journal, SystemClock());
  {
    std::vector<std::jthread> threads;
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
  const ScratchFolder folder;
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

TEST_CASE("a restart names its predecessor and settles its open attempts behind its last record") {
  const ScratchFolder folder;
  ManualClock clock;
  std::string first;
  const int64_t started_ms = clock.WallMs();
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    first = opened.journal->incarnation();
    Meter meter(*opened.journal, clock);
    std::move(*meter.Start(SampleAttempt())).Finish(SampleOutcome());
    StartAndForget(*opened.journal, clock);
  }
  clock.AdvanceMs(60'000);
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  opened.journal->RunOnce();
  const auto old_records = ReadAll(*opened.journal, first);
  REQUIRE(old_records.size() == 6);
  const v1::UsageRecord& abandoned = old_records[4];
  REQUIRE(abandoned.has_abandoned());
  CHECK(abandoned.seq() == 5);
  CHECK(abandoned.time_ms() == started_ms);
  CHECK(abandoned.abandoned().started_seq() == 4);
  CHECK(abandoned.abandoned().estimate().cost_nanos() == 200'000);
  CHECK(abandoned.abandoned().estimate().source() == v1::USAGE_SOURCE_ESTIMATED);
  CHECK(abandoned.abandoned().estimate().end() == v1::END_ABANDONED);
  CHECK(abandoned.abandoned().estimate().attribution().team() == "support");
  CHECK(old_records[5].closed().last_seq() == 6);
  const auto own = ReadAll(*opened.journal, opened.journal->incarnation());
  REQUIRE(own.size() == 1);
  CHECK(own[0].hello().predecessor() == first);
  CHECK(own[0].hello().predecessor_last_seq() == 6);
  CHECK(opened.journal->stats().abandoned == 1);
  CHECK(opened.journal->stats().uncommitted == 7);
}

TEST_CASE("a kill bills a stream that outgrew its estimate at what it last held") {
  const ScratchFolder folder;
  const ManualClock clock;
  std::string first;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    first = opened.journal->incarnation();
    const int64_t seq = StartAndForget(*opened.journal, clock);
    OutgrowAndForget(*opened.journal, clock, seq, 300);
    OutgrowAndForget(*opened.journal, clock, seq, 600);
    const int64_t ended = StartAndForget(*opened.journal, clock);
    OutgrowAndForget(*opened.journal, clock, ended + 1, 900);  // of no attempt: changes nothing
  }
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  const auto records = ReadAll(*opened.journal, first);
  std::vector<int64_t> outputs;
  std::vector<int64_t> holds;
  for (const v1::UsageRecord& record : records) {
    if (!record.has_abandoned()) continue;
    outputs.push_back(record.abandoned().estimate().usage().output_tokens());
    holds.push_back(record.abandoned().estimate().hold_nanos());
  }
  CHECK(outputs == std::vector<int64_t>{600, 50});
  CHECK(holds == std::vector<int64_t>{100'000 + 600 * 2'000, 100'000 + 50 * 2'000});
}

TEST_CASE("an attempt journals what it outgrew to, and ends at that when it is dropped") {
  const ScratchFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  {
    Meter meter(*opened.journal, clock);
    auto attempt = meter.Start(SampleAttempt());
    attempt->Outgrow({.input = 100, .output = 400}, 0);
  }
  opened.journal->RunOnce();
  const auto records = ReadAll(*opened.journal, opened.journal->incarnation());
  REQUIRE(records.size() == 4);  // Hello, Started, outgrown, Finished
  const v1::Started& outgrown = records[2].outgrown();
  CHECK(outgrown.started_seq() == 2);
  CHECK(outgrown.request_id() == "req-1");
  CHECK(outgrown.attribution().team() == "support");
  CHECK(outgrown.revision() == 7);
  CHECK(outgrown.estimate().output_tokens() == 400);
  CHECK(outgrown.reserved_nanos() == 100'000 + 400 * 2'000);
  CHECK(records[3].finished().usage().output_tokens() == 400);
}

TEST_CASE("a second restart adds nothing to a closed journal, and what is committed goes") {
  const ScratchFolder folder;
  const ManualClock clock;
  std::string first;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    first = opened.journal->incarnation();
  }
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  }
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  CHECK(ReadAll(*opened.journal, first).size() == 2);  // Hello, Closed
  REQUIRE(opened.journal->States().size() == 3);
  opened.journal->MarkCommitted(first, 2, {});
  opened.journal->RunOnce();
  CHECK(opened.journal->States().size() == 2);
  CHECK_FALSE(std::filesystem::exists(folder.path() + "/journal/" + first));
}

TEST_CASE("a clean end closes the journal itself") {
  const ScratchFolder folder;
  const ManualClock clock;
  std::string first;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    first = opened.journal->incarnation();
    Meter meter(*opened.journal, clock);
    auto attempt = meter.Start(SampleAttempt());
    opened.journal->AppendClosed();
    CHECK(opened.journal->stats().records == 2);  // not while an attempt is open
    std::move(*attempt).Finish(SampleOutcome());
    opened.journal->AppendClosed();
    CHECK(opened.journal->stats().records == 4);
    CHECK_FALSE(meter.Start(SampleAttempt()).has_value());
  }
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  CHECK(ReadAll(*opened.journal, first).size() == 4);
  CHECK(opened.journal->stats().abandoned == 0);
}

TEST_CASE("an open attempt is found after a kill though its segment was freed long ago") {
  const ScratchFolder folder;
  const ManualClock clock;
  std::string first;
  int64_t open_seq = 0;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    Journal& journal = *opened.journal;
    first = journal.incarnation();
    Meter meter(journal, clock);
    open_seq = StartAndForget(journal, clock);
    auto ends_late = meter.Start(SampleAttempt());
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < 60; ++i) std::move(*meter.Start(SampleAttempt())).Finish(SampleOutcome());
      journal.RunOnce();
      journal.MarkCommitted(journal.incarnation(), journal.stats().records, {});
      journal.RunOnce();
      if (round == 5) std::move(*ends_late).Finish(SampleOutcome());
      if (round == 3 || round == 7) OutgrowAndForget(journal, clock, open_seq, 100 * round);
    }
    REQUIRE(journal.Read(journal.incarnation(), 1, INT64_MAX, 1)->front().seq > 800);
  }
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  const auto records = ReadAll(*opened.journal, first);
  const auto kinds = KindsOf(records);
  CHECK(kinds.at(v1::UsageRecord::kAbandoned) == 1);
  const auto abandoned =
      std::ranges::find_if(records, [](const auto& record) { return record.has_abandoned(); });
  CHECK(abandoned->abandoned().started_seq() == open_seq);
  CHECK(abandoned->abandoned().estimate().request_id() == "req-1");
  CHECK(abandoned->abandoned().estimate().usage().output_tokens() == 700);
  CHECK_FALSE(kinds.contains(v1::UsageRecord::kLost));
}

TEST_CASE("records that cannot be read are declared lost, the rest is kept") {
  struct Case {
    const char* name;
    std::vector<int64_t> flipped;
    std::vector<std::pair<int64_t, int64_t>> lost;
  };
  const Case kCases[] = {
      {"one in the middle", {40}, {{40, 40}}},
      {"neighbours", {40, 41, 42}, {{40, 42}}},
      {"two places", {10, 90}, {{10, 10}, {90, 90}}},
      {"the first", {1}, {{1, 1}}},
      {"the last", {101}, {{101, 101}}},
      {"a segment's first and last", {50, 101}, {{50, 50}, {101, 101}}},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      const ScratchFolder folder;
      const ManualClock clock;
      std::string first;
      {
        auto opened = OpenJournal(folder.path(), clock, SmallJournal());
        first = opened.journal->incarnation();
        RunAttempts(*opened.journal, clock, 50);
      }
      for (const int64_t seq : test.flipped) FlipRecord(folder.path() + "/journal/" + first, seq);
      auto opened = OpenJournal(folder.path(), clock, SmallJournal());
      std::vector<std::pair<int64_t, int64_t>> lost;
      int64_t last = 0;
      for (const auto& record : ReadAll(*opened.journal, first)) {
        if (record.has_lost()) lost.emplace_back(record.lost().from_seq(), record.lost().to_seq());
        CHECK(record.seq() > last);
        last = record.seq();
        if (record.has_closed()) CHECK(record.closed().last_seq() == record.seq());
      }
      CHECK(lost == test.lost);
      CHECK(opened.journal->stats().lost == static_cast<int64_t>(test.flipped.size()));
    }
  }
}

TEST_CASE("a missing segment is a lost range, a freed one is not") {
  const ScratchFolder folder;
  const ManualClock clock;
  std::string first;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    first = opened.journal->incarnation();
    Meter meter(*opened.journal, clock);
    for (int i = 0; i < 300; ++i) {
      std::move(*meter.Start(SampleAttempt())).Finish(SampleOutcome());
      opened.journal->RunOnce();
    }
  }
  const std::string path = folder.path() + "/journal/" + first;
  std::filesystem::remove(SegmentFiles(path).front());
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  const auto records = ReadAll(*opened.journal, first);
  const auto lost =
      std::ranges::find_if(records, [](const auto& record) { return record.has_lost(); });
  REQUIRE(lost != records.end());
  CHECK(lost->lost().from_seq() == 1);
  CHECK(lost->lost().to_seq() == records.front().seq() - 1);
}

TEST_CASE("what was published and is gone from the disk is lost, and its seq is not used again") {
  const ScratchFolder folder;
  const ManualClock clock;
  std::string first;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    first = opened.journal->incarnation();
    Meter meter(*opened.journal, clock);
    for (int i = 0; i < 5; ++i) std::move(*meter.Start(SampleAttempt())).Finish(SampleOutcome());
    opened.journal->RunOnce();
    opened.journal->MarkPublished(first, 11);
  }
  const std::string path = folder.path() + "/journal/" + first;
  for (int64_t seq = 8; seq <= 11; ++seq) FlipRecord(path, seq);
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  const auto records = ReadAll(*opened.journal, first);
  CHECK(records.back().seq() > 11);
  CHECK(opened.journal->stats().lost == 4);
}

JournalOptions Tiny(JournalFull full) {
  return {.version = "test",
          .bytes_max = 128 * 1024,
          .segment_bytes = 32 * 1024,
          .full = full,
          .threaded = false};
}

TEST_CASE("a full journal with policy refuse refuses new attempts and still takes every end") {
  const ScratchFolder folder;
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

TEST_CASE("a full journal with policy count serves on, and its sums arrive when there is space") {
  const ScratchFolder folder;
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

TEST_CASE("a dropped attempt is billed at its estimate") {
  const ScratchFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  Meter meter(*opened.journal, clock);
  {
    auto dropped = meter.Start(SampleAttempt());
  }
  opened.journal->RunOnce();
  const auto records = ReadAll(*opened.journal, opened.journal->incarnation());
  REQUIRE(records.size() == 3);
  CHECK(records[2].finished().source() == v1::USAGE_SOURCE_ESTIMATED);
  CHECK(records[2].finished().end() == v1::END_UPSTREAM_CUT);
  CHECK(records[2].finished().cost_nanos() == 200'000);
}

TEST_CASE("nothing consumed costs nothing") {
  const ScratchFolder folder;
  const ManualClock clock;
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  Meter meter(*opened.journal, clock);
  auto outcome = SampleOutcome();
  outcome.source = v1::USAGE_SOURCE_NONE;
  outcome.end = v1::END_UNREACHABLE;
  CHECK(std::move(*meter.Start(SampleAttempt())).Finish(outcome).cost == 0);
}

TEST_CASE("the epoch survives a restart, retirement does not") {
  const ScratchFolder folder;
  const ManualClock clock;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    REQUIRE(opened.journal->NoteInstruction(7, true));
    REQUIRE(opened.journal->NoteInstruction(3, true));
    CHECK(opened.journal->highest_epoch() == 7);
    CHECK(opened.journal->retired());
  }
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  CHECK(opened.journal->highest_epoch() == 7);
  CHECK_FALSE(opened.journal->retired());
}

TEST_CASE("journal metrics say what is held and for how long") {
  const ScratchFolder folder;
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
