#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "controlplane/store/store.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::alerts {

// Which alerts were decided, and how far each is delivered: table kAlerts, KeyOf(alert) -> Alert.
// A decision and its deliveries are one synced write, so that a restart neither repeats nor loses
// one. Thread-safe.
class AlertBook {
 public:
  static Result<std::unique_ptr<AlertBook>> Open(Store& store);

  Result<bool> Decided(const std::string& key) const;
  Result<std::optional<v1::Alert>> Find(const std::string& key) const;
  // All or none; each in place of what stands under its key.
  Result<void> Put(std::span<const v1::Alert> alerts);
  Result<void> Forget(const std::string& key);

  // Copies of those with a pending delivery that `due` says yes to, by key, the first `max`. It is
  // asked under the book's lock.
  std::vector<v1::Alert> Due(size_t max,
                             const std::function<bool(const v1::AlertDelivery&)>& due) const;
  int64_t pending() const;

  Result<std::vector<v1::Alert>> Newest(int limit) const;
  // Removes what is about windows that ended before, and is not pending; returns how many.
  Result<int64_t> Prune(int64_t ended_before_ms);

 private:
  explicit AlertBook(Store& store) : store_(store) {}
  void Keep(const v1::Alert& alert);

  Store& store_;
  mutable std::mutex mutex_;  // guards what follows
  std::map<std::string, v1::Alert> pending_;
};

bool HasPending(const v1::Alert& alert);
inline constexpr std::string_view kPending = "pending";
inline constexpr std::string_view kDelivered = "delivered";
inline constexpr std::string_view kGivenUp = "given_up";

}  // namespace spillway::alerts
