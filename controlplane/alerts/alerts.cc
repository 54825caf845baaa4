// Deciding which alerts there are, and everything but delivering them (alerts_deliver.cc).
#include "controlplane/alerts/alerts.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "common/log.h"
#include "controlplane/alerts/alert_text.h"

namespace spillway::alerts {
namespace {

constexpr size_t kNotedMax = 100'000;
constexpr int kListDefault = 100;
constexpr int kListMax = 10'000;
constexpr int64_t kPruneEveryMs = 3'600'000;

std::string AccountKey(const AccountSpend& account) {
  return account.budget_id + '\0' + std::to_string(account.window_start_ms) + '\0' +
         account.subject;
}

}  // namespace

Alerts::Alerts(Parts parts, const AlertsOptions& options, std::unique_ptr<AlertBook> book)
    : parts_(std::move(parts)),
      options_(options),
      book_(std::move(book)),
      random_(std::random_device{}()) {}

Result<std::unique_ptr<Alerts>> Alerts::Open(Parts parts, const AlertsOptions& options) {
  SW_TRY(auto book, AlertBook::Open(parts.store));
  return std::unique_ptr<Alerts>(new Alerts(std::move(parts), options, std::move(book)));
}

Alerts::~Alerts() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  parts_.poster.Stop();
  if (thread_.joinable()) thread_.join();
}

void Alerts::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Alerts::Run() {
  int64_t wait_ms = 0;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    // At least a turn's length, so that a burst of changes is looked at once.
    wake_.wait_for(lock, std::chrono::milliseconds(options_.turn_ms), [this] { return stopping_; });
    wake_.wait_for(lock,
                   std::chrono::milliseconds(std::max(wait_ms - options_.turn_ms, int64_t{0})),
                   [this] { return stopping_ || sweep_ || !noted_.empty(); });
    if (stopping_) return;
    lock.unlock();
    wait_ms = Turn();
    lock.lock();
  }
}

bool Alerts::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void Alerts::Note(AccountSpend account) {
  const std::lock_guard lock(mutex_);
  std::string key = AccountKey(account);
  if (noted_.size() >= kNotedMax && !noted_.contains(key)) {
    sweep_ = true;  // which finds this one too
  } else {
    noted_.insert_or_assign(std::move(key), std::move(account));
  }
  wake_.notify_all();
}

void Alerts::Sweep() {
  const std::lock_guard lock(mutex_);
  sweep_ = true;
  wake_.notify_all();
}

int64_t Alerts::Turn() {
  Decide();
  const int64_t due_ms = Deliver();
  PruneWhenDue();
  const int64_t now_ms = parts_.clock.WallMs();
  const int64_t next_ms = std::min(due_ms, swept_ms_ + options_.sweep_every_ms);
  return std::clamp<int64_t>(next_ms - now_ms, options_.turn_ms, options_.sweep_every_ms);
}

std::vector<AccountSpend> Alerts::TakeNoted() {
  std::unordered_map<std::string, AccountSpend> noted;
  const int64_t now_ms = parts_.clock.WallMs();
  bool sweep = now_ms < swept_ms_ || now_ms - swept_ms_ >= options_.sweep_every_ms;
  {
    const std::lock_guard lock(mutex_);
    noted.swap(noted_);
    sweep = std::exchange(sweep_, false) || sweep;
  }
  if (sweep && parts_.accounts) {
    // What was noted may be older than what stands there now.
    parts_.accounts([&noted](AccountSpend account) {
      std::string key = AccountKey(account);
      noted.insert_or_assign(std::move(key), std::move(account));
    });
    swept_ms_ = now_ms;
  }
  std::vector<AccountSpend> accounts;
  accounts.reserve(noted.size());
  for (auto& [key, account] : noted) accounts.push_back(std::move(account));
  return accounts;
}

void Alerts::Decide() {
  std::vector<v1::Alert> decided;
  Result<void> done;
  const int64_t ended_after_ms = parts_.window_ms() - options_.late_ms();
  for (const AccountSpend& account : TakeNoted())
    if (done) done = DecideOn(account, ended_after_ms, decided);
  if (done) done = book_->Put(decided);
  if (!done) {
    // Nothing was decided: all of it is looked at again.
    if (!std::exchange(store_failed_, true))
      log::Fault("budget alerts cannot be kept", {{"error", done.error().message}});
    frozen_known_.clear();
    Sweep();
    return;
  }
  store_failed_ = false;
  for (const v1::Alert& alert : decided) {
    log::Warn("budget alert", {{"type", alert.type()},
                               {"budget", alert.budget()},
                               {"subject", alert.subject()},
                               {"text", SentenceOf(alert)},
                               {"id", alert.id()}});
  }
  const std::lock_guard lock(mutex_);
  decided_ += static_cast<int64_t>(decided.size());
}

Result<void> Alerts::DecideOn(const AccountSpend& account, int64_t ended_after_ms,
                              std::vector<v1::Alert>& decided) {
  SW_CHECK(DecideFrozen(account, decided));
  // Decisions about windows that are long over are forgotten: nothing new may be said of them.
  if (account.window_end_ms != 0 && account.window_end_ms < ended_after_ms) return {};
  for (v1::Alert& alert : Conditions(account)) {
    if (alert.type() == kFrozen) continue;
    SW_TRY(const bool known, book_->Decided(KeyOf(alert)));
    if (known) continue;
    Address(account, std::move(alert), decided);
  }
  return {};
}

// A budget is frozen, not one of its accounts: told once for each time it is.
Result<void> Alerts::DecideFrozen(const AccountSpend& account, std::vector<v1::Alert>& decided) {
  const auto seen = frozen_known_.find(account.budget_id);
  if (seen != frozen_known_.end() && seen->second == account.frozen) return {};
  const std::string key = FrozenKey(account.budget_id);
  SW_TRY(const std::optional<v1::Alert> known, book_->Find(key));
  if (account.frozen && !known) {
    AccountSpend budget = account;
    budget.subject.clear();
    Address(budget, Conditions(budget).back(), decided);
  } else if (!account.frozen && known) {
    if (HasPending(*known)) return {};  // it is told first
    SW_CHECK(book_->Forget(key));
  }
  frozen_known_[account.budget_id] = account.frozen;
  return {};
}

// Time, id, and to whom it goes.
void Alerts::Address(const AccountSpend& account, v1::Alert alert,
                     std::vector<v1::Alert>& decided) const {
  alert.set_at_ms(parts_.clock.WallMs());
  alert.set_id(IdOf(alert));
  const int64_t waiting = book_->pending() + static_cast<int64_t>(decided.size());
  const bool room = waiting < options_.pending_max;
  for (const std::string& name : account.notify.empty() ? parts_.sinks.Names() : account.notify) {
    v1::AlertDelivery& delivery = *alert.add_deliveries();
    delivery.set_sink(name);
    delivery.set_state(std::string(room ? kPending : kGivenUp));
    delivery.set_next_attempt_ms(room ? alert.at_ms() : 0);
    if (!room) delivery.set_last_error("too many alerts wait for their sinks");
  }
  decided.push_back(std::move(alert));
}

void Alerts::PruneWhenDue() {
  const int64_t now_ms = parts_.window_ms();
  if (now_ms >= pruned_ms_ && now_ms - pruned_ms_ < kPruneEveryMs) return;
  pruned_ms_ = now_ms;
  if (const auto pruned = book_->Prune(now_ms - options_.keep_ms); !pruned)
    log::Warn("old budget alerts stay", {{"error", pruned.error().message}});
}

Result<v1::ListAlertsResponse> Alerts::List(const v1::ListAlertsRequest& request) const {
  const int limit = request.limit() <= 0 ? kListDefault : std::min(request.limit(), kListMax);
  SW_TRY(std::vector<v1::Alert> alerts, book_->Newest(limit));
  v1::ListAlertsResponse response;
  for (v1::Alert& alert : alerts) *response.add_alerts() = std::move(alert);
  return response;
}

}  // namespace spillway::alerts
