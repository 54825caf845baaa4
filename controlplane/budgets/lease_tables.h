#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/error.h"
#include "controlplane/budgets/lease_rows.h"
#include "controlplane/store/store.h"
#include "spillway/v1/lease_store.pb.h"
#include "spillway/v1/usage.pb.h"

// How accounts of budgets lie in the store. Integers are big-endian.
//   kLeases        i64 window start, budget id, subject (each u16 length + bytes), holder
//                                      -> StoredLease: the lease desk's figures
//   kLeaseCharges  the same key        -> StoredCharge: the ledger's figure
//   kLeaseHolders  'h' + holder        -> StoredHolder
//                  'n' + i64 number    -> StoredNotice, until the accounts show it
//                  's' + budget id     -> StoredSeed
//                  'k'                 -> StoredLeaseKeeper
namespace spillway {

// An account's names are bounded: what is longer never was one of ours.
inline constexpr size_t kBudgetIdBytesMax = 64;
inline constexpr size_t kSubjectBytesMax = 256;
bool IsAccount(const v1::Account& account);

std::string LeaseKey(const v1::Account& account, std::string_view holder);
std::string LeaseKey(const LeaseAccountRow& row);
// The names of a key, figures zero; nullopt: it is none.
std::optional<LeaseAccountRow> ReadLeaseKey(std::string_view key);

void PutLease(WriteBatch& batch, const LeaseAccountRow& row);  // all but `settled`
void DropLease(WriteBatch& batch, const LeaseAccountRow& row);
void PutCharge(WriteBatch& batch, std::string_view lease_key, Nanos settled);
// 0 when nothing was charged yet.
Result<Nanos> ReadCharge(const Store& store, std::string_view lease_key);
void PutHolder(WriteBatch& batch, const LeaseHolderRow& row);
void DropHolder(WriteBatch& batch, std::string_view holder);
void PutKeeper(WriteBatch& batch, const LeaseKeeperRow& row);
void PutNotice(WriteBatch& batch, int64_t number, const v1::StoredNotice& notice);
void DropNotice(WriteBatch& batch, int64_t number);
void PutSeed(WriteBatch& batch, std::string_view budget_id, const v1::StoredSeed& seed);
// An empty one when the budget was never counted.
Result<v1::StoredSeed> ReadSeed(const Store& store, std::string_view budget_id);
void DropSeed(WriteBatch& batch, std::string_view budget_id);

// For each holder of the instance that has not closed: a Closed that names it, with what it
// reported as charged. Reads every stored account: for an operator's rare act.
Result<google::protobuf::RepeatedPtrField<v1::Closed>> ReportedByHoldersOf(
    const Store& store, std::string_view instance);

struct StoredLeases {
  std::vector<LeaseAccountRow> accounts;
  std::vector<LeaseHolderRow> holders;
  std::optional<LeaseKeeperRow> keeper;
  std::vector<std::pair<int64_t, v1::StoredNotice>> notices;  // in order
  std::vector<std::string> seeds;                             // budget ids
};
// kCorrupt: a row that cannot be read.
Result<StoredLeases> LoadLeases(const Store& store);

}  // namespace spillway
