// Records that are gone from the disk or cannot be read there.
#include <algorithm>
#include <fstream>
#include <utility>
#include <vector>

#include "common/durable_file.h"
#include "dataplane/metering/journal.h"
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
      const TempFolder folder;
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
  const TempFolder folder;
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
  const TempFolder folder;
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

}  // namespace
}  // namespace spillway
