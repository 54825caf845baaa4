#include "controlplane/alerts/alert.h"

#include <algorithm>

#include "common/crypto/sha256.h"

namespace spillway::alerts {
namespace {

constexpr int kWholePercent = 100;

void AppendNumber(std::string& out, uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift));
}

bool Reached(const AccountSpend& account, int percent) {
  if (account.limit <= 0) return account.settled > 0;
  return static_cast<__int128>(account.settled) * kWholePercent >=
         static_cast<__int128>(account.limit) * percent;
}

v1::Alert AlertOf(const AccountSpend& account, std::string_view type, int percent) {
  v1::Alert alert;
  alert.set_type(std::string(type));
  alert.set_budget(account.budget);
  alert.set_budget_id(account.budget_id);
  alert.set_threshold_percent(percent);
  alert.set_spent_nanos(account.settled);
  alert.set_limit_nanos(account.limit);
  alert.set_window_start_ms(account.window_start_ms);
  alert.set_window_end_ms(account.window_end_ms);
  alert.set_subject(account.subject);
  return alert;
}

}  // namespace

std::vector<v1::Alert> Conditions(const AccountSpend& account) {
  std::vector<int> thresholds = account.thresholds;
  thresholds.push_back(kWholePercent);
  std::ranges::sort(thresholds);
  thresholds.erase(std::ranges::unique(thresholds).begin(), thresholds.end());
  std::vector<v1::Alert> alerts;
  for (const int percent : thresholds) {
    if (percent <= 0 || !Reached(account, percent)) continue;
    alerts.push_back(AlertOf(account, percent == kWholePercent ? kExhausted : kThreshold, percent));
  }
  if (account.frozen) alerts.push_back(AlertOf(account, kFrozen, 0));
  return alerts;
}

std::string FrozenKey(std::string_view budget_id) {
  std::string key(budget_id);
  key.push_back('\0');
  key.push_back('f');
  return key;
}

std::string KeyOf(const v1::Alert& alert) {
  if (alert.type() == kFrozen) return FrozenKey(alert.budget_id());
  std::string key = alert.budget_id();
  key.push_back('\0');
  key.push_back('t');
  AppendNumber(key, static_cast<uint64_t>(alert.window_start_ms()), 8);
  AppendNumber(key, static_cast<uint32_t>(alert.threshold_percent()), 4);
  return key + alert.subject();
}

std::string IdOf(const v1::Alert& alert) {
  const Sha256Digest digest = Sha256Parts({KeyOf(alert), ".", std::to_string(alert.at_ms())});
  return HexOf(AsBytes(digest)).substr(0, 32);
}

}  // namespace spillway::alerts
