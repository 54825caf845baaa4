#include "controlplane/publish/epoch.h"

#include <catch2/catch_all.hpp>

#include "common/subjects.h"
#include "controlplane/publish/streams.h"
#include "tests/fakes/memory_bus.h"
#include "tests/fakes/nats_server.h"

namespace spillway {
namespace {

// One control plane's claim to the epoch.
struct Claimant {
  explicit Claimant(Bus& b) : bus(b) { Restart(); }
  void Restart() {
    epoch = std::make_unique<Epoch>(bus, *store, gate, [this](const std::string& why) {
      ++fenced;
      reason = why;
    });
    epoch->OnClaimed([this](int64_t value) { claimed.push_back(value); });
  }
  Bus& bus;
  TempFolder folder;
  std::unique_ptr<Store> store = Store::Open({.path = folder.path()}).value();
  WriteGate gate{*store};
  std::vector<int64_t> claimed;
  int fenced = 0;
  std::string reason;
  std::unique_ptr<Epoch> epoch;
};

std::string OnNats(MemoryBus& bus) {
  const auto last = bus.GetLast(subjects::kControlStream, subjects::kEpoch, 1);
  return last && *last ? (*last)->payload : "";
}

}  // namespace

TEST_CASE("an epoch's text is read strictly") {
  struct Row {
    const char* text;
    int64_t counter;  // 0: refused
  };
  const Row rows[] = {{"7 abc", 7},
                      {"7", 0},
                      {"7 ", 0},
                      {" 7 a", 0},
                      {"x a", 0},
                      {"0 a", 0},
                      {"-3 a", 0},
                      {"", 0},
                      {"7  a", 7},
                      {"7a b", 0},
                      {"99999999999999999999 a", 0}};
  for (const Row& row : rows) {
    INFO("'" << row.text << "'");
    const auto value = ParseEpoch(row.text);
    CHECK((value ? value->counter : 0) == row.counter);
  }
  CHECK_FALSE(ParseEpoch("1 " + std::string(65, 'x')));
}

TEST_CASE("each start claims a higher epoch and opens the gate") {
  MemoryBus bus;
  REQUIRE(EnsureStreams(bus, {}));
  Claimant one(bus);
  CHECK(one.epoch->value() == 0);
  CHECK_FALSE(one.gate.Check());
  CHECK(one.epoch->Claim().value() == 1);
  CHECK(one.gate.Check());
  CHECK(OnNats(bus).starts_with("1 "));
  one.Restart();
  CHECK(one.epoch->value() == 0);  // the old number is never used again
  CHECK(one.epoch->Claim().value() == 2);
  CHECK(one.claimed == std::vector<int64_t>{1, 2});
  CHECK(one.fenced == 0);
}

TEST_CASE("without a stream or a bus nothing is claimed") {
  MemoryBus bus;
  Claimant one(bus);
  CHECK_FALSE(one.epoch->Claim());
  REQUIRE(EnsureStreams(bus, {}));
  bus.Disconnect();
  CHECK(one.epoch->Claim().error().code == ErrorCode::kUnavailable);
  CHECK_FALSE(one.gate.Check());
  bus.Reconnect();
  CHECK(one.epoch->Claim().value() == 1);
}

TEST_CASE("a second control plane fences the first, at once") {
  MemoryBus bus;
  REQUIRE(EnsureStreams(bus, {}));
  Claimant one(bus);
  REQUIRE(one.epoch->Claim());
  Claimant two(bus);
  CHECK(two.epoch->Claim().value() == 2);
  CHECK(one.fenced == 1);
  CHECK(one.reason.find("epoch 2") != std::string::npos);
  CHECK(one.epoch->value() == 0);
  CHECK_FALSE(one.gate.Check());
  CHECK(one.epoch->Claim().error().code == ErrorCode::kStale);
  CHECK(two.fenced == 0);
  CHECK(OnNats(bus).starts_with("2 "));
}

TEST_CASE("who slept through the claim finds out by looking") {
  MemoryBus bus;
  REQUIRE(EnsureStreams(bus, {}));
  const auto cut_off = bus.Client();
  Claimant one(*cut_off);
  REQUIRE(one.epoch->Claim());
  cut_off->Disconnect();
  Claimant two(bus);
  REQUIRE(two.epoch->Claim());
  CHECK(one.fenced == 0);
  CHECK_FALSE(one.epoch->Confirm());
  CHECK(one.fenced == 0);  // nothing heard is no proof
  cut_off->Reconnect();
  CHECK(one.epoch->Confirm().error().code == ErrorCode::kStale);
  CHECK(one.fenced == 1);
}

TEST_CASE("a wiped stream gets the same epoch again, and a lower one is overwritten") {
  MemoryBus bus;
  REQUIRE(EnsureStreams(bus, {}));
  Claimant one(bus);
  REQUIRE(one.epoch->Claim());
  one.Restart();
  REQUIRE(one.epoch->Claim());
  const std::string text = OnNats(bus);
  bus.WipeServer();
  CHECK_FALSE(one.epoch->Confirm());
  REQUIRE(EnsureStreams(bus, {}));
  REQUIRE(one.epoch->Confirm());
  CHECK(OnNats(bus) == text);
  REQUIRE(bus.PublishToStream(subjects::kEpoch, "1 old", {}));
  REQUIRE(one.epoch->Confirm());
  CHECK(OnNats(bus) == text);
  REQUIRE(bus.PublishToStream(subjects::kEpoch, "garbage", {}));
  REQUIRE(one.epoch->Confirm());
  CHECK(OnNats(bus) == text);
  CHECK(one.fenced == 0);
}

TEST_CASE("a wiped server and a restored store still lead above what data planes saw") {
  MemoryBus bus;
  REQUIRE(EnsureStreams(bus, {}));
  Claimant one(bus);
  REQUIRE(one.epoch->Claim());
  CHECK_FALSE(one.epoch->Outbid());
  one.epoch->Observe(41);
  CHECK(one.epoch->Outbid());
  one.epoch->Observe(5'000'000'000);  // not believed
  CHECK(one.epoch->Claim().value() == 42);
  CHECK(one.epoch->value() == 42);
  CHECK_FALSE(one.epoch->Outbid());
  CHECK(one.fenced == 0);  // our own echo
}

TEST_CASE("a claim whose answer was lost is found again, not made twice") {
  MemoryBus bus;
  REQUIRE(EnsureStreams(bus, {}));
  Claimant one(bus);
  bus.DropAcks(1);
  CHECK_FALSE(one.epoch->Claim());
  CHECK(one.epoch->value() == 0);
  CHECK(OnNats(bus).starts_with("1 "));
  CHECK(one.epoch->Claim().value() == 1);
  CHECK(bus.GetStreamState(subjects::kControlStream)->last_seq == 1);
}

TEST_CASE("of two that claim together one wins") {
  MemoryBus bus;
  REQUIRE(EnsureStreams(bus, {}));
  Claimant one(bus);
  Claimant two(bus);
  // Between one's look and its write, two claims.
  bool meddled = false;
  const auto client = bus.Client();
  Claimant rival(*client);
  bus.InterceptPublish([&](std::string_view) -> Result<void> {
    if (!std::exchange(meddled, true)) REQUIRE(rival.epoch->Claim());
    return {};
  });
  const auto lost = one.epoch->Claim();
  REQUIRE_FALSE(lost);
  CHECK(lost.error().code == ErrorCode::kConflict);
  CHECK(rival.epoch->value() == 1);
  CHECK(one.epoch->Claim().value() == 2);
  CHECK(rival.fenced == 1);
}

}  // namespace spillway
