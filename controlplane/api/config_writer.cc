#include "controlplane/api/config_writer.h"

#include <optional>
#include <utility>
#include <vector>

namespace spillway::api {
namespace {

Outcome<std::optional<ConfigChange>> Checked(Outcome<ChangeSet> decided,
                                             const ConfigWriter::Audit& audit,
                                             v1::ApplyResponse& response) {
  SW_TRY(ChangeSet set, std::move(decided));
  SW_CHECK(set.ResolvePrices());
  if (set.empty()) return std::nullopt;
  SW_TRY(std::vector<v1::Violation> violations, set.Check());
  if (!violations.empty()) return RefuseInvalid(std::move(violations));
  for (const v1::Change& change : set.changes()) *response.add_changes() = change;
  return std::move(set).Take(audit.author, audit.summary);
}

}  // namespace

Outcome<void> ConfigWriter::MayWrite() const {
  if (!gate_) return {};
  if (Result<void> open = gate_(); !open) {
    return Refuse(Refusal::Kind::kNotNow,
                  "the control plane refuses changes now: " + open.error().message);
  }
  return {};
}

Outcome<v1::ApplyResponse> ConfigWriter::Commit(const Audit& audit, const Decide& decide,
                                                const Prepare& prepare) {
  const std::lock_guard lock(commit_mutex_);
  SW_CHECK(MayWrite());
  if (prepare) SW_CHECK(prepare());
  v1::ApplyResponse response;
  // The store speaks Error; a refusal with its violations goes around it.
  std::optional<Refusal> refusal;
  const auto revision =
      store_.Transact(epoch_ ? epoch_() : 0, clock_.WallMs(),
                      [&](const ConfigStore::State& state) -> Result<std::optional<ConfigChange>> {
                        auto change = Checked(decide(state), audit, response);
                        if (change) return *std::move(change);
                        refusal = std::move(change).error();
                        return Fail(ErrorCode::kCancelled, refusal->message);
                      });
  if (refusal) return std::unexpected(*std::move(refusal));
  if (!revision) return std::unexpected(Refusal(revision.error()));
  response.set_revision(*revision);
  return response;
}

}  // namespace spillway::api
