#include <catch2/catch_all.hpp>

#include "common/nats_bus.h"
#include "common/subjects.h"
#include "controlplane/publish/streams.h"
#include "tests/fakes/nats_server.h"
#include "tests/unit/controlplane/publish/waiting.h"

namespace spillway {
namespace {

constexpr StreamLimits kPermissionStreams{.usage_bytes_max = 64 << 20,
                                          .config_bytes_max = 64 << 20};

struct Cluster {
  NatsServer server;
  std::unique_ptr<NatsBus> control = NatsBus::Open(server.ControlPlane()).value();
  std::unique_ptr<NatsBus> data = NatsBus::Open(server.DataPlane()).value();
  Collector<int> connects;
  Cluster() {
    control->OnConnected([this] { connects.Add(1); });
    data->OnConnected([this] { connects.Add(1); });
    REQUIRE(connects.WaitCount(2));
    REQUIRE(EnsureStreams(*control, kPermissionStreams));
  }
};

constexpr Bus::PublishOptions kSoon{.timeout_ms = 300};

}  // namespace

TEST_CASE("a data plane's credentials can do its work") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  Cluster cluster;
  CHECK(cluster.data->PublishToStream(subjects::Usage("dp1"), "run", {}));
  CHECK(cluster.data->GetStreamState(subjects::kUsageStream));
  REQUIRE(cluster.control->PublishToStream(subjects::kLatest, "latest", {}));
  CHECK(cluster.data->GetLast(subjects::kConfigStream, subjects::kLatest, 2'000)->value().payload ==
        "latest");

  Collector<std::string> heard;
  const auto push = cluster.data->Subscribe(
      subjects::kDeltas, [&](const auto& message) { heard.Add(message.subject); });
  const auto word = cluster.data->Subscribe(
      subjects::Instruction("dp1"), [&](const auto& message) { heard.Add(message.subject); });
  REQUIRE(
      cluster.data->GetLast(subjects::kConfigStream, subjects::kLatest, 2'000));  // after the SUBs
  REQUIRE(cluster.control->PublishToStream(subjects::Delta(7), "delta", {}));
  REQUIRE(cluster.control->Publish(subjects::Instruction("dp1"), "word"));
  CHECK(heard.WaitCount(2));
}

TEST_CASE("a captured data plane can write no configuration and no instruction") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  Cluster cluster;
  REQUIRE(cluster.control->PublishToStream(subjects::kLatest, "ours", {}));
  Collector<std::string> heard;
  const auto listen = [&](std::string_view subject) {
    return cluster.data
        ->Subscribe(subject, [&](const auto& message) { heard.Add(message.subject); })
        .value();
  };
  const auto config = listen("spillway.config.>");
  const auto words = listen("spillway.instruct.*");
  const std::string forbidden[] = {std::string(subjects::kLatest), subjects::Delta(1),
                                   subjects::Manifest(1), subjects::Chunk(1, 0),
                                   std::string(subjects::kEpoch)};
  for (const std::string& subject : forbidden) {
    INFO(subject);
    CHECK_FALSE(cluster.data->PublishToStream(subject, "theirs", kSoon));
    std::ignore = cluster.data->Publish(subject, "theirs");
  }
  std::ignore = cluster.data->Publish(subjects::Instruction("dp2"), "theirs");
  std::ignore = cluster.data->Publish("_INBOX_CONTROLPLANE.x", "theirs");
  // A round trip behind all of it: the server has refused each by now.
  const auto latest = cluster.data->GetLast(subjects::kConfigStream, subjects::kLatest, 2'000);
  REQUIRE(latest);
  CHECK((*latest)->payload == "ours");
  CHECK(cluster.control->GetStreamState(subjects::kConfigStream)->last_seq == 1);
  CHECK(cluster.control->GetStreamState(subjects::kControlStream)->last_seq == 0);
  CHECK(heard.Values().empty());
}

TEST_CASE("a captured data plane can alter, read and delete no stream") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  Cluster cluster;
  REQUIRE(cluster.data->PublishToStream(subjects::Usage("dp1"), "spend", {}));
  const StreamState before = cluster.control->GetStreamState(subjects::kUsageStream).value();

  const std::string raw[] = {"$JS.API.STREAM.DELETE.SPILLWAY_USAGE",
                             "$JS.API.STREAM.PURGE.SPILLWAY_USAGE",
                             "$JS.API.STREAM.DELETE.SPILLWAY_CONFIG",
                             "$JS.API.STREAM.UPDATE.SPILLWAY_CONFIG",
                             "$JS.API.STREAM.CREATE.STOLEN",
                             "$JS.API.STREAM.RESTORE.SPILLWAY_CONFIG",
                             "$JS.API.STREAM.SNAPSHOT.SPILLWAY_USAGE",
                             "$JS.API.STREAM.MSG.GET.SPILLWAY_USAGE",
                             "$JS.API.STREAM.MSG.DELETE.SPILLWAY_USAGE",
                             "$JS.API.DIRECT.GET.SPILLWAY_USAGE.spillway.usage.dp1",
                             "$JS.API.CONSUMER.CREATE.SPILLWAY_USAGE",
                             "$JS.API.CONSUMER.MSG.NEXT.SPILLWAY_USAGE.ledger-1",
                             "$JS.API.STREAM.NAMES",
                             "$JS.API.INFO"};
  for (const std::string& subject : raw) {
    INFO(subject);
    // Sent as a request: an answer would arrive as if it were an acknowledgement.
    const auto answer = cluster.data->PublishToStream(subject, "{}", kSoon);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().message.find("in time") != std::string::npos);
  }
  REQUIRE(cluster.data->GetStreamState(subjects::kUsageStream));
  const StreamState after = cluster.control->GetStreamState(subjects::kUsageStream).value();
  CHECK(after.created_ns == before.created_ns);
  CHECK(after.messages == before.messages);
}

TEST_CASE("a captured data plane cannot listen to others' usage, health or answers") {
  if (!NatsServer::Program()) SKIP("no nats-server");
  Cluster cluster;
  Collector<std::string> heard;
  std::vector<std::unique_ptr<Bus::Subscription>> ears;
  for (const char* subject : {"spillway.usage.*", "spillway.fleet.*", "spillway.control.epoch",
                              "_INBOX_CONTROLPLANE.>", "$JS.>", ">"}) {
    ears.push_back(
        cluster.data->Subscribe(subject, [&](const auto& message) { heard.Add(message.subject); })
            .value());
  }
  REQUIRE(cluster.data->GetStreamState(subjects::kUsageStream));  // the server has seen the SUBs
  const auto other = NatsBus::Open(cluster.server.DataPlane()).value();
  other->OnConnected([&] { cluster.connects.Add(1); });
  REQUIRE(cluster.connects.WaitCount(3));
  REQUIRE(other->PublishToStream(subjects::Usage("dp2"), "spend", {}));
  REQUIRE(other->Publish(subjects::Fleet("dp2"), "beat"));
  REQUIRE(cluster.control->PublishToStream(subjects::kEpoch, "1 x", {}));
  REQUIRE(cluster.data->GetStreamState(subjects::kUsageStream));
  CHECK(heard.Values().empty());
}

}  // namespace spillway
