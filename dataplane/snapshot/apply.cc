// Deltas and restrictions: the next snapshot out of one, sharing what did not change.
#include <algorithm>
#include <cstdlib>
#include <format>
#include <new>
#include <set>
#include <utility>

#include "dataplane/snapshot/build.h"
#include "dataplane/snapshot/key_compiler.h"
#include "dataplane/snapshot/refusal.h"
#include "dataplane/snapshot/rep.h"

namespace spillway {
namespace {

using ResourceName = std::pair<v1::Kind, std::string>;

Result<void> CheckBase(const v1::Position& base, const v1::Delta& delta) {
  if (delta.base().revision() == base.revision() && delta.base().digest() == base.digest())
    return {};
  return Refuse(RefusalClass::kMissing,
                std::format("delta {} follows revision {}, which is not the one here ({})",
                            delta.position().revision(), delta.base().revision(), base.revision()));
}

Result<void> CheckEntries(const v1::Delta& delta, const SnapshotLimits& limits) {
  std::set<std::pair<v1::Kind, std::string_view>> seen;
  const auto twice = [&](v1::Kind kind, const std::string& name) {
    return !seen.emplace(kind, name).second;
  };
  for (const v1::Entry& entry : delta.upserts()) {
    if (entry.kind() == v1::KIND_UNSPECIFIED || !v1::Kind_IsValid(entry.kind())) {
      return Refuse(RefusalClass::kInvalid,
                    std::format("resource kind {} is not known to this version",
                                static_cast<int>(entry.kind())));
    }
    if (static_cast<int64_t>(entry.name().size() + entry.bytes().size()) > limits.entry_bytes_max) {
      return Refuse(RefusalClass::kOversized,
                    std::format("{}: more than {} bytes", Describe(entry.kind(), entry.name()),
                                limits.entry_bytes_max));
    }
    if (twice(entry.kind(), entry.name()))
      return Refuse(RefusalClass::kInvalid,
                    Describe(entry.kind(), entry.name()) + ": appears twice");
  }
  for (const v1::EntryName& entry : delta.removals()) {
    if (twice(entry.kind(), entry.name()))
      return Refuse(RefusalClass::kInvalid,
                    Describe(entry.kind(), entry.name()) + ": appears twice");
  }
  return {};
}

// Where none is, the keys need not be looked through when one goes.
bool IsNamedByKeys(v1::Kind kind) {
  return kind == v1::KIND_TEAM || kind == v1::KIND_USER || kind == v1::KIND_ORGANIZATION ||
         kind == v1::KIND_ROUTE || kind == v1::KIND_MODEL;
}

// One delta on its way into a copy of its base.
class Application {
 public:
  Application(const Snapshot& base, const v1::Delta& delta, const BuildOptions& options)
      : delta_(delta), options_(options), rep_(std::make_unique<Snapshot::Rep>(base.rep())) {
    rep_->position = delta.position();
  }

  Result<SnapshotPtr> Run() {
    CountChanges();
    if (rep_->digest.Bytes() != delta_.position().digest())
      return Refuse(RefusalClass::kCorrupt, "the digest after the delta is not the signed one");
    if (rep_->entries > options_.limits.entries_max || rep_->bytes > options_.limits.bytes_max)
      return Refuse(RefusalClass::kOversized, "with the delta there are too many entries or bytes");
    SW_CHECK(ChangeTables());
    SW_CHECK(ChangeKeys());
    return std::make_shared<const Snapshot>(std::move(rep_));
  }

 private:
  // The bytes in force under a name; nullptr: there is none.
  const std::string* BytesOf(v1::Kind kind, const std::string& name) const {
    if (kind == v1::KIND_KEY) {
      const KeyRecordPtr* record = rep_->keys.FindByName(name);
      return record == nullptr ? nullptr : &(*record)->bytes;
    }
    const auto& entries = rep_->tables->entries();
    const auto found = entries.find({kind, name});
    return found == entries.end() ? nullptr : found->second.get();
  }

  void Subtract(v1::Kind kind, const std::string& name) {
    const std::string* bytes = BytesOf(kind, name);
    if (bytes == nullptr) return;
    rep_->digest.Subtract(kind, name, *bytes);
    rep_->bytes -= static_cast<int64_t>(name.size() + bytes->size());
    --rep_->entries;
  }

  void CountChanges() {
    for (const v1::EntryName& entry : delta_.removals()) Subtract(entry.kind(), entry.name());
    for (const v1::Entry& entry : delta_.upserts()) {
      Subtract(entry.kind(), entry.name());
      rep_->digest.Add(entry.kind(), entry.name(), entry.bytes());
      rep_->bytes += static_cast<int64_t>(entry.name().size() + entry.bytes().size());
      ++rep_->entries;
    }
  }

  Result<void> ChangeTables() {
    Tables::Entries entries;
    bool copied = false;
    const auto mutable_entries = [&]() -> Tables::Entries& {
      if (!std::exchange(copied, true)) entries = rep_->tables->entries();
      return entries;
    };
    for (const v1::EntryName& entry : delta_.removals()) {
      if (entry.kind() == v1::KIND_KEY) continue;
      mutable_entries().erase({entry.kind(), entry.name()});
      if (IsNamedByKeys(entry.kind())) touched_.emplace(entry.kind(), entry.name());
    }
    for (const v1::Entry& entry : delta_.upserts()) {
      if (entry.kind() == v1::KIND_KEY) continue;
      mutable_entries().insert_or_assign({entry.kind(), entry.name()},
                                         std::make_shared<const std::string>(entry.bytes()));
      // Keys take their team from their user and their organization from their team; nothing else
      // of a resource shows in a key.
      if (entry.kind() == v1::KIND_TEAM || entry.kind() == v1::KIND_USER)
        touched_.emplace(entry.kind(), entry.name());
    }
    if (!copied) return {};
    SW_TRY(rep_->tables, Tables::Compile(std::move(entries), options_.secrets, options_.limits));
    return {};
  }

  Result<void> ChangeKeys() {
    KeyIndexEditor editor(rep_->keys);
    KeyCompiler compiler(*rep_->tables);
    for (const v1::EntryName& entry : delta_.removals())
      if (entry.kind() == v1::KIND_KEY) editor.Remove(entry.name());
    for (const v1::Entry& entry : delta_.upserts())
      if (entry.kind() == v1::KIND_KEY) editor.Remove(entry.name());
    for (const v1::Entry& entry : delta_.upserts()) {
      if (entry.kind() != v1::KIND_KEY) continue;
      SW_TRY(const CompiledKey key, compiler.Compile(entry.name(), entry.bytes()));
      SW_CHECK(editor.Insert(key));
    }
    SW_CHECK(RecheckReferences(compiler, editor));
    rep_->keys = std::move(editor).Take();
    return {};
  }

  bool RefersToTouched(const KeySpec& key) const {
    const auto touched = [this](v1::Kind kind, const std::string& name) {
      return !name.empty() && touched_.contains({kind, name});
    };
    const auto any = [&](v1::Kind kind, const std::vector<std::string>& names) {
      return std::ranges::any_of(names,
                                 [&](const std::string& name) { return touched(kind, name); });
    };
    return touched(v1::KIND_TEAM, key.team) || touched(v1::KIND_USER, key.user) ||
           touched(v1::KIND_ORGANIZATION, key.organization) || any(v1::KIND_ROUTE, key.routes) ||
           any(v1::KIND_MODEL, key.models);
  }

  Result<void> RecheckReferences(KeyCompiler& compiler, KeyIndexEditor& editor) const {
    if (touched_.empty()) return {};
    std::vector<KeyRecordPtr> referring;
    editor.index().ForEach([&](const KeyRecordPtr& record) {
      if (RefersToTouched(record->spec)) referring.push_back(record);
    });
    for (const KeyRecordPtr& record : referring) {
      SW_TRY(const CompiledKey key, compiler.Compile(record->spec.name, record->bytes));
      editor.Remove(record->spec.name);
      SW_CHECK(editor.Insert(key));
    }
    return {};
  }

  const v1::Delta& delta_;
  const BuildOptions& options_;
  std::unique_ptr<Snapshot::Rep> rep_;
  std::set<ResourceName> touched_;  // what keys name: removed, and teams and users that changed
};

int64_t EarlierOf(int64_t a, int64_t b) {  // 0: never
  if (a == 0 || b == 0) return a + b;
  return std::min(a, b);
}

// `secrets`: those in force now, which an earlier restriction may have thinned out already.
CompiledKey Restricted(const KeyRecord& record, const std::vector<KeySecretSpec>& secrets,
                       const std::string& known_bytes) {
  auto copy = std::make_shared<KeyRecord>(record);
  CompiledKey restricted;
  v1::Key known;
  if (known_bytes.empty() || !known.ParseFromString(known_bytes)) {
    copy->spec.revoked = true;
    restricted.secrets = secrets;
  } else {
    copy->spec.revoked |= known.revoked();
    copy->spec.expires_at_ms = EarlierOf(copy->spec.expires_at_ms, known.expires_at_ms());
    const std::vector<KeySecretSpec> kept = SecretsOf(known_bytes);
    for (KeySecretSpec secret : secrets) {
      const auto same = std::ranges::find(kept, secret.sha256, &KeySecretSpec::sha256);
      if (same == kept.end()) continue;
      secret.not_after_ms = EarlierOf(secret.not_after_ms, same->not_after_ms);
      restricted.secrets.push_back(secret);
    }
  }
  restricted.record = std::move(copy);
  return restricted;
}

std::vector<KeySecretSpec> SecretsInForce(const KeyRecord& record, const KeyIndex& index) {
  std::vector<KeySecretSpec> secrets;
  for (const KeySecretSpec& secret : SecretsOf(record.bytes)) {
    const KeyMatch* match = index.Find(secret.sha256);
    if (match != nullptr && match->key.get() == &record.spec)
      secrets.push_back({.sha256 = secret.sha256, .not_after_ms = match->not_after_ms});
  }
  return secrets;
}

}  // namespace

Result<SnapshotPtr> Apply(const Snapshot& base, const v1::Delta& delta,
                          const BuildOptions& options) {
  SW_CHECK(CheckBase(base.position(), delta));
  SW_CHECK(CheckEntries(delta, options.limits));
  try {
    return Application(base, delta, options).Run();
  } catch (const std::bad_alloc&) {
    return Refuse(RefusalClass::kOversized, "there is not enough memory for it");
  }
}

SnapshotPtr Restrict(const Snapshot& snapshot, const KeyRestrictions& restrictions) {
  auto rep = std::make_unique<Snapshot::Rep>(snapshot.rep());
  std::vector<std::pair<KeyRecordPtr, std::string>> known;
  for (const auto& [name, bytes] : restrictions.keys) {
    const KeyRecordPtr* record = rep->keys.FindByName(name);
    if (record != nullptr && (*record)->bytes != bytes) known.emplace_back(*record, bytes);
  }
  if (restrictions.whole) {
    rep->keys.ForEach([&](const KeyRecordPtr& record) {
      if (!restrictions.keys.contains(record->spec.name)) known.emplace_back(record, std::string());
    });
  }
  KeyIndexEditor editor(rep->keys);
  for (const auto& [record, bytes] : known) {
    const CompiledKey key = Restricted(*record, SecretsInForce(*record, editor.index()), bytes);
    editor.Remove(record->spec.name);
    if (!editor.Insert(key)) std::abort();  // its name and its own secrets have just been freed
  }
  rep->keys = std::move(editor).Take();
  return std::make_shared<const Snapshot>(std::move(rep));
}

}  // namespace spillway
