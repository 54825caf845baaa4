#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/snapshot/quarantined.h"

namespace spillway {
namespace {

// Runs `body` in a child process; returns how the child ended.
template <typename Body>
int InChild(Body body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // No report of the crash that is wanted, and no core file.
    for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE, SIGTERM})
      ::signal(signal, SIG_DFL);
    const rlimit none = {0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    body();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

std::optional<CrashRecord> LeftBehind(const std::string& path) {
  auto marker = CrashMarker::Open(path);
  REQUIRE(marker);
  return (*marker)->left_behind();
}

TEST_CASE("the marker records fatal signals while a revision is on trial, and nothing else") {
  struct Row {
    std::string_view name;
    int signal;
    int64_t armed;
    bool want;
  };
  const auto row = GENERATE(values<Row>({
      {"SEGV", SIGSEGV, 5, true},
      {"ABRT", SIGABRT, 5, true},
      {"BUS", SIGBUS, 5, true},
      {"ILL", SIGILL, 5, true},
      {"FPE", SIGFPE, 5, true},
      {"KILL", SIGKILL, 5, false},
      {"TERM", SIGTERM, 5, false},
      {"nothing on trial", SIGSEGV, 0, false},
  }));
  INFO(row.name);
  const TempFolder folder;
  const std::string path = folder.path() + "/marker";
  const int status = InChild([&] {
    auto marker = CrashMarker::Open(path);
    if (!marker || !(*marker)->Install()) ::_exit(1);
    if (row.armed != 0) (*marker)->Arm(row.armed);
    ::raise(row.signal);
  });
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == row.signal);
  const auto record = LeftBehind(path);
  REQUIRE(record.has_value() == row.want);
  if (!record) return;
  CHECK(record->revision == 5);
  CHECK(record->signal == row.signal);
  CHECK(record->after_ms < 60'000);
}

TEST_CASE("the marker records real faults, stack overflows too") {
  const TempFolder folder;
  const std::string path = folder.path() + "/marker";
  const bool overflow = GENERATE(false, true);
  const int status = InChild([&] {
    auto marker = CrashMarker::Open(path);
    if (!marker || !(*marker)->Install()) ::_exit(1);
    (*marker)->Arm(9);
    if (overflow) {
      // A guard page stands for the end of the stack: touched with the stack pointer below it.
      rlimit stack = {64 * 1024, 64 * 1024};
      ::setrlimit(RLIMIT_STACK, &stack);
      struct Deep {
        static int Down(volatile char* above) {
          if (above[0] == 0) return 0;
          volatile char here[4096];
          here[0] = above[0];
          return Down(here) + here[1];
        }
      };
      volatile char top[1] = {1};
      ::_exit(Deep::Down(top));
    }
    volatile int* nowhere = nullptr;
    *nowhere = 1;
  });
  REQUIRE(WIFSIGNALED(status));
  const auto record = LeftBehind(path);
  REQUIRE(record);
  CHECK(record->revision == 9);
  CHECK(record->signal == SIGSEGV);
}

TEST_CASE("a crash after the window, or a marker that was emptied, says nothing") {
  const TempFolder folder;
  const std::string path = folder.path() + "/marker";
  SECTION("after the window") {
    InChild([&] {
      auto marker = CrashMarker::Open(path);
      if (!marker || !(*marker)->Install()) ::_exit(1);
      (*marker)->Arm(5, /*elapsed_ms=*/60'001);
      ::raise(SIGSEGV);
    });
  }
  SECTION("disarmed") {
    InChild([&] {
      auto marker = CrashMarker::Open(path);
      if (!marker || !(*marker)->Install()) ::_exit(1);
      (*marker)->Arm(5);
      (*marker)->Disarm();
      ::raise(SIGABRT);
    });
  }
  SECTION("emptied") {
    InChild([&] {
      auto marker = CrashMarker::Open(path);
      if (!marker || !(*marker)->Install()) ::_exit(1);
      (*marker)->Arm(5);
      ::raise(SIGABRT);
    });
    auto marker = CrashMarker::Open(path);
    REQUIRE(marker);
    REQUIRE((*marker)->left_behind());
    REQUIRE((*marker)->Forget());
  }
  CHECK_FALSE(LeftBehind(path));
}

TEST_CASE("two crashes quarantine a revision that never ran a whole trial") {
  Quarantine quarantine;
  const auto crash = [](uint64_t id, int64_t revision, int64_t after_ms = 10) {
    return CrashRecord{.id = id, .revision = revision, .after_ms = after_ms, .signal = SIGSEGV};
  };
  CHECK_FALSE(quarantine.Count(crash(1, 7), 60'000));
  CHECK_FALSE(quarantine.Count(crash(1, 7), 60'000));  // the same record again
  CHECK_FALSE(quarantine.Contains(7));
  CHECK_FALSE(quarantine.Count(crash(2, 7, 60'001), 60'000));  // too late to be its fault
  CHECK_FALSE(quarantine.Contains(7));
  CHECK(quarantine.Count(crash(3, 7), 60'000));
  CHECK(quarantine.Contains(7));
  CHECK_FALSE(quarantine.Contains(8));

  quarantine.MarkProven(8);
  quarantine.Count(crash(4, 8), 60'000);
  quarantine.Count(crash(5, 8), 60'000);
  CHECK_FALSE(quarantine.Contains(8));

  const TempFolder folder;
  const std::string path = folder.path() + "/quarantine";
  REQUIRE(durable::WriteFile(path, quarantine.Render()));
  Quarantine read = Quarantine::Load(path);
  CHECK(read.revisions() == std::vector<int64_t>{7});
  CHECK(read.IsProven(8));
  CHECK_FALSE(read.Count(crash(5, 9), 60'000));
  REQUIRE(durable::WriteFile(path, "damaged"));
  CHECK(Quarantine::Load(path).revisions().empty());
}

TEST_CASE("a quarantined revision: the previous one boots, its revocations stay in force") {
  Quarantined q;
  FeedHarness& h = q.h;
  SECTION("known on disk, NATS away") {
    h.Publish(q.poison);
    REQUIRE(h.revision() == 12);
    h.core->writer().Flush();
    q.CrashTwice();
    h.client->Disconnect();
    h.Start();
    h.EndWait();
    CHECK(h.status().source == "disk");
  }
  SECTION("known on NATS only") {
    q.CrashTwice();
    h.cp.PublishDelta(q.poison);
    h.cp.PublishLatest();
    h.Start();
    CHECK(h.heartbeats().back().nack().revision() == 12);
    CHECK_THAT(h.heartbeats().back().nack().reason(),
               Catch::Matchers::ContainsSubstring("quarantined"));
  }
  SECTION("known on NATS only, and from then on without NATS too") {
    q.CrashTwice();
    h.cp.PublishDelta(q.poison);
    h.cp.PublishLatest();
    h.Start();
    q.CheckPrevious();
    h.core->writer().Flush();
    h.Stop();
    h.client->Disconnect();
    h.Start();
    h.EndWait();
  }
  SECTION("as a full state on NATS") {
    q.CrashTwice();
    h.cp.PublishFull();
    h.cp.PublishLatest();
    h.Start();
    q.CheckPrevious();
    h.core->writer().Flush();
    h.Stop();
    CHECK(h.FilesEndingWith(".held").size() == 1);
    h.client->Disconnect();
    h.Start();
    h.EndWait();
  }
  SECTION("as a generation on disk that must not boot") {
    h.cp.PublishFull();
    h.cp.PublishLatest();
    h.pushes.clear();
    h.Pass(30'001);
    REQUIRE(h.revision() == 12);
    h.core->writer().Flush();
    q.CrashTwice();
    h.client->Disconnect();
    h.Start();
    h.EndWait();
  }
  SECTION("pushed to a process that knows it already") {
    q.CrashTwice();
    h.Start();
    REQUIRE(h.revision() == 11);
    h.Publish(q.poison);
  }
  q.CheckPrevious();

  // A newer one ends it, fetched full, and its word on keys counts again.
  h.client->Reconnect();
  h.cp.PutKey("bot", "sk-bot");
  const v1::Delta cure = h.cp.Commit();
  h.cp.PublishDelta(cure);
  h.cp.PublishFull();
  h.cp.PublishLatest();
  h.Pump();
  h.core->OnConnected();
  CHECK(h.revision() == 13);
  CHECK_FALSE(FindSecret(*h.active, "sk-bot")->key->revoked);
  CHECK(FindSecret(*h.active, "sk-gone") == nullptr);
  CHECK(FindSecret(*h.active, "sk-new") != nullptr);
  CHECK_FALSE(h.status().restricted);
  h.core->writer().Flush();
  h.Stop();
  h.client->Disconnect();
  h.Start();
  h.EndWait();
  CHECK(h.revision() == 13);
}

TEST_CASE("a second quarantined revision: what both revoke stays revoked, on disk too") {
  Quarantined q;
  FeedHarness& h = q.h;
  q.CrashTwice();
  h.LeaveCrash(13, 103);
  h.LeaveCrash(13, 104);
  h.cp.PublishDelta(q.poison);
  h.cp.PublishLatest();
  h.Start();
  REQUIRE(h.revision() == 11);
  h.cp.PutKey("fine", "sk-fine", /*revoked=*/true);
  h.cp.PutKey("bot", "sk-bot");
  h.Publish(h.cp.Commit());
  for (int i = 0; i < 2; ++i) {
    CHECK(h.revision() == 11);
    CHECK(FindSecret(*h.active, "sk-fine")->key->revoked);
    CHECK(FindSecret(*h.active, "sk-bot")->key->revoked);
    CHECK(FindSecret(*h.active, "sk-gone")->key->revoked);
    h.core->writer().Flush();
    h.Stop();
    h.client->Disconnect();
    h.Start();
    h.EndWait();
  }
}

TEST_CASE("an empty disk and a quarantined latest: NATS gives the one before") {
  Quarantined q;
  q.CrashTwice();
  for (const std::string suffix : {".base", ".log"})
    for (const std::string& file : q.h.FilesEndingWith(suffix)) std::filesystem::remove(file);
  q.h.cp.PublishDelta(q.poison);
  q.h.cp.PublishLatest();
  q.h.Start();
  q.CheckPrevious();
}

TEST_CASE("the seed of a quarantined revision does not boot") {
  Quarantined q;
  FeedHarness& h = q.h;
  q.CrashTwice();
  std::filesystem::remove_all(h.FilesEndingWith(".base").front());
  h.seed_path = h.folder.path() + "/seed";
  FeedHarness::Write(h.seed_path, h.cp.File());
  h.client->Disconnect();
  h.Start();
  h.EndWait();
  CHECK(h.active == nullptr);
  CHECK(h.refused(RefusalClass::kQuarantined) >= 1);
}

TEST_CASE("a revision that ran its minute is proven: crashes no longer count") {
  FeedHarness h;
  auto marker = CrashMarker::Open(h.folder.path() + "/marker");
  REQUIRE(marker);
  h.marker = marker->get();
  h.StartWithState();
  CHECK((*marker)->armed_revision() == 11);
  h.Pass(59'999);
  CHECK((*marker)->armed_revision() == 11);
  h.Pass(1);
  CHECK((*marker)->armed_revision() == 0);
  h.core->writer().Flush();
  h.cp.PutKey("a", "sk-a");
  h.Publish(h.cp.Commit());
  CHECK((*marker)->armed_revision() == 12);

  // A revision that is refused hands the marker back to the one that runs.
  h.cp.PutRaw(v1::KIND_KEY, "bad", "\xff");
  h.Publish(h.cp.Commit());
  CHECK(h.revision() == 12);
  CHECK((*marker)->armed_revision() == 12);
  h.Stop();
  h.LeaveCrash(11, 201);
  h.LeaveCrash(11, 202);
  h.client->Disconnect();
  h.Start();
  h.EndWait();
  CHECK(h.status().quarantined.empty());
  CHECK(h.revision() == 12);
}

TEST_CASE("crash, count, crash, quarantine: with a real process") {
  Quarantined q;
  FeedHarness& h = q.h;
  h.Publish(q.poison);
  h.core->writer().Flush();
  h.Stop();
  h.client->Disconnect();
  const std::string path = h.folder.path() + "/marker";
  for (int i = 0; i < 2; ++i) {
    const int status = InChild([&] {
      auto marker = CrashMarker::Open(path);
      if (!marker || !(*marker)->Install()) ::_exit(1);
      h.marker = marker->get();
      h.Start();
      h.EndWait();
      if (h.revision() != 12) ::_exit(2);
      ::raise(SIGSEGV);
    });
    REQUIRE(WIFSIGNALED(status));
  }
  auto marker = CrashMarker::Open(path);
  REQUIRE(marker);
  h.marker = marker->get();
  h.Start();
  h.EndWait();
  q.CheckPrevious();
}

TEST_CASE(
    "kill -9 while generations are written: the next process boots, with all that was synced") {
  FeedHarness h;
  for (int i = 0; i < 200; ++i) h.cp.PutKey("key-" + std::to_string(i), "sk-" + std::to_string(i));
  h.cp.Commit();
  for (int round = 1; round <= 30; ++round) {
    // Every child begins at the same revision, so in an epoch of its own.
    h.cp.position.set_epoch(10 + round);
    h.cp.PublishFull();
    h.cp.PublishLatest();
    std::array<int, 2> pipe = {};
    REQUIRE(::pipe(pipe.data()) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      h.Start();
      h.core->writer().Flush();  // from here on disk_revision speaks of this epoch
      for (int i = 0;; ++i) {
        h.cp.PutKey("churn", "sk-churn-" + std::to_string(i));
        h.cp.PublishDelta(h.cp.Commit());
        // Now and then a full state, so that generations are begun and dropped too.
        if (i % 3 == 0) {
          h.pushes.clear();
          h.PutOnStream(subjects::Delta(h.cp.position.revision()), "");
          h.cp.PublishFull();
          h.cp.PublishLatest();
          h.core->OnConnected();
        } else {
          h.Pump();
        }
        const int64_t safe = h.status().disk_revision;
        if (::write(pipe[1], &safe, sizeof(safe)) != sizeof(safe)) ::_exit(1);
      }
    }
    // Killed after a number of commits, at whatever byte the writer is then.
    int64_t safe = 0;
    for (int i = 0; i <= round * 7 % 40; ++i) {
      REQUIRE(::read(pipe[0], &safe, sizeof(safe)) == sizeof(safe));
    }
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    ::close(pipe[0]);
    ::close(pipe[1]);

    h.client->Disconnect();
    h.Start();
    h.EndWait();
    REQUIRE(h.active != nullptr);
    CHECK(h.status().source == "disk");
    CHECK(h.active->position().epoch() == 10 + round);
    CHECK(h.revision() >= safe);
    CHECK(FindSecret(*h.active, "sk-77") != nullptr);
    CHECK(h.status().quarantined.empty());
    h.Stop();
    h.client->Reconnect();
  }
}

}  // namespace
}  // namespace spillway
