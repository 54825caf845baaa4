// Recomputes the roll-ups of the retained events and compares.
#include <set>
#include <unordered_map>
#include <utility>

#include "common/utc.h"
#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/ledger_state.h"
#include "controlplane/ledger/totals.h"

namespace spillway {
namespace {

using Rows = std::unordered_map<std::string, ledger::Totals>;
constexpr int kDifferencesMax = 100;

Result<Rows> StoredRows(const Store& store, int64_t hour_s) {
  Rows rows;
  const std::string prefix = ledger::HourPrefix(hour_s);
  SW_CHECK(store.Scan(
      Table::kLedgerRollups, prefix, prefix, [&rows](std::string_view key, std::string_view value) {
        rows[std::string(key)] = ledger::Totals::FromBytes(value).value_or(ledger::Totals{});
        return true;
      }));
  return rows;
}

void AddEvent(std::string_view value, Rows& rows, int64_t& events) {
  v1::UsageRecord record;
  if (!record.ParseFromArray(value.data(), static_cast<int>(value.size()))) return;
  const auto totals = ledger::TotalsOfEvent(record);
  if (!totals) return;
  ++events;
  rows[ledger::RollupKey(ledger::HourOf(record.time_ms()), ledger::AttributionOf(record))] +=
      *totals;
}

Result<Rows> EventRows(const Store& store, int64_t hour_s) {
  Rows rows;
  int64_t ignored = 0;
  const std::string from = ledger::HourPrefix(hour_s * 1000);
  const std::string end = ledger::HourPrefix(hour_s * 1000 + ledger::kHourMs);
  SW_CHECK(
      store.Scan(Table::kLedgerEvents, {}, from, [&](std::string_view key, std::string_view value) {
        if (key >= end) return false;
        AddEvent(value, rows, ignored);
        return true;
      }));
  return rows;
}

std::string Describe(const std::string& key, const ledger::Totals& events,
                     const ledger::Totals& stored) {
  const auto id = ledger::ReadRollupKey(key);
  if (!id) return "a roll-up row has an unreadable key";
  std::string text = FormatUtc(id->hour_s * 1000).substr(0, 13) + "h";
  for (const std::string_view name : id->names) text.append(" ").append(name.empty() ? "-" : name);
  const auto side = [](const ledger::Totals& totals) {
    return std::to_string(totals.events) + " events, " + std::to_string(totals.input_tokens) +
           " in, " + std::to_string(totals.output_tokens) + " out, " +
           std::to_string(totals.cost_nanos) + " nanos, of them retries " +
           std::to_string(totals.retry_nanos) + ", fallbacks " +
           std::to_string(totals.fallback_nanos) + ", disconnects " +
           std::to_string(totals.disconnect_nanos) + ", unpriced calls " +
           std::to_string(totals.unpriced_attempts);
  };
  return text + ": events say " + side(events) + "; roll-up says " + side(stored);
}

// A combination without a row of its own was counted in the hour's overflow row.
std::vector<std::string> Compare(int64_t hour_s, const Rows& from_events, Rows stored) {
  Rows wanted;
  const std::string overflow = ledger::OverflowKey(hour_s);
  for (const auto& [key, totals] : from_events)
    wanted[stored.contains(key) || !stored.contains(overflow) ? key : overflow] += totals;
  std::vector<std::string> differences;
  for (const auto& [key, totals] : wanted) {
    const ledger::Totals kept = stored[key];
    if (!kept.Agrees(totals)) differences.push_back(Describe(key, totals, kept));
    stored.erase(key);
  }
  for (const auto& [key, totals] : stored)
    if (!totals.Agrees({})) differences.push_back(Describe(key, {}, totals));
  return differences;
}

}  // namespace

Result<v1::VerifyLedgerResponse> Ledger::Verify() const {
  v1::VerifyLedgerResponse response;
  const int64_t from_ms = rep_->pruned_before_ms;
  int64_t events = 0;
  std::set<int64_t> hours;
  // Which hours there are; events first, so that a row without events is found too.
  SW_CHECK(rep_->store.Scan(Table::kLedgerRollups, {}, ledger::HourPrefix(from_ms / 1000),
                            [&](std::string_view key, std::string_view) {
                              hours.insert(ledger::ReadInt64(key));
                              response.set_rollups(response.rollups() + 1);
                              return true;
                            }));
  SW_CHECK(rep_->store.Scan(Table::kLedgerEvents, {}, ledger::HourPrefix(from_ms),
                            [&](std::string_view key, std::string_view) {
                              hours.insert(ledger::HourOf(ledger::ReadInt64(key)));
                              ++events;
                              return true;
                            }));
  response.set_events(events);
  for (const int64_t hour_s : hours) {
    const auto compare = [&]() -> Result<std::vector<std::string>> {
      SW_TRY(const Rows from_events, EventRows(rep_->store, hour_s));
      SW_TRY(Rows stored, StoredRows(rep_->store, hour_s));
      return Compare(hour_s, from_events, std::move(stored));
    };
    SW_TRY(auto differences, compare());
    if (!differences.empty()) {
      // The two were read at different moments: only what differs while nobody writes is a fault.
      const std::lock_guard write(rep_->write_mutex);
      SW_TRY(differences, compare());
    }
    for (std::string& difference : differences)
      if (response.differences_size() < kDifferencesMax)
        response.add_differences(std::move(difference));
  }
  return response;
}

}  // namespace spillway
