// Spend by dimensions and time, from the roll-ups; events, page by page.
#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "common/utc.h"
#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/ledger_state.h"
#include "controlplane/ledger/totals.h"

namespace spillway {
namespace {

constexpr int kPageDefault = 100;
constexpr int kPageMax = 1000;

// The value of a dimension in a row.
std::string ValueOf(v1::Dimension dimension, const ledger::RollupId& row) {
  if (dimension >= v1::DIMENSION_ORGANIZATION && dimension <= v1::DIMENSION_PROVIDER)
    return std::string(row.names[dimension - v1::DIMENSION_ORGANIZATION]);
  const std::string time = FormatUtc(row.hour_s * 1000);
  if (dimension == v1::DIMENSION_DAY) return time.substr(0, 10);
  return time.substr(0, 19) + "Z";
}

Result<void> CheckDimension(int dimension) {
  if (dimension > v1::DIMENSION_UNSPECIFIED && dimension <= v1::DIMENSION_DAY) return {};
  return Fail(ErrorCode::kInvalidRequest,
              "unknown dimension; allowed: organization, team, user, key, feature, model, route, "
              "provider, hour, day",
              "by");
}

bool Matches(const v1::QuerySpendRequest& request, const ledger::RollupId& row) {
  return std::ranges::all_of(request.where(), [&row](const auto& filter) {
    return ValueOf(static_cast<v1::Dimension>(filter.first), row) == filter.second;
  });
}

v1::SpendRow RowOf(const std::vector<std::string>& values, const ledger::Totals& totals) {
  v1::SpendRow row;
  for (const std::string& value : values) row.add_values(value);
  row.set_requests(totals.requests);
  row.set_attempts(totals.attempts);
  row.set_input_tokens(totals.input_tokens);
  row.set_output_tokens(totals.output_tokens);
  row.set_cached_input_tokens(totals.cached_input_tokens);
  row.set_reasoning_tokens(totals.reasoning_tokens);
  row.set_cost_nanos(totals.cost_nanos);
  row.set_estimated_nanos(totals.estimated_nanos);
  return row;
}

// Time first when the rows are about time, else the dearest first.
void Sort(const v1::QuerySpendRequest& request,
          std::vector<std::pair<std::vector<std::string>, ledger::Totals>>& rows) {
  const auto time = std::ranges::find_if(
      request.by(), [](int by) { return by == v1::DIMENSION_HOUR || by == v1::DIMENSION_DAY; });
  const bool timed = time != request.by().end();
  const auto index = static_cast<size_t>(time - request.by().begin());
  std::ranges::stable_sort(rows, [&](const auto& a, const auto& b) {
    if (timed && a.first[index] != b.first[index]) return a.first[index] < b.first[index];
    return a.second.cost_nanos > b.second.cost_nanos;
  });
}

constexpr std::array<std::string_view, 8> kEndNames = {"",
                                                       "finished",
                                                       "upstream_cut",
                                                       "upstream_error",
                                                       "upstream_stalled",
                                                       "client_left",
                                                       "unreachable",
                                                       "abandoned"};
constexpr std::array<std::string_view, 4> kSourceNames = {"", "provider", "estimated", "none"};

template <size_t N>
std::string NameIn(const std::array<std::string_view, N>& names, int value) {
  return value >= 0 && static_cast<size_t>(value) < N
             ? std::string(names[static_cast<size_t>(value)])
             : std::string();
}

void SetNames(const v1::Attribution& who, v1::LedgerEvent& event) {
  event.set_organization(who.organization());
  event.set_team(who.team());
  event.set_user(who.user());
  event.set_key(who.key());
  event.set_feature(who.feature());
  event.set_route(who.route());
  event.set_model(who.model());
  event.set_provider(who.provider());
}

v1::LedgerEvent EventOf(const ledger::EventId& id, const std::string& instance,
                        const v1::UsageRecord& record) {
  v1::LedgerEvent event;
  event.set_instance(instance);
  event.set_incarnation(ledger::UnpackIncarnation(id.packed));
  event.set_seq(id.seq);
  event.set_time_ms(id.time_ms);
  SetNames(ledger::AttributionOf(record), event);
  const ledger::Totals totals = ledger::TotalsOfEvent(record).value_or(ledger::Totals{});
  event.set_input_tokens(totals.input_tokens);
  event.set_output_tokens(totals.output_tokens);
  event.set_cached_input_tokens(totals.cached_input_tokens);
  event.set_reasoning_tokens(totals.reasoning_tokens);
  event.set_cost_nanos(totals.cost_nanos);
  if (record.has_aggregate()) {
    event.set_end("counted_while_full");
    return event;
  }
  const v1::Finished& finished =
      record.has_abandoned() ? record.abandoned().estimate() : record.finished();
  event.set_request_id(finished.request_id());
  event.set_attempt_id(finished.attempt_id());
  event.set_source(NameIn(kSourceNames, finished.source()));
  event.set_end(NameIn(kEndNames, finished.end()));
  event.set_http_status(finished.http_status());
  event.set_winner(finished.winner());
  return event;
}

// A page token is the last key of the page before, in hex.
std::optional<std::string> KeyOfToken(const std::string& token) {
  if (token.size() != 64) return {};
  const auto first = ledger::PackIncarnation(std::string_view(token).substr(0, 32));
  const auto second = ledger::PackIncarnation(std::string_view(token).substr(32));
  if (!first || !second) return {};
  return *first + *second;
}

}  // namespace

Result<v1::QuerySpendResponse> Ledger::QuerySpend(const v1::QuerySpendRequest& request) const {
  for (const int by : request.by()) SW_CHECK(CheckDimension(by));
  for (const auto& [dimension, value] : request.where()) SW_CHECK(CheckDimension(dimension));
  std::map<std::vector<std::string>, ledger::Totals> groups;
  const int64_t until_s = request.until_ms() > 0 ? (request.until_ms() + 999) / 1000 : INT64_MAX;
  const std::string from = ledger::HourPrefix(ledger::HourOf(request.since_ms()));
  SW_CHECK(rep_->store.Scan(Table::kLedgerRollups, {}, from,
                            [&](std::string_view key, std::string_view value) {
                              const auto row = ledger::ReadRollupKey(key);
                              const auto totals = ledger::Totals::FromBytes(value);
                              if (!row || !totals) return true;
                              if (row->hour_s >= until_s) return false;
                              if (totals->events == 0 || !Matches(request, *row)) return true;
                              std::vector<std::string> values;
                              for (const int by : request.by())
                                values.push_back(ValueOf(static_cast<v1::Dimension>(by), *row));
                              groups[std::move(values)] += *totals;
                              return true;
                            }));
  std::vector<std::pair<std::vector<std::string>, ledger::Totals>> rows(groups.begin(),
                                                                        groups.end());
  Sort(request, rows);
  v1::QuerySpendResponse response;
  for (const auto& [values, totals] : rows) *response.add_rows() = RowOf(values, totals);
  return response;
}

Result<v1::ListLedgerEventsResponse> Ledger::ListEvents(
    const v1::ListLedgerEventsRequest& request) const {
  const int page =
      request.page_size() <= 0 ? kPageDefault : std::min(request.page_size(), kPageMax);
  std::string from = ledger::HourPrefix(ledger::FiledMs(request.since_ms()));
  if (!request.page_token().empty()) {
    const auto key = KeyOfToken(request.page_token());
    if (!key)
      return Fail(ErrorCode::kInvalidRequest, "page_token is none that this server gave out",
                  "page_token");
    from = *key + '\0';  // the key behind it
  }
  v1::ListLedgerEventsResponse response;
  std::string last;
  bool more = false;
  SW_CHECK(rep_->store.Scan(
      Table::kLedgerEvents, {}, from, [&](std::string_view key, std::string_view value) {
        more = response.events_size() == page;
        if (more) return false;
        v1::UsageRecord record;
        const auto id = ledger::ReadEventKey(key);
        if (!id || !record.ParseFromArray(value.data(), static_cast<int>(value.size())))
          return true;
        last = key;
        const std::lock_guard lock(rep_->state_mutex);
        const auto mark = rep_->marks.find(std::string(id->packed));
        *response.add_events() =
            EventOf(*id, mark == rep_->marks.end() ? std::string() : mark->second.instance, record);
        return true;
      }));
  if (more) response.set_next_page_token(ledger::UnpackIncarnation(last));
  return response;
}

}  // namespace spillway
