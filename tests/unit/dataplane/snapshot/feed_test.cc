#include "dataplane/snapshot/feed.h"

#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/snapshot/feed_harness.h"

namespace spillway {
namespace {

using Catch::Matchers::ContainsSubstring;

TEST_CASE("push: one delta is active at once, with a heartbeat") {
  FeedHarness h;
  h.StartWithState();
  h.cp.PutKey("bot", "sk-bot", /*revoked=*/true);
  const v1::Delta delta = h.cp.Commit();
  h.cp.PublishDelta(delta);  // the pointer to the latest comes later
  h.Pump();
  CHECK(h.revision() == 12);
  CHECK(FindSecret(*h.active, "sk-bot")->key->revoked);
  const v1::Heartbeat beat = h.heartbeats().back();
  CHECK(beat.revision() == 12);
  CHECK(beat.digest() == h.cp.position.digest());
  CHECK(beat.ready());
  CHECK(beat.revision_source() == "nats");
  CHECK(beat.epoch() == 3);
  REQUIRE(beat.journals_size() == 1);
  CHECK(beat.journals(0).last_seq() == 7);
  CHECK_FALSE(beat.has_nack());

  SECTION("twice, or late, changes nothing") {
    const size_t beats = h.heartbeats().size();
    h.core->OnPush(h.cp.SignedDelta(delta));
    CHECK(h.revision() == 12);
    CHECK(h.heartbeats().size() == beats);
    CHECK_FALSE(h.status().refused_revision);
  }
}

TEST_CASE("gaps are filled: by deltas, else by the full state") {
  FeedHarness h;
  h.StartWithState();
  for (int i = 0; i < 3; ++i) {
    h.cp.PutKey("k" + std::to_string(i), "sk-" + std::to_string(i));
    h.cp.CommitAndPublish();
  }
  h.pushes.clear();  // all three were lost
  h.cp.PutKey("k3", "sk-3");
  SECTION("with the next push") {
    h.Publish(h.cp.Commit());
    CHECK(h.revision() == 15);
  }
  SECTION("with the next poll") {
    h.cp.CommitAndPublish();
    h.pushes.clear();
    h.Pass(14'000);
    CHECK(h.revision() == 11);
    h.Pass(16'001);
    CHECK(h.revision() == 15);
  }
  SECTION("one delta is missing: the full state has it") {
    h.cp.CommitAndPublish();
    h.PutOnStream(subjects::Delta(13), "");
    h.cp.PublishFull();
    h.cp.PublishLatest();
    h.Pump();
    CHECK(h.revision() == 15);
  }
  SECTION("a revision without a delta of its own, announced") {
    h.cp.CommitAndPublish();
    h.cp.PublishFull();
    v1::Delta announcement;
    *announcement.mutable_base() = h.cp.position;
    *announcement.mutable_position() = h.cp.position;
    h.cp.PublishLatest();
    h.pushes.clear();
    h.cp.PublishDelta(announcement);
    h.Pump();
    CHECK(h.revision() == 15);
    CHECK(h.status().refused_reason.empty());
  }
  SECTION("the push comes before the pointer: asked again soon") {
    const v1::Delta delta = h.cp.Commit();
    h.cp.PublishDelta(delta);
    h.Pump();
    CHECK(h.revision() == 14);
    h.cp.PublishLatest();
    h.Pass(101);
    CHECK(h.revision() == 15);
  }
  CHECK(FindSecret(*h.active, "sk-3") != nullptr);
  CHECK(FindSecret(*h.active, "sk-1") != nullptr);
}

TEST_CASE("a later epoch for the same revision is taken over and outlives a restart") {
  FeedHarness h;
  h.StartWithState();
  h.cp.position.set_epoch(8);
  h.cp.PublishLatest();
  h.Pass(30'001);
  CHECK(h.revision() == 11);
  CHECK(h.active->position().epoch() == 8);
  CHECK(h.heartbeats().back().epoch() == 8);
  h.core->writer().Flush();
  h.Stop();
  h.client->Disconnect();
  h.Start();
  h.EndWait();
  CHECK(h.active->position().epoch() == 8);
  h.client->Reconnect();
  h.cp.position.set_epoch(7);
  h.cp.PutKey("old", "sk-old");
  h.cp.CommitAndPublish();
  h.core->OnConnected();
  CHECK(h.revision() == 11);
  CHECK(h.refused(RefusalClass::kEpoch) >= 1);
}

TEST_CASE("an older pointer from a lagging replica is no refusal") {
  FeedHarness h;
  h.cp.PublishFull();
  const std::string old = h.cp.SignedLatest();
  h.cp.PutKey("a", "sk-a");
  h.cp.CommitAndPublish();
  h.Start();
  REQUIRE(h.revision() == 12);
  h.PutOnStream(std::string(subjects::kLatest), old);
  h.Pass(30'001);
  CHECK(h.revision() == 12);
  CHECK_FALSE(h.heartbeats().back().has_nack());
}

TEST_CASE("a higher epoch may go back to a lower revision") {
  FeedHarness h;
  h.StartWithState();
  h.cp.PutKey("a", "sk-a");
  h.cp.CommitAndPublish();
  h.Pump();
  REQUIRE(h.revision() == 12);
  h.cp.Remove(v1::KIND_KEY, "a");
  h.cp.Commit();
  h.cp.position.set_revision(5);
  h.cp.position.set_epoch(4);
  h.cp.PublishFull();
  h.cp.PublishLatest();
  h.Pass(30'001);
  CHECK(h.revision() == 5);
  CHECK(FindSecret(*h.active, "sk-a") == nullptr);
}

TEST_CASE("heartbeats: every two seconds, draining, goodbye") {
  FeedHarness h;
  h.StartWithState();
  h.Pass(1);  // the first
  const size_t before = h.heartbeats().size();
  h.Pass(1'998);
  CHECK(h.heartbeats().size() == before);
  h.Pass(2);
  CHECK(h.heartbeats().size() == before + 1);
  h.core->SetDraining();
  CHECK(h.heartbeats().back().draining());
  CHECK_FALSE(h.heartbeats().back().ready());
  h.core->Goodbye();
  CHECK(h.heartbeats().back().goodbye());
}

TEST_CASE("the feed on its threads: pushes, polls, goodbye") {
  TempFolder folder;
  MemoryBus server;
  FakeControlPlane cp(&server);
  cp.PublishFull();
  cp.PublishLatest();
  const auto client = server.Client();
  std::mutex mutex;
  std::condition_variable changed;
  int64_t revision = 0;
  FeedOptions options;
  options.instance = "dp-1";
  options.data_dir = folder.path();
  options.verifier = cp.verifier();
  options.seal_key = cp.seal_key();
  FeedHooks hooks;
  hooks.on_snapshot = [&](const SnapshotPtr& snapshot) {
    const std::lock_guard lock(mutex);
    revision = snapshot->position().revision();
    changed.notify_all();
  };
  auto feed = SnapshotFeed::Start(std::move(options), std::move(hooks), client.get(), SystemClock(),
                                  nullptr);
  REQUIRE(feed);
  const auto reaches = [&](int64_t wanted) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(20), [&] { return revision >= wanted; });
  };
  REQUIRE(reaches(11));
  for (int i = 0; i < 50; ++i) {
    cp.PutKey("k", "sk-" + std::to_string(i));
    cp.CommitAndPublish();
  }
  CHECK(reaches(61));
  (*feed)->SetDraining();
  (*feed)->Goodbye();
  v1::Heartbeat last;
  REQUIRE(last.ParseFromString(server.CorePublished().back().payload));
  CHECK(last.goodbye());
  CHECK((*feed)->status().ready);
  MetricsText text;
  (*feed)->AppendMetrics(text);
  const std::string scraped = std::move(text).Take();
  CHECK_THAT(scraped, ContainsSubstring("spillway_snapshot_revision 61") &&
                          ContainsSubstring("spillway_bus_state{state=\"connected\"} 1"));
  CHECK_THAT(RenderJson((*feed)->status()), ContainsSubstring("\"revision\":61"));
  (*feed)->Stop();
  (*feed)->Stop();
}

}  // namespace
}  // namespace spillway
