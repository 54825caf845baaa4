// kill -9 at random moments: what Append returned is there, gapless.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <random>
#include <set>
#include <thread>

#include "tests/unit/dataplane/metering/scratch.h"

namespace spillway {
namespace {

// What a child tells after Append returned: a Started's or a Finished's.
struct Report {
  int64_t attempt = 0;
  int64_t end = 0;  // 0: started
};

// The journal's thread may need a moment to make the next segment.
Result<OpenAttempt> StartWhenRoom(Meter& meter, const AttemptInfo& info) {
  while (true) {
    auto open = meter.Start(info);
    if (open || open.error().code != ErrorCode::kJournalFull) return open;
  }
}

[[noreturn]] void AppendForEver(const std::string& path, int pipe_fd) {
  auto dir = DataDir::Open(path, "dp-1");
  if (!dir) _exit(1);
  auto options = SmallJournal();
  options.threaded = true;
  options.full = JournalFull::kRefuse;  // sums in memory would not survive
  options.bytes_max = 256 * 1024 * 1024;
  auto journal = Journal::Open(*dir, options, SystemClock());
  if (!journal) _exit(2);
  Meter meter(**journal, SystemClock());
  std::atomic<int64_t> next = 1;
  const auto work = [&] {
    while (true) {
      const int64_t attempt = next++;
      auto info = SampleAttempt();
      const std::string id = std::to_string(attempt);
      info.attempt_id = id;
      auto open = StartWhenRoom(meter, info);
      if (!open) _exit(3);
      Report report{.attempt = attempt};
      if (write(pipe_fd, &report, sizeof(report)) != sizeof(report)) _exit(4);
      std::move(*open).Finish(SampleOutcome());
      report.end = 1;
      if (write(pipe_fd, &report, sizeof(report)) != sizeof(report)) _exit(5);
    }
  };
  const std::jthread other(work);
  work();
  _exit(6);
}

struct Reported {
  std::set<std::string> started, ended;
};

// Runs a child until it made about `reports` reports, then kills it.
Reported KillAfter(const std::string& path, int reports) {
  int fds[2];
  REQUIRE(pipe(fds) == 0);
  const pid_t child = fork();
  if (child == 0) {
    close(fds[0]);
    AppendForEver(path, fds[1]);
  }
  close(fds[1]);
  Reported reported;
  Report report;
  int seen = 0;
  while (read(fds[0], &report, sizeof(report)) == sizeof(report)) {
    (report.end != 0 ? reported.ended : reported.started).insert(std::to_string(report.attempt));
    if (++seen == reports) kill(child, SIGKILL);
  }
  close(fds[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE(seen >= reports);
  return reported;
}

TEST_CASE("after kill -9 every reported record is replayed, gapless, every attempt ended once") {
  const TempFolder folder;
  std::minstd_rand random(Catch::getSeed());
  std::uniform_int_distribution<int> moment(1, 6000);
  std::set<std::string> known;
  for (int round = 0; round < 25; ++round) {
    const Reported reported = KillAfter(folder.path(), moment(random));
    auto opened = OpenJournal(folder.path(), SystemClock(), SmallJournal());
    CHECK(opened.journal->stats().lost == 0);
    for (const v1::JournalState& state : opened.journal->States()) {
      const auto records = ReadAll(*opened.journal, state.incarnation());
      if (state.incarnation() == opened.journal->incarnation() ||
          !known.insert(state.incarnation()).second)
        continue;
      std::map<int64_t, std::string> open;
      std::set<std::string> started, ended;
      for (size_t i = 0; i < records.size(); ++i) {
        const v1::UsageRecord& record = records[i];
        REQUIRE(record.seq() == static_cast<int64_t>(i) + 1);
        if (record.has_started()) {
          started.insert(record.started().attempt_id());
          open[record.seq()] = record.started().attempt_id();
        } else if (record.has_finished()) {
          ended.insert(record.finished().attempt_id());
          REQUIRE(open.erase(record.finished().started_seq()) == 1);
        } else if (record.has_abandoned()) {
          REQUIRE(open.erase(record.abandoned().started_seq()) == 1);
        }
      }
      CHECK(open.empty());
      REQUIRE(records.back().has_closed());
      if (records.size() < 3) continue;  // the parent's own short lives
      for (const std::string& id : reported.started) REQUIRE(started.contains(id));
      for (const std::string& id : reported.ended) REQUIRE(ended.contains(id));
    }
  }
}

}  // namespace
}  // namespace spillway
