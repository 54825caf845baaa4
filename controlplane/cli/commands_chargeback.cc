#include "controlplane/cli/commands_chargeback.h"

#include <format>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/money.h"
#include "common/utc.h"
#include "common/window.h"
#include "controlplane/cli/session.h"
#include "controlplane/cli/spend_rows.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

constexpr int64_t kHourS = 3600;

struct ChargebackArguments {
  std::string month;
  std::vector<std::string> by = {"team"};
  std::string time_zone;
};

struct Period {
  int64_t from_ms = 0;
  int64_t to_ms = 0;
  bool whole_hours = true;  // of UTC: the hourly sums have it
};

// "2026-11": the whole month, as the zone's clocks count it.
Answer<Period> PeriodOf(const std::string& month, const std::string& zone) {
  const Result<int64_t> middle = ParseUtc(month + "-15");
  if (month.size() != 7 || !middle)
    return FailUsage(std::format("--month is required, written as 2026-11 (not \"{}\")", month));
  if (const Result<void> known = CheckTimeZone(zone); !known)
    return FailUsage("--time-zone " + zone + ": " + known.error().message);
  const WindowSpan span = WindowAt(WindowKind::kMonth, 0, zone, *middle);
  return Period{.from_ms = span.start_s * 1000,
                .to_ms = span.end_s * 1000,
                .whole_hours = span.start_s % kHourS == 0 && span.end_s % kHourS == 0};
}

// Everything a closed month must not have.
std::vector<std::string> WarningsOf(const v1::QuerySpendResponse& response, const v1::SpendRow& sum,
                                    const Period& period, int64_t now_ms) {
  std::vector<std::string> warnings;
  if (now_ms < period.to_ms)
    warnings.push_back("the month is not over until " + MomentText(period.to_ms));
  if (sum.open_attempts() > 0) {
    warnings.push_back(std::format(
        "{} calls that began in it have not ended (reserved: USD {}); they will be charged to it",
        Grouped(sum.open_attempts()), FormatUsd(sum.open_reserved_nanos())));
  }
  if (response.awaited_records() > 0) {
    warnings.push_back(std::format(
        "{} records of data planes are known and have not arrived, some may be of this month: "
        "`spillway ledger gaps`",
        Grouped(response.awaited_records())));
  }
  if (response.lost_records() > 0) {
    warnings.push_back(
        std::format("{} records were declared unreadable by their data plane, of "
                    "any time: `spillway ledger gaps`",
                    Grouped(response.lost_records())));
  }
  if (sum.unpriced_attempts() > 0) {
    const bool one = sum.unpriced_attempts() == 1;
    warnings.push_back(std::format("{} call{} had no known price and count{} as USD 0",
                                   Grouped(sum.unpriced_attempts()), one ? "" : "s",
                                   one ? "s" : ""));
  }
  for (const v1::SpendRow& row : response.rows()) {
    if (row.values_size() > 0 && row.values(0) == "(overflow)") {
      warnings.emplace_back(
          "some hours had more combinations than are kept apart: row (overflow) is theirs");
    }
  }
  return warnings;
}

Table ChargebackTable(const v1::QuerySpendResponse& response, const std::vector<std::string>& by,
                      const v1::SpendRow& sum) {
  std::vector<std::string> headings;
  headings.reserve(by.size() + 7);
  for (const std::string& name : by) headings.push_back(Heading(name));
  for (const char* heading :
       {">REQUESTS", ">INPUT", ">OUTPUT", ">COST USD", ">OF IT ESTIMATED", ">SHARE", ">OPEN CALLS"})
    headings.emplace_back(heading);
  Table table(headings);
  const auto add = [&table](std::vector<std::string> cells, const v1::SpendRow& row) {
    for (const int64_t number : {row.requests(), row.input_tokens(), row.output_tokens()})
      cells.push_back(Grouped(number));
    cells.push_back(FormatUsd(row.cost_nanos()));
    cells.push_back(FormatUsd(row.estimated_nanos()));
    cells.push_back(ShareText(row.estimated_nanos(), row.cost_nanos()));
    cells.push_back(Grouped(row.open_attempts()));
    table.Row(std::move(cells));
  };
  for (const v1::SpendRow& row : response.rows())
    add({row.values().begin(), row.values().end()}, row);
  if (response.rows_size() > 1) {
    std::vector<std::string> cells(by.size(), "-");
    cells.front() = "total";
    add(std::move(cells), sum);
  }
  return table;
}

struct Close {
  const ChargebackArguments& arguments;
  const v1::QuerySpendResponse& response;
  const v1::SpendRow& sum;
  const std::vector<std::string>& warnings;
  Period period;
};

Value ChargebackValue(const Close& close) {
  Value::List rows;
  for (const v1::SpendRow& row : close.response.rows())
    rows.push_back(RowValue(row, close.arguments.by, true));
  Value::List warnings;
  for (const std::string& warning : close.warnings) warnings.emplace_back(warning);
  Value value;
  value.Set("month", close.arguments.month)
      .Set("time_zone", close.arguments.time_zone.empty() ? "UTC" : close.arguments.time_zone)
      .Set("from", FormatUtc(close.period.from_ms))
      .Set("to", FormatUtc(close.period.to_ms))
      .Set("complete", close.warnings.empty())
      .Set("rows", std::move(rows))
      .Set("total", RowValue(close.sum, {}, true))
      .Set("awaited_records", close.response.awaited_records())
      .Set("lost_records", close.response.lost_records())
      .Set("warnings", std::move(warnings));
  return value;
}

Answer<int> Chargeback(Session& session, const ChargebackArguments& arguments) {
  SW_TRY(const Period period, PeriodOf(arguments.month, arguments.time_zone));
  v1::QuerySpendRequest request;
  for (const std::string& name : arguments.by) SW_CHECK(AddDimension(name, request));
  request.set_since_ms(period.from_ms);
  request.set_until_ms(period.to_ms);
  request.set_with_open(true);
  // A month of a zone that is half an hour off begins within an hour of UTC.
  request.set_from_events(!period.whole_hours);
  SW_TRY(Client* const client, session.client());
  if (ReadsEvents(request)) client->SetDeadline(kEventsReadMs);
  SW_TRY(const v1::QuerySpendResponse response, client->QuerySpend(request));
  const v1::SpendRow sum = SumOf(response);
  const auto warnings = WarningsOf(response, sum, period, session.now_ms());
  if (session.for_people()) {
    session.Print(ChargebackTable(response, arguments.by, sum), "no spend in that month");
  } else if (session.format() == Format::kCsv) {
    session.out() << RowsCsv(response, arguments.by, true);
  } else {
    session.Print(ChargebackValue({arguments, response, sum, warnings, period}));
    return kOk;
  }
  for (const std::string& warning : warnings)
    session.err() << "not final: " << Printable(warning) << "\n";
  return kOk;
}

}  // namespace

Command ChargebackCommand() {
  auto a = std::make_shared<ChargebackArguments>();
  return {
      .name = "chargeback",
      .summary = "The close of a month: what each team owes, and what is not certain yet",
      .arguments = {},
      .flags = {{"--month", "YYYY-MM", "the month (required)", &a->month},
                {.names = "--by",
                 .value = "DIMENSION,...",
                 .help = "who pays (default team); tag:NAME too, from single events",
                 .target = &a->by,
                 .choices = DimensionNames(),
                 .other_values = true},
                {"--time-zone", "ZONE",
                 "whose month: an IANA name such as Europe/Berlin (default UTC). Zones that "
                 "are no whole hours from UTC are added up from single events, while those "
                 "are kept",
                 &a->time_zone}},
      .examples = {{"spend chargeback --month 2026-11", "totals, what is estimated, what is open"},
                   {"spend chargeback --month 2026-11 --time-zone Europe/Berlin -o csv",
                    "for the accounts"}},
      .run = [a](Session& s) { return Chargeback(s, *a); },
      .csv = true,
      .values = a};
}

}  // namespace spillway::cli
