#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/exchange/counter.h"

namespace spillway {

// Values by label set, for one writing thread and any number of readers. Bounded: once kSetsMax
// sets exist, new ones are counted together under the label "other".
template <size_t N, typename Values>
class SeriesTable {
 public:
  using Labels = std::array<std::string_view, N>;
  static constexpr size_t kSetsMax = 1000;

  // The writing thread only. The reference stays valid as long as the table.
  Values& Find(const Labels& labels) {
    size_t hash = 0;
    for (std::string_view label : labels) {
      hash = hash * 0x9e3779b97f4a7c15u + std::hash<std::string_view>{}(label);
    }
    for (size_t slot = hash % kSlots;; slot = (slot + 1) % kSlots) {
      Entry* entry = slots_[slot].load(std::memory_order_relaxed);
      if (entry == nullptr) return Insert(slot, hash, labels);
      if (entry->hash == hash && Equal(entry->labels, labels)) return entry->values;
    }
  }

  template <typename Visitor>  // visitor(const std::array<std::string, N>&, const Values&)
  void ForEach(Visitor visitor) const {
    for (const std::atomic<Entry*>& slot : slots_) {
      const Entry* entry = slot.load(std::memory_order_acquire);
      if (entry != nullptr) visitor(entry->labels, entry->values);
    }
  }

 private:
  static constexpr size_t kSlots = 2048;
  struct Entry {
    size_t hash = 0;
    std::array<std::string, N> labels;
    Values values;
  };

  static bool Equal(const std::array<std::string, N>& a, const Labels& b) {
    for (size_t i = 0; i < N; ++i) {
      if (a[i] != b[i]) return false;
    }
    return true;
  }

  Values& Insert(size_t slot, size_t hash, const Labels& labels) {
    if (entries_.size() >= kSetsMax) {
      Labels other;
      other.fill("other");
      if (labels != other) return Find(other);
    }
    entries_.push_back(std::make_unique<Entry>());
    Entry& entry = *entries_.back();
    entry.hash = hash;
    for (size_t i = 0; i < N; ++i) entry.labels[i] = labels[i];
    slots_[slot].store(&entry, std::memory_order_release);
    return entry.values;
  }

  std::array<std::atomic<Entry*>, kSlots> slots_{};
  std::vector<std::unique_ptr<Entry>> entries_;  // the writing thread's
};

struct RequestValues {
  std::atomic<int64_t> requests{0};
};
using RequestSeries = SeriesTable<4, RequestValues>;  // route, provider, status, code

struct SpendValues {
  std::atomic<int64_t> attempts{0};
  std::atomic<int64_t> input_tokens{0};
  std::atomic<int64_t> output_tokens{0};
  std::atomic<int64_t> cached_input_tokens{0};
  std::atomic<int64_t> reasoning_tokens{0};
  std::atomic<int64_t> cache_write_5m_tokens{0};
  std::atomic<int64_t> cache_write_1h_tokens{0};
  std::atomic<int64_t> audio_input_tokens{0};
  std::atomic<int64_t> audio_output_tokens{0};
  std::atomic<int64_t> images{0};
  std::atomic<int64_t> cost_nanos{0};
};
using SpendSeries = SeriesTable<3, SpendValues>;  // route, model, provider

using EndSeries = SeriesTable<1, RequestValues>;  // end reason of a stream

// What a budget or rate limit did: its kind and name ("budget/NAME"), and refused, downgraded or
// warned.
using LimitSeries = SeriesTable<2, RequestValues>;

}  // namespace spillway
