#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace spillway::mock {

// One call, as a provider would bill it. The loop that serves it writes the atomics; the rest is
// set before the ledger sees it.
struct Call {
  std::string attempt_id;
  std::string model;
  std::string key;  // "...abcd": the last four characters
  std::string service_tier;
  bool stream = false;
  int64_t cache_write = 0;  // cached and this are parts of what is billed as input
  int64_t audio_input = 0;
  int64_t reasoning_most = 0;     // of the output, however much of it there is in the end
  int64_t audio_output_most = 0;  // of what reasoning leaves
  std::atomic<int64_t> input_tokens{0};
  std::atomic<int64_t> output_tokens{0};
  std::atomic<int64_t> cached{0};
  std::atomic<int64_t> tokens_sent{0};
  std::atomic<int> status{0};  // 0: no answer
  std::atomic<bool> finished{false};
  std::atomic<bool> cut_by_caller{false};
};

struct Totals {
  int64_t requests = 0;
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;
  int64_t cut_by_caller = 0;
};

// The calls of one loop. The lock is only ever waited for while somebody reads the ledger.
class LedgerShard {
 public:
  explicit LedgerShard(bool keep_calls) : keep_calls_(keep_calls) {}

  void Open(const std::shared_ptr<Call>& call);
  void Close(const Call& call);

  using Key = std::pair<std::string, std::string>;  // model, key
  void AppendLines(std::string& out) const;
  void AddTotals(std::map<Key, Totals>& totals) const;
  void Clear();

 private:
  const bool keep_calls_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Call>> calls_;
  std::map<Key, Totals> totals_;
};

// What the provider served: the truth that Spillway's ledger is joined with. Calls stand in it from
// the moment their request is complete, so that the caller's death leaves its line. Thread-safe.
class CallLedger {
 public:
  CallLedger(int shards, bool keep_calls);
  LedgerShard& shard(int index) { return *shards_[static_cast<size_t>(index)]; }

  std::string RenderLines() const;  // one JSON object a line
  std::string RenderStats() const;  // {"calls": [...], "total": {...}}
  void Clear();

 private:
  std::vector<std::unique_ptr<LedgerShard>> shards_;
};

// How a caller's key is shown: never in clear.
std::string KeyLabel(std::string_view api_key);

}  // namespace spillway::mock
