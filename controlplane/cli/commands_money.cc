#include <algorithm>
#include <array>
#include <format>
#include <utility>

#include "common/money.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr std::array<std::pair<std::string_view, v1::Dimension>, 10> kDimensions{
    {{"organization", v1::DIMENSION_ORGANIZATION},
     {"team", v1::DIMENSION_TEAM},
     {"user", v1::DIMENSION_USER},
     {"key", v1::DIMENSION_KEY},
     {"feature", v1::DIMENSION_FEATURE},
     {"model", v1::DIMENSION_MODEL},
     {"route", v1::DIMENSION_ROUTE},
     {"provider", v1::DIMENSION_PROVIDER},
     {"hour", v1::DIMENSION_HOUR},
     {"day", v1::DIMENSION_DAY}}};

struct SpendArguments {
  std::vector<std::string> by;
  std::vector<std::string> where;
  std::string since;
  std::string until;
};

struct EventArguments {
  std::string since = "1h";
  int64_t limit = 100;
};

std::vector<std::string> DimensionNames() {
  std::vector<std::string> names;
  names.reserve(kDimensions.size());
  for (const auto& [name, dimension] : kDimensions) names.emplace_back(name);
  return names;
}

Answer<v1::Dimension> DimensionNamed(std::string_view name) {
  const auto* row = std::ranges::find(kDimensions, name, [](const auto& r) { return r.first; });
  if (row != kDimensions.end()) return row->second;
  return FailUsage(std::format("\"{}\" is nothing to group by; there are {}", name,
                               Joined(DimensionNames(), ", ")));
}

Answer<void> AddWhere(const std::vector<std::string>& conditions, v1::QuerySpendRequest& request) {
  for (const std::string& condition : conditions) {
    const size_t equals = condition.find('=');
    if (equals == std::string::npos) {
      return FailUsage(
          std::format("--where {}: write DIMENSION=VALUE, such as team=support", condition));
    }
    SW_TRY(const v1::Dimension dimension, DimensionNamed(condition.substr(0, equals)));
    (*request.mutable_where())[dimension] = condition.substr(equals + 1);
  }
  return {};
}

Answer<v1::QuerySpendRequest> RequestOf(const SpendArguments& arguments,
                                        const std::vector<std::string>& by, int64_t now_ms) {
  v1::QuerySpendRequest request;
  for (const std::string& name : by) {
    SW_TRY(const v1::Dimension dimension, DimensionNamed(name));
    request.add_by(dimension);
  }
  SW_CHECK(AddWhere(arguments.where, request));
  if (!arguments.since.empty()) {
    SW_TRY(const int64_t since_ms, ParseMoment(arguments.since, now_ms));
    // Sums are kept by the hour: the one that has begun counts in full.
    request.set_since_ms(since_ms / kHourMs * kHourMs);
  }
  if (!arguments.until.empty()) {
    SW_TRY(const int64_t until_ms, ParseMoment(arguments.until, now_ms));
    request.set_until_ms(until_ms / kHourMs * kHourMs);
  }
  return request;
}

Value RowValue(const v1::SpendRow& row, const std::vector<std::string>& by) {
  Value value;
  for (int i = 0; i < row.values_size() && i < static_cast<int>(by.size()); ++i) {
    value.Set(by[static_cast<size_t>(i)], row.values(i));
  }
  return value.Set("requests", row.requests())
      .Set("attempts", row.attempts())
      .Set("input_tokens", row.input_tokens())
      .Set("output_tokens", row.output_tokens())
      .Set("cached_input_tokens", row.cached_input_tokens())
      .Set("reasoning_tokens", row.reasoning_tokens())
      .Set("cost_nanos", row.cost_nanos())
      .Set("cost_usd", FormatUsd(row.cost_nanos()))
      .Set("estimated_nanos", row.estimated_nanos())
      .Set("estimated_usd", FormatUsd(row.estimated_nanos()));
}

void AddSpendRow(Table& table, std::vector<std::string> cells, const v1::SpendRow& row,
                 bool estimates) {
  for (const int64_t number : {row.requests(), row.input_tokens(), row.output_tokens()}) {
    cells.push_back(Grouped(number));
  }
  cells.push_back(FormatUsd(row.cost_nanos()));
  if (estimates) cells.push_back(FormatUsd(row.estimated_nanos()));
  table.Row(std::move(cells));
}

void Accumulate(v1::SpendRow& total, const v1::SpendRow& row) {
  total.set_requests(total.requests() + row.requests());
  total.set_input_tokens(total.input_tokens() + row.input_tokens());
  total.set_output_tokens(total.output_tokens() + row.output_tokens());
  total.set_cost_nanos(total.cost_nanos() + row.cost_nanos());
  total.set_estimated_nanos(total.estimated_nanos() + row.estimated_nanos());
}

Table SpendTable(const v1::QuerySpendResponse& response, const std::vector<std::string>& by) {
  const bool estimates = std::ranges::any_of(
      response.rows(), [](const v1::SpendRow& row) { return row.estimated_nanos() != 0; });
  std::vector<std::string> headings;
  for (std::string name : by) {
    std::ranges::transform(name, name.begin(),
                           [](char c) { return static_cast<char>(c - 'a' + 'A'); });
    headings.push_back(std::move(name));
  }
  for (const char* heading : {">REQUESTS", ">INPUT", ">OUTPUT", ">COST USD"}) {
    headings.emplace_back(heading);
  }
  if (estimates) headings.emplace_back(">OF IT ESTIMATED");
  Table table(headings);
  v1::SpendRow total;
  for (const v1::SpendRow& row : response.rows()) {
    AddSpendRow(table, {row.values().begin(), row.values().end()}, row, estimates);
    Accumulate(total, row);
  }
  if (response.rows_size() > 1 && !by.empty()) {
    std::vector<std::string> cells(by.size(), "-");
    cells.front() = "total";
    AddSpendRow(table, std::move(cells), total, estimates);
  }
  return table;
}

Answer<int> QuerySpend(Session& session, const SpendArguments& arguments) {
  const std::vector<std::string>& by = arguments.by;
  SW_TRY(const v1::QuerySpendRequest request, RequestOf(arguments, by, session.now_ms()));
  SW_TRY(Client* const client, session.client());
  SW_TRY(const v1::QuerySpendResponse response, client->QuerySpend(request));
  if (session.for_people()) {
    session.Print(SpendTable(response, by), "no spend");
    return kOk;
  }
  Value::List rows;
  for (const v1::SpendRow& row : response.rows()) rows.push_back(RowValue(row, by));
  Value value;
  value.Set("rows", std::move(rows));
  session.Print(value);
  return kOk;
}

Answer<int> ListGaps(Session& session) {
  SW_TRY(Client* const client, session.client());
  SW_TRY(const v1::ListLedgerGapsResponse response, client->ListLedgerGaps());
  Table table({"INSTANCE", "INCARNATION", ">FROM", ">TO", "STATE"});
  Value::List items;
  for (const v1::LedgerGap& gap : response.gaps()) {
    table.Row({gap.instance(), gap.incarnation(), std::to_string(gap.from_seq()),
               std::to_string(gap.to_seq()), gap.lost() ? "lost" : "awaited"});
    items.push_back(ValueOf(gap));
  }
  if (!session.for_people()) {
    Value value = Value::Items(std::move(items));
    value.Set("open_started", response.open_started());
    session.Print(value);
    return kOk;
  }
  session.Print(table, "no gaps: every record that is known to exist is in the ledger");
  session.out() << std::format("{} attempts have not ended yet\n",
                               Grouped(response.open_started()));
  return kOk;
}

Answer<int> Verify(Session& session) {
  constexpr int64_t kVerifyMs = 600'000;
  SW_TRY(Client* const client, session.client());
  if (session.for_people()) session.err() << "recomputing the sums of every kept event...\n";
  client->SetDeadline(kVerifyMs);
  SW_TRY(const v1::VerifyLedgerResponse response, client->VerifyLedger());
  if (!session.for_people()) {
    session.Print(ValueOf(response));
  } else {
    for (const std::string& difference : response.differences()) {
      session.out() << Printable(difference) << "\n";
    }
    session.out() << std::format("{} events and {} sums: {}\n", Grouped(response.events()),
                                 Grouped(response.rollups()),
                                 response.differences().empty()
                                     ? "they agree"
                                     : std::format("{} differences", response.differences_size()));
  }
  return response.differences().empty() ? kOk : kFailed;
}

Answer<std::vector<v1::LedgerEvent>> FetchEvents(Session& session,
                                                 const EventArguments& arguments) {
  constexpr int64_t kPage = 1000;
  if (arguments.limit < 0) return FailUsage("--limit must be 0 (all) or more");
  SW_TRY(Client* const client, session.client());
  SW_TRY(const int64_t since_ms, ParseMoment(arguments.since, session.now_ms()));
  std::vector<v1::LedgerEvent> events;
  v1::ListLedgerEventsRequest request;
  request.set_since_ms(since_ms);
  while (true) {
    const int64_t left = arguments.limit - static_cast<int64_t>(events.size());
    request.set_page_size(
        static_cast<int32_t>(arguments.limit == 0 ? kPage : std::min(left, kPage)));
    SW_TRY(v1::ListLedgerEventsResponse response, client->ListLedgerEvents(request));
    for (v1::LedgerEvent& event : *response.mutable_events()) events.push_back(std::move(event));
    request.set_page_token(response.next_page_token());
    const bool full =
        arguments.limit != 0 && static_cast<int64_t>(events.size()) >= arguments.limit;
    if (full || request.page_token().empty()) return events;
  }
}

Answer<int> ListEvents(Session& session, const EventArguments& arguments) {
  SW_TRY(const std::vector<v1::LedgerEvent> events, FetchEvents(session, arguments));
  Table table({"TIME", "KEY", "MODEL", "PROVIDER", ">INPUT", ">OUTPUT", ">COST USD", "SOURCE",
               "END", "REQUEST"});
  Value::List items;
  for (const v1::LedgerEvent& event : events) {
    table.Row({MomentText(event.time_ms()), event.key(), event.model(), event.provider(),
               Grouped(event.input_tokens()), Grouped(event.output_tokens()),
               FormatUsd(event.cost_nanos()), event.source(), event.end(), event.request_id()});
    items.push_back(ValueOf(event));
  }
  session.PrintItems(std::move(items), table, "no events since then");
  return kOk;
}

Command SpendCommand() {
  auto a = std::make_shared<SpendArguments>();
  return {
      .name = "spend",
      .summary = "What was spent, by whom and on what",
      .flags = {{"--by", "DIMENSION,...", Joined(DimensionNames(), ", "), &a->by, DimensionNames()},
                {"--since", "WHEN", "24h, 7d or a date; whole hours, UTC (default: everything)",
                 &a->since},
                {"--until", "WHEN", "up to then, exclusive (default: now)", &a->until},
                {"--where", "DIMENSION=VALUE", "only this; may be repeated", &a->where}},
      .examples = {{"spend --by team,model --since 24h", "the last day, dearest first"},
                   {"spend --by day --since 30d --where team=support", "one team's month, by day"},
                   {"spend --by key --since 2026-11-01 --until 2026-12-01 -o json", "a bill"}},
      .run = [a](Session& s) { return QuerySpend(s, *a); },
      .values = a};
}

Command LedgerCommand() {
  auto a = std::make_shared<EventArguments>();
  Command gaps{.name = "gaps",
               .summary = "Records that are known to exist and have not arrived",
               .examples = {{"ledger gaps", "empty when nothing is missing"}},
               .run = ListGaps};
  Command verify{.name = "verify",
                 .summary = "Recompute the sums from the kept events",
                 .examples = {{"ledger verify", "exit code 1 when something differs"}},
                 .run = Verify};
  Command events{.name = "events",
                 .summary = "Single attempts, as they were charged",
                 .flags = {{"--since", "WHEN", "15m, 24h or a date (default 1h)", &a->since},
                           {"--limit", "N", "at most so many; 0: all (default 100)", &a->limit}},
                 .examples = {{"ledger events --since 15m", "the last quarter of an hour"},
                              {"ledger events --since 24h --limit 0 -o json", "all of a day"}},
                 .run = [a](Session& s) { return ListEvents(s, *a); },
                 .values = a};
  return {.name = "ledger",
          .summary = "The record of every attempt",
          .verbs = {std::move(gaps), std::move(verify), std::move(events)}};
}

}  // namespace

std::vector<Command> MoneyCommands() {
  std::vector<Command> commands;
  commands.push_back(SpendCommand());
  commands.push_back(LedgerCommand());
  return commands;
}

}  // namespace spillway::cli
