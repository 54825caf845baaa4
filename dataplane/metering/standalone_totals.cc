#include "dataplane/metering/standalone_totals.h"

#include <algorithm>
#include <cstdio>
#include <format>
#include <tuple>

#include "common/durable_file.h"
#include "common/money.h"
#include "common/utc.h"
#include "dataplane/metering/replay.h"
#include "dataplane/metering/segment.h"
#include "dataplane/metering/usage_sums.h"

namespace spillway {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kHoursKeptMs = int64_t{72} * kHourMs;
constexpr int64_t kDaysKeptMs = int64_t{400} * 24 * kHourMs;
constexpr int64_t kRowsPerWindowMax = 1000;

std::string TotalsPath(const std::string& data_dir) { return data_dir + "/totals"; }

void AddAmounts(v1::TotalsRow& row, const v1::TotalsRow& amount) {
  AddUsage(*row.mutable_usage(), amount.usage());
  row.set_requests(row.requests() + amount.requests());
  row.set_attempts(row.attempts() + amount.attempts());
  row.set_cost_nanos(row.cost_nanos() + amount.cost_nanos());
  row.set_estimated_nanos(row.estimated_nanos() + amount.estimated_nanos());
}

v1::TotalsRow AmountOf(const v1::Finished& finished) {
  v1::TotalsRow amount;
  *amount.mutable_usage() = finished.usage();
  amount.mutable_usage()->clear_service_tier();
  const bool ended_request = finished.winner() || finished.end() == v1::END_CLIENT_LEFT ||
                             finished.end() == v1::END_ABANDONED;
  amount.set_requests(ended_request ? 1 : 0);
  amount.set_attempts(1);
  amount.set_cost_nanos(finished.cost_nanos());
  amount.set_estimated_nanos(finished.source() == v1::USAGE_SOURCE_ESTIMATED ? finished.cost_nanos()
                                                                             : 0);
  return amount;
}

v1::TotalsRow AmountOf(const v1::Aggregate& aggregate) {
  v1::TotalsRow amount;
  *amount.mutable_usage() = aggregate.usage();
  amount.set_requests(aggregate.requests());
  amount.set_attempts(aggregate.attempts());
  amount.set_cost_nanos(aggregate.cost_nanos());
  amount.set_estimated_nanos(aggregate.estimated_nanos());
  return amount;
}

// Adds what a journal folder holds behind what is included already.
Result<void> AddJournal(const std::string& folder, const std::string& incarnation,
                        StandaloneTotals& totals) {
  for (const std::string& path : SegmentFiles(folder)) {
    SW_TRY(const FileView view, FileView::Open(path));
    FrameScanner frames(view.bytes(), kSegmentHeaderBytes, totals.IncludedUpto(incarnation));
    v1::UsageRecord record;
    for (Frame frame; frames.Next(frame, true);)
      if (record.ParseFromArray(frame.record.data(), static_cast<int>(frame.record.size())))
        totals.Add(incarnation, record);
  }
  return {};
}

}  // namespace

Result<StandaloneTotals> StandaloneTotals::Load(const std::string& data_dir) {
  StandaloneTotals totals;
  totals.path_ = TotalsPath(data_dir);
  auto bytes = durable::ReadFile(totals.path_);
  if (!bytes) {
    if (bytes.error().code == ErrorCode::kNotFound) return totals;
    return std::unexpected(std::move(bytes).error());
  }
  v1::UsageTotals stored;
  if (!stored.ParseFromString(*bytes))
    return Fail(ErrorCode::kCorrupt, totals.path_ + " cannot be read");
  for (const v1::IncarnationMark& mark : stored.included())
    totals.included_[mark.incarnation()] = mark.committed_upto();
  for (const v1::TotalsRow& row : stored.rows()) {
    const std::pair window(row.window_hours(), row.window_start_s());
    totals.rows_[{window, row.attribution().SerializeAsString()}] = row;
    ++totals.rows_of_window_[window];
  }
  v1::Closed charges;
  *charges.mutable_accounts() = stored.accounts();
  totals.charges_.Add(charges);
  return totals;
}

int64_t StandaloneTotals::IncludedUpto(const std::string& incarnation) const {
  const auto at = included_.find(incarnation);
  return at == included_.end() ? 0 : at->second;
}

void StandaloneTotals::Include(const std::string& incarnation, int64_t seq) {
  int64_t& upto = included_[incarnation];
  upto = std::max(upto, seq);
}

void StandaloneTotals::Forget(const std::string& incarnation) { included_.erase(incarnation); }

void StandaloneTotals::Add(const std::string& incarnation, const v1::UsageRecord& record) {
  if (record.seq() <= IncludedUpto(incarnation)) return;
  Include(incarnation, record.seq());
  AddCharges(record);
  if (record.has_finished())
    AddTo(record.time_ms(), record.finished().attribution(), AmountOf(record.finished()));
  else if (record.has_abandoned())
    AddTo(record.time_ms(), record.abandoned().estimate().attribution(),
          AmountOf(record.abandoned().estimate()));
  else if (record.has_aggregate())
    AddTo(record.time_ms(), record.aggregate().attribution(), AmountOf(record.aggregate()));
}

void StandaloneTotals::AddCharges(const v1::UsageRecord& record) {
  const auto add = [this](const v1::Finished& end) {
    for (const v1::Account& account : end.accounts())
      charges_.Add({}, account.SerializeAsString(), end.hold_nanos());
  };
  if (record.has_finished()) add(record.finished());
  if (record.has_abandoned()) add(record.abandoned().estimate());
  for (const v1::AccountCharge& charge : record.aggregate().accounts())
    charges_.Add({}, charge.account().SerializeAsString(), charge.charged());
}

void StandaloneTotals::AddTo(int64_t time_ms, const v1::Attribution& attribution,
                             const v1::TotalsRow& amount) {
  // Free tags would make rows without end.
  v1::Attribution names = attribution;
  names.clear_tags();
  const std::string key = names.SerializeAsString();
  AddRow(1, time_ms, key, amount);
  AddRow(24, time_ms, key, amount);
}

void StandaloneTotals::AddRow(int64_t hours, int64_t time_ms, std::string attribution,
                              const v1::TotalsRow& amount) {
  const int64_t window_ms = hours * kHourMs;
  const std::pair window(hours, std::max<int64_t>(time_ms, 0) / window_ms * window_ms / 1000);
  auto at = rows_.find({window, attribution});
  if (at == rows_.end()) {
    int64_t& rows = rows_of_window_[window];
    if (rows >= kRowsPerWindowMax) {
      v1::Attribution overflow;
      overflow.set_organization("(overflow)");
      attribution = overflow.SerializeAsString();
    }
    bool made = false;
    std::tie(at, made) = rows_.try_emplace({window, attribution});
    if (made) {
      ++rows;
      at->second.set_window_hours(window.first);
      at->second.set_window_start_s(window.second);
      at->second.mutable_attribution()->ParseFromString(attribution);
    }
  }
  AddAmounts(at->second, amount);
}

void StandaloneTotals::DropOldHours(int64_t now_ms) {
  const auto old = [now_ms](const std::pair<int64_t, int64_t>& window) {
    return window.second * 1000 < now_ms - (window.first == 1 ? kHoursKeptMs : kDaysKeptMs);
  };
  std::erase_if(rows_, [&old](const auto& row) { return old(row.first.first); });
  std::erase_if(rows_of_window_, [&old](const auto& window) { return old(window.first); });
  // No window that ends is longer than days are kept; one that starts at 0 never ends.
  charges_.EraseIf([now_ms](const v1::Account& account) {
    return account.window_start_s() > 0 && account.window_start_s() * 1000 < now_ms - kDaysKeptMs;
  });
}

v1::UsageTotals StandaloneTotals::ToProto() const {
  v1::UsageTotals totals;
  for (const auto& [incarnation, upto] : included_) {
    v1::IncarnationMark& mark = *totals.add_included();
    mark.set_incarnation(incarnation);
    mark.set_committed_upto(upto);
  }
  for (const auto& [key, row] : rows_) *totals.add_rows() = row;
  for (v1::Closed& closed : charges_.ToClosed())
    totals.mutable_accounts()->Swap(closed.mutable_accounts());
  return totals;
}

Result<void> StandaloneTotals::Save(int64_t now_ms) {
  DropOldHours(now_ms);
  return durable::WriteFile(path_, ToProto().SerializeAsString());
}

Result<v1::UsageTotals> ReadUsage(const std::string& data_dir) {
  constexpr int kTriesMax = 20;
  const std::string journal = data_dir + "/journal";
  for (int tries = 1;; ++tries) {
    SW_TRY(StandaloneTotals totals, StandaloneTotals::Load(data_dir));
    const std::string before = totals.ToProto().SerializeAsString();
    Result<void> added;
    for (const std::string& incarnation : durable::ListFolder(journal)) {
      if (added && incarnation.size() == 32)
        added = AddJournal(std::format("{}/{}", journal, incarnation), incarnation, totals);
    }
    // A process at work may have moved records from the journal to the totals meanwhile.
    SW_TRY(const StandaloneTotals after, StandaloneTotals::Load(data_dir));
    const bool unchanged = after.ToProto().SerializeAsString() == before;
    if (added && unchanged) return totals.ToProto();
    if (tries == kTriesMax) {
      SW_CHECK(std::move(added));
      return Fail(ErrorCode::kUnavailable, data_dir + " keeps changing; try again");
    }
  }
}

Result<std::string> RenderUsage(const std::string& data_dir) {
  SW_TRY(const v1::UsageTotals totals, ReadUsage(data_dir));
  char line[512];
  std::string text;
  const auto add = [&](const char* day, const v1::Attribution& who, const char* model,
                       int64_t requests, const v1::Usage& usage, const std::string& cost) {
    std::snprintf(line, sizeof(line),
                  "%-10s  %-16s  %-20s  %-16s  %-24s  %10lld  %12lld  %12lld  %16s\n", day,
                  who.team().c_str(), who.key().c_str(), who.user().c_str(), model,
                  static_cast<long long>(requests), static_cast<long long>(usage.input_tokens()),
                  static_cast<long long>(usage.output_tokens()), cost.c_str());
    text += line;
  };
  std::snprintf(line, sizeof(line), "%-10s  %-16s  %-20s  %-16s  %-24s  %10s  %12s  %12s  %16s\n",
                "DAY", "TEAM", "KEY", "USER", "MODEL", "REQUESTS", "INPUT", "OUTPUT", "COST USD");
  text += line;
  v1::TotalsRow sum;
  for (const v1::TotalsRow& row : totals.rows()) {
    if (row.window_hours() != 24) continue;
    const std::string day = FormatUtc(row.window_start_s() * 1000).substr(0, 10);
    add(day.c_str(), row.attribution(), row.attribution().model().c_str(), row.requests(),
        row.usage(), FormatUsd(row.cost_nanos()));
    AddAmounts(sum, row);
  }
  add("total", {}, "", sum.requests(), sum.usage(), FormatUsd(sum.cost_nanos()));
  return text;
}

}  // namespace spillway
