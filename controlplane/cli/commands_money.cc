#include <algorithm>
#include <format>
#include <utility>

#include "common/money.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

struct EventArguments {
  std::string since = "1h";
  int64_t limit = 100;
};

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
