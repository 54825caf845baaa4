// kill -9 of a process that applies in a loop: what it said was applied is there, nothing twice.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/unit/controlplane/ledger/usage_source.h"

namespace spillway {
namespace {

// Exactly what stands before the position, to the nano-dollar.
bool HoldsPrefix(const Ledger& ledger, const std::vector<v1::UsageRun>& stream) {
  int64_t want = 0;
  for (uint64_t i = 0; i < ledger.position().seq; ++i) {
    for (const std::string& bytes : stream[i].records()) {
      v1::UsageRecord record;
      if (!record.ParseFromString(bytes)) return false;
      want += record.finished().cost_nanos();
    }
  }
  const auto spend = ledger.QuerySpend({});
  const auto verified = ledger.Verify();
  if (!spend || !verified || !verified->differences().empty()) return false;
  return (spend->rows_size() == 0 ? 0 : spend->rows(0).cost_nanos()) == want;
}

enum Exit : int { kDone = 0, kNoStore, kNoLedger, kBehind, kWrong, kNotApplied, kNoPipe };

// Checks what an earlier life left, then applies the stream from where the ledger stands, telling
// each position after it was applied. (The parent stays without a database: its threads would not
// survive a fork.)
[[noreturn]] void ApplyFrom(const std::string& path, const std::vector<v1::UsageRun>& stream,
                            uint64_t told, int pipe_fd) {
  auto store = Store::Open({.path = path + "/db"});
  if (!store) _exit(kNoStore);
  auto ledger = Ledger::Open(**store, {});
  if (!ledger) _exit(kNoLedger);
  if ((*ledger)->position().seq < told) _exit(kBehind);
  if (!HoldsPrefix(**ledger, stream)) _exit(kWrong);
  while (true) {
    Ledger::Position position = (*ledger)->position();
    if (position.seq >= stream.size()) _exit(kDone);
    // Every batch begins with one message of the last: redelivery must change nothing.
    const size_t from = position.seq > 0 ? position.seq - 1 : 0;
    const size_t size = std::min<size_t>(stream.size() - from, 7);
    position.seq = from + size;
    if (!(*ledger)->Apply(std::span(stream).subspan(from, size), position)) _exit(kNotApplied);
    if (write(pipe_fd, &position.seq, sizeof(position.seq)) != sizeof(position.seq)) _exit(kNoPipe);
  }
}

TEST_CASE(
    "after kill -9 while applying the ledger is whole, and the stream brings it to the truth") {
  const TempFolder folder;
  std::minstd_rand random(Catch::getSeed());
  UsageSource source("dp-1", 'a');
  for (int i = 0; i < 6000; ++i)
    source.Run({.key = "key-" + std::to_string(i % 40), .cost = 1 + i % 1000});
  const std::vector<v1::UsageRun> stream = source.Runs(random, 10);
  int kills = 0;
  uint64_t last_told = 0;
  for (bool done = false; !done;) {
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    const pid_t child = fork();
    if (child == 0) {
      close(fds[0]);
      ApplyFrom(folder.path(), stream, last_told, fds[1]);
    }
    close(fds[1]);
    const int until = std::uniform_int_distribution<int>(1, 25)(random);
    int count = 0;
    for (uint64_t told = 0; read(fds[0], &told, sizeof(told)) == sizeof(told);) {
      last_told = told;
      if (++count == until) kill(child, SIGKILL);
    }
    close(fds[0]);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) ++kills;
    done = WIFEXITED(status);
    if (done) REQUIRE(WEXITSTATUS(status) == kDone);
  }
  CHECK(kills > 10);
  auto opened = OpenLedger(folder.path());
  CHECK(TotalOf(*opened.ledger).cost_nanos() == source.cost());
  CHECK(TotalOf(*opened.ledger).attempts() == source.attempts());
  CHECK(opened.ledger->open_started() == 0);
}

}  // namespace
}  // namespace spillway
