#include "controlplane/alerts/alert_book.h"

#include <algorithm>
#include <utility>

#include "controlplane/alerts/alert.h"

namespace spillway::alerts {
namespace {

constexpr size_t kPruneBatch = 5000;

bool Read(std::string_view value, v1::Alert& alert) {
  return alert.ParseFromArray(value.data(), static_cast<int>(value.size()));
}

bool IsOver(const v1::Alert& alert, int64_t ended_before_ms) {
  return alert.type() != kFrozen && alert.window_end_ms() != 0 &&
         alert.window_end_ms() < ended_before_ms && !HasPending(alert);
}

}  // namespace

bool HasPending(const v1::Alert& alert) {
  return std::ranges::any_of(alert.deliveries(), [](const v1::AlertDelivery& delivery) {
    return delivery.state() == kPending;
  });
}

Result<std::unique_ptr<AlertBook>> AlertBook::Open(Store& store) {
  std::unique_ptr<AlertBook> book(new AlertBook(store));
  SW_CHECK(store.Scan(Table::kAlerts, {}, {}, [&](std::string_view, std::string_view value) {
    v1::Alert alert;
    if (Read(value, alert)) book->Keep(alert);
    return true;
  }));
  return book;
}

void AlertBook::Keep(const v1::Alert& alert) {
  const std::lock_guard lock(mutex_);
  if (HasPending(alert)) {
    pending_[KeyOf(alert)] = alert;
  } else {
    pending_.erase(KeyOf(alert));
  }
}

Result<bool> AlertBook::Decided(const std::string& key) const {
  SW_TRY(const auto kept, store_.Get(Table::kAlerts, key));
  return kept.has_value();
}

Result<std::optional<v1::Alert>> AlertBook::Find(const std::string& key) const {
  SW_TRY(const auto kept, store_.Get(Table::kAlerts, key));
  v1::Alert alert;
  if (!kept || !Read(*kept, alert)) return std::nullopt;
  return alert;
}

Result<void> AlertBook::Put(std::span<const v1::Alert> alerts) {
  if (alerts.empty()) return {};
  WriteBatch batch;
  for (const v1::Alert& alert : alerts)
    batch.Put(Table::kAlerts, KeyOf(alert), alert.SerializeAsString());
  SW_CHECK(store_.Write(std::move(batch)));
  for (const v1::Alert& alert : alerts) Keep(alert);
  return {};
}

Result<void> AlertBook::Forget(const std::string& key) {
  WriteBatch batch;
  batch.Delete(Table::kAlerts, key);
  SW_CHECK(store_.Write(std::move(batch)));
  const std::lock_guard lock(mutex_);
  pending_.erase(key);
  return {};
}

std::vector<v1::Alert> AlertBook::Due(
    size_t max, const std::function<bool(const v1::AlertDelivery&)>& due) const {
  const std::lock_guard lock(mutex_);
  std::vector<v1::Alert> alerts;
  for (const auto& [key, alert] : pending_) {
    if (alerts.size() == max) break;
    const bool now =
        std::ranges::any_of(alert.deliveries(), [&](const v1::AlertDelivery& delivery) {
          return delivery.state() == kPending && due(delivery);
        });
    if (now) alerts.push_back(alert);
  }
  return alerts;
}

int64_t AlertBook::pending() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(pending_.size());
}

Result<std::vector<v1::Alert>> AlertBook::Newest(int limit) const {
  std::multimap<int64_t, v1::Alert> newest;
  SW_CHECK(store_.Scan(Table::kAlerts, {}, {}, [&](std::string_view, std::string_view value) {
    v1::Alert alert;
    if (!Read(value, alert)) return true;
    newest.emplace(alert.at_ms(), std::move(alert));
    if (newest.size() > static_cast<size_t>(limit)) newest.erase(newest.begin());
    return true;
  }));
  std::vector<v1::Alert> alerts;
  for (auto& [at_ms, alert] : newest) alerts.push_back(std::move(alert));
  std::ranges::reverse(alerts);
  return alerts;
}

Result<int64_t> AlertBook::Prune(int64_t ended_before_ms) {
  int64_t pruned = 0;
  std::vector<std::string> over;
  std::string from;
  do {
    over.clear();
    SW_CHECK(
        store_.Scan(Table::kAlerts, {}, from, [&](std::string_view key, std::string_view value) {
          v1::Alert alert;
          if (Read(value, alert) && IsOver(alert, ended_before_ms)) over.emplace_back(key);
          return over.size() < kPruneBatch;
        }));
    if (over.empty()) break;
    WriteBatch batch;
    for (const std::string& key : over) batch.Delete(Table::kAlerts, key);
    SW_CHECK(store_.Write(std::move(batch)));
    pruned += static_cast<int64_t>(over.size());
    from = over.back();
  } while (over.size() == kPruneBatch);
  return pruned;
}

}  // namespace spillway::alerts
