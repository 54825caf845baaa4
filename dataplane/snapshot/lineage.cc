#include "dataplane/snapshot/lineage.h"

#include <format>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "dataplane/snapshot/refusal.h"

namespace spillway {
namespace {

using Name = std::pair<v1::Kind, std::string_view>;

// Several deltas as one: the last word on each name.
v1::Delta Merge(std::span<const ProvenDelta> deltas) {
  std::map<Name, const v1::Entry*> last;  // nullptr: removed
  for (const ProvenDelta& proven : deltas) {
    for (const v1::EntryName& entry : proven.delta.removals())
      last.insert_or_assign({entry.kind(), entry.name()}, nullptr);
    for (const v1::Entry& entry : proven.delta.upserts())
      last.insert_or_assign({entry.kind(), entry.name()}, &entry);
  }
  v1::Delta merged;
  *merged.mutable_base() = deltas.front().delta.base();
  *merged.mutable_position() = deltas.back().delta.position();
  for (const auto& [name, entry] : last) {
    if (entry != nullptr) {
      *merged.add_upserts() = *entry;
    } else {
      v1::EntryName* removal = merged.add_removals();
      removal->set_kind(name.first);
      removal->set_name(std::string(name.second));
    }
  }
  return merged;
}

Result<SnapshotPtr> BuildFull(const FullState& full, std::span<const ProvenDelta> deltas,
                              const BuildOptions& options) {
  SW_TRY(std::vector<EntryView> entries, ParseEntryList(full.entries, options.limits));
  if (deltas.empty()) return Build(entries, full.position, options);
  const v1::Delta merged = Merge(deltas);
  std::set<Name> changed;
  for (const v1::EntryName& entry : merged.removals()) changed.emplace(entry.kind(), entry.name());
  for (const v1::Entry& entry : merged.upserts()) changed.emplace(entry.kind(), entry.name());
  std::erase_if(entries,
                [&](const EntryView& entry) { return changed.contains({entry.kind, entry.name}); });
  for (const v1::Entry& entry : merged.upserts())
    entries.push_back({.kind = entry.kind(), .name = entry.name(), .bytes = entry.bytes()});
  return Build(entries, merged.position(), options);
}

Result<SnapshotPtr> BuildDeltas(const Snapshot& base, std::span<const ProvenDelta> deltas,
                                const BuildOptions& options) {
  if (deltas.size() == 1) return Apply(base, deltas.front().delta, options);
  return Apply(base, Merge(deltas), options);
}

KeyRestrictions RestrictionsOf(const v1::Delta& delta) {
  KeyRestrictions restrictions;
  for (const v1::EntryName& entry : delta.removals())
    if (entry.kind() == v1::KIND_KEY)
      restrictions.keys.insert_or_assign(entry.name(), std::string());
  for (const v1::Entry& entry : delta.upserts())
    if (entry.kind() == v1::KIND_KEY)
      restrictions.keys.insert_or_assign(entry.name(), entry.bytes());
  return restrictions;
}

// Only keys are read: what crashes the process must not be compiled here.
KeyRestrictions RestrictionsOf(const FullState& full, const BuildOptions& options) {
  KeyRestrictions restrictions;
  const auto entries = ParseEntryList(full.entries, options.limits);
  if (!entries) return restrictions;
  restrictions.whole = true;
  for (const EntryView& entry : *entries) {
    if (entry.kind == v1::KIND_KEY)
      restrictions.keys.insert_or_assign(std::string(entry.name), std::string(entry.bytes));
  }
  return restrictions;
}

}  // namespace

Result<void> CheckChain(const Lineage& lineage, const Snapshot* base) {
  if (!lineage.full && base == nullptr)
    return Refuse(RefusalClass::kMissing, "there is no state that the deltas could follow");
  const v1::Position* before = lineage.full ? &lineage.full->position : &base->position();
  for (const ProvenDelta& proven : lineage.deltas) {
    const v1::Delta& delta = proven.delta;
    if (delta.base().revision() != before->revision() ||
        delta.base().digest() != before->digest() ||
        delta.position().cluster_id() != before->cluster_id()) {
      return Refuse(RefusalClass::kMissing,
                    std::format("delta {} follows revision {}, not {}", delta.position().revision(),
                                delta.base().revision(), before->revision()));
    }
    before = &delta.position();
  }
  return {};
}

Result<Materialized> Materialize(const Lineage& lineage, const Snapshot* base,
                                 const BuildOptions& options, const LineageRules& rules) {
  SW_CHECK(CheckChain(lineage, base));
  const std::span<const ProvenDelta> deltas = lineage.deltas;
  const bool full_runs = lineage.full && !rules.quarantined(lineage.full->position.revision());
  size_t used = deltas.size();
  while (used > 0 && rules.quarantined(deltas[used - 1].delta.position().revision())) --used;

  Materialized result{
      .snapshot = nullptr, .proof = {}, .deltas_used = used, .held = {}, .restrictions = {}};
  if (used > 0) {
    rules.before_build(deltas[used - 1].delta.position().revision());
    result.proof = deltas[used - 1].signed_bytes;
    SW_TRY(result.snapshot, lineage.full ? BuildFull(*lineage.full, deltas.first(used), options)
                                         : BuildDeltas(*base, deltas.first(used), options));
  } else if (full_runs) {
    rules.before_build(lineage.full->position.revision());
    result.proof = lineage.full->proof;
    SW_TRY(result.snapshot, BuildFull(*lineage.full, {}, options));
  } else if (lineage.full) {
    result.restrictions.push_back(RestrictionsOf(*lineage.full, options));
    result.held = lineage.full->position;
  }
  for (const ProvenDelta& held : deltas.subspan(used)) {
    result.restrictions.push_back(RestrictionsOf(held.delta));
    result.held = held.delta.position();
  }
  return result;
}

SnapshotPtr RestrictAll(SnapshotPtr snapshot, const std::vector<KeyRestrictions>& restrictions) {
  for (const KeyRestrictions& one : restrictions)
    if (one.whole || !one.keys.empty()) snapshot = Restrict(*snapshot, one);
  return snapshot;
}

}  // namespace spillway
