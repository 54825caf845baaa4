#pragma once

#include <string>

#include "controlplane/api/config_writer.h"
#include "controlplane/api/refusal.h"
#include "controlplane/store/config_store.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::api {

// The configuration's past: revisions, what lies between two, the way back. Thread-safe.
class HistoryService {
 public:
  HistoryService(ConfigStore& store, ConfigWriter& writer) : store_(store), writer_(writer) {}

  Outcome<v1::ListRevisionsResponse> List(const v1::ListRevisionsRequest& request) const;
  Outcome<v1::ApplyResponse> Diff(const v1::DiffRevisionsRequest& request) const;
  // A new revision with the resources of an old one, the providers' secrets of that time included,
  // except that of keys:
  // - one that no file declares is not touched;
  // - one that exists keeps its secrets and its revocation;
  // - one that was deleted since comes back with the secrets and the revocation it had last.
  // Spend and ledger do not change.
  Outcome<v1::ApplyResponse> Rollback(const v1::RollbackRequest& request,
                                      const std::string& author);

 private:
  ConfigStore& store_;
  ConfigWriter& writer_;
};

}  // namespace spillway::api
