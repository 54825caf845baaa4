#include <atomic>
#include <catch2/catch_all.hpp>
#include <chrono>
#include <set>

#include "common/nats_bus.h"
#include "controlplane/publish/streams.h"
#include "tests/fakes/nats_server.h"
#include "tests/unit/controlplane/publish/waiting.h"

namespace spillway {
namespace {

constexpr StreamLimits kOutageStreams{.usage_bytes_max = 64 << 20, .config_bytes_max = 64 << 20};

}  // namespace

TEST_CASE("a bus outlives kill -9 of its server, started before and after it") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  NatsServer server;
  server.Kill();
  auto control = NatsBus::Open(server.ControlPlane()).value();
  Collector<int> connects;
  control->OnConnected([&] { connects.Add(1); });
  Collector<std::string> heard;
  const auto subscription =
      control
          ->Subscribe("spillway.fleet.*", [&](const auto& message) { heard.Add(message.payload); })
          .value();
  CHECK_FALSE(connects.WaitCount(1, 50));
  server.Start();
  REQUIRE(connects.WaitCount(1));
  REQUIRE(EnsureStreams(*control, kOutageStreams));
  const int64_t created = control->GetStreamState("SPILLWAY_USAGE")->created_ns;

  auto data = NatsBus::Open(server.DataPlane()).value();
  Collector<int> data_connects;
  data->OnConnected([&] { data_connects.Add(1); });
  REQUIRE(data_connects.WaitCount(1));
  auto consumer = control->Consume({.stream = "SPILLWAY_USAGE", .name = "ledger-1"}).value();

  for (size_t outage = 1; outage <= 3; ++outage) {
    INFO("outage " << outage);
    REQUIRE(data->PublishToStream("spillway.usage.dp", std::to_string(outage), {}));
    server.Kill();
    // Noticed, or refused: never blocked.
    const auto began = std::chrono::steady_clock::now();
    CHECK_FALSE(data->PublishToStream("spillway.usage.dp", "lost", {.timeout_ms = 500}));
    CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(3));
    CHECK_FALSE(consumer->Fetch(10, 100));
    server.Start();
    REQUIRE(connects.WaitCount(outage + 1));
    REQUIRE(data_connects.WaitCount(outage + 1));
    // Core NATS delivers at most once: like a heartbeat, it is said until it is heard.
    bool back = false;
    for (int said = 0; said < 100 && !back; ++said) {
      REQUIRE(data->Publish("spillway.fleet.dp", "back " + std::to_string(outage)));
      back = heard.WaitFor(
          [&](const auto& values) {
            return std::ranges::contains(values, "back " + std::to_string(outage));
          },
          100);
    }
    CHECK(back);
    CHECK(control->GetStreamState("SPILLWAY_USAGE")->created_ns == created);
    const auto messages = consumer->Fetch(10, 5'000);
    INFO((messages ? "" : messages.error().message));
    REQUIRE(messages);
    REQUIRE(messages->size() >= 1);
    CHECK(messages->front().payload == std::to_string(outage));
    REQUIRE(consumer->AckAll());
  }

  SECTION("and a server that comes back empty has other streams") {
    server.Kill();
    server.WipeStore();
    server.Start();
    REQUIRE(connects.WaitCount(5));
    CHECK(control->GetStreamState("SPILLWAY_USAGE").error().code == ErrorCode::kNotFound);
    auto gone = consumer->Fetch(10, 3'000);
    if (gone) gone = consumer->Fetch(10, 3'000);
    REQUIRE_FALSE(gone);
    CHECK(gone.error().code == ErrorCode::kNotFound);
    REQUIRE(EnsureStreams(*control, kOutageStreams));
    CHECK(control->GetStreamState("SPILLWAY_USAGE")->created_ns != created);
  }
}

TEST_CASE("every asynchronous publish is answered once, also across kill -9, and none is lost") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  NatsServer server;
  auto control = NatsBus::Open(server.ControlPlane()).value();
  auto data = NatsBus::Open(server.DataPlane()).value();
  Collector<int> connects;
  control->OnConnected([&] { connects.Add(1); });
  data->OnConnected([&] { connects.Add(1); });
  REQUIRE(connects.WaitCount(2));
  REQUIRE(EnsureStreams(*control, kOutageStreams));

  constexpr int kMessages = 3'000;
  struct Answer {
    int number;
    bool stored;
  };
  Collector<Answer> answers;
  const auto publish = [&](int number) {
    return data->PublishToStreamAsync(
        "spillway.usage.dp", std::to_string(number),
        {.message_id = std::to_string(number), .timeout_ms = 1'000},
        [&answers, number](Result<uint64_t> seq) { answers.Add({number, seq.has_value()}); });
  };
  std::set<int> missing;
  for (int i = 0; i < kMessages; ++i) missing.insert(i);
  size_t answered = 0;
  size_t taken = 0;
  for (int round = 0; round < 40 && !missing.empty(); ++round) {
    for (const int number : missing) {
      if (publish(number)) ++taken;
      if (round < 2 && taken == static_cast<size_t>(kMessages) / 3 * (round + 1)) {
        server.Kill();
        server.Start();
      }
    }
    REQUIRE(answers.WaitCount(taken));
    const auto values = answers.Values();
    REQUIRE(values.size() == taken);  // once each
    for (; answered < values.size(); ++answered) {
      if (values[answered].stored) missing.erase(values[answered].number);
    }
    if (data->state() != BusState::kConnected)
      connects.WaitCount(connects.Values().size() + 1, 500);
  }
  CHECK(missing.empty());

  auto consumer = control->Consume({.stream = "SPILLWAY_USAGE", .name = "count"});
  for (int i = 0; i < 50 && !consumer; ++i) {
    connects.WaitCount(connects.Values().size() + 1, 100);
    consumer = control->Consume({.stream = "SPILLWAY_USAGE", .name = "count"});
  }
  REQUIRE(consumer);
  std::set<std::string> stored;
  while (true) {
    const auto messages = (*consumer)->Fetch(500, 500);
    if (!messages || messages->empty()) break;
    for (const BusMessage& message : *messages) stored.insert(message.payload);
    REQUIRE((*consumer)->AckAll());
  }
  CHECK(stored.size() == kMessages);
}

TEST_CASE("a frozen server neither blocks the asynchronous publish nor the bus's end") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  NatsServer server;
  auto data = NatsBus::Open(server.DataPlane()).value();
  Collector<int> connects;
  data->OnConnected([&] { connects.Add(1); });
  REQUIRE(connects.WaitCount(1));
  server.Pause();
  std::atomic<int> answers{0};
  int taken = 0;
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 400; ++i) {
    const auto accepted =
        data->PublishToStreamAsync("spillway.usage.dp", std::string(64'000, 'x'),
                                   {.timeout_ms = 60'000}, [&](auto) { ++answers; });
    if (accepted) ++taken;
  }
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(1));
  CHECK(taken > 0);
  data.reset();
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(12));
  CHECK(answers == taken);
  server.Resume();
}

TEST_CASE("wrong credentials are retried until they are right") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  NatsServer server;
  NatsOptions wrong = server.DataPlane();
  wrong.password = Secret("wrong");
  const auto bus = NatsBus::Open(wrong).value();
  Collector<int> connects;
  bus->OnConnected([&] { connects.Add(1); });
  CHECK_FALSE(connects.WaitCount(1, 1'500));
  CHECK(bus->state() == BusState::kConnecting);
}

}  // namespace spillway
