#include "dataplane/budgets/closing.h"

#include <algorithm>

#include "common/log.h"
#include "dataplane/budgets/level_log.h"

namespace spillway {

std::vector<v1::Closed> FinalChargesOf(const std::string& folder, const ChargeSums& charged,
                                       const std::string& boot_id) {
  RecordedLevels levels;
  if (auto read = ReadLevels(folder); read) {
    levels = *std::move(read);
  } else {
    // Unread, it proves nothing; the journal is what is left.
    log::Fault("recorded budget levels cannot be read",
               {{"folder", folder}, {"reason", read.error().message}});
  }
  const bool power_cut = levels.found && (boot_id.empty() || levels.boot_id != boot_id);
  std::map<std::pair<std::string, std::string>, Nanos> finals(charged.begin(), charged.end());
  for (const auto& [key, held] : levels.held) {
    Nanos& final = finals[key];
    if (power_cut) final = std::max(final, held);
  }
  std::vector<v1::Closed> holders;
  for (const auto& [key, nanos] : finals) {
    if (holders.empty() || holders.back().holder() != key.first) {
      v1::Closed& closed = holders.emplace_back();
      closed.set_holder(key.first);
      closed.set_at_recorded_level(power_cut);
    }
    v1::AccountCharge& charge = *holders.back().add_accounts();
    charge.mutable_account()->ParseFromString(key.second);
    charge.set_charged(nanos);
  }
  return holders;
}

}  // namespace spillway
