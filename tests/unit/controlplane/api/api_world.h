#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/crypto/sealing.h"
#include "controlplane/api/config_service.h"
#include "controlplane/api/config_writer.h"
#include "controlplane/api/history_service.h"
#include "controlplane/api/key_service.h"
#include "controlplane/store/config_store.h"
#include "controlplane/store/store.h"
#include "tests/fakes/temp_folder.h"

namespace spillway::api {

// The services over a real store in a scratch folder.
class ApiWorld {
 public:
  ApiWorld();

  TempFolder folder;
  ManualClock clock;
  std::unique_ptr<Store> database;
  std::unique_ptr<ConfigStore> store;
  std::optional<SealKey> seal_key;
  std::optional<std::string> closed;  // why the write gate is shut
  std::unique_ptr<ConfigWriter> writer;
  std::unique_ptr<ConfigService> config;
  std::unique_ptr<KeyService> keys;
  std::unique_ptr<HistoryService> history;

  // References resolve to "value-of-NAME", or to what `secrets` says.
  static v1::ApplyRequest Request(std::string_view yaml, bool prune = false,
                                  std::string_view secret = "");
  Outcome<v1::ApplyResponse> Apply(std::string_view yaml, bool prune = false,
                                   std::string_view secret = "");
  int64_t MustApply(std::string_view yaml, bool prune = false, std::string_view secret = "");

  Outcome<v1::ApplyResponse> RollBack(int64_t revision);

  // As stored, with sealed bytes and digests.
  v1::Resource Stored(v1::Kind kind, const std::string& name) const;
  bool Has(v1::Kind kind, const std::string& name) const;
  v1::Key StoredKey(const std::string& name) const { return Stored(v1::KIND_KEY, name).key(); }
  std::string Unsealed(const std::string& provider, int credential = 0) const;
  v1::KeySecretResponse MustCreateKey(const std::string& name, const std::string& team = "");
  int64_t revision() const { return store->position().revision(); }
};

// Everything a gateway needs, small.
inline constexpr std::string_view kGateway = R"(
providers:
  - name: openai
    dialect: openai
    base_url: https://api.openai.com/v1
    credentials: [{name: main, api_key: "${env:OPENAI}"}]
models:
  - {name: gpt-5-mini, provider: openai, price: {input: 0.25, output: 2.0}}
routes:
  - {name: support-tier, strategy: priority, targets: [{model: gpt-5-mini}]}
organizations: [{name: acme}]
teams: [{name: support, organization: acme}]
users: [{name: alice, team: support}]
keys: [{name: support-bot, team: support, routes: [support-tier]}]
)";

// "create model/gpt-5" for each change, sorted.
std::vector<std::string> ChangesOf(const v1::ApplyResponse& response);

}  // namespace spillway::api
