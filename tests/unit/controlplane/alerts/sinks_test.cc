#include "controlplane/alerts/sinks.h"

#include <catch2/catch_all.hpp>
#include <string>
#include <vector>

#include "tests/unit/controlplane/api/api_world.h"

namespace spillway::alerts {
namespace {

constexpr std::string_view kSinks = R"(
alert_sinks:
  - {name: ops, kind: slack, url: "${env:HOOK}"}
  - {name: pager, kind: webhook, url: "${env:HOOK}", signing_secret: "${env:HOOK}"}
)";
constexpr std::string_view kHook = "https://hooks.test/T0/B0/token?x=1";

TEST_CASE("sinks are found as the API stores them, and unsealed for one delivery") {
  api::ApiWorld world;
  world.MustApply(kSinks, false, kHook);
  const ConfiguredSinks sinks(*world.store, *world.seal_key);
  CHECK(sinks.Names() == std::vector<std::string>{"ops", "pager"});
  const auto slack = sinks.Find("ops");
  REQUIRE(slack.has_value());
  CHECK(slack->kind == v1::AlertSink::KIND_SLACK);
  CHECK(slack->url.Reveal() == kHook);
  CHECK(slack->signing_secret.empty());
  const auto hook = sinks.Find("pager");
  REQUIRE(hook.has_value());
  CHECK(hook->kind == v1::AlertSink::KIND_WEBHOOK);
  CHECK(hook->signing_secret.Reveal() == kHook);
  CHECK(sinks.Find("nobody").error().code == ErrorCode::kNotFound);
}

TEST_CASE("secrets that were sealed under another key or for another sink are not used") {
  api::ApiWorld world;
  world.MustApply(kSinks, false, kHook);
  const auto other = SealKey::FromFile(world.folder.Path("other.key"), true);
  REQUIRE(other.has_value());
  const auto wrong_key = ConfiguredSinks(*world.store, *other).Find("ops");
  REQUIRE_FALSE(wrong_key.has_value());
  CHECK_FALSE(wrong_key.error().message.contains("token"));
  // The bytes of one sink under the name of another.
  v1::AlertSink moved = world.Stored(v1::KIND_ALERT_SINK, "ops").alert_sink();
  REQUIRE(world.store->Transact(
      1, 1, [&](const ConfigStore::State&) -> Result<std::optional<ConfigChange>> {
        ConfigChange change;
        v1::Entry& entry = change.upserts.emplace_back();
        entry.set_kind(v1::KIND_ALERT_SINK);
        entry.set_name("thief");
        entry.set_bytes(moved.SerializeAsString());
        return change;
      }));
  CHECK_FALSE(ConfiguredSinks(*world.store, *world.seal_key).Find("thief").has_value());
}

}  // namespace
}  // namespace spillway::alerts
