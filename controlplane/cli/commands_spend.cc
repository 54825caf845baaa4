// spend: what was spent, by whom and on what.
#include <algorithm>
#include <format>
#include <utility>

#include "common/money.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/commands_chargeback.h"
#include "controlplane/cli/spend_rows.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

constexpr int64_t kHourMs = 3'600'000;

struct SpendArguments {
  std::vector<std::string> by;
  std::vector<std::string> where;
  std::string since;
  std::string until;
  bool unpriced = false;
  bool waste = false;
};

Answer<v1::QuerySpendRequest> RequestOf(const SpendArguments& arguments,
                                        const std::vector<std::string>& by, int64_t now_ms) {
  if (arguments.unpriced && arguments.waste)
    return FailUsage("--unpriced and --waste are two different reports: ask for one");
  v1::QuerySpendRequest request;
  for (const std::string& name : by) SW_CHECK(AddDimension(name, request));
  for (const std::string& condition : arguments.where) SW_CHECK(AddCondition(condition, request));
  const bool tags = UsesTags(request);
  if (tags && arguments.since.empty())
    return FailUsage("tags are read from single events: say --since when (24h, 7d, a date)");
  // Sums are kept by the hour: the one that has begun counts in full. Events have their own time.
  const int64_t grain_ms = tags ? 1 : kHourMs;
  if (!arguments.since.empty()) {
    SW_TRY(const int64_t since_ms, ParseMoment(arguments.since, now_ms));
    request.set_since_ms(since_ms / grain_ms * grain_ms);
  }
  if (!arguments.until.empty()) {
    SW_TRY(const int64_t until_ms, ParseMoment(arguments.until, now_ms));
    request.set_until_ms(until_ms / grain_ms * grain_ms);
  }
  return request;
}

// A column of the table for people.
struct Column {
  std::string heading;
  int64_t (v1::SpendRow::*get)() const;
  bool money = false;
};

std::vector<Column> ColumnsFor(const SpendArguments& arguments, const v1::SpendRow& sum) {
  using Row = v1::SpendRow;
  if (arguments.waste) {
    return {{">REQUESTS", &Row::requests},       {">COST USD", &Row::cost_nanos, true},
            {">RETRIES", &Row::retries},         {">USD", &Row::retry_nanos, true},
            {">FALLBACKS", &Row::fallbacks},     {">USD", &Row::fallback_nanos, true},
            {">DISCONNECTS", &Row::disconnects}, {">USD", &Row::disconnect_nanos, true}};
  }
  if (arguments.unpriced) {
    return {{">UNPRICED CALLS", &Row::unpriced_attempts},
            {">OF CALLS", &Row::attempts},
            {">INPUT", &Row::input_tokens},
            {">OUTPUT", &Row::output_tokens}};
  }
  std::vector<Column> columns = {{">REQUESTS", &Row::requests},
                                 {">INPUT", &Row::input_tokens},
                                 {">OUTPUT", &Row::output_tokens},
                                 {">COST USD", &Row::cost_nanos, true}};
  if (sum.estimated_nanos() != 0)
    columns.push_back({">OF IT ESTIMATED", &Row::estimated_nanos, true});
  return columns;
}

void AddRow(Table& table, std::vector<std::string> cells, const std::vector<Column>& columns,
            const v1::SpendRow& row) {
  for (const Column& column : columns) {
    const int64_t number = (row.*column.get)();
    cells.push_back(column.money ? FormatUsd(number) : Grouped(number));
  }
  table.Row(std::move(cells));
}

Table TableOf(const v1::QuerySpendResponse& response, const std::vector<std::string>& by,
              const SpendArguments& arguments) {
  const v1::SpendRow sum = SumOf(response);
  const std::vector<Column> columns = ColumnsFor(arguments, sum);
  std::vector<std::string> headings;
  headings.reserve(by.size() + columns.size());
  for (const std::string& name : by) headings.push_back(Heading(name));
  for (const Column& column : columns) headings.push_back(column.heading);
  Table table(headings);
  for (const v1::SpendRow& row : response.rows())
    AddRow(table, {row.values().begin(), row.values().end()}, columns, row);
  if (response.rows_size() > 1 && !by.empty()) {
    std::vector<std::string> cells(by.size(), "-");
    cells.front() = "total";
    AddRow(table, std::move(cells), columns, sum);
  }
  return table;
}

// What a reader of the table must know and does not see in it.
void PrintNotes(Session& session, const SpendArguments& arguments, const v1::SpendRow& sum) {
  if (sum.unpriced_attempts() > 0 && !arguments.unpriced) {
    const bool one = sum.unpriced_attempts() == 1;
    session.err() << std::format(
        "{} call{} had no known price and count{} as USD 0: `spillway spend --unpriced` lists {}\n",
        Grouped(sum.unpriced_attempts()), one ? "" : "s", one ? "s" : "", one ? "it" : "them");
  }
  if (sum.partial() && (arguments.waste || arguments.unpriced)) {
    session.err() << "some hours were added up by an older version, which did not keep this: it "
                     "says too little\n";
  }
}

void KeepUnpriced(v1::QuerySpendResponse& response) {
  auto& rows = *response.mutable_rows();
  const auto priced = std::ranges::stable_partition(
      rows, [](const v1::SpendRow& row) { return row.unpriced_attempts() > 0; });
  rows.erase(priced.begin(), priced.end());
}

Answer<int> QuerySpend(Session& session, const SpendArguments& arguments) {
  std::vector<std::string> by = arguments.by;
  if (by.empty() && arguments.unpriced) by = {"model", "provider"};
  SW_TRY(const v1::QuerySpendRequest request, RequestOf(arguments, by, session.now_ms()));
  SW_TRY(Client* const client, session.client());
  if (ReadsEvents(request)) client->SetDeadline(kEventsReadMs);
  SW_TRY(v1::QuerySpendResponse response, client->QuerySpend(request));
  if (arguments.unpriced) KeepUnpriced(response);
  if (session.for_people()) {
    session.Print(TableOf(response, by, arguments),
                  arguments.unpriced ? "every call had a price" : "no spend");
    PrintNotes(session, arguments, SumOf(response));
    return kOk;
  }
  if (session.format() == Format::kCsv) {
    session.out() << RowsCsv(response, by, false);
    return kOk;
  }
  Value::List rows;
  for (const v1::SpendRow& row : response.rows()) rows.push_back(RowValue(row, by, false));
  Value value;
  value.Set("rows", std::move(rows));
  session.Print(value);
  return kOk;
}

}  // namespace

Command SpendCommand() {
  auto a = std::make_shared<SpendArguments>();
  return {
      .name = "spend",
      .summary = "What was spent, by whom and on what",
      .flags = {{.names = "--by",
                 .value = "DIMENSION,...",
                 .help = Joined(DimensionNames(), ", ") +
                         ", tag:NAME. Tags are not in the hourly sums: they are added up from the "
                         "single events, which are kept for 90 days by default, so they need "
                         "--since and take longer",
                 .target = &a->by,
                 .choices = DimensionNames(),
                 .other_values = true},
                {"--since", "WHEN", "24h, 7d or a date; whole hours, UTC (default: everything)",
                 &a->since},
                {"--until", "WHEN", "up to then, exclusive (default: now)", &a->until},
                {"--where", "DIMENSION=VALUE",
                 "only this (team=support, tag:env=prod); may be repeated", &a->where},
                {"--unpriced", "", "calls without a known price, by model unless --by says other",
                 &a->unpriced},
                {"--waste", "", "the cost of retries, fallbacks and disconnects, each apart",
                 &a->waste}},
      .examples = {{"spend --by team,model --since 24h", "the last day, dearest first"},
                   {"spend --by day --since 30d --where team=support", "one team's month, by day"},
                   {"spend --by key --since 2026-11-01 --until 2026-12-01 -o csv", "a bill"},
                   {"spend --by tag:cost-centre --since 7d", "by a tag that clients send"},
                   {"spend --waste --by provider --since 7d", "what went to nobody"}},
      .verbs = {ChargebackCommand()},
      .run = [a](Session& s) { return QuerySpend(s, *a); },
      .csv = true,
      .values = a};
}

}  // namespace spillway::cli
