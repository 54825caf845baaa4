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

}  // namespace spillway
