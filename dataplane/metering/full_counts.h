#pragma once

#include <compare>
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

// What the journal had no space for, summed by attribution and budget accounts until it has (policy
// `count`). Each row fits one Aggregate, with the ends that its sum is of: a kill between two of
// them bills nothing twice. Bounded: beyond kRowsMax rows the attributions of the rest are merged;
// what calls are charged to together never is (the budgets bound it). Thread-safe.
class FullCounts {
 public:
  static constexpr size_t kRowsMax = 4096;
  static constexpr size_t kEndedMax = 600;  // Started seqs of a row; the next begins another one

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
  struct Key {
    std::string holder;
    std::string accounts;     // as in End,
    std::string attribution;  // likewise
    size_t part = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  // One row; Drop removes exactly what was shown.
  struct Shown {
    Key row;
    v1::Aggregate aggregate;
  };
  std::optional<Shown> Peek() const;
  void Drop(const Shown& shown);

 private:
  struct Row {
    v1::Aggregate sum;  // amounts only
    std::vector<int64_t> ended;
    Nanos hold = 0;  // charged to each account
  };
  Row& RowOf(const End& end);

  mutable std::mutex mutex_;
  std::map<Key, Row> rows_;
};

}  // namespace spillway
