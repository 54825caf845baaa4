#include "controlplane/cli/rollout.h"

#include <format>
#include <utility>

#include "common/config/resource.h"
#include "controlplane/cli/table.h"
#include "controlplane/cli/time_text.h"

namespace spillway::cli {
namespace {

// The call must outlive the wait on the other side.
constexpr int64_t kCallSlackMs = 10'000;
constexpr int64_t kWaitMsMax = 600'000;  // the API's own

std::string BehindText(const v1::Instance& instance, int64_t revision) {
  if (instance.nack_revision() >= revision) {
    return std::format("{} refused revision {}: {}", Printable(instance.instance()),
                       instance.nack_revision(), Printable(instance.nack_reason()));
  }
  return std::format("{} still runs revision {}", Printable(instance.instance()),
                     instance.revision());
}

char SignOf(v1::Change::Action action) {
  if (action == v1::Change::ACTION_CREATE) return '+';
  return action == v1::Change::ACTION_DELETE ? '-' : '~';
}

std::string Shown(const std::string& value) { return value.empty() ? "(none)" : Printable(value); }

}  // namespace

std::vector<Flag> FlagsOf(RolloutFlags& flags) {
  return {{.names = "--no-wait",
           .value = "",
           .help = "return when the revision is stored, without waiting for the data planes",
           .target = &flags.no_wait},
          {.names = "--timeout",
           .value = "SPAN",
           .help = "how long to wait for the data planes (default 30s, at most 10m)",
           .target = &flags.timeout}};
}

std::string Rollout::Text(int64_t revision, bool changed) const {
  if (!waited) return "";
  if (answer.connected() == 0) {
    return std::format("no data plane is connected; they take revision {} when they connect\n",
                       revision);
  }
  std::string text = std::format("active on {}/{}", answer.active(), answer.connected());
  // The time since an older commit says nothing about this command.
  if (changed && complete()) text += " in " + SpanText(answer.elapsed_us());
  text += "\n";
  for (const v1::Instance& instance : answer.behind()) {
    text += "  " + BehindText(instance, revision) + "\n";
  }
  return text;
}

Answer<Client*> StartChange(Session& session, const RolloutFlags& flags) {
  SW_TRY(const int64_t timeout_ms, ParseSpan(flags.timeout));
  if (timeout_ms > kWaitMsMax) {
    return FailUsage(std::format("--timeout {} is too long: at most 10m", flags.timeout));
  }
  return session.client();
}

Answer<Rollout> WaitFor(Session& session, int64_t revision, const RolloutFlags& flags) {
  Rollout rollout;
  SW_TRY(const int64_t timeout_ms, ParseSpan(flags.timeout));
  if (flags.no_wait) return rollout;
  SW_TRY(Client* const client, session.client());
  v1::WaitActiveRequest request;
  request.set_revision(revision);
  request.set_timeout_ms(timeout_ms);
  client->SetDeadline(timeout_ms + kCallSlackMs);
  auto answer = client->WaitActive(request);
  client->SetDeadline(0);
  if (!answer) {
    return FailWith(std::format("revision {} is stored, but waiting for the data planes failed: {}",
                                revision, answer.error().message));
  }
  rollout.waited = true;
  rollout.answer = *std::move(answer);
  return rollout;
}

std::string ChangesText(const v1::ApplyResponse& response) {
  std::string text;
  for (const v1::Change& change : response.changes()) {
    text += std::format("{} {}/{}\n", SignOf(change.action()), config::NameOf(change.kind()),
                        Printable(change.name()));
    for (const v1::FieldChange& field : change.fields()) {
      text += std::format("    {}: {} -> {}\n", field.field(), Shown(field.before()),
                          Shown(field.after()));
    }
  }
  return text;
}

Answer<int> FinishWith(Session& session, Value value, int64_t revision, bool changed,
                       const RolloutFlags& flags) {
  SW_TRY(const Rollout rollout, WaitFor(session, revision, flags));
  if (session.for_people()) {
    session.out() << rollout.Text(revision, changed);
  } else {
    if (rollout.waited) value.Set("active", ValueOf(rollout.answer));
    session.Print(value);
  }
  return rollout.complete() ? kOk : kFailed;
}

Answer<int> FinishChange(Session& session, const v1::ApplyResponse& response,
                         const RolloutFlags& flags) {
  const bool changed = !response.changes().empty();
  if (session.for_people()) {
    session.out() << ChangesText(response)
                  << (changed ? std::format("revision {}\n", response.revision())
                              : std::format("nothing changes; revision {} is current\n",
                                            response.revision()))
                  << std::flush;
  }
  return FinishWith(session, ValueOf(response), response.revision(), changed, flags);
}

}  // namespace spillway::cli
