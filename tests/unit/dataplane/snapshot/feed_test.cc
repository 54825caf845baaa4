#include "dataplane/snapshot/feed.h"

#include <catch2/catch_all.hpp>

#include "dataplane/snapshot/compression.h"
#include "dataplane/snapshot/rep.h"
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

TEST_CASE("refused on NATS: the last good one stays, and the control plane hears why") {
  struct Row {
    std::string_view name;
    std::function<void(FeedHarness&)> publish;
    RefusalClass want;
  };
  // A next revision whose full state is published, for `damage` to spoil.
  const auto full = [](const std::function<void(FeedHarness&)>& damage) {
    return [damage](FeedHarness& h) {
      h.cp.PutKey("evil", "sk-evil");
      h.cp.Commit();
      h.cp.PublishFull();
      h.cp.PublishLatest();
      damage(h);
    };
  };
  const auto manifest = [&](const std::function<void(v1::Manifest&)>& damage) {
    return full([damage](FeedHarness& h) {
      std::vector<std::string> chunks;
      v1::Manifest made = h.cp.MakeManifest(chunks);
      damage(made);
      h.PutOnStream(subjects::Manifest(h.cp.position.revision()),
                    h.cp.Sign(v1::Signed::PURPOSE_MANIFEST, made.SerializeAsString()));
    });
  };
  const auto row = GENERATE_COPY(values<Row>({
      {"latest: garbage",
       [](FeedHarness& h) { h.PutOnStream(std::string(subjects::kLatest), "\xff"); },
       RefusalClass::kCorrupt},
      {"latest: cut off",
       [](FeedHarness& h) {
         h.PutOnStream(std::string(subjects::kLatest), h.cp.SignedLatest().substr(0, 50));
       },
       RefusalClass::kCorrupt},
      {"latest: another signer",
       [](FeedHarness& h) {
         FakeControlPlane stranger;
         stranger.position = h.cp.position;
         stranger.position.set_revision(99);
         h.PutOnStream(std::string(subjects::kLatest), stranger.SignedLatest());
       },
       RefusalClass::kSignature},
      {"latest: an older epoch",
       [](FeedHarness& h) {
         h.cp.PutKey("evil", "sk-evil");
         h.cp.Commit();
         h.cp.position.set_epoch(2);
         h.cp.PublishFull();
         h.cp.PublishLatest();
       },
       RefusalClass::kEpoch},
      {"latest: another cluster",
       [](FeedHarness& h) {
         h.cp.PutKey("evil", "sk-evil");
         h.cp.Commit();
         h.cp.position.set_cluster_id("cluster-2");
         h.cp.PublishFull();
         h.cp.PublishLatest();
       },
       RefusalClass::kCluster},
      {"latest: what it names is not there",
       [](FeedHarness& h) {
         h.cp.PutKey("evil", "sk-evil");
         h.cp.Commit();
         h.cp.full_revision = 12;
         h.cp.PublishLatest();
       },
       RefusalClass::kMissing},
      {"manifest: declares too much",
       manifest([](v1::Manifest& m) { m.set_bytes(int64_t{1} << 31); }), RefusalClass::kOversized},
      {"manifest: too many entries", manifest([](v1::Manifest& m) { m.set_entries(2'000'001); }),
       RefusalClass::kOversized},
      {"manifest: smaller than the state",
       manifest([](v1::Manifest& m) { m.set_bytes(m.bytes() - 1); }), RefusalClass::kOversized},
      {"manifest: larger than the state",
       manifest([](v1::Manifest& m) { m.set_bytes(m.bytes() + 1); }), RefusalClass::kCorrupt},
      {"manifest: of another revision",
       manifest([](v1::Manifest& m) { m.mutable_position()->set_revision(11); }),
       RefusalClass::kCorrupt},
      {"manifest: another digest",
       manifest([](v1::Manifest& m) { m.mutable_position()->mutable_digest()->front() ^= 1; }),
       RefusalClass::kMissing},
      {"chunk: altered",
       full([](FeedHarness& h) { h.PutOnStream(subjects::Chunk(12, 0), std::string(256, 'x')); }),
       RefusalClass::kCorrupt},
      {"chunk: cut off",
       full([](FeedHarness& h) { h.PutOnStream(subjects::Chunk(12, 1), "short"); }),
       RefusalClass::kCorrupt},
      {"signed, but it does not hold together", full([](FeedHarness& h) {
         h.cp.PutRaw(v1::KIND_MODEL, "blank", "");
         h.cp.Commit();
         h.cp.PublishFull();
         h.cp.PublishLatest();
       }),
       RefusalClass::kInvalid},
      {"signed, but without any model", full([](FeedHarness& h) {
         for (const char* name : {"small", "large"}) h.cp.Remove(v1::KIND_MODEL, name);
         h.cp.Remove(v1::KIND_ROUTE, "chat");
         h.cp.Commit();
         h.cp.PublishFull();
         h.cp.PublishLatest();
       }),
       RefusalClass::kInvalid},
  }));
  INFO(row.name);
  FeedHarness h;
  h.StartWithState();
  const SnapshotPtr good = h.active;
  row.publish(h);
  h.pushes.clear();
  h.Pass(30'001);
  CHECK(h.active == good);
  CHECK(FindSecret(*h.active, "sk-evil") == nullptr);
  CHECK(h.refused(row.want) >= 1);
  CHECK(h.status().ready);
  CHECK_THAT(h.status().refused_reason, ContainsSubstring(std::string(NameOf(row.want))));
  const v1::Heartbeat beat = h.heartbeats().back();
  CHECK(beat.revision() == 11);
  CHECK(beat.nack().reason() == h.status().refused_reason);

  // A good one later heals it.
  h.cp.position.set_epoch(4);
  h.cp.position.set_cluster_id("cluster-1");
  h.cp.position.set_revision(40);
  v1::Resource model;
  model.mutable_model()->set_name("small");
  model.mutable_model()->set_provider("mock");
  model.mutable_model()->mutable_price()->set_input(1);
  h.cp.Put(model);
  h.cp.Remove(v1::KIND_MODEL, "blank");
  h.cp.Commit();
  h.cp.PublishFull();
  h.cp.PublishLatest();
  h.Pass(30'001);
  CHECK(h.revision() == 41);
  CHECK_FALSE(h.heartbeats().back().has_nack());
}

TEST_CASE("refused pushes: the last good one stays") {
  struct Row {
    std::string_view name;
    std::function<std::string(FeedHarness&, v1::Delta)> make;
    RefusalClass want;
  };
  const auto row = GENERATE(values<Row>({
      {"garbage", [](FeedHarness&, const v1::Delta&) { return std::string("\xff\xff"); },
       RefusalClass::kCorrupt},
      {"cut off",
       [](FeedHarness& h, const v1::Delta& d) { return h.cp.SignedDelta(d).substr(0, 30); },
       RefusalClass::kCorrupt},
      {"another signer",
       [](FeedHarness&, const v1::Delta& d) { return FakeControlPlane().SignedDelta(d); },
       RefusalClass::kSignature},
      {"an older epoch",
       [](FeedHarness& h, v1::Delta d) {
         d.mutable_position()->set_epoch(1);
         return h.cp.SignedDelta(d);
       },
       RefusalClass::kEpoch},
      {"another cluster",
       [](FeedHarness& h, v1::Delta d) {
         d.mutable_position()->set_cluster_id("other");
         return h.cp.SignedDelta(d);
       },
       RefusalClass::kCluster},
      {"another digest",
       [](FeedHarness& h, v1::Delta d) {
         d.mutable_position()->mutable_digest()->front() ^= 1;
         return h.cp.SignedDelta(d);
       },
       RefusalClass::kCorrupt},
      {"oversized", [](FeedHarness&, const v1::Delta&) { return std::string(17 << 20, 'x'); },
       RefusalClass::kOversized},
  }));
  INFO(row.name);
  FeedHarness h;
  h.StartWithState();
  const SnapshotPtr good = h.active;
  h.cp.PutKey("evil", "sk-evil");
  h.core->OnPush(row.make(h, h.cp.Commit()));
  CHECK(h.active == good);
  CHECK(h.refused(row.want) == 1);
  CHECK_FALSE(h.heartbeats().back().nack().reason().empty());
}

TEST_CASE("refused on disk: the previous generation, then the seed, then not ready") {
  const auto damages = std::vector<
      std::pair<std::string, std::function<std::string(const FeedHarness&, std::string)>>>{
      {"cut off",
       [](const FeedHarness&, const std::string& file) { return file.substr(0, file.size() / 2); }},
      {"empty", [](const FeedHarness&, const std::string&) { return std::string(); }},
      {"a bit flipped",
       [](const FeedHarness&, std::string file) {
         file[file.size() / 2] = static_cast<char>(file[file.size() / 2] ^ 4);
         return file;
       }},
      {"another signer's",
       [](const FeedHarness&, const std::string&) { return FakeControlPlane().File(); }},
      {"another cluster's",
       [](const FeedHarness& h, const std::string&) {
         const std::string list = h.cp.EntryList();
         v1::Latest latest;
         *latest.mutable_position() = h.cp.position;
         latest.mutable_position()->set_cluster_id("cluster-2");
         return RenderFile(h.cp.Sign(v1::Signed::PURPOSE_LATEST, latest.SerializeAsString()),
                           Deflate(list));
       }},
      {"an older epoch's",
       [](const FeedHarness& h, const std::string&) {
         v1::Latest latest;
         *latest.mutable_position() = h.cp.position;
         latest.mutable_position()->set_epoch(2);
         return RenderFile(h.cp.Sign(v1::Signed::PURPOSE_LATEST, latest.SerializeAsString()),
                           Deflate(h.cp.EntryList()));
       }},
      {"another state than the signed",
       [](const FeedHarness& h, const std::string&) {
         return RenderFile(h.cp.SignedLatest(), Deflate(h.cp.EntryList() + h.cp.EntryList()));
       }},
      {"a bomb",
       [](const FeedHarness& h, const std::string&) {
         return RenderFile(h.cp.SignedLatest(), Deflate(std::string(1'000'000, '\0')));
       }},
  };
  const size_t which = GENERATE(range(size_t{0}, size_t{8}));
  const auto& [name, damage] = damages[which];
  INFO(name);
  FeedHarness h;
  h.limits.bytes_max = 500'000;
  h.StartWithState();
  h.cp.PutKey("second", "sk-second");
  h.cp.Commit();
  h.cp.PublishFull();
  h.cp.PublishLatest();
  h.Stop();
  h.Start();  // 12 by delta or full
  REQUIRE(h.revision() == 12);
  h.core->writer().Flush();
  h.Stop();
  REQUIRE(h.FilesEndingWith(".base").size() == 2);
  h.client->Disconnect();

  const std::string newest = h.FilesEndingWith(".base").back();
  const std::string undamaged = FeedHarness::Read(newest);
  FeedHarness::Write(newest, damage(h, undamaged));
  h.Start();
  h.EndWait();
  CHECK(h.revision() == 11);
  CHECK(h.status().source == "disk");
  CHECK(FindSecret(*h.active, "sk-bot") != nullptr);
  int64_t refusals = 0;
  for (const int64_t count : h.status().refused) refusals += count;
  CHECK(refusals == 1);
  h.Stop();

  // Both generations gone bad: the seed.
  const std::string good_seed = h.cp.File();
  FeedHarness::Write(newest, undamaged);
  for (const std::string& base : h.FilesEndingWith(".base"))
    FeedHarness::Write(base, damage(h, FeedHarness::Read(base)));
  h.seed_path = h.folder.path() + "/seed";
  FeedHarness::Write(h.seed_path, good_seed);
  h.Start();
  h.EndWait();
  CHECK(h.revision() == 12);
  CHECK(h.status().source == "seed");
  h.Stop();

  // And a seed like that: not ready.
  for (const std::string& file : h.FilesEndingWith(".base")) std::filesystem::remove(file);
  FeedHarness::Write(h.seed_path, damage(h, good_seed));
  h.Start();
  h.EndWait();
  CHECK(h.active == nullptr);
  CHECK_THAT(h.status().reason, ContainsSubstring("the seed: "));
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
