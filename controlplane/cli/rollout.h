#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controlplane/cli/command.h"
#include "controlplane/cli/session.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::cli {

// Every command that changes configuration waits until the connected data planes run the result.
struct RolloutFlags {
  bool no_wait = false;
  std::string timeout = "30s";
};
std::vector<Flag> FlagsOf(RolloutFlags& flags);

// How a revision arrived.
struct Rollout {
  bool waited = false;
  v1::WaitActiveResponse answer;

  bool complete() const { return answer.behind().empty(); }
  // "active on 3/3 in 12 ms", or who is behind and why; empty when nothing was waited for.
  std::string Text(int64_t revision, bool changed) const;
};
// The client, once the flags make sense: nothing is changed before they were read.
Answer<Client*> StartChange(Session& session, const RolloutFlags& flags);
// Waits as the flags say.
Answer<Rollout> WaitFor(Session& session, int64_t revision, const RolloutFlags& flags);

// The end of a command that changed something: prints the changes and the rollout; `value` gets
// "active" and is printed instead for programs. Exit code 1 when a data plane is behind.
Answer<int> FinishChange(Session& session, const v1::ApplyResponse& response,
                         const RolloutFlags& flags);
Answer<int> FinishWith(Session& session, Value value, int64_t revision, bool changed,
                       const RolloutFlags& flags);

// "+ model/gpt-5", "~ key/bot", "    revoked: false -> true": one line each.
std::string ChangesText(const v1::ApplyResponse& response);

}  // namespace spillway::cli
