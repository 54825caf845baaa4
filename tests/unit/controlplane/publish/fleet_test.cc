#include "controlplane/publish/fleet.h"

#include <catch2/catch_all.hpp>
#include <thread>

#include "common/subjects.h"
#include "tests/fakes/memory_bus.h"
#include "tests/fakes/nats_server.h"

namespace spillway {
namespace {

struct FleetFixture {
  TempFolder folder;
  std::unique_ptr<Store> store = Store::Open({.path = folder.path()}).value();
  std::unique_ptr<Instances> instances = Instances::Open(*store).value();
  MemoryBus bus;
  ManualClock clock;
  Fleet fleet{bus, *instances, clock};
  std::vector<std::string> heard;

  FleetFixture() {
    fleet.OnHeartbeat([this](const v1::Heartbeat& beat) { heard.push_back(beat.instance()); });
    REQUIRE(fleet.Start());
    clock.AdvanceMs(10'000);  // long after the start
  }
  void Beat(const std::string& instance, int64_t revision,
            const std::function<void(v1::Heartbeat&)>& change = {}) {
    v1::Heartbeat beat;
    beat.set_instance(instance);
    beat.set_incarnation("i1");
    beat.set_version("1.0");
    beat.set_revision(revision);
    beat.set_ready(true);
    if (change) change(beat);
    REQUIRE(bus.Publish(subjects::Fleet(instance), beat.SerializeAsString()));
  }
};

bool Patient() { return false; }

}  // namespace

TEST_CASE("the fleet lists who was heard, and who is silent") {
  FleetFixture fixture;
  fixture.Beat("b", 3, [](v1::Heartbeat& beat) {
    auto& journal = *beat.add_journals();
    journal.set_last_seq(10);
    journal.set_committed_upto(7);
    beat.mutable_nack()->set_revision(4);
    beat.mutable_nack()->set_reason("no");
  });
  fixture.Beat("a", 4);
  const auto listed = fixture.fleet.List(4);
  REQUIRE(listed.instances_size() == 2);
  CHECK(listed.revision() == 4);
  CHECK(listed.instances(0).instance() == "a");
  CHECK(listed.instances(0).connected());
  CHECK(listed.instances(1).uncommitted_records() == 3);
  CHECK(listed.instances(1).nack_reason() == "no");
  CHECK(fixture.fleet.connected() == 2);
  fixture.clock.AdvanceMs(5'999);
  fixture.Beat("a", 4);
  fixture.clock.AdvanceMs(1);
  CHECK(fixture.fleet.connected() == 1);
  CHECK_FALSE(fixture.fleet.List(4).instances(1).connected());
  CHECK(fixture.fleet.size() == 2);  // silent, and still counted on
  fixture.Beat("a", 4, [](v1::Heartbeat& beat) { beat.set_goodbye(true); });
  CHECK(fixture.fleet.connected() == 0);
  CHECK(fixture.fleet.size() == 1);
  REQUIRE(fixture.instances->Retire("b", 0));
  CHECK(fixture.fleet.size() == 0);
  CHECK(fixture.fleet.List(4).instances(1).retired());
}

TEST_CASE("heartbeats that are none are dropped") {
  FleetFixture fixture;
  v1::Heartbeat beat;
  beat.set_instance("somebody");
  struct Row {
    const char* name;
    std::string subject;
    std::string payload;
  };
  const Row rows[] = {{"garbage", subjects::Fleet("x"), "\xff\xff\xff"},
                      {"another's subject", subjects::Fleet("x"), beat.SerializeAsString()},
                      {"no name", "spillway.fleet.x", ""},
                      {"huge", subjects::Fleet("somebody"), std::string(300'000, 'x')}};
  for (const Row& row : rows) {
    INFO(row.name);
    REQUIRE(fixture.bus.Publish(row.subject, row.payload));
    CHECK(fixture.heard.empty());
    CHECK(fixture.fleet.List(0).instances_size() == 0);
  }
  fixture.fleet.Stop();
  fixture.Beat("a", 1);
  CHECK(fixture.heard.empty());
}

TEST_CASE("waiting ends when everybody runs the revision, and says how long it took") {
  FleetFixture fixture;
  fixture.Beat("a", 1);
  fixture.Beat("b", 1);
  fixture.fleet.NoteCommitted(2);
  CHECK(fixture.fleet.WaitActive(2, 0, Patient).active() == 0);
  CHECK(fixture.fleet.WaitActive(2, 0, Patient).behind_size() == 2);
  v1::WaitActiveResponse answer;
  std::thread waiting([&] { answer = fixture.fleet.WaitActive(2, 30'000, Patient); });
  fixture.clock.AdvanceMs(5);
  fixture.Beat("a", 2);
  fixture.clock.AdvanceMs(7);
  fixture.Beat("b", 3);  // newer is as good
  waiting.join();
  CHECK(answer.active() == 2);
  CHECK(answer.connected() == 2);
  CHECK(answer.behind_size() == 0);
  CHECK(answer.elapsed_us() == 12'000);
  // Asked later, the answer is the same.
  fixture.clock.AdvanceMs(100);
  fixture.Beat("a", 3);
  CHECK(fixture.fleet.WaitActive(2, 0, Patient).elapsed_us() == 12'000);
}

TEST_CASE("nobody is waited for who refused, fell silent or left") {
  FleetFixture fixture;
  fixture.Beat("good", 2);
  struct Row {
    const char* name;
    std::function<void()> happens;
    int behind;
    int connected;
  };
  const Row rows[] = {
      {"refused",
       [&] {
         fixture.Beat("other", 1,
                      [](v1::Heartbeat& beat) { beat.mutable_nack()->set_revision(2); });
       },
       1, 2},
      {"left", [&] { fixture.Beat("other", 1, [](v1::Heartbeat& b) { b.set_goodbye(true); }); }, 0,
       1},
      {"silent",
       [&] {
         fixture.clock.AdvanceMs(7'000);
         fixture.Beat("good", 2);
       },
       0, 1},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    fixture.Beat("other", 1);
    CHECK(fixture.fleet.WaitActive(2, 0, Patient).behind_size() == 1);
    row.happens();
    const auto answer = fixture.fleet.WaitActive(2, 60'000, Patient);
    CHECK(answer.active() == 1);
    CHECK(answer.connected() == row.connected);
    CHECK(answer.behind_size() == row.behind);
  }
}

TEST_CASE("with nobody there the wait ends, but not right after the start") {
  FleetFixture fixture;
  CHECK(fixture.fleet.WaitActive(1, 60'000, Patient).connected() == 0);
  Fleet young(fixture.bus, *fixture.instances, fixture.clock);
  REQUIRE(young.Start());
  v1::WaitActiveResponse answer;
  std::thread waiting([&] { answer = young.WaitActive(1, 60'000, Patient); });
  fixture.Beat("a", 1);
  waiting.join();
  CHECK(answer.active() == 1);
}

TEST_CASE("a cancelled wait ends within a look") {
  FleetFixture fixture;
  fixture.Beat("a", 1);
  CHECK(fixture.fleet.WaitActive(2, 3'600'000, [] { return true; }).behind_size() == 1);
}

TEST_CASE("the roster survives the control plane") {
  FleetFixture fixture;
  fixture.Beat("a", 1);
  fixture.instances = Instances::Open(*fixture.store).value();
  MemoryBus bus;
  Fleet later(bus, *fixture.instances, fixture.clock);
  const auto listed = later.List(9);
  REQUIRE(listed.instances_size() == 1);
  CHECK_FALSE(listed.instances(0).connected());
  CHECK(listed.instances(0).version() == "1.0");
  CHECK(later.size() == 1);
}

}  // namespace spillway
