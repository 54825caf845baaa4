#include <catch2/catch_all.hpp>
#include <filesystem>

#include "common/subjects.h"
#include "controlplane/publish/publisher.h"
#include "tests/fakes/memory_bus.h"
#include "tests/unit/controlplane/publish/control_plane.h"
#include "tests/unit/controlplane/publish/waiting.h"

namespace spillway {
namespace {

// A cluster that was backed up at revision 2 and restored after revision 5.
struct Restored {
  TempFolder folder;
  MemoryBus server;
  std::unique_ptr<ControlPlane> plane = std::make_unique<ControlPlane>(server, folder.path());

  Restored() {
    plane->Start();
    plane->Set("a", "1");
    plane->Set("b", "2");
    const auto backup = plane->store->CreateBackup(folder.path() + "/backups", 1'700'000'000'000);
    REQUIRE(backup);
    plane->Set("a", "3");
    plane->Set("c", "4");
    REQUIRE(plane->Published(plane->Set("b", std::nullopt)));
    plane.reset();
    REQUIRE(Store::Restore(backup->path, folder.path() + "/db"));
    plane = std::make_unique<ControlPlane>(server, folder.path());
    REQUIRE(plane->config->position().revision() == 2);
  }
  std::string Booted() {
    return BootedState(server, *plane->verifier, plane->config->cluster_id());
  }
  bool Converges() {
    for (int i = 0; i < 2'000 && Booted() != WantedState(*plane); ++i)
      plane->Published(1LL << 40, 5);
    CHECK(Booted() == WantedState(*plane));
    return Booted() == WantedState(*plane);
  }
};

}  // namespace

TEST_CASE("after a restore nothing is written or published until somebody chose") {
  Restored restored;
  const std::string before = restored.Booted();
  CHECK(before == "revision 5 epoch 1 fleet 3: a=3 c=4");
  restored.plane->Start();
  for (int i = 0; i < 2'000 && !restored.plane->publisher->status().waiting_for_choice; ++i) {
    restored.plane->Published(1LL << 40, 5);
  }
  REQUIRE(restored.plane->publisher->status().waiting_for_choice);
  const auto gate = restored.plane->gate->Check();
  REQUIRE_FALSE(gate);
  CHECK(gate.error().message.find("revision 5") != std::string::npos);
  CHECK(gate.error().message.find("revision 2") != std::string::npos);
  CHECK(gate.error().message.find("--adopt") != std::string::npos);
  CHECK(gate.error().message.find("--discard") != std::string::npos);
  CHECK(restored.plane->epoch->value() == 2);  // claimed, and unused
  CHECK(restored.Booted() == before);
}

TEST_CASE("adopting takes over what NATS holds") {
  Restored restored;
  restored.plane->Start(RestoreChoice::kAdopt);
  REQUIRE(restored.plane->Published(6));
  REQUIRE(restored.Converges());
  CHECK(restored.Booted() == "revision 6 epoch 2 fleet 3: a=3 c=4");
  CHECK(restored.plane->gate->Check());
  const auto revisions = restored.plane->config->ListRevisions(1).value();
  CHECK(revisions[0].summary().find("adopted revision 5") != std::string::npos);
  CHECK(revisions[0].changes_size() == 3);
  REQUIRE(restored.plane->Published(restored.plane->Set("d", "5")));
  CHECK(restored.Converges());
}

TEST_CASE("discarding goes on from the store, above what was seen") {
  Restored restored;
  Collector<std::string> announced;
  const auto subscription = restored.server.Subscribe(
      subjects::kDeltas, [&](const auto& message) { announced.Add(message.subject); });
  restored.plane->Start(RestoreChoice::kDiscard);
  REQUIRE(restored.plane->Published(6));
  REQUIRE(restored.Converges());
  CHECK(restored.Booted() == "revision 6 epoch 2 fleet 3: a=1 b=2");
  REQUIRE(announced.WaitCount(1));
  CHECK(announced.Values() == std::vector<std::string>{subjects::Delta(6)});
  // A restart needs no choice any more.
  restored.plane.reset();
  restored.plane = std::make_unique<ControlPlane>(restored.server, restored.folder.path());
  restored.plane->Start();
  CHECK(restored.Converges());
}

TEST_CASE("adopting refuses a state that is not whole") {
  Restored restored;
  // The delta of revision 4 is gone.
  for (const BusMessage& message : restored.server.Messages(subjects::kConfigStream)) {
    if (message.subject == subjects::Delta(4)) {
      restored.server.DropMessages(subjects::kConfigStream, message.stream_seq, message.stream_seq);
    }
  }
  restored.plane->Start(RestoreChoice::kAdopt);
  CHECK_FALSE(restored.plane->Published(6, 200));
  CHECK(restored.plane->config->position().revision() == 2);
  CHECK_FALSE(restored.plane->gate->Check());
}

TEST_CASE("what another cluster or key left on NATS counts for nothing") {
  MemoryBus server;
  TempFolder other_folder;
  {
    ControlPlane other(server, other_folder.path());
    other.Start();
    for (int i = 0; i < 9; ++i) other.Set("x", std::to_string(i));
    REQUIRE(other.Published(9));
  }
  TempFolder folder;
  ControlPlane plane(server, folder.path());
  plane.Set("a", "1");
  plane.Start();
  REQUIRE(plane.Published(1));
  for (int i = 0; i < 2'000; ++i) {
    if (BootedState(server, *plane.verifier, plane.config->cluster_id()) == WantedState(plane))
      break;
    plane.Published(1LL << 40, 5);
  }
  CHECK(BootedState(server, *plane.verifier, plane.config->cluster_id()) == WantedState(plane));
  CHECK(plane.epoch->value() == 2);
}

TEST_CASE("two histories with the same number are told apart by the digest") {
  Restored restored;
  // The store, restored at 2, was led to revision 5 without looking at NATS.
  restored.plane->Set("z", "1");
  restored.plane->Set("z", "2");
  restored.plane->Set("z", "3");
  restored.plane->Start();
  REQUIRE(restored.Converges());
  CHECK(restored.Booted() == "revision 5 epoch 2 fleet 3: a=1 b=2 z=3");
}

}  // namespace spillway
