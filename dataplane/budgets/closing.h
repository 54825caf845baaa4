#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/money.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// Charges by (holder, serialised account); the incarnation's own holder is empty.
using ChargeSums = std::map<std::pair<std::string, std::string>, Nanos, std::less<>>;

// What the accounts of a dead incarnation come to. `folder`: its own, with its level log.
// `charged`: what its journal says, with what its orphans had reserved. When the machine was
// started anew since, the power may have been cut and the journal may lack its last records: each
// account then closes at the level that was recorded before it was spent from, or at what the
// journal says when that is more. `boot_id`: of the running machine.
std::vector<v1::Closed> FinalChargesOf(const std::string& folder, const ChargeSums& charged,
                                       const std::string& boot_id);

}  // namespace spillway
