// Spend by dimensions and time: from the roll-ups, or from the kept events.
#include <cstdint>
#include <string>
#include <utility>

#include "common/utc.h"
#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/ledger_state.h"
#include "controlplane/ledger/spend.h"
#include "controlplane/ledger/totals.h"

namespace spillway {
namespace {

int64_t EndOf(const v1::QuerySpendRequest& request) {
  return request.until_ms() > 0 ? request.until_ms() : INT64_MAX;
}

Result<void> AddRollups(const Store& store, const v1::QuerySpendRequest& request,
                        ledger::SpendGroups& groups) {
  const int64_t until_ms = EndOf(request);
  const std::string from = ledger::HourPrefix(ledger::HourOf(request.since_ms()));
  return store.Scan(Table::kLedgerRollups, {}, from,
                    [&](std::string_view key, std::string_view value) {
                      const auto row = ledger::ReadRollupKey(key);
                      const auto totals = ledger::Totals::FromBytes(value);
                      if (!row || !totals) return true;
                      if (row->hour_s * 1000 >= until_ms) return false;
                      const ledger::SpendFacts facts = ledger::FactsOf(*row);
                      if (totals->events != 0 && groups.Matches(facts)) groups.Add(facts, *totals);
                      return true;
                    });
}

Result<void> AddEvents(const Store& store, const v1::QuerySpendRequest& request,
                       ledger::SpendGroups& groups) {
  const int64_t until_ms = EndOf(request);
  v1::UsageRecord record;
  return store.Scan(
      Table::kLedgerEvents, {}, ledger::HourPrefix(ledger::FiledMs(request.since_ms())),
      [&](std::string_view key, std::string_view value) {
        const auto id = ledger::ReadEventKey(key);
        if (!id || !record.ParseFromArray(value.data(), static_cast<int>(value.size())))
          return true;
        if (id->time_ms >= until_ms) return false;
        const auto totals = ledger::TotalsOfEvent(record);
        if (!totals) return true;
        const ledger::SpendFacts facts =
            ledger::FactsOf(record.time_ms(), ledger::AttributionOf(record));
        if (groups.Matches(facts)) groups.Add(facts, *totals);
        return true;
      });
}

Result<void> AddOpen(const Store& store, const v1::QuerySpendRequest& request,
                     ledger::SpendGroups& groups) {
  const int64_t until_ms = EndOf(request);
  v1::UsageRecord record;
  return store.Scan(Table::kLedgerOpen, {}, {}, [&](std::string_view, std::string_view value) {
    const bool running = value.starts_with('O');
    if (!running || !record.ParseFromArray(value.data() + 1, static_cast<int>(value.size() - 1)) ||
        record.time_ms() < request.since_ms() || record.time_ms() >= until_ms)
      return true;
    const ledger::SpendFacts facts =
        ledger::FactsOf(record.time_ms(), record.started().attribution());
    if (groups.Matches(facts)) groups.AddOpen(facts, record.started().reserved_nanos());
    return true;
  });
}

// Sums of single events must not quietly lack those that are deleted.
Result<void> CheckKept(const v1::QuerySpendRequest& request, int64_t pruned_before_ms) {
  if (request.since_ms() <= 0)
    return Fail(ErrorCode::kInvalidRequest, "this is added up from single events: say since when",
                "since_ms");
  if (request.since_ms() >= pruned_before_ms) return {};
  return Fail(ErrorCode::kInvalidRequest,
              "this is added up from single events, and those before " +
                  FormatUtc(pruned_before_ms) + " are deleted: begin there, or ask without tags",
              "since_ms");
}

}  // namespace

Result<v1::QuerySpendResponse> Ledger::QuerySpend(const v1::QuerySpendRequest& request) const {
  SW_CHECK(ledger::SpendGroups::Check(request));
  ledger::SpendGroups groups(request);
  if (ledger::SpendGroups::NeedsEvents(request)) {
    SW_CHECK(CheckKept(request, rep_->pruned_before_ms));
    SW_CHECK(AddEvents(rep_->store, request, groups));
  } else {
    SW_CHECK(AddRollups(rep_->store, request, groups));
  }
  if (request.with_open()) SW_CHECK(AddOpen(rep_->store, request, groups));
  v1::QuerySpendResponse response = groups.Response();
  if (!request.with_open()) return response;
  const std::lock_guard lock(rep_->state_mutex);
  for (const auto& [packed, mark] : rep_->marks) {
    for (const auto& [from, to] : mark.Gaps())
      response.set_awaited_records(response.awaited_records() + to - from + 1);
    for (const auto& [from, to] : mark.lost.map())
      response.set_lost_records(response.lost_records() + to - from + 1);
  }
  return response;
}

}  // namespace spillway
