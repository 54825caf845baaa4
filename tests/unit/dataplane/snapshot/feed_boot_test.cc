// Where a data plane finds its first snapshot: NATS, its disk, the mounted seed.
#include <catch2/catch_all.hpp>

#include "dataplane/snapshot/feed.h"
#include "tests/unit/dataplane/snapshot/feed_harness.h"

namespace spillway {
namespace {

using Catch::Matchers::ContainsSubstring;

TEST_CASE("boot: NATS when it answers") {
  FeedHarness h;
  h.cp.PublishFull();
  h.cp.PublishLatest();
  h.Start();
  CHECK(h.revision() == 11);
  CHECK(h.status().ready);
  CHECK(h.status().source == "nats");
  CHECK(h.status().fleet_size == 2);
  CHECK(FindSecret(*h.active, "sk-bot") != nullptr);
}

TEST_CASE("boot: the full state and the deltas behind it") {
  FeedHarness h;
  h.cp.PublishFull();
  for (const char* name : {"a", "b", "c"}) {
    h.cp.PutKey(name, std::string("sk-") + name);
    h.cp.CommitAndPublish();
  }
  h.cp.Remove(v1::KIND_KEY, "b");
  h.cp.CommitAndPublish();
  h.Start();
  CHECK(h.revision() == 15);
  CHECK(FindSecret(*h.active, "sk-a") != nullptr);
  CHECK(FindSecret(*h.active, "sk-b") == nullptr);
}

TEST_CASE("boot: disk only after NATS had its time") {
  FeedHarness h;
  h.StartWithState();
  h.Stop();
  h.client->Disconnect();
  h.Start();
  CHECK(h.active == nullptr);
  CHECK_FALSE(h.status().ready);
  CHECK(h.status().reason == "booting: waiting for NATS");
  h.Pass(499);
  CHECK(h.active == nullptr);
  h.Pass(1);
  CHECK(h.revision() == 11);
  CHECK(h.status().source == "disk");

  SECTION("NATS within the time wins, with what is newer") {
    h.Stop();
    h.client->Reconnect();
    h.cp.PutKey("late", "sk-late");
    h.cp.CommitAndPublish();
    h.client->Disconnect();
    h.Start();
    h.Pass(100);
    CHECK(h.active == nullptr);
    h.client->Reconnect();
    h.core->OnConnected();
    CHECK(h.revision() == 12);
    CHECK(h.status().source == "nats");
  }
  SECTION("NATS that is back later brings what is newer, at once") {
    h.client->Reconnect();
    h.cp.PutKey("late", "sk-late");
    h.cp.CommitAndPublish();
    h.core->OnConnected();
    CHECK(h.revision() == 12);
    CHECK(h.status().source == "nats");
  }
}

TEST_CASE("boot: the size of the fleet is known without NATS, as it was last said") {
  FeedHarness h;
  h.StartWithState();
  SECTION("as at first") {}
  SECTION("grown under the same epoch, with a generation begun since") {
    h.cp.fleet_size = 10;
    h.cp.PublishLatest();
    h.Pass(30'001);
    h.cp.Commit();
    h.cp.PublishFull();
    h.cp.PublishLatest();
    h.pushes.clear();
    h.Pass(30'001);
    REQUIRE(h.revision() == 12);
  }
  h.Stop();
  h.client->Disconnect();
  h.Start();
  h.EndWait();
  CHECK(h.status().source == "disk");
  CHECK(h.status().fleet_size == h.cp.fleet_size);
}

TEST_CASE("boot: the seed comes last") {
  FeedHarness h;
  h.seed_path = h.folder.path() + "/seed";
  FeedHarness::Write(h.seed_path, h.cp.File());
  h.client->Disconnect();
  h.Start();
  CHECK(h.active == nullptr);
  h.EndWait();
  CHECK(h.revision() == 11);
  CHECK(h.status().source == "seed");
  h.core->writer().Flush();

  h.Stop();
  std::filesystem::remove(h.seed_path);
  h.Start();
  h.EndWait();
  CHECK(h.status().source == "disk");
}

TEST_CASE("boot: nothing anywhere is not ready, with all reasons") {
  FeedHarness h;
  h.client->Disconnect();
  h.Start();
  h.EndWait();
  CHECK(h.active == nullptr);
  CHECK_FALSE(h.status().ready);
  CHECK_THAT(h.status().reason, ContainsSubstring("NATS is not connected") &&
                                    ContainsSubstring("no snapshot on disk") &&
                                    ContainsSubstring("no seed"));
  SECTION("connected, but nothing was published") {
    h.client->Reconnect();
    h.core->OnConnected();
    CHECK_THAT(h.status().reason, ContainsSubstring("no configuration was published yet"));
    h.cp.PublishFull();
    h.cp.PublishLatest();
    h.Pass(1'001);  // it asks every second while it is not ready
    CHECK(h.revision() == 11);
  }
}

}  // namespace
}  // namespace spillway
