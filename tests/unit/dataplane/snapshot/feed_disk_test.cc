// What is kept on disk and in memory, and how damage to it is found.
#include <catch2/catch_all.hpp>
#include <chrono>
#include <future>

#include "dataplane/snapshot/feed.h"
#include "dataplane/snapshot/rep.h"
#include "tests/unit/dataplane/snapshot/feed_harness.h"

namespace spillway {
namespace {

TEST_CASE("memory that went bad is found, and the state fetched anew") {
  FeedHarness h;
  h.StartWithState();
  // What a flipped bit would do, by the back door.
  bool flipped = false;
  h.active->rep().keys.ForEach([&](const KeyRecordPtr& record) {
    const_cast<std::string&>(record->bytes).back() ^= 1;
    flipped = true;
  });
  REQUIRE(flipped);
  const SnapshotPtr bad = h.active;
  for (int i = 0; i < 40; ++i) h.Pass(2'001);
  CHECK(h.active != bad);
  CHECK(h.revision() == 11);
  CHECK(h.refused(RefusalClass::kCorrupt) >= 1);
}

TEST_CASE("three generations are kept, deltas go to a log") {
  FeedHarness h;
  h.StartWithState();
  for (int i = 0; i < 20; ++i) {
    h.cp.PutKey("k" + std::to_string(i), "sk-" + std::to_string(i));
    h.Publish(h.cp.Commit());
    h.core->writer().Flush();
  }
  CHECK(h.FilesEndingWith(".base").size() == 1);
  CHECK(h.status().disk_revision == 31);
  for (int i = 0; i < 5; ++i) {  // each comes full: a new generation
    h.cp.PutKey("f", "sk-f" + std::to_string(i));
    h.cp.Commit();
    h.cp.PublishFull();
    h.cp.PublishLatest();
    h.Pass(30'001);
    h.core->writer().Flush();
  }
  CHECK(h.revision() == 36);
  CHECK(h.FilesEndingWith(".base").size() == 3);
  CHECK(h.FilesEndingWith(".log").size() == 3);
  h.Stop();
  h.client->Disconnect();
  h.Start();
  h.EndWait();
  CHECK(h.revision() == 36);
  CHECK(h.active->key_count() == 22);
}

TEST_CASE("the first snapshot is on disk at once, whatever was written just before it") {
  FeedHarness h;
  h.disk_interval_ms = int64_t{24} * 3'600'000;
  h.Start();
  h.core->writer().SaveFence({.cluster_id = "", .epoch = 0, .fleet_size = 3});
  h.core->writer().Flush();
  h.cp.PublishFull();
  h.cp.PublishLatest();
  h.core->OnConnected();
  REQUIRE(h.revision() == 11);
  auto flushed = std::async(std::launch::async, [&h] { h.core->writer().Flush(); });
  const bool at_once = flushed.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  const int64_t on_disk = h.status().disk_revision;
  h.Stop();  // ends a Flush that waits
  CHECK(at_once);
  CHECK(on_disk == 11);
}

TEST_CASE("a log cut or damaged at any byte boots with what is whole before it") {
  FeedHarness h;
  h.StartWithState();
  for (int i = 0; i < 3; ++i) {
    h.cp.PutKey("k" + std::to_string(i), "sk-" + std::to_string(i));
    h.Publish(h.cp.Commit());
  }
  h.core->writer().Flush();
  h.Stop();
  h.client->Disconnect();
  const std::string path = h.FilesEndingWith(".log").back();
  const std::string log = FeedHarness::Read(path);
  REQUIRE(log.size() > 600);
  int64_t last = 11;
  for (size_t size = 0; size <= log.size(); size += 13) {
    FeedHarness::Write(path, log.substr(0, size));
    h.Start();
    h.EndWait();
    REQUIRE(h.revision() >= last);
    last = h.revision();
    h.Stop();
  }
  CHECK(last >= 13);
  std::string damaged = log;
  damaged[log.size() / 2] = static_cast<char>(damaged[log.size() / 2] ^ 1);
  FeedHarness::Write(path, damaged);
  h.Start();
  h.EndWait();
  CHECK(h.revision() >= 11);
  CHECK(h.revision() < 14);
  // What follows continues behind the whole part.
  h.client->Reconnect();
  h.core->OnConnected();
  CHECK(h.revision() == 14);
  h.core->writer().Flush();
  h.Stop();
  h.client->Disconnect();
  h.Start();
  h.EndWait();
  CHECK(h.revision() == 14);
}

TEST_CASE("a disk that fails is counted; serving goes on") {
  FeedHarness h;
  h.StartWithState();
  std::filesystem::remove_all(h.SnapshotFolder());
  FeedHarness::Write(h.SnapshotFolder(), "no folder any more");
  h.cp.PutKey("a", "sk-a");
  h.cp.Commit();
  h.cp.PublishFull();
  h.cp.PublishLatest();
  h.Pass(30'001);
  h.core->writer().Flush();
  CHECK(h.revision() == 12);
  CHECK(h.status().disk_failures >= 1);
  CHECK(h.status().disk_revision == 11);
}

}  // namespace
}  // namespace spillway
