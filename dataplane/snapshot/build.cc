#include "dataplane/snapshot/build.h"

#include <format>
#include <new>
#include <utility>

#include "dataplane/snapshot/key_compiler.h"
#include "dataplane/snapshot/refusal.h"
#include "dataplane/snapshot/rep.h"

namespace spillway {
namespace {

bool IsKnown(v1::Kind kind) { return kind != v1::KIND_UNSPECIFIED && v1::Kind_IsValid(kind); }

// A kind of a later version may be policy: leaving it out would fail open where nobody asked for
// it.
Result<void> CheckEntry(const EntryView& entry, const SnapshotLimits& limits) {
  if (!IsKnown(entry.kind)) {
    return Refuse(
        RefusalClass::kInvalid,
        std::format("resource kind {} is not known to this version", static_cast<int>(entry.kind)));
  }
  const auto bytes = static_cast<int64_t>(entry.name.size() + entry.bytes.size());
  if (bytes > limits.entry_bytes_max) {
    return Refuse(RefusalClass::kOversized,
                  std::format("{}: {} bytes, at most {} are accepted",
                              Describe(entry.kind, entry.name), bytes, limits.entry_bytes_max));
  }
  return {};
}

Result<void> CheckTotals(const Snapshot::Rep& rep, const SnapshotLimits& limits) {
  if (rep.entries <= limits.entries_max && rep.bytes <= limits.bytes_max) return {};
  return Refuse(RefusalClass::kOversized,
                std::format("{} entries with {} bytes, at most {} with {} are accepted",
                            rep.entries, rep.bytes, limits.entries_max, limits.bytes_max));
}

void Count(const EntryView& entry, Snapshot::Rep& rep) {
  rep.digest.Add(entry.kind, entry.name, entry.bytes);
  rep.bytes += static_cast<int64_t>(entry.name.size() + entry.bytes.size());
  ++rep.entries;
}

Result<void> CheckDigest(Snapshot::Rep& rep, const BuildOptions& options) {
  if (options.compute_digest) {
    rep.position.set_digest(rep.digest.Bytes());
  } else if (rep.digest.Bytes() != rep.position.digest()) {
    return Refuse(RefusalClass::kCorrupt, "the digest of the entries is not the signed one");
  }
  return {};
}

Result<void> BuildKeys(std::span<const EntryView> entries, Snapshot::Rep& rep) {
  KeyIndexEditor editor(rep.keys);
  editor.Reserve(entries.size());
  KeyCompiler compiler(*rep.tables);
  for (const EntryView& entry : entries) {
    if (entry.kind != v1::KIND_KEY) continue;
    SW_TRY(const CompiledKey key, compiler.Compile(entry.name, entry.bytes));
    SW_CHECK(editor.Insert(key));
  }
  rep.keys = std::move(editor).Take();
  return {};
}

Result<SnapshotPtr> BuildChecked(std::span<const EntryView> entries, const v1::Position& position,
                                 const BuildOptions& options) {
  auto rep = std::make_unique<Snapshot::Rep>();
  rep->position = position;
  Tables::Entries small;
  for (const EntryView& entry : entries) {
    SW_CHECK(CheckEntry(entry, options.limits));
    Count(entry, *rep);
    SW_CHECK(CheckTotals(*rep, options.limits));
    if (entry.kind == v1::KIND_KEY) continue;
    const auto [_, fresh] = small.try_emplace({entry.kind, std::string(entry.name)},
                                              std::make_shared<const std::string>(entry.bytes));
    if (!fresh) {
      return Refuse(RefusalClass::kInvalid, Describe(entry.kind, entry.name) + ": appears twice");
    }
  }
  SW_CHECK(CheckDigest(*rep, options));
  SW_TRY(rep->tables, Tables::Compile(std::move(small), options.secrets, options.limits));
  SW_CHECK(BuildKeys(entries, *rep));
  return std::make_shared<const Snapshot>(std::move(rep));
}

}  // namespace

Result<SnapshotPtr> Build(std::span<const EntryView> entries, const v1::Position& position,
                          const BuildOptions& options) {
  try {
    return BuildChecked(entries, position, options);
  } catch (const std::bad_alloc&) {
    return Refuse(RefusalClass::kOversized, "there is not enough memory for it");
  }
}

SnapshotPtr WithPosition(const Snapshot& snapshot, const v1::Position& position) {
  auto rep = std::make_unique<Snapshot::Rep>(snapshot.rep());
  rep->position = position;
  return std::make_shared<const Snapshot>(std::move(rep));
}

void ForEachEntry(const Snapshot& snapshot, const std::function<void(const EntryView&)>& visit) {
  for (const auto& [key, bytes] : snapshot.rep().tables->entries())
    visit({.kind = key.first, .name = key.second, .bytes = *bytes});
  snapshot.rep().keys.ForEach([&](const KeyRecordPtr& record) {
    visit({.kind = v1::KIND_KEY, .name = record->spec.name, .bytes = record->bytes});
  });
}

std::string SerializeEntries(const Snapshot& snapshot) {
  constexpr int64_t kFrameBytesMax = 24;  // tags and lengths of one entry
  const Snapshot::Rep& rep = snapshot.rep();
  std::string list;
  list.reserve(static_cast<size_t>(rep.bytes + rep.entries * kFrameBytesMax));
  ForEachEntry(snapshot, [&list](const EntryView& entry) { AppendEntry(entry, list); });
  return list;
}

}  // namespace spillway
