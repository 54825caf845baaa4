#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/budgets/account_index.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// The other end of the leases when there is no control plane: grants the holder of this process
// what each budget's limit leaves, at once and without a disk, because the journal alone tells the
// next process what was spent. Not thread-safe: Budgets' mutex guards it.
class LocalKeeper {
 public:
  // `spent`: what earlier processes charged, by account.
  explicit LocalKeeper(const std::vector<v1::AccountCharge>& spent);

  // Makes granted - returned of the account what `limit` leaves: all of it, less what the other
  // buckets of a rolling window took. What is reserved stays reserved.
  void Fill(LeaseHolder& holder, const BudgetSpec& spec, const std::string& subject,
            const OpenAccount& account, Nanos limit, int64_t now_ns);
  // Answers the holder and lets it forget windows that count no more; does nothing when called
  // again within a second.
  void Tick(LeaseHolder& holder, int64_t now_ns, int64_t time_ms);

 private:
  struct Window {
    AccountHandle account;  // once it was opened here
    Nanos spent = 0;        // by earlier processes, until it is
  };
  using Series = std::map<int64_t, Window>;  // by start
  Nanos OfOthers(const LeaseHolder& holder, const Series& series, int64_t start_s, int hours) const;
  void Grant(LeaseHolder& holder, const AccountFigures& figures, Nanos level, int64_t now_ns);
  void ForgetWindows(const LeaseHolder& holder, int64_t time_s);

  using SeriesKey = std::pair<std::string, std::string>;  // budget, subject
  std::map<SeriesKey, Series> series_;
  SeriesKey next_;  // where ForgetWindows goes on
  int64_t ticked_ns_ = 0;
};

}  // namespace spillway
