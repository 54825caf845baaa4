#include "common/nats_bus.h"

#include <atomic>
#include <catch2/catch_all.hpp>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "common/nats_bus_rep.h"
#include "common/subjects.h"
#include "controlplane/publish/streams.h"
#include "tests/fakes/nats_server.h"
#include "tests/unit/controlplane/publish/waiting.h"

namespace spillway {
namespace {

constexpr StreamLimits kLimits{.usage_bytes_max = 64 << 20, .config_bytes_max = 64 << 20};

// A bus, and the wait for its connections.
struct Connected {
  explicit Connected(const NatsOptions& options) : bus(NatsBus::Open(options).value()) {
    bus->OnConnected([this] { connects.Add(1); });
    REQUIRE(connects.WaitCount(1));
  }
  Collector<int> connects;
  std::unique_ptr<NatsBus> bus;
};

}  // namespace

TEST_CASE("acknowledgements are read as the server writes them") {
  struct Row {
    const char* json;
    uint64_t seq;  // 0: an error
    ErrorCode want;
  };
  const Row rows[] = {
      {R"({"stream":"S","seq":7})", 7, {}},
      {R"({"stream":"S", "seq": 12, "duplicate":true})", 12, {}},
      {R"({"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"S","seq":0})",
       0, ErrorCode::kConflict},
      {R"({"error":{"code":400,"err_code":10164,"description":"wrong last sequence"},"seq":0})", 0,
       ErrorCode::kConflict},
      {R"({"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}})", 0,
       ErrorCode::kUnavailable},
      {R"({"error":{"code":503},"seq":4})", 0, ErrorCode::kUnavailable},
      {R"({"stream":"S"})", 0, ErrorCode::kUnavailable},
      {"", 0, ErrorCode::kUnavailable},
      {"garbage", 0, ErrorCode::kUnavailable},
      {R"({"seq":)", 0, ErrorCode::kUnavailable},
  };
  for (const Row& row : rows) {
    INFO(row.json);
    const auto seq = ParseAck(row.json);
    REQUIRE(seq.has_value() == (row.seq != 0));
    if (seq) CHECK(*seq == row.seq);
    if (!seq) CHECK(seq.error().code == row.want);
  }
}

TEST_CASE("options that cannot be are refused at once") {
  struct Row {
    const char* name;
    NatsOptions options;
  };
  NatsOptions no_url;
  no_url.url = "";
  NatsOptions bad_ca;
  bad_ca.tls_ca_file = "/nonexistent/ca.pem";
  NatsOptions only_key;  // would be in clear
  only_key.tls_key_file = "/nonexistent/key.pem";
  NatsOptions no_key;
  no_key.tls_cert_file = "/nonexistent/cert.pem";
  NatsOptions bad_prefix;
  bad_prefix.inbox_prefix = "with.*";
  for (const Row& row :
       {Row{"no url", no_url}, Row{"bad ca", bad_ca}, Row{"TLS key alone", only_key},
        Row{"TLS certificate alone", no_key}, Row{"bad inbox prefix", bad_prefix}}) {
    INFO(row.name);
    const auto bus = NatsBus::Open(row.options);
    REQUIRE_FALSE(bus);
    CHECK(bus.error().code == ErrorCode::kInvalidConfig);
  }
}

TEST_CASE("without a server a bus opens, fails every call and closes quickly") {
  NatsOptions options;
  options.url = "nats://127.0.0.1:1";
  const auto bus = NatsBus::Open(options).value();
  CHECK(bus->state() == BusState::kConnecting);
  CHECK(bus->Publish("a", "x").error().code == ErrorCode::kUnavailable);
  CHECK(bus->PublishToStream("a", "x", {}).error().code == ErrorCode::kUnavailable);
  CHECK(bus->PublishToStreamAsync("a", "x", {}, [](auto) {}).error().code ==
        ErrorCode::kUnavailable);
  CHECK(bus->GetLast("S", "a", 100).error().code == ErrorCode::kUnavailable);
  CHECK(bus->EnsureStream({.name = "S"}).error().code == ErrorCode::kUnavailable);
  CHECK(bus->GetStreamState("S").error().code == ErrorCode::kUnavailable);
  CHECK(bus->Consume({.stream = "S", .name = "c"}).error().code == ErrorCode::kUnavailable);
  const auto subscription = bus->Subscribe("a", [](const auto&) {});
  CHECK(subscription);
}

TEST_CASE("core messages and streams over a real server") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  NatsServer server;
  Connected control(server.ControlPlane());
  Connected data(server.DataPlane());
  NatsBus& bus = *control.bus;
  CHECK(bus.state() == BusState::kConnected);

  Collector<BusMessage> fleet;
  auto subscription =
      bus.Subscribe("spillway.fleet.*", [&](const BusMessage& message) { fleet.Add(message); })
          .value();
  // An answer from the server: it has seen the subscription.
  REQUIRE(bus.GetStreamState("SPILLWAY_CONFIG").error().code == ErrorCode::kNotFound);
  REQUIRE(data.bus->Publish("spillway.fleet.dp1", std::string("b\0dy", 4)));
  REQUIRE(fleet.WaitCount(1));
  CHECK(fleet.Values()[0].subject == "spillway.fleet.dp1");
  CHECK(fleet.Values()[0].payload == std::string("b\0dy", 4));
  subscription.reset();
  REQUIRE(data.bus->Publish("spillway.fleet.dp1", "late"));

  CHECK(bus.GetLast("SPILLWAY_CONFIG", "spillway.config.latest", 1'000).error().code ==
        ErrorCode::kNotFound);
  CHECK(bus.PublishToStream("spillway.config.latest", "x", {}).error().code ==
        ErrorCode::kUnavailable);  // no stream yet
  REQUIRE(EnsureStreams(bus, kLimits));
  REQUIRE(EnsureStreams(bus, kLimits));
  const StreamState fresh = bus.GetStreamState("SPILLWAY_CONFIG").value();
  CHECK(fresh.created_ns > 0);
  CHECK(fresh.messages == 0);
  CHECK(bus.GetLast("SPILLWAY_CONFIG", "spillway.config.latest", 1'000).value() == std::nullopt);

  CHECK(bus.PublishToStream("spillway.config.latest", "1", {.message_id = "m"}).value() == 1);
  CHECK(bus.PublishToStream("spillway.config.latest", "1", {.message_id = "m"}).value() == 1);
  CHECK(bus.PublishToStream("spillway.config.latest", "2", {.expect_last_subject_seq = 0})
            .error()
            .code == ErrorCode::kConflict);
  CHECK(
      bus.PublishToStream("spillway.config.latest", "2", {.expect_last_subject_seq = 1}).value() ==
      2);
  CHECK(
      bus.PublishToStream("spillway.config.delta.1", "d", {.expect_last_subject_seq = 0}).value() ==
      3);
  const auto last = data.bus->GetLast("SPILLWAY_CONFIG", "spillway.config.latest", 2'000).value();
  REQUIRE(last);
  CHECK(last->payload == "2");
  CHECK(last->stream_seq == 2);
  CHECK(fleet.Values().size() == 1);

  REQUIRE(bus.Purge("SPILLWAY_CONFIG", 3, ""));
  CHECK(bus.GetStreamState("SPILLWAY_CONFIG")->first_seq == 3);
  CHECK(bus.GetStreamState("SPILLWAY_CONFIG")->last_seq == 3);
  // Limits are brought up to date without making the stream anew.
  REQUIRE(EnsureStreams(bus, {.usage_bytes_max = 32 << 20, .config_bytes_max = 32 << 20}));
  CHECK(bus.GetStreamState("SPILLWAY_CONFIG")->created_ns == fresh.created_ns);
  CHECK(bus.GetStreamState("SPILLWAY_CONFIG")->messages == 1);
}

TEST_CASE("asynchronous publishes are acknowledged once each, in bounds") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  NatsServer server;
  Connected control(server.ControlPlane());
  REQUIRE(EnsureStreams(*control.bus, kLimits));
  NatsOptions options = server.DataPlane();
  options.async_messages_max = 50;
  Connected data(options);
  Collector<uint64_t> acks;
  std::atomic<int> refused{0};
  int taken = 0;
  while (taken < 2'000) {
    const auto accepted = data.bus->PublishToStreamAsync(
        "spillway.usage.dp1", std::string(300, 'x'), {.message_id = "m" + std::to_string(taken)},
        [&](Result<uint64_t> seq) { acks.Add(seq ? *seq : 0); });
    if (accepted) {
      ++taken;
      continue;
    }
    CHECK(accepted.error().code == ErrorCode::kUnavailable);
    ++refused;
    REQUIRE(acks.WaitCount(static_cast<size_t>(taken) - 25));
  }
  REQUIRE(acks.WaitCount(2'000));
  const auto values = acks.Values();
  CHECK(values.size() == 2'000);
  CHECK(std::set<uint64_t>(values.begin(), values.end()).size() == 2'000);
  CHECK_FALSE(std::ranges::contains(values, 0u));
  CHECK(control.bus->GetStreamState("SPILLWAY_USAGE")->messages == 2'000);
  CHECK(data.bus->counts().async_waiting == 0);
}

TEST_CASE("a durable pull consumer starts where it is told and goes on where it was") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  NatsServer server;
  Connected control(server.ControlPlane());
  Connected data(server.DataPlane());
  NatsBus& bus = *control.bus;
  const ConsumerSpec none{.stream = "SPILLWAY_USAGE", .name = "ledger-1"};
  CHECK(bus.Consume(none).error().code == ErrorCode::kNotFound);
  REQUIRE(EnsureStreams(bus, kLimits));
  for (int i = 1; i <= 5; ++i) {
    REQUIRE(data.bus->PublishToStream("spillway.usage.dp1", std::to_string(i), {}));
  }
  auto consumer =
      bus.Consume({.stream = "SPILLWAY_USAGE", .name = "ledger-1", .start_seq = 3}).value();
  auto messages = consumer->Fetch(2, 2'000).value();
  REQUIRE(messages.size() == 2);
  CHECK(messages[0].payload == "3");
  CHECK(messages[0].stream_seq == 3);
  CHECK(messages[0].subject == "spillway.usage.dp1");
  REQUIRE(consumer->AckAll());
  consumer = bus.Consume({.stream = "SPILLWAY_USAGE", .name = "ledger-1", .start_seq = 1}).value();
  messages = consumer->Fetch(10, 2'000).value();
  REQUIRE(messages.size() == 1);
  CHECK(messages[0].payload == "5");
  REQUIRE(consumer->AckAll());
  REQUIRE(consumer->AckAll());  // nothing left
  CHECK(consumer->Fetch(10, 50)->empty());
  REQUIRE(bus.DeleteConsumer("SPILLWAY_USAGE", "ledger-1"));
  REQUIRE(bus.DeleteConsumer("SPILLWAY_USAGE", "ledger-1"));
  auto gone = consumer->Fetch(10, 3'000);
  if (gone) gone = consumer->Fetch(10, 3'000);
  REQUIRE_FALSE(gone);
  CHECK(gone.error().code == ErrorCode::kNotFound);
}

// The moment between the subscriptions of all that was there and the connection's being known.
TEST_CASE("what subscribes while the connection comes up hears all") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  NatsServer server;
  Connected data(server.DataPlane());
  for (int round = 0; round < 20; ++round) {
    const auto bus = NatsBus::Open(server.ControlPlane()).value();
    std::mutex mutex;
    std::set<size_t> heard;
    Collector<int> all;  // one when every subscription has heard something
    size_t count = 0;
    std::vector<std::unique_ptr<Bus::Subscription>> subscriptions;
    while (bus->state() != BusState::kConnected && subscriptions.size() < 3'000) {
      subscriptions.push_back(bus->Subscribe("spillway.fleet.*",
                                             [&, i = subscriptions.size()](const BusMessage&) {
                                               const std::lock_guard lock(mutex);
                                               heard.insert(i);
                                               if (count != 0 && heard.size() == count) all.Add(1);
                                             })
                                  .value());
    }
    {
      const std::lock_guard lock(mutex);
      count = subscriptions.size();
    }
    bool complete = count == 0;
    for (int i = 0; i < 100 && !complete; ++i) {
      REQUIRE(data.bus->Publish("spillway.fleet.a", "x").has_value());
      complete = all.WaitCount(1, 100);
    }
    INFO("round " << round);
    CHECK(complete);
  }
}

TEST_CASE("no callback runs behind a subscription's end, whoever ends it") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  NatsServer server;
  Connected control(server.ControlPlane());
  Connected data(server.DataPlane());
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    while (!stop) {
      if (!data.bus->Publish("spillway.fleet.a", "x")) break;
    }
  });
  for (int i = 0; i < 100; ++i) {
    auto alive = std::make_unique<std::atomic<int>>(0);
    Collector<int> first;
    auto subscription = control.bus
                            ->Subscribe("spillway.fleet.*",
                                        [&, counter = alive.get()](const auto&) {
                                          if (counter->fetch_add(1) == 0) first.Add(1);
                                        })
                            .value();
    CHECK(first.WaitCount(1));
    subscription.reset();
    alive.reset();  // a later callback would be seen by the sanitizers
  }
  // From inside its own callback.
  Collector<int> ended;
  std::mutex mutex;
  std::unique_ptr<Bus::Subscription> self;
  {
    const std::lock_guard lock(mutex);
    self = control.bus
               ->Subscribe("spillway.fleet.*",
                           [&](const auto&) {
                             const std::lock_guard inner(mutex);
                             self.reset();
                             ended.Add(1);
                           })
               .value();
  }
  CHECK(ended.WaitCount(1));
  stop = true;
  sender.join();
}

TEST_CASE("subscriptions and consumers may outlive their bus") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  NatsServer server;
  std::unique_ptr<Bus::Subscription> subscription;
  std::unique_ptr<Bus::Consumer> consumer;
  {
    Connected control(server.ControlPlane());
    REQUIRE(EnsureStreams(*control.bus, kLimits));
    subscription = control.bus->Subscribe("spillway.fleet.*", [](const auto&) {}).value();
    consumer = control.bus->Consume({.stream = "SPILLWAY_USAGE", .name = "c"}).value();
    CHECK(consumer->Fetch(1, 10)->empty());
  }
  CHECK(consumer->Fetch(1, 10).error().code == ErrorCode::kCancelled);
  subscription.reset();
  consumer.reset();
}

}  // namespace spillway
