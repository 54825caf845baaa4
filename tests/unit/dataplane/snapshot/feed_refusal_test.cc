// What is refused, from each source, and what stays active then.
#include <catch2/catch_all.hpp>

#include "dataplane/snapshot/compression.h"
#include "dataplane/snapshot/feed.h"
#include "tests/unit/dataplane/snapshot/feed_harness.h"

namespace spillway {
namespace {

using Catch::Matchers::ContainsSubstring;

TEST_CASE("refused on NATS: the last good one stays, also over a start, and its reason is heard") {
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
      {"manifest: another signer", full([](FeedHarness& h) {
         std::vector<std::string> chunks;
         h.PutOnStream(subjects::Manifest(h.cp.position.revision()),
                       FakeControlPlane().Sign(v1::Signed::PURPOSE_MANIFEST,
                                               h.cp.MakeManifest(chunks).SerializeAsString()));
       }),
       RefusalClass::kSignature},
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

  // The same at a start: what NATS has is refused again, and the disk has the last good one.
  h.Start();
  h.EndWait();
  CHECK(h.revision() == 11);
  CHECK(h.status().source == "disk");
  CHECK(h.status().ready);
  CHECK(FindSecret(*h.active, "sk-evil") == nullptr);
  CHECK(h.refused(row.want) >= 1);
  CHECK(h.heartbeats().back().nack().reason() == h.status().refused_reason);

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

}  // namespace
}  // namespace spillway
