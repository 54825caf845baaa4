#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "dataplane/budgets/lease_holder.h"
#include "dataplane/budgets/reservation.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// An account that is open at a holder, and what of it every request needs.
struct OpenAccount {
  std::shared_ptr<const BudgetSpec> spec;  // whose policy the holder has
  int64_t holder = -1;                     // LeaseHolders::number() of the one it is open at
  WindowSpan window = {.start_s = 0, .end_s = 0};
  int64_t policy_until_ms = 0;  // a raise begins or ends: the policy must be set anew
  AccountHandle account;
  AccountBytes bytes;
  // Until then nothing is to be had from the control plane for needs of `short_of` and more: it was
  // asked a moment ago. Spares an exhausted budget the waits, and the control plane the questions.
  int64_t short_until_ns = 0;
  Nanos short_of = 0;
};

// The current account of each (budget as it is configured, subject), so that a request finds it
// with one look-up of a pointer and a short text. Not thread-safe: Budgets' mutex guards it.
// Bounded by Prune.
class AccountIndex {
 public:
  OpenAccount& At(const BudgetSpec* spec, std::string_view subject) {
    const View key(spec, subject);
    const auto found = accounts_.find(key);
    if (found != accounts_.end()) return found->second;
    return accounts_.try_emplace(Key(spec, subject)).first->second;
  }
  // Forgets accounts whose window ended before `time_ms`, and those of earlier configurations.
  void Prune(int64_t time_ms) {
    std::erase_if(accounts_, [time_ms](const auto& entry) {
      return entry.second.window.end_s < time_ms / 1000 || entry.second.spec.use_count() <= 1;
    });
  }

 private:
  // The account keeps its spec alive, so that no other one can take the address meanwhile.
  using Key = std::pair<const BudgetSpec*, std::string>;
  using View = std::pair<const BudgetSpec*, std::string_view>;
  struct Hash {
    using is_transparent = void;
    size_t operator()(const View& key) const {
      const auto address = reinterpret_cast<uintptr_t>(key.first);
      // Fibonacci hashing: addresses differ in their middle bits.
      return std::hash<std::string_view>()(key.second) ^ address * 0x9E3779B97F4A7C15;
    }
    size_t operator()(const Key& key) const { return (*this)(View(key.first, key.second)); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Key& a, const Key& b) const { return a == b; }
    bool operator()(const View& a, const Key& b) const {
      return a.first == b.first && a.second == b.second;
    }
    bool operator()(const Key& a, const View& b) const { return (*this)(b, a); }
  };
  // Nodes stay where they are: a request holds several. (Abseil's tables cannot be used under the
  // address sanitizer when its library is built without.)
  std::unordered_map<Key, OpenAccount, Hash, Equal> accounts_;
};

}  // namespace spillway
