// What the next process finds in a journal, and adds to it.
#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/metering/journal.h"
#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

TEST_CASE("a restart names its predecessor and settles its open attempts behind its last record") {
  const TempFolder folder;
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
  const TempFolder folder;
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

TEST_CASE("an orphan that outgrew what its budgets gave charges them at least what it cost") {
  const TempFolder folder;
  const ManualClock clock;
  std::string first;
  v1::Account account;
  account.set_budget_id("a");
  const std::vector accounts = {std::make_shared<const std::string>(account.SerializeAsString())};
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    first = opened.journal->incarnation();
    const std::string joined = JoinAccounts(accounts);
    RecordBuffer record;
    StartedFields fields{
        .attempt_id = "orphan", .reserved = 500, .accounts = joined, .likely = 200};
    EncodeStarted(clock.WallMs(), fields, record);
    const auto seq = opened.journal->Append(record.view(), Journal::Kind::kStarted);
    REQUIRE(seq.has_value());
    fields.likely = 900;
    fields.started_seq = *seq;
    EncodeStarted(clock.WallMs(), fields, record);
    REQUIRE(opened.journal->Append(record.view(), Journal::Kind::kOther).has_value());
  }
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  const auto records = ReadAll(*opened.journal, first);
  const v1::UsageRecord& abandoned = records[records.size() - 2];
  REQUIRE(abandoned.has_abandoned());
  CHECK(abandoned.abandoned().estimate().cost_nanos() == 900);
  CHECK(abandoned.abandoned().estimate().hold_nanos() == 900);
  REQUIRE(records.back().closed().accounts_size() == 1);
  CHECK(records.back().closed().accounts(0).charged() == 900);
}

TEST_CASE("a second restart adds nothing to a closed journal, and what is committed goes") {
  const TempFolder folder;
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
  const TempFolder folder;
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
  const TempFolder folder;
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
      if (round == 3 || round == 7)
        OutgrowAndForget(journal, clock, open_seq, int64_t{100} * round);
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

TEST_CASE("a restart frees no more than the last backup has, and hears again what may go") {
  const TempFolder folder;
  const ManualClock clock;
  std::string first;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    Journal& journal = *opened.journal;
    first = journal.incarnation();
    RunAttempts(journal, clock, 500);
    journal.RunOnce();
    journal.MarkCommitted(first, 1'001, 300);
    journal.RunOnce();
  }
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  Journal& journal = *opened.journal;
  journal.RunOnce();
  const auto kept = ReadAll(journal, first);
  REQUIRE_FALSE(kept.empty());
  CHECK(kept.front().seq() > 1);
  CHECK(kept.front().seq() <= 301);
  CHECK(kept.back().seq() == 1'002);  // Closed
  CHECK(journal.stats().lost == 0);
  // The control plane speaks when it knows more than it is told.
  CHECK(journal.States().front().committed_upto() == 300);
  CHECK(journal.States().front().published_upto() == 1'001);
  SECTION("backed up meanwhile") { journal.MarkCommitted(first, 1'002, 1'002); }
  SECTION("backups are off now") { journal.MarkCommitted(first, 1'002, {}); }
  journal.RunOnce();
  CHECK_FALSE(std::filesystem::exists(folder.path() + "/journal/" + first));
}

TEST_CASE("what may be freed stays so over a restart") {
  const TempFolder folder;
  const ManualClock clock;
  std::string first;
  {
    auto opened = OpenJournal(folder.path(), clock, SmallJournal());
    first = opened.journal->incarnation();
    RunAttempts(*opened.journal, clock, 500);
    opened.journal->AppendClosed();
    opened.journal->MarkCommitted(first, 1'002, {});
  }
  auto opened = OpenJournal(folder.path(), clock, SmallJournal());
  opened.journal->RunOnce();
  CHECK_FALSE(std::filesystem::exists(folder.path() + "/journal/" + first));
}

TEST_CASE("the epoch survives a restart, retirement does not") {
  const TempFolder folder;
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

}  // namespace
}  // namespace spillway
