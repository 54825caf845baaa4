#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "controlplane/store/config_store.h"
#include "spillway/v1/admin.pb.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::api {

// What one transaction does to a state, collected step by step: bytes that are as stored are no
// change. Keeps a reference to the state; lives shorter. Not thread-safe.
class ChangeSet {
 public:
  explicit ChangeSet(const ConfigStore::State& state) : state_(&state) {}

  // Stores a resource, or leaves it when it is stored like this already. kCorrupt: what is stored
  // cannot be read.
  Result<void> Put(const v1::Resource& resource);
  // Nothing when it is not there.
  void Remove(v1::Kind kind, const std::string& name);

  bool empty() const { return upserts_.empty() && removals_.empty(); }
  const std::vector<v1::Change>& changes() const { return changes_; }

  // What would be wrong with the state after this change. A few changed keys are checked with what
  // they refer to, in a time that does not depend on how many others are stored; nothing refers to
  // a key. Everything else is checked as a whole.
  Result<std::vector<v1::Violation>> Check() const;

  // `summary` empty: counted, "2 created, 1 updated".
  ConfigChange Take(std::string author, std::string summary) &&;

 private:
  bool OnlyFewKeys() const;
  Result<std::vector<v1::Resource>> WholeResult() const;
  Result<std::vector<v1::Resource>> Neighbourhood() const;
  std::string CountedSummary() const;

  const ConfigStore::State* state_;
  std::vector<v1::Entry> upserts_;
  std::vector<v1::EntryName> removals_;
  std::vector<v1::Resource> after_;  // parallel to upserts_
  std::set<EntryKey> touched_;
  std::vector<v1::Change> changes_;
};

// A stored resource, parsed.
Result<v1::Resource> ParseStored(const EntryKey& key, const std::string& bytes);
// One line of a diff or of the audit, without secrets; an update names its fields.
v1::Change UpdateOf(const v1::Resource& before, const v1::Resource& after);
v1::Change ChangeOf(v1::Change::Action action, v1::Kind kind, const std::string& name);

// How the API names a resource: "model/gpt-5-mini".
std::string PlaceOf(v1::Kind kind, std::string_view name);

}  // namespace spillway::api
