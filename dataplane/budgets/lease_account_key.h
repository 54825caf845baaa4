#pragma once

#include <absl/hash/hash.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>

#include "dataplane/budgets/lease_account.h"
#include "spillway/v1/lease.pb.h"

namespace spillway {

// Looks accounts up by views, so that finding one makes no strings.
using AccountKeyView = std::tuple<std::string_view, std::string_view, int64_t>;
inline AccountKeyView ViewOf(const AccountKey& key) {
  return {key.budget_id, key.subject, key.window_start_s};
}
inline AccountKeyView ViewOf(const AccountKeyView& key) { return key; }
inline AccountKeyView ViewOf(const v1::Account& account) {
  return {account.budget_id(), account.subject(), account.window_start_s()};
}
struct AccountKeyHash {
  using is_transparent = void;
  template <typename Key>
  size_t operator()(const Key& key) const {
    return absl::HashOf(ViewOf(key));
  }
};
struct AccountKeyEqual {
  using is_transparent = void;
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    return ViewOf(a) == ViewOf(b);
  }
};

}  // namespace spillway
