#include <format>
#include <utility>

#include "common/money.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

struct FleetArguments {
  std::string instance;
  bool free_leases = false;
};

std::string StateOf(const v1::Instance& instance) {
  if (instance.retired()) return "retired";
  if (!instance.connected()) return "away";
  if (instance.draining()) return "draining";
  return instance.ready() ? "ready" : "not ready";
}

std::string ProblemOf(const v1::Instance& instance, int64_t revision) {
  if (!instance.nack_reason().empty()) {
    return std::format("refused {}: {}", instance.nack_revision(), instance.nack_reason());
  }
  return instance.connected() && instance.revision() < revision ? "behind" : "";
}

Value InstanceValue(const v1::Instance& instance) {
  Value value = ValueOf(instance);
  value.Set("state", StateOf(instance));
  return value;
}

Answer<int> ListFleet(Session& session) {
  SW_TRY(Client* const client, session.client());
  SW_TRY(const v1::ListFleetResponse response, client->ListFleet());
  Table table(
      {"INSTANCE", "STATE", ">REVISION", "SOURCE", "SEEN", ">UNCOMMITTED", "VERSION", "PROBLEM"});
  Value::List items;
  for (const v1::Instance& instance : response.instances()) {
    table.Row({instance.instance(), StateOf(instance), std::to_string(instance.revision()),
               instance.revision_source(), AgoText(instance.last_seen_ms(), session.now_ms()),
               Grouped(instance.uncommitted_records()), instance.version(),
               ProblemOf(instance, response.revision())});
    items.push_back(InstanceValue(instance));
  }
  if (!session.for_people()) {
    Value value = Value::Items(std::move(items));
    value.Set("revision", response.revision());
    session.Print(value);
    return kOk;
  }
  session.Print(table, "no data plane was ever heard of");
  if (!table.empty()) session.out() << std::format("current revision: {}\n", response.revision());
  return kOk;
}

Answer<int> Retire(Session& session, const FleetArguments& arguments) {
  SW_TRY(Client* const client, session.client());
  v1::RetireInstanceRequest request;
  request.set_instance(arguments.instance);
  request.set_free_leases(arguments.free_leases);
  SW_TRY(const v1::RetireInstanceResponse response, client->RetireInstance(request));
  if (!session.for_people()) {
    session.Print(ValueOf(response));
  } else {
    session.out() << std::format(
        "{} is retired; {} open attempts settled at an estimate of USD {}\n", arguments.instance,
        response.orphans_settled(), FormatUsd(response.estimated_nanos()));
  }
  return kOk;
}

}  // namespace

Command FleetCommand() {
  auto a = std::make_shared<FleetArguments>();
  Command list{.name = "list",
               .summary = "List data planes: what each runs and why not, what it still owes",
               .examples = {{"fleet list", "does everybody run the current revision"}},
               .run = ListFleet};
  Command retire{
      .name = "retire",
      .summary = "Write off a data plane that will not come back",
      .arguments = {{.name = "INSTANCE",
                     .help = "as `fleet list` shows it",
                     .target = &a->instance}},
      .flags =
          {{"--free-leases", "",
            "also free what it was granted of budgets and has not reported as spent: up to that "
            "much may have been spent unseen; else it stays set aside until the windows end",
            &a->free_leases}},
      .examples = {{"fleet retire dp-3", "settle its open attempts at what they reserved"},
                   {"fleet retire dp-3 --free-leases", "its disk is lost, and its budgets matter"}},
      .run = [a](Session& s) { return Retire(s, *a); },
      .values = a};
  return {.name = "fleet",
          .summary = "Data planes",
          .examples = {{"fleet", "the same as `fleet list`"}},
          .verbs = {std::move(list), std::move(retire)},
          .run = ListFleet};
}

}  // namespace spillway::cli
