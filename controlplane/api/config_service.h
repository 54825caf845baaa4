#pragma once

#include <string>

#include "common/clock.h"
#include "common/crypto/sealing.h"
#include "controlplane/api/change_set.h"
#include "controlplane/api/config_writer.h"
#include "controlplane/api/merge.h"
#include "controlplane/api/refusal.h"
#include "controlplane/store/config_store.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::api {

// Resources of every kind: what `apply`, `diff`, `get` and `secrets set` mean. Knows nothing of
// gRPC. Thread-safe; the references must outlive it.
class ConfigService {
 public:
  ConfigService(ConfigStore& store, ConfigWriter& writer, const SealKey& seal_key,
                const Clock& clock)
      : store_(store), writer_(writer), seal_key_(seal_key), clock_(clock) {}

  // One revision for the whole request, or none. With prune, what files declared and this request
  // does not name goes; a key that no file declares stays.
  Outcome<v1::ApplyResponse> Apply(const v1::ApplyRequest& request, const std::string& author);
  // What Apply would change; violations are refused as Apply would. Secrets need not be sent.
  Outcome<v1::ApplyResponse> Diff(const v1::ApplyRequest& request) const;

  Outcome<v1::GetResponse> Get(const v1::GetRequest& request) const;
  Outcome<v1::ListResponse> List(const v1::ListRequest& request) const;
  // Refused when something still refers to the resource.
  Outcome<v1::ApplyResponse> Delete(const v1::DeleteRequest& request, const std::string& author);
  // An empty credential name means the provider's only one, or a new "default" when it has none.
  Outcome<v1::ApplyResponse> SetSecret(const v1::SetSecretRequest& request,
                                       const std::string& author);

 private:
  Outcome<ChangeSet> PlanApply(const ConfigStore::State& state, const v1::ApplyRequest& request,
                               SecretValues values) const;
  Outcome<ChangeSet> PlanSecret(const ConfigStore::State& state,
                                const v1::SetSecretRequest& request,
                                const std::string& reference) const;

  ConfigStore& store_;
  ConfigWriter& writer_;
  const SealKey& seal_key_;
  const Clock& clock_;
};

}  // namespace spillway::api
