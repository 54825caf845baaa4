#pragma once

#include <map>
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

  // Stores a resource, or leaves it when it is stored like this already; the last one put under a
  // name counts. kCorrupt: what is stored cannot be read.
  Result<void> Put(const v1::Resource& resource);
  // Nothing when it is not there.
  void Remove(v1::Kind kind, const std::string& name);
  // Fills in what follows from price books and the catalogue (common/config/prices.h), in every
  // model there will be, when this set names a model or a price book. Last, before Check.
  Result<void> ResolvePrices();

  bool empty() const { return touched_.empty(); }
  // In the order of the steps.
  std::vector<v1::Change> changes() const;

  // What would be wrong with the state after this change. A few changed keys are checked with what
  // they refer to and, when they go, with the budgets and rate limits that name them, in a time
  // that does not depend on how many others are stored. Everything else is checked as a whole.
  Result<std::vector<v1::Violation>> Check() const;

  // `summary` empty: counted, "2 created, 1 updated".
  ConfigChange Take(std::string author, std::string summary) &&;

 private:
  struct Step {
    v1::Change change;
    v1::Entry entry;        // of a removal: kind and name alone
    v1::Resource resource;  // of no kind: removed
  };

  void Record(EntryKey key, Step step);
  bool OnlyFewKeys() const;
  Result<std::vector<v1::Resource>> WholeResult() const;
  Result<std::vector<v1::Resource>> Neighbourhood() const;
  // Of one kind, as they will be.
  Result<void> AppendKind(v1::Kind kind, std::vector<v1::Resource>& out) const;
  // Those of one kind whose scope names a key that goes.
  Result<void> AppendScopesOfGone(v1::Kind kind, std::vector<v1::Resource>& out) const;
  std::string CountedSummary() const;

  const ConfigStore::State* state_;
  std::vector<Step> steps_;             // also those taken back by a later one
  std::map<EntryKey, size_t> touched_;  // the step in force
  bool prices_named_ = false;
};

// A stored resource, parsed.
Result<v1::Resource> ParseStored(const EntryKey& key, const std::string& bytes);
// One line of a diff or of the audit, without secrets; an update names its fields.
v1::Change UpdateOf(const v1::Resource& before, const v1::Resource& after);
v1::Change ChangeOf(v1::Change::Action action, v1::Kind kind, const std::string& name);

// How the API names a resource: "model/gpt-5-mini".
std::string PlaceOf(v1::Kind kind, std::string_view name);

}  // namespace spillway::api
