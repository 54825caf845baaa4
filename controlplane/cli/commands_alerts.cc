// alerts: what was told to whom, and whether a sink works.
#include <format>
#include <memory>
#include <utility>

#include "common/money.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

struct AlertArguments {
  std::string sink;
  int64_t limit = 100;
};

std::string DeliveriesText(const v1::Alert& alert) {
  std::vector<std::string> parts;
  for (const v1::AlertDelivery& delivery : alert.deliveries()) {
    std::string part = delivery.sink() + " " + delivery.state();
    if (delivery.state() != "delivered" && !delivery.last_error().empty())
      part += std::format(" ({} tries: {})", delivery.attempts(), delivery.last_error());
    parts.push_back(std::move(part));
  }
  return parts.empty() ? "no sink" : Joined(parts, "; ");
}

Answer<int> ListAlerts(Session& session, const AlertArguments& arguments) {
  if (arguments.limit < 1 || arguments.limit > 10'000)
    return FailUsage("--limit must be 1 to 10000");
  v1::ListAlertsRequest request;
  request.set_limit(static_cast<int32_t>(arguments.limit));
  SW_TRY(Client* const client, session.client());
  SW_TRY(const v1::ListAlertsResponse response, client->ListAlerts(request));
  Table table(
      {"TIME", "TYPE", "BUDGET", "SUBJECT", ">PERCENT", ">SPENT USD", ">LIMIT USD", "DELIVERIES"});
  Value::List items;
  for (const v1::Alert& alert : response.alerts()) {
    table.Row({MomentText(alert.at_ms()), alert.type(), alert.budget(), alert.subject(),
               alert.threshold_percent() == 0 ? "" : std::to_string(alert.threshold_percent()),
               FormatUsd(alert.spent_nanos()), FormatUsd(alert.limit_nanos()),
               DeliveriesText(alert)});
    items.push_back(ValueOf(alert));
  }
  session.PrintItems(std::move(items), table, "no alerts about the running windows");
  return kOk;
}

Answer<int> TestSink(Session& session, const AlertArguments& arguments) {
  v1::TestAlertSinkRequest request;
  request.set_sink(arguments.sink);
  SW_TRY(Client* const client, session.client());
  SW_TRY(const v1::TestAlertSinkResponse response, client->TestAlertSink(request));
  if (!session.for_people()) {
    session.Print(ValueOf(response));
  } else if (response.delivered()) {
    session.out() << std::format("{} took the test alert: HTTP {} in {}\n", arguments.sink,
                                 response.http_status(), SpanText(response.elapsed_us()));
  } else {
    session.out() << std::format("{} did not take the test alert: {}\n", arguments.sink,
                                 Printable(response.error()));
  }
  return response.delivered() ? kOk : kFailed;
}

}  // namespace

Command AlertsCommand() {
  auto a = std::make_shared<AlertArguments>();
  const auto run = [a](Session& s) { return ListAlerts(s, *a); };
  Command list{.name = "list",
               .summary = "Alerts about the running windows, newest first, and who got them",
               .flags = {{"--limit", "N", "at most so many (default 100)", &a->limit}},
               .examples = {{"alerts list", "what was crossed, and did it arrive"}},
               .run = run,
               .values = a};
  auto t = std::make_shared<AlertArguments>();
  Command test{.name = "test",
               .summary = "Send one test alert to a sink and say how it went",
               .arguments = {{.name = "SINK", .help = "an alert sink's name", .target = &t->sink}},
               .examples = {{"alerts test ops-slack", "exit code 1 when it does not arrive"}},
               .run = [t](Session& s) { return TestSink(s, *t); },
               .values = t};
  return {.name = "alerts",
          .summary = "Budget alerts and the sinks that get them",
          .examples = {{"alerts", "the same as `alerts list`"}},
          .verbs = {std::move(list), std::move(test)},
          .run = run,
          .values = a};
}

}  // namespace spillway::cli
