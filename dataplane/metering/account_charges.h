#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.h"
#include "common/money.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// What a journal's records charge to budget accounts, summed by holder and account. Not
// thread-safe.
class AccountCharges {
 public:
  using Key =
      std::pair<std::string, std::string>;  // holder (empty: the incarnation), account bytes

  void Add(std::string_view holder, std::string_view account, Nanos charged);
  void AddRecord(std::string_view record);
  const std::map<Key, Nanos, std::less<>>& sums() const { return sums_; }
  bool empty() const { return sums_.empty(); }
  void EraseIf(const std::function<bool(const v1::Account&)>& old);

  // For JournalCharges and Closed: one message per holder.
  std::vector<v1::Closed> ToClosed() const;
  void Add(const v1::Closed& closed);

 private:
  std::map<Key, Nanos, std::less<>> sums_;
};

// Final figures of every holder of a dead incarnation, from its folder (where its levels lie, too)
// and what its records charge. Without one, the charges are the final figures.
using FinalCharges = std::function<std::vector<v1::Closed>(const std::string& folder,
                                                           const AccountCharges& charged)>;

// The Closed records that end an incarnation, each of a size that the journal takes, the
// incarnation's own accounts in the last one. At least one; `last_seq` is the seq of the last, when
// the first one has `first_seq`.
std::vector<v1::UsageRecord> ClosingRecords(const std::vector<v1::Closed>& holders,
                                            int64_t first_seq, int64_t time_ms);

// What the freed part of a journal charged: DIR/charges, written whole, synced and renamed.
struct FreedCharges {
  int64_t upto_seq = 0;  // 0: nothing was freed
  AccountCharges charges;
};
Result<void> SaveFreedCharges(const std::string& folder, int64_t upto_seq,
                              const AccountCharges& charges);
// A file that cannot be understood is set aside, with a fault in the log: it keeps no process from
// starting, and the ledger charges every record by itself.
Result<FreedCharges> LoadFreedCharges(const std::string& folder);

}  // namespace spillway
