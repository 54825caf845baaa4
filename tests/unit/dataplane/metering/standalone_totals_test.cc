#include "dataplane/metering/standalone_totals.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>

#include "common/durable_file.h"
#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

JournalOptions Standalone() {
  auto options = SmallJournal();
  options.standalone = true;
  options.bytes_max = 192 * 1024;
  return options;
}

// Attempts and cost of all days.
std::pair<int64_t, int64_t> Sum(const std::string& path) {
  const auto totals = ReadUsage(path);
  REQUIRE(totals.has_value());
  std::pair<int64_t, int64_t> sum;
  for (const v1::TotalsRow& row : totals->rows()) {
    if (row.window_hours() != 24) continue;
    sum.first += row.attempts();
    sum.second += row.cost_nanos();
  }
  return sum;
}

TEST_CASE("standalone totals are exact while segments are dropped under them") {
  const TempFolder folder;
  ManualClock clock;
  Nanos spent = 0;
  for (int life = 0; life < 3; ++life) {
    auto opened = OpenJournal(folder.path(), clock, Standalone());
    Meter meter(*opened.journal, clock);
    for (int i = 0; i < 1000; ++i) {
      spent += std::move(*meter.Start(SampleAttempt())).Finish(SampleOutcome()).cost;
      clock.AdvanceMs(10'000);
      if (i % 10 == 0) opened.journal->RunOnce();
      if (i % 333 == 0) CHECK(Sum(folder.path()).second <= spent);
    }
    opened.journal->RunOnce();
    CHECK(opened.journal->stats().counted_ends == 0);
    CHECK(opened.journal->stats().bytes <= Standalone().bytes_max + 64 * 1024);
  }
  CHECK(Sum(folder.path()) == std::pair<int64_t, int64_t>(3000, spent));
  const auto text = RenderUsage(folder.path());
  REQUIRE(text.has_value());
  CHECK_THAT(*text, Catch::Matchers::ContainsSubstring("support"));
  CHECK_THAT(*text, Catch::Matchers::ContainsSubstring(FormatUsd(spent)));
}

TEST_CASE("standalone totals count every finished attempt once over kill -9") {
  const TempFolder folder;
  std::minstd_rand random(Catch::getSeed());
  int64_t finished = 0;
  for (int round = 0; round < 12; ++round) {
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    const pid_t child = fork();
    if (child == 0) {
      auto dir = DataDir::Open(folder.path(), "dp-1");
      if (!dir) _exit(1);
      auto options = Standalone();
      options.threaded = true;
      auto journal = Journal::Open(*dir, options, SystemClock());
      if (!journal) _exit(2);
      Meter meter(**journal, SystemClock());
      for (int i = 1;; ++i) {
        std::move(*meter.Start(SampleAttempt())).Finish(SampleOutcome());
        const char byte = 'x';
        // Sums in memory do not survive a kill; here the journal keeps up, so there are none.
        if (i % 20 == 0) (*journal)->RunOnce();
        if ((*journal)->stats().counted_ends > 0) _exit(3);
        if (write(fds[1], &byte, 1) != 1) _exit(4);
      }
    }
    close(fds[1]);
    const int64_t until = std::uniform_int_distribution<int64_t>(1, 1500)(random);
    int64_t seen = 0;
    for (char byte = 0; read(fds[0], &byte, 1) == 1;)
      if (++seen == until) kill(child, SIGKILL);
    close(fds[0]);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    finished += seen;
    const int64_t counted = Sum(folder.path()).first;
    // The child may have finished one more than it could tell.
    REQUIRE(counted >= finished);
    REQUIRE(counted <= finished + 1);
    auto opened =
        OpenJournal(folder.path(), SystemClock(), Standalone());  // settles the orphan, if any
    opened.journal.reset();
    const int64_t settled = Sum(folder.path()).first;
    REQUIRE(settled >= counted);
    REQUIRE(settled <= counted + 1);
    finished = settled;
  }
}

TEST_CASE("hours are dropped after three days, days stay") {
  const TempFolder folder;
  auto totals = StandaloneTotals::Load(folder.path());
  REQUIRE(totals.has_value());
  v1::UsageRecord record;
  constexpr int64_t kDayMs = 86'400'000;
  for (int day = 0; day < 10; ++day) {
    record.set_seq(day + 1);
    record.set_time_ms(day * kDayMs);
    record.mutable_finished()->set_cost_nanos(1);
    totals->Add(std::string(32, 'a'), record);
    totals->Add(std::string(32, 'a'), record);  // again: not counted
  }
  REQUIRE(totals->Save(9 * kDayMs));
  const auto loaded = StandaloneTotals::Load(folder.path());
  REQUIRE(loaded.has_value());
  int hours = 0;
  int days = 0;
  const v1::UsageTotals kept = loaded->ToProto();
  for (const auto& row : kept.rows()) ++(row.window_hours() == 1 ? hours : days);
  CHECK(days == 10);
  CHECK(hours == 4);
  CHECK(loaded->IncludedUpto(std::string(32, 'a')) == 10);
}

TEST_CASE("unreadable totals are refused, not overwritten") {
  const TempFolder folder;
  REQUIRE(durable::WriteFile(folder.path() + "/totals", "\xff\xff\xff"));
  auto dir = DataDir::Open(folder.path(), "dp-1");
  REQUIRE(dir.has_value());
  const ManualClock clock;
  const auto journal = Journal::Open(*dir, Standalone(), clock);
  REQUIRE_FALSE(journal.has_value());
  CHECK(journal.error().code == ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace spillway
