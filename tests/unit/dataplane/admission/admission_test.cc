#include "dataplane/admission/admission.h"

#include <catch2/catch_all.hpp>

#include "common/config/resource.h"
#include "common/crypto/sha256.h"
#include "dataplane/authn/authenticator.h"
#include "dataplane/snapshot/build.h"

namespace spillway {
namespace {

void AddModel(const std::string& name, std::vector<v1::Resource>& resources) {
  v1::Model& model = *resources.emplace_back().mutable_model();
  model.set_name(name);
  model.set_provider("p");
  model.mutable_price()->set_input(1);
}

void AddRoute(const std::string& name, const std::string& target,
              std::vector<v1::Resource>& resources) {
  v1::Route& route = *resources.emplace_back().mutable_route();
  route.set_name(name);
  route.set_strategy(v1::Route::STRATEGY_PRIORITY);
  route.add_targets()->set_model(target);
}

void AddKey(const std::string& name, std::vector<std::string> routes,
            std::vector<std::string> models, std::vector<v1::Resource>& resources) {
  v1::Key& key = *resources.emplace_back().mutable_key();
  key.set_name(name);
  key.mutable_routes()->Assign(routes.begin(), routes.end());
  key.mutable_models()->Assign(models.begin(), models.end());
  key.add_secrets()->set_sha256(std::string(AsBytes(Sha256("secret of " + name))));
}

// Models small, large and both; routes chat and both (a model's name too).
SnapshotPtr Sample() {
  std::vector<v1::Resource> resources;
  v1::Provider& provider = *resources.emplace_back().mutable_provider();
  provider.set_name("p");
  provider.set_dialect(v1::DIALECT_OPENAI);
  provider.set_base_url("http://127.0.0.1:1/v1");
  for (const char* name : {"small", "large", "both"}) AddModel(name, resources);
  AddRoute("chat", "small", resources);
  AddRoute("both", "large", resources);
  AddKey("everything", {}, {}, resources);
  AddKey("route-only", {"chat"}, {}, resources);
  AddKey("model-only", {}, {"large"}, resources);
  AddKey("mixed", {"both", "chat"}, {"small"}, resources);
  AddKey("model-behind-route", {}, {"both"}, resources);
  std::vector<v1::Entry> entries;
  entries.reserve(resources.size());
  for (const v1::Resource& resource : resources) entries.push_back(config::ToEntry(resource));
  std::vector<EntryView> views;
  views.reserve(entries.size());
  for (const v1::Entry& entry : entries)
    views.push_back({.kind = entry.kind(), .name = entry.name(), .bytes = entry.bytes()});
  return Build(views, v1::Position(), {.secrets = {}, .limits = {}, .compute_digest = true})
      .value();
}

Caller CallerOf(const Snapshot& snapshot, const std::string& key) {
  const std::string secret = "secret of " + key;
  RequestHead head;
  head.headers.push_back({"x-api-key", secret});
  return Authenticator::Authenticate(head, snapshot, 0).value();
}

TEST_CASE("a key may name what its lists say, and routes win over models") {
  const SnapshotPtr snapshot = Sample();
  struct Row {
    std::string key;
    std::string_view model;
    bool want;
    std::string_view target = {};
  };
  const auto row = GENERATE(values<Row>({
      {"everything", "chat", true, "small"},
      {"everything", "small", true, "small"},
      {"everything", "both", true, "large"},
      {"everything", "nothing", false},
      {"everything", "", false},
      {"everything", "Chat", false},
      {"route-only", "chat", true, "small"},
      {"route-only", "small", false},
      {"route-only", "both", false},
      {"model-only", "large", true, "large"},
      {"model-only", "chat", false},
      {"mixed", "both", true, "large"},
      {"mixed", "small", true, "small"},
      {"mixed", "large", false},
      {"model-behind-route", "both", false},
  }));
  INFO(row.key << " asks for " << row.model);
  const auto route = Admission::Admit(CallerOf(*snapshot, row.key), *snapshot, row.model);
  REQUIRE(route.has_value() == row.want);
  if (route) {
    CHECK((*route)->targets[0].model->name == row.target);
  } else {
    CHECK(route.error().code == ErrorCode::kModelNotFound);
    CHECK(route.error().HttpStatus() == 404);
    CHECK(route.error().param == "model");
    CHECK_THAT(route.error().message,
               Catch::Matchers::ContainsSubstring("'" + std::string(row.model) + "'"));
  }
}

TEST_CASE("nobody learns from a refusal what exists") {
  const SnapshotPtr snapshot = Sample();
  const Caller caller = CallerOf(*snapshot, "route-only");
  std::string there = Admission::Admit(caller, *snapshot, "large").error().message;
  const std::string nowhere = Admission::Admit(caller, *snapshot, "lasso").error().message;
  there.replace(there.find("large"), 5, "lasso");
  CHECK(there == nowhere);
}

TEST_CASE("a long model name is cut in the message, between characters") {
  const SnapshotPtr snapshot = Sample();
  std::string name;
  for (int i = 0; i < 5'000; ++i) name += "\xc3\xa9";
  const std::string message =
      Admission::Admit(CallerOf(*snapshot, "everything"), *snapshot, name).error().message;
  CHECK(message.size() < 400);
  CHECK(Admission::Admit(CallerOf(*snapshot, "everything"), *snapshot, "x" + name)
            .error()
            .message.contains("\xc3\xa9'"));
}

TEST_CASE("what a key may name is listed, sorted") {
  const SnapshotPtr snapshot = Sample();
  using Names = std::vector<std::string_view>;
  CHECK(Admission::Allowed(CallerOf(*snapshot, "everything"), *snapshot) ==
        Names{"both", "chat", "large", "small"});
  CHECK(Admission::Allowed(CallerOf(*snapshot, "route-only"), *snapshot) == Names{"chat"});
  CHECK(Admission::Allowed(CallerOf(*snapshot, "mixed"), *snapshot) ==
        Names{"both", "chat", "small"});
  CHECK(Admission::Allowed(CallerOf(*snapshot, "model-behind-route"), *snapshot).empty());
}

}  // namespace
}  // namespace spillway
