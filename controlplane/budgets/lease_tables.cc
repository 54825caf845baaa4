#include "controlplane/budgets/lease_tables.h"

#include "controlplane/store/big_endian.h"

namespace spillway {
namespace {

constexpr char kHolder = 'h';
constexpr char kNotice = 'n';
constexpr char kSeed = 's';
constexpr char kKeeper = 'k';

void AppendName(std::string& out, std::string_view name) {
  out.push_back(static_cast<char>(name.size() >> 8));
  out.push_back(static_cast<char>(name.size() & 0xFF));
  out.append(name);
}

std::optional<std::string_view> TakeName(std::string_view& rest) {
  if (rest.size() < 2) return {};
  const size_t size =
      static_cast<size_t>(static_cast<uint8_t>(rest[0])) << 8 | static_cast<uint8_t>(rest[1]);
  if (rest.size() < 2 + size) return {};
  const std::string_view name = rest.substr(2, size);
  rest.remove_prefix(2 + size);
  return name;
}

std::string KeyOf(int64_t window_start_s, std::string_view budget_id, std::string_view subject,
                  std::string_view holder) {
  std::string key = BigEndian(window_start_s);
  key.reserve(12 + budget_id.size() + subject.size() + holder.size());
  AppendName(key, budget_id);
  AppendName(key, subject);
  key.append(holder);
  return key;
}

std::string Tagged(char tag, std::string_view rest) { return std::string(1, tag).append(rest); }

template <typename Message>
bool Parse(Message& message, std::string_view bytes) {
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

// A row of kLeaseHolders into its place; false: it cannot be read.
bool TakeHolderRow(std::string_view key, std::string_view value, StoredLeases& into) {
  if (key.empty()) return false;
  const std::string_view rest = key.substr(1);
  if (key.front() == kHolder) {
    v1::StoredHolder stored;
    if (!Parse(stored, value)) return false;
    into.holders.push_back({.holder = std::string(rest),
                            .instance = stored.instance(),
                            .closed = stored.closed(),
                            .tombstoned = stored.tombstoned(),
                            .retired = stored.retired(),
                            .reconciled_epoch = stored.reconciled_epoch()});
    return true;
  }
  if (key.front() == kNotice) {
    v1::StoredNotice notice;
    if (rest.size() != 8 || !Parse(notice, value)) return false;
    into.notices.emplace_back(FromBigEndian(rest), std::move(notice));
    return true;
  }
  if (key.front() == kKeeper) {
    v1::StoredLeaseKeeper stored;
    if (!Parse(stored, value)) return false;
    into.keeper = LeaseKeeperRow{.time_ms = stored.time_ms(),
                                 .gated = stored.gated(),
                                 .restored_at_ms = stored.restored_at_ms(),
                                 .restore_epoch = stored.restore_epoch(),
                                 .replayed = stored.replayed(),
                                 .stream_damaged = stored.stream_damaged()};
    return true;
  }
  if (key.front() == kSeed) into.seeds.emplace_back(rest);
  return key.front() == kSeed;
}

bool TakeLease(std::string_view key, std::string_view value,
               std::unordered_map<std::string, Nanos>& settled, StoredLeases& into) {
  auto row = ReadLeaseKey(key);
  v1::StoredLease stored;
  if (!row || !Parse(stored, value)) return false;
  row->granted = stored.granted();
  row->returned = stored.returned();
  row->reported = stored.reported();
  if (stored.has_final_charge()) row->final = stored.final_charge();
  if (const auto at = settled.find(std::string(key)); at != settled.end()) {
    row->settled = at->second;
    settled.erase(at);
  }
  into.accounts.push_back(*std::move(row));
  return true;
}

}  // namespace

bool IsAccount(const v1::Account& account) {
  return !account.budget_id().empty() && account.budget_id().size() <= kBudgetIdBytesMax &&
         account.subject().size() <= kSubjectBytesMax && account.window_start_s() >= 0;
}

std::string LeaseKey(const v1::Account& account, std::string_view holder) {
  return KeyOf(account.window_start_s(), account.budget_id(), account.subject(), holder);
}

std::string LeaseKey(const LeaseAccountRow& row) {
  return KeyOf(row.window_start_s, row.budget_id, row.subject, row.holder);
}

std::optional<LeaseAccountRow> ReadLeaseKey(std::string_view key) {
  if (key.size() < 8) return {};
  LeaseAccountRow row{.window_start_s = FromBigEndian(key)};
  key.remove_prefix(8);
  const auto budget_id = TakeName(key);
  const auto subject = budget_id ? TakeName(key) : std::nullopt;
  if (!subject || key.empty()) return {};
  row.budget_id = *budget_id;
  row.subject = *subject;
  row.holder = key;
  return row;
}

void PutLease(WriteBatch& batch, const LeaseAccountRow& row) {
  v1::StoredLease stored;
  stored.set_granted(row.granted);
  stored.set_returned(row.returned);
  stored.set_reported(row.reported);
  if (row.final) stored.set_final_charge(*row.final);
  batch.Put(Table::kLeases, LeaseKey(row), stored.SerializeAsString());
}

void DropLease(WriteBatch& batch, const LeaseAccountRow& row) {
  const std::string key = LeaseKey(row);
  batch.Delete(Table::kLeases, key);
  batch.Delete(Table::kLeaseCharges, key);
}

void PutCharge(WriteBatch& batch, std::string_view lease_key, Nanos settled) {
  v1::StoredCharge stored;
  stored.set_settled(settled);
  batch.Put(Table::kLeaseCharges, lease_key, stored.SerializeAsString());
}

Result<Nanos> ReadCharge(const Store& store, std::string_view lease_key) {
  SW_TRY(const auto bytes, store.Get(Table::kLeaseCharges, lease_key));
  v1::StoredCharge stored;
  if (bytes && !stored.ParseFromString(*bytes))
    return Fail(ErrorCode::kCorrupt, "a charge of a budget cannot be read: restore a backup");
  return stored.settled();
}

void PutHolder(WriteBatch& batch, const LeaseHolderRow& row) {
  v1::StoredHolder stored;
  stored.set_instance(row.instance);
  stored.set_closed(row.closed);
  stored.set_tombstoned(row.tombstoned);
  stored.set_retired(row.retired);
  stored.set_reconciled_epoch(row.reconciled_epoch);
  batch.Put(Table::kLeaseHolders, Tagged(kHolder, row.holder), stored.SerializeAsString());
}

void DropHolder(WriteBatch& batch, std::string_view holder) {
  batch.Delete(Table::kLeaseHolders, Tagged(kHolder, holder));
}

void PutKeeper(WriteBatch& batch, const LeaseKeeperRow& row) {
  v1::StoredLeaseKeeper stored;
  stored.set_time_ms(row.time_ms);
  stored.set_gated(row.gated);
  stored.set_restored_at_ms(row.restored_at_ms);
  stored.set_restore_epoch(row.restore_epoch);
  stored.set_replayed(row.replayed);
  stored.set_stream_damaged(row.stream_damaged);
  batch.Put(Table::kLeaseHolders, Tagged(kKeeper, {}), stored.SerializeAsString());
}

void PutNotice(WriteBatch& batch, int64_t number, const v1::StoredNotice& notice) {
  batch.Put(Table::kLeaseHolders, Tagged(kNotice, BigEndian(number)), notice.SerializeAsString());
}

void DropNotice(WriteBatch& batch, int64_t number) {
  batch.Delete(Table::kLeaseHolders, Tagged(kNotice, BigEndian(number)));
}

void PutSeed(WriteBatch& batch, std::string_view budget_id, const v1::StoredSeed& seed) {
  batch.Put(Table::kLeaseHolders, Tagged(kSeed, budget_id), seed.SerializeAsString());
}

Result<v1::StoredSeed> ReadSeed(const Store& store, std::string_view budget_id) {
  SW_TRY(const auto bytes, store.Get(Table::kLeaseHolders, Tagged(kSeed, budget_id)));
  v1::StoredSeed seed;
  if (bytes && !Parse(seed, *bytes))
    return Fail(ErrorCode::kCorrupt, "the start of a budget cannot be read: restore a backup");
  return seed;
}

void DropSeed(WriteBatch& batch, std::string_view budget_id) {
  batch.Delete(Table::kLeaseHolders, Tagged(kSeed, budget_id));
}

Result<google::protobuf::RepeatedPtrField<v1::Closed>> ReportedByHoldersOf(
    const Store& store, std::string_view instance) {
  google::protobuf::RepeatedPtrField<v1::Closed> list;
  std::unordered_map<std::string, v1::Closed*> by_holder;
  const std::string prefix(1, kHolder);
  SW_CHECK(store.Scan(Table::kLeaseHolders, prefix, prefix, [&](auto key, auto value) {
    v1::StoredHolder stored;
    if (!Parse(stored, value) || stored.instance() != instance || stored.closed()) return true;
    v1::Closed& closed = *list.Add();
    closed.set_holder(std::string(key.substr(1)));
    by_holder[closed.holder()] = &closed;
    return true;
  }));
  if (by_holder.empty()) return list;
  SW_CHECK(store.Scan(Table::kLeases, {}, {}, [&](auto key, auto value) {
    const auto row = ReadLeaseKey(key);
    v1::StoredLease stored;
    if (!row || !Parse(stored, value) || stored.reported() <= 0) return true;
    const auto holder = by_holder.find(row->holder);
    if (holder == by_holder.end()) return true;
    v1::AccountCharge& charge = *holder->second->add_accounts();
    charge.mutable_account()->set_budget_id(row->budget_id);
    charge.mutable_account()->set_subject(row->subject);
    charge.mutable_account()->set_window_start_s(row->window_start_s);
    charge.set_charged(stored.reported());
    return true;
  }));
  return list;
}

Result<StoredLeases> LoadLeases(const Store& store) {
  StoredLeases loaded;
  std::unordered_map<std::string, Nanos> settled;
  bool readable = true;
  SW_CHECK(store.Scan(Table::kLeaseCharges, {}, {}, [&](auto key, auto value) {
    v1::StoredCharge stored;
    readable = Parse(stored, value);
    if (readable) settled.emplace(key, stored.settled());
    return readable;
  }));
  if (readable) {
    SW_CHECK(store.Scan(Table::kLeases, {}, {}, [&](auto key, auto value) {
      readable = TakeLease(key, value, settled, loaded);
      return readable;
    }));
  }
  if (readable) {
    SW_CHECK(store.Scan(Table::kLeaseHolders, {}, {}, [&](auto key, auto value) {
      readable = TakeHolderRow(key, value, loaded);
      return readable;
    }));
  }
  // Charged, and never leased.
  for (const auto& [key, charged] : settled) {
    auto row = ReadLeaseKey(key);
    readable = readable && row.has_value();
    if (!row) continue;
    row->settled = charged;
    loaded.accounts.push_back(*std::move(row));
  }
  if (!readable)
    return Fail(ErrorCode::kCorrupt, "an account of a budget cannot be read: restore a backup");
  return loaded;
}

}  // namespace spillway
