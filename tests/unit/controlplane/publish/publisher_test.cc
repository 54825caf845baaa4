#include "controlplane/publish/publisher.h"

#include <catch2/catch_all.hpp>

#include "common/subjects.h"
#include "controlplane/publish/encode.h"
#include "spillway/v1/resources.pb.h"
#include "tests/fakes/memory_bus.h"
#include "tests/unit/controlplane/publish/control_plane.h"
#include "tests/unit/controlplane/publish/waiting.h"

namespace spillway {
namespace {

struct PublisherFixture {
  TempFolder folder;
  MemoryBus server;  // the test's own eyes
  std::unique_ptr<MemoryBus> bus = server.Client();
  ControlPlane plane{*bus, folder.path()};

  std::string Booted() { return BootedState(server, *plane.verifier, plane.config->cluster_id()); }
  int Count(std::string_view pattern) {
    int count = 0;
    for (const BusMessage& message : server.Messages(subjects::kConfigStream)) {
      if (SubjectMatches(pattern, message.subject)) ++count;
    }
    return count;
  }
  // The first full snapshot is out, and its announcement too.
  void StartAndSettle() {
    plane.Start();
    REQUIRE(Eventually([&] { return plane.publisher->status().fulls == 1; }));
  }
  // Waits for something that the publisher does behind the Latest that it announced.
  bool Eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 2'000 && !condition(); ++i) plane.Published(1LL << 40, 5);
    return condition();
  }
};

// A key with everything that one usually has, in the middle of a rotation.
std::string WholeKey(const std::string& name) {
  v1::Key key;
  key.set_name(name);
  key.set_team("support");
  key.set_user("alice@example.com");
  key.set_organization("acme");
  for (const char* route : {"chat", "embeddings", "cheap"}) key.add_routes(route);
  key.set_expires_at_ms(1'798'761'600'000);
  key.set_revoked(true);
  for (const char filler : {'\xa5', '\x5a'}) {
    v1::KeySecret& secret = *key.add_secrets();
    secret.set_public_id("abcdefghijkl");
    secret.set_sha256(std::string(32, filler));
    secret.set_not_after_ms(1'798'761'600'000);
  }
  key.set_feature("triage");
  return key.SerializeAsString();
}

}  // namespace

TEST_CASE("a revision is pushed as a delta under 2 KB, then named by Latest") {
  PublisherFixture fixture;
  fixture.plane.SetMany("key", 2'000, 60);
  fixture.StartAndSettle();
  REQUIRE(fixture.plane.Published(1));
  std::vector<BusMessage> heard;
  std::string latest_when_pushed;
  const auto subscription = fixture.server.Subscribe(subjects::kDeltas, [&](const auto& message) {
    heard.push_back(message);
    latest_when_pushed =
        fixture.server.GetLast("SPILLWAY_CONFIG", subjects::kLatest, 1)->value().payload;
  });
  const auto before =
      fixture.server.GetLast("SPILLWAY_CONFIG", subjects::kLatest, 1)->value().payload;
  const int64_t revision = fixture.plane.Set("key-7", WholeKey("key-7"));
  REQUIRE(fixture.plane.Published(revision));
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].subject == subjects::Delta(revision));
  CHECK(heard[0].payload.size() < 2'048);
  CHECK(latest_when_pushed == before);  // the pointer comes last
  CHECK(fixture.Booted() == WantedState(fixture.plane));

  v1::Signed message;
  REQUIRE(message.ParseFromString(heard[0].payload));
  CHECK(fixture.plane.verifier->Verify(message, v1::Signed::PURPOSE_DELTA));
  v1::Delta delta;
  REQUIRE(delta.ParseFromString(message.payload()));
  CHECK(delta.base().revision() == revision - 1);
  CHECK(delta.base().digest().size() == 32);
  CHECK(delta.position().epoch() == 1);
}

TEST_CASE("an empty cluster is published too, so that the first delta has a base") {
  PublisherFixture fixture;
  fixture.StartAndSettle();
  REQUIRE(fixture.Eventually([&] { return fixture.Booted() == "revision 0 epoch 1 fleet 3:"; }));
  REQUIRE(fixture.plane.gate->Check());
  fixture.plane.Set("a", "1");
  REQUIRE(fixture.plane.Published(1));
  CHECK(fixture.Booted() == "revision 1 epoch 1 fleet 3: a=1");
  CHECK(fixture.plane.publisher->status().deltas == 1);
  CHECK(fixture.plane.publisher->status().fulls == 1);
}

TEST_CASE("full snapshots come every so often, and what lies before the last but one goes") {
  PublisherFixture fixture;
  fixture.plane.options.full_every_revisions = 8;
  fixture.plane.Start();
  for (int i = 1; i <= 60; ++i) {
    REQUIRE(
        fixture.plane.Published(fixture.plane.Set("k" + std::to_string(i % 5), std::to_string(i))));
    CHECK(fixture.Booted() == WantedState(fixture.plane));
  }
  // Also for a reader that runs beside the publisher: what a Latest names stays while it is read.
  CHECK(fixture.plane.publisher->status().fulls >= 4);
  REQUIRE(
      fixture.Eventually([&] { return fixture.Count("spillway.config.full.*.manifest") <= 2; }));
  CHECK(fixture.Count("spillway.config.delta.*") < 40);
  CHECK(fixture.Count(subjects::kLatest) == 1);
  CHECK(fixture.Booted() == WantedState(fixture.plane));
}

TEST_CASE("heavy deltas bring the next full snapshot early") {
  PublisherFixture fixture;
  fixture.StartAndSettle();
  for (int i = 0; i < 4; ++i) {
    REQUIRE(fixture.plane.Published(fixture.plane.SetMany("k" + std::to_string(i), 200, 200)));
  }
  CHECK(fixture.Eventually([&] { return fixture.plane.publisher->status().fulls >= 2; }));
  CHECK(fixture.Booted() == WantedState(fixture.plane));
}

TEST_CASE("a revision too large for a delta goes as chunks and is announced") {
  PublisherFixture fixture;
  fixture.plane.options.chunk_bytes = 10'000;
  fixture.plane.options.delta_bytes_max = 20'000;
  fixture.StartAndSettle();
  REQUIRE(fixture.plane.Published(fixture.plane.Set("a", "1")));
  struct Push {
    std::string payload;
    std::string booted;  // at that moment
  };
  Collector<Push> pushed;
  const auto subscription = fixture.server.Subscribe(subjects::kDeltas, [&](const auto& message) {
    pushed.Add({message.payload, fixture.Booted()});
  });
  const int64_t revision = fixture.plane.SetMany("big", 500, 100);
  REQUIRE(fixture.plane.Published(revision));
  REQUIRE(pushed.WaitCount(1));
  CHECK(pushed.Values()[0].booted == WantedState(fixture.plane));  // there when it is announced
  CHECK(fixture.Count("spillway.config.full." + std::to_string(revision) + ".*") > 5);
  v1::Signed message;
  v1::Delta delta;
  REQUIRE(message.ParseFromString(pushed.Values()[0].payload));
  REQUIRE(delta.ParseFromString(message.payload()));
  CHECK(delta.base().revision() == revision);
  CHECK(delta.position().revision() == revision);
  CHECK(delta.upserts_size() == 0);
  // And goes on with deltas.
  REQUIRE(fixture.plane.Published(fixture.plane.Set("a", "2")));
  CHECK(fixture.Booted() == WantedState(fixture.plane));
}

TEST_CASE("the size of the fleet travels with Latest") {
  PublisherFixture fixture;
  fixture.plane.Start();
  REQUIRE(fixture.plane.Published(fixture.plane.Set("a", "1")));
  fixture.plane.fleet = 5;
  CHECK(fixture.Eventually([&] { return fixture.Booted() == "revision 1 epoch 1 fleet 5: a=1"; }));
}

TEST_CASE("no epoch, no writes: the gate says why until NATS is there") {
  PublisherFixture fixture;
  fixture.bus->Disconnect();
  fixture.plane.Start();
  CHECK_FALSE(fixture.plane.gate->Check());
  CHECK(fixture.plane.epoch->value() == 0);
  CHECK_FALSE(fixture.plane.Published(1, 100));
  CHECK(fixture.plane.publisher->status().fulls == 0);
  fixture.bus->Reconnect();
  fixture.plane.publisher->Stir();
  CHECK(fixture.Eventually([&] { return fixture.plane.gate->Check().has_value(); }));
  CHECK(fixture.plane.epoch->value() == 1);
}

TEST_CASE("a full snapshot is an EntryList, byte for byte, in chunks that its manifest proves") {
  MemoryBus bus;
  TempFolder folder;
  ControlPlane plane(bus, folder.path());
  plane.Set("empty", "");
  plane.Set("short", "1");
  plane.Set("long", std::string(20'000, 'x'));
  plane.SetMany("key", 50, 130);
  const FullSnapshot full = EncodeFull(*plane.signer, *plane.config, 7, 1'000);
  CHECK(full.position.epoch() == 7);
  CHECK(full.position.revision() == 4);
  std::string compressed;
  for (const std::string& chunk : full.chunks) {
    CHECK(chunk.size() <= 1'000);
    compressed += chunk;
  }
  CHECK(static_cast<int64_t>(compressed.size()) == full.bytes);
  v1::EntryList want;
  plane.config->Read([&](const ConfigStore::State& state) {
    for (const auto& [key, stored] : state) {
      v1::Entry& entry = *want.add_entries();
      entry.set_kind(key.first);
      entry.set_name(key.second);
      entry.set_bytes(stored.bytes);
    }
  });
  CHECK(Decompress(compressed, 1 << 20).value() == want.SerializeAsString());
  CHECK(EncodeFull(*plane.signer, *plane.config, 7, 1'000).chunks == full.chunks);
}

TEST_CASE("compression refuses what is no frame or too large") {
  const std::string bytes(100'000, 'a');
  const std::string frame = Compress(bytes);
  CHECK(frame.size() < 1'000);
  CHECK(Decompress(frame, 100'000).value() == bytes);
  CHECK_FALSE(Decompress(frame, 99'999));
  CHECK_FALSE(Decompress(frame.substr(0, frame.size() / 2), 100'000));
  CHECK_FALSE(Decompress("no frame", 100'000));
  CHECK_FALSE(Decompress("", 100'000));
  CHECK(Decompress(Compress(""), 10).value().empty());
}

}  // namespace spillway
