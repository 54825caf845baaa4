#include "dataplane/snapshot/snapshot.h"

#include "dataplane/snapshot/rep.h"

namespace spillway {

Snapshot::Snapshot(std::unique_ptr<const Rep> rep) : rep_(std::move(rep)) {}
Snapshot::~Snapshot() = default;

const v1::Position& Snapshot::position() const { return rep_->position; }
const KeyMatch* Snapshot::FindKey(const Sha256Digest& sha256) const {
  return rep_->keys.Find(sha256);
}
int64_t Snapshot::key_count() const { return rep_->keys.size(); }

std::shared_ptr<const RouteSpec> Snapshot::FindRoute(std::string_view name) const {
  return rep_->tables->FindRoute(name);
}

const std::vector<std::shared_ptr<const RouteSpec>>& Snapshot::routes() const {
  return rep_->tables->routes();
}

void Snapshot::MatchBudgets(const Facts& facts, bool by_target,
                            std::vector<BudgetMatch>& out) const {
  rep_->tables->scoped().budgets.Append(facts, by_target, out);
}

void Snapshot::MatchRateLimits(const Facts& facts, bool by_target,
                               std::vector<RateLimitMatch>& out) const {
  rep_->tables->scoped().rate_limits.Append(facts, by_target, out);
}

int64_t Snapshot::budget_count() const {
  return static_cast<int64_t>(rep_->tables->scoped().budgets.size());
}

}  // namespace spillway
