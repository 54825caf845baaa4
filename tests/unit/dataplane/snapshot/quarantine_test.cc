// What a quarantine outlives, and what ends it.
#include <sys/resource.h>

#include <catch2/catch_all.hpp>
#include <csignal>

#include "tests/unit/dataplane/snapshot/quarantined.h"

namespace spillway {
namespace {

TEST_CASE("a restored control plane's revision is not the quarantined one of that number") {
  Quarantined q;
  FeedHarness& h = q.h;
  q.CrashTwice();
  h.cp.PublishDelta(q.poison);
  h.cp.PublishLatest();
  h.Start();
  q.CheckPrevious();
  h.cp.position.set_epoch(4);
  h.cp.PublishFull();
  h.cp.PublishLatest();
  h.Pass(30'001);
  q.CheckPrevious();  // the same state, published by a later epoch

  h.cp.position.set_epoch(5);
  h.cp.position.set_revision(11);
  h.cp.PutKey("bot", "sk-bot");
  h.cp.Commit();
  h.cp.PublishFull();
  h.cp.PublishLatest();
  h.Pass(30'001);
  for (int i = 0; i < 2; ++i) {
    REQUIRE(h.active != nullptr);
    CHECK(h.revision() == 12);
    CHECK(h.active->position().epoch() == 5);
    CHECK_FALSE(FindSecret(*h.active, "sk-bot")->key->revoked);
    CHECK_FALSE(h.status().restricted);
    CHECK(h.status().quarantined.empty());
    h.core->writer().Flush();
    h.Stop();
    h.client->Disconnect();
    h.Start();
    h.EndWait();
  }
}

// No file of this process grows beyond `bytes`, as if the disk were full.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &former_);
    const rlimit full = {bytes, former_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &full);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &former_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit former_ = {};
};

TEST_CASE("a quarantined revision's revocations reach a disk that was full for a while") {
  Quarantined q;
  FeedHarness& h = q.h;
  q.CrashTwice();
  SECTION("known by its delta") { h.cp.PublishDelta(q.poison); }
  SECTION("known by its full state") { h.cp.PublishFull(); }
  h.cp.PublishLatest();
  {
    const FullDisk disk(20);
    h.Start();
    q.CheckPrevious();
    h.core->writer().Flush();
    CHECK(h.status().disk_failures == 1);
  }
  h.Stop();  // tries again
  h.client->Disconnect();
  h.Start();
  h.EndWait();
  q.CheckPrevious();
}

}  // namespace
}  // namespace spillway
