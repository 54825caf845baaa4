#include <catch2/catch_all.hpp>
#include <random>

#include "common/subjects.h"
#include "controlplane/publish/publisher.h"
#include "tests/fakes/memory_bus.h"
#include "tests/unit/controlplane/publish/control_plane.h"

namespace spillway {
namespace {

struct FaultFixture {
  TempFolder folder;
  MemoryBus server;
  std::unique_ptr<MemoryBus> bus = server.Client();
  std::unique_ptr<ControlPlane> plane = std::make_unique<ControlPlane>(*bus, folder.path());

  std::string Booted() {
    return BootedState(server, *plane->verifier, plane->config->cluster_id());
  }
  bool Converges() {
    const int64_t revision = plane->config->position().revision();
    if (!plane->Published(revision)) return false;
    for (int i = 0; i < 1'000 && Booted() != WantedState(*plane); ++i)
      plane->Published(1LL << 40, 5);
    INFO(Booted());
    CHECK(Booted() == WantedState(*plane));
    return Booted() == WantedState(*plane);
  }
  // As after kill -9: nothing more is sent, the process is gone, a new one starts on the folder.
  void Restart(RestoreChoice choice = RestoreChoice::kAsk) {
    plane.reset();
    bus->FailPublishes(0);
    plane = std::make_unique<ControlPlane>(*bus, folder.path());
    plane->Start(choice);
  }
};

}  // namespace

TEST_CASE("killed behind any message, the next life completes what was committed") {
  // A start publishes: epoch, chunks, manifest, Latest, announcement; a change: delta, Latest.
  for (int nth = 1; nth <= 14; ++nth) {
    INFO("publish number " << nth << " and all behind it fail");
    FaultFixture fixture;
    fixture.plane->options.chunk_bytes = 400;
    fixture.plane->options.full_every_revisions = 2;
    fixture.plane->SetMany("key", 20, 40);
    fixture.bus->FailPublishesFrom(nth);
    fixture.plane->Start();
    fixture.plane->Published(1, 100);
    fixture.plane->Set("a", "1");
    fixture.plane->Set("b", "2");
    fixture.plane->Set("key-3", std::nullopt);
    fixture.plane->Published(4, 100);
    // What is visible is a whole revision or nothing.
    const std::string booted = fixture.Booted();
    CHECK(
        (booted.starts_with("revision ") || booted == "nothing" || booted.starts_with("stream ")));
    fixture.Restart();
    CHECK(fixture.Converges());
    CHECK(fixture.plane->epoch->value() >= 1);
  }
}

TEST_CASE("failures in passing are repaired without a restart") {
  FaultFixture fixture;
  fixture.plane->options.full_every_revisions = 4;
  fixture.plane->options.chunk_bytes = 300;
  fixture.plane->SetMany("key", 20, 40);
  fixture.plane->Start();
  std::mt19937 random(11);
  for (int i = 0; i < 60; ++i) {
    switch (random() % 5) {
      case 0:
        fixture.bus->FailPublishes(static_cast<int>(random() % 3));
        break;
      case 1:
        fixture.bus->DropAcks(static_cast<int>(random() % 3));
        break;
      case 2:
        fixture.server.WipeStream(subjects::kConfigStream);
        break;
      case 3:
        fixture.bus->Disconnect();
        break;
      default:
        break;
    }
    fixture.plane->Set("k" + std::to_string(random() % 6), std::to_string(i));
    fixture.bus->Reconnect();
    fixture.plane->publisher->Stir();
  }
  CHECK(fixture.Converges());
  CHECK_FALSE(fixture.plane->fenced);
}

TEST_CASE("wiped streams are made anew and everything is published again") {
  FaultFixture fixture;
  fixture.plane->Start();
  fixture.plane->Set("a", "1");
  REQUIRE(fixture.Converges());
  const int64_t epoch = fixture.plane->epoch->value();
  fixture.server.WipeServer();
  for (int i = 0; i < 2'000 && !fixture.Booted().starts_with("revision"); ++i) {
    fixture.plane->Published(1LL << 40, 5);
  }
  CHECK(fixture.Converges());
  CHECK(fixture.plane->epoch->value() == epoch);
  CHECK(fixture.server.HasStream(subjects::kUsageStream));
  CHECK(fixture.server.HasStream(subjects::kControlStream));
  fixture.plane->Set("a", "2");
  CHECK(fixture.Converges());
}

TEST_CASE("an older copy of the stream is noticed") {
  FaultFixture fixture;
  fixture.plane->Start();
  fixture.plane->Set("a", "1");
  fixture.plane->Set("a", "2");
  REQUIRE(fixture.Converges());
  // The chunks of the full snapshot were acknowledged and lost all the same.
  fixture.server.DropMessages(subjects::kConfigStream, 1, 2);
  fixture.plane.reset();
  fixture.plane = std::make_unique<ControlPlane>(*fixture.bus, fixture.folder.path());
  fixture.plane->Start();
  CHECK(fixture.Converges());
}

TEST_CASE("a long outage ends with one full snapshot instead of a thousand deltas") {
  FaultFixture fixture;
  fixture.plane->options.full_every_revisions = 20;
  fixture.plane->Start();
  fixture.plane->Set("a", "0");
  REQUIRE(fixture.Converges());
  fixture.bus->Disconnect();
  const auto before = fixture.plane->publisher->status();
  for (int i = 1; i <= 60; ++i) fixture.plane->Set("a", std::to_string(i));
  fixture.bus->Reconnect();
  fixture.plane->publisher->Stir();
  REQUIRE(fixture.Converges());
  CHECK(fixture.plane->publisher->status().deltas - before.deltas <= 1);
}

TEST_CASE("every life publishes under its own epoch, full snapshot included") {
  FaultFixture fixture;
  fixture.plane->Start();
  fixture.plane->Set("a", "1");
  REQUIRE(fixture.Converges());
  for (int64_t life = 2; life <= 4; ++life) {
    fixture.Restart();
    REQUIRE(fixture.Converges());
    CHECK(fixture.plane->epoch->value() == life);
    v1::Signed message;
    v1::Manifest manifest;
    const auto manifest_epoch = [&] {
      const auto found = fixture.server.GetLast(subjects::kConfigStream, subjects::Manifest(1), 1);
      if (!found || !*found || !message.ParseFromString((*found)->payload)) return int64_t{0};
      return manifest.ParseFromString(message.payload()) ? manifest.position().epoch() : 0;
    };
    for (int i = 0; i < 1'000 && manifest_epoch() != life; ++i)
      fixture.plane->Published(1LL << 40, 5);
    CHECK(manifest_epoch() == life);
  }
}

TEST_CASE("a second control plane stops the first from publishing") {
  FaultFixture fixture;
  fixture.plane->Start();
  fixture.plane->Set("a", "1");
  REQUIRE(fixture.Converges());
  const auto other_bus = fixture.server.Client();
  TempFolder elsewhere;
  ControlPlane usurper(*other_bus, elsewhere.path());
  usurper.Start();
  for (int i = 0; i < 2'000 && !fixture.plane->fenced; ++i) usurper.Published(1LL << 40, 5);
  CHECK(fixture.plane->fenced);
  CHECK_FALSE(fixture.plane->gate->Check());
  fixture.plane->Set("a", "2");
  CHECK_FALSE(fixture.plane->Published(2, 200));
}

}  // namespace spillway
