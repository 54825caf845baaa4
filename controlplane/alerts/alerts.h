#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "controlplane/alerts/alert.h"
#include "controlplane/alerts/alert_book.h"
#include "controlplane/alerts/http_poster.h"
#include "controlplane/alerts/sinks.h"
#include "controlplane/store/store.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::alerts {

struct AlertsOptions {
  int64_t turn_ms = 250;  // how long changes of accounts are gathered
  int64_t retry_first_ms = 5'000;
  int64_t retry_max_ms = 900'000;
  int64_t give_up_ms = int64_t{24} * 3'600'000;
  int64_t sweep_every_ms = 60'000;  // all accounts are looked at again: no word of one is needed
  int64_t keep_ms = int64_t{48} * 3'600'000;  // decisions, behind their window's end
  // What settles later than this behind its window's end is told to nobody.
  int64_t late_ms() const { return keep_ms / 2; }
  int64_t pending_max = 10'000;  // alerts whose deliveries wait; further ones are not sent
  int deliveries_per_turn = 16;
};

// Tells alert sinks when accounts reach thresholds of their budgets: once for each threshold and
// window, decided and kept in one synced write, delivered at least once with a stable id, retried
// for 24 h. Owns a thread between Start and destruction; everything public is thread-safe but Turn,
// which is the thread's (or a test's that has started none). What it is given must outlive it.
class Alerts {
 public:
  // Calls its argument with one account of each budget at least, and with all that meet a condition
  // in a window that runs or ended less than late_ms() ago.
  using EachAccount = std::function<void(const std::function<void(AccountSpend)>&)>;
  struct Parts {
    Store& store;
    const Clock& clock;
    const SinkDirectory& sinks;
    Poster& poster;
    EachAccount accounts;
    // The time that windows go by: no step of the wall clock moves it.
    std::function<int64_t()> window_ms;
  };
  // The error is the store's.
  static Result<std::unique_ptr<Alerts>> Open(Parts parts, const AlertsOptions& options);
  ~Alerts();

  void Start();
  // An account changed. Cheap: it is looked at in the next turn.
  void Note(AccountSpend account);
  // Budgets changed: all accounts are looked at in the next turn.
  void Sweep();
  // Decides, then delivers what is due. Returns in how many milliseconds there is more to do.
  int64_t Turn();

  Result<v1::ListAlertsResponse> List(const v1::ListAlertsRequest& request) const;
  // Sends one test alert now, in the caller's thread. kNotFound: no such sink.
  Result<v1::TestAlertSinkResponse> Test(const v1::TestAlertSinkRequest& request) const;
  void Collect(MetricsText& text) const;

 private:
  struct SinkState {
    int failures = 0;  // in a row
    int64_t resume_ms = 0;
    int64_t delivered = 0;
    int64_t failed = 0;
    int64_t given_up = 0;
  };
  Alerts(Parts parts, const AlertsOptions& options, std::unique_ptr<AlertBook> book);
  void Run();

  void Decide();
  std::vector<AccountSpend> TakeNoted();
  Result<void> DecideOn(const AccountSpend& account, int64_t ended_after_ms,
                        std::vector<v1::Alert>& decided);
  Result<void> DecideFrozen(const AccountSpend& account, std::vector<v1::Alert>& decided);
  void Address(const AccountSpend& account, v1::Alert alert, std::vector<v1::Alert>& decided) const;

  int64_t Deliver();  // returns when the next delivery is due
  int64_t DueMs(const v1::AlertDelivery& delivery);
  bool IsDue(int64_t due_ms) const;
  bool DeliverOne(v1::Alert& alert, v1::AlertDelivery& delivery);
  void Settle(const v1::Alert& alert, v1::AlertDelivery& delivery, const Result<int>& answer);
  Result<int> PostTo(const SinkTarget& sink, const v1::Alert& alert) const;
  int64_t Backoff(int failures);
  void PruneWhenDue();
  bool stopping() const;

  const Parts parts_;
  const AlertsOptions options_;
  const std::unique_ptr<AlertBook> book_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  bool stopping_ = false;
  bool sweep_ = true;  // what happened while nobody looked
  std::unordered_map<std::string, AccountSpend> noted_;
  std::map<std::string, SinkState> sinks_;
  int64_t decided_ = 0;

  // The thread's own.
  std::minstd_rand random_;
  std::map<std::string, bool> frozen_known_;  // budget id -> as last seen
  int64_t swept_ms_ = 0;
  int64_t pruned_ms_ = 0;
  bool store_failed_ = false;
  std::thread thread_;
};

}  // namespace spillway::alerts
