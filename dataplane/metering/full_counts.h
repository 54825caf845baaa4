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
// beyond kRowsMax distinct attributions the rest shares one. Thread-safe.
class FullCounts {
 public:
  static constexpr size_t kRowsMax = 4096;
  static constexpr size_t kEndedMax = 1000;  // Started seqs named in one Aggregate

  // One attempt's end.
  struct End {
    std::string_view attribution;  // serialised Attribution
    TokenUsage usage;
    Nanos cost = 0;
    bool estimated = false;
    bool request = false;     // counts as a request
    int64_t started_seq = 0;  // 0: its Started was not journalled either
  };
  void Add(const End& end);
  bool empty() const;
  // One row, its list cut to kEndedMax; Drop removes exactly what was shown.
  struct Shown {
    std::string attribution;
    v1::Aggregate aggregate;
  };
  std::optional<Shown> Peek() const;
  void Drop(const Shown& shown);

 private:
  struct Row {
    v1::Aggregate sum;  // without attribution and ended_started
    std::vector<int64_t> ended;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Row, std::less<>> rows_;
};

}  // namespace spillway
