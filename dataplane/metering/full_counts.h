#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/money.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// What the journal had no space for, summed by attribution until it has (policy `count`). Bounded:
// beyond kRowsMax distinct attributions the rest shares one; budget accounts are never merged
// (there are no more than the budgets hold). Thread-safe.
class FullCounts {
 public:
  static constexpr size_t kRowsMax = 4096;
  // Named in one Aggregate: Started seqs, and accounts by the bytes they take.
  static constexpr size_t kEndedMax = 600;
  static constexpr size_t kAccountsShownBytesMax = size_t{6} * 1024;

  // One attempt's end.
  struct End {
    std::string_view attribution;  // serialised Attribution
    TokenUsage usage;
    Nanos cost = 0;
    bool estimated = false;
    bool request = false;            // counts as a request
    int64_t started_seq = 0;         // 0: its Started was not journalled either
    std::string_view accounts = {};  // JoinAccounts: budget accounts that `hold` is charged to
    std::string_view holder = {};    // of the accounts
    Nanos hold = 0;
  };
  void Add(const End& end);
  bool empty() const;
  // One row, its lists cut; Drop removes exactly what was shown.
  struct Shown {
    std::string row;
    v1::Aggregate aggregate;
  };
  std::optional<Shown> Peek() const;
  void Drop(const Shown& shown);

 private:
  struct Row {
    std::string attribution;
    std::string holder;
    v1::Aggregate sum;  // amounts only
    std::vector<int64_t> ended;
    std::map<std::string, Nanos, std::less<>> charged;  // by serialised account
  };
  mutable std::mutex mutex_;
  std::map<std::string, Row, std::less<>> rows_;  // by holder and attribution
};

}  // namespace spillway
