#include "dataplane/budgets/lease_client.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/ids.h"
#include "common/log.h"
#include "common/subjects.h"
#include "dataplane/budgets/budgets_rep.h"
#include "dataplane/budgets/level_log.h"

namespace spillway {
namespace {

constexpr size_t kMessagesMax = 1024;
constexpr size_t kMessageBytesMax = size_t{4} * 1024 * 1024;
constexpr int64_t kTickNs = 1'000'000'000;
constexpr int kRoundsMax = 8;          // of levels that new levels follow
constexpr size_t kUnrecordedMax = 64;  // takes that wait for a disk that fails
constexpr int kFarewells = 5;  // seconds that an idle holder which was given up still reports

v1::Account AccountOf(const AccountKey& key) {
  v1::Account account;
  account.set_budget_id(key.budget_id);
  account.set_subject(key.subject);
  account.set_window_start_s(key.window_start_s);
  return account;
}

// What the bus's threads and the loops leave for the client. Shared: a late message may come when
// the client is gone already.
struct Inbox {
  struct Message {
    bool grant = false;
    std::string payload;
  };
  std::mutex mutex;
  std::condition_variable_any changed;
  bool woken = false;
  bool ask = false;  // the bus is back: at once, not at the next heartbeat
  std::deque<Message> messages;

  void Wake() {
    const std::lock_guard lock(mutex);
    woken = true;
    changed.notify_one();
  }
  // The control plane repeats itself with every request: what does not fit comes again.
  void Put(bool grant, const std::string& payload) {
    if (payload.size() > kMessageBytesMax) return;
    const std::lock_guard lock(mutex);
    if (messages.size() < kMessagesMax) messages.push_back({.grant = grant, .payload = payload});
    woken = true;
    changed.notify_one();
  }
};

}  // namespace

struct LeaseClient::Rep {
  const LeaseClientOptions options;
  const LeaseClientHooks hooks;
  Budgets::Rep& budgets;
  Bus& bus;
  const Verifier& verifier;
  const Clock& clock;
  std::unique_ptr<LevelLog> log;
  std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();  // shared with callbacks of the bus
  std::unique_ptr<Bus::Subscription> grants, recalls;
  std::mutex round;  // held by a round
  int64_t ticked_ns = 0;
  int64_t asked_ns = 0;
  int64_t answered_ns = 0;
  int64_t heartbeat_ns = 0;
  // Taken from the holders, not on disk yet.
  struct Unrecorded {
    std::string holder;
    std::string name;  // in the log
    uint64_t ticket = 0;
    std::vector<v1::HolderAccount> levels;
  };
  std::deque<Unrecorded> unrecorded;
  bool log_failed = false;
  bool heard = false;                    // a grant, in this round
  bool met = false;                      // the bus, ever
  std::map<std::string, int> farewells;  // of holders that were left behind
  std::atomic<int64_t> sent = 0, unsent = 0, taken = 0, refused = 0, record_failures = 0,
                       tombstones = 0;
  std::jthread thread;  // last: joined before anything above goes

  void Subscribe();
  void TakeMessages();
  Result<void> TakeGrant(const std::string& payload);
  Result<void> TakeRecall(const std::string& payload);
  Result<v1::Signed> OpenSigned(const std::string& payload, v1::Signed::Purpose purpose) const;
  Result<void> CheckEpoch(int64_t epoch) const;
  void CarryOn();
  void RecordLevels();
  void TakeLevels();
  Result<void> RecordOnce(bool& any);
  void CompactLog();
  void Tick(int64_t now_ns);
  void LeaveBehind();
  bool Waits();
  int64_t RepeatNs() const;
  void Ask(int64_t now_ns, bool all);
  void RunOnce();
  void Loop(const std::stop_token& stop);
  std::string NameOf(const LeaseHolder& holder) const {
    return holder.id() == options.holder ? std::string() : holder.id();
  }
};

LeaseClient::LeaseClient(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}

Result<std::unique_ptr<LeaseClient>> LeaseClient::Start(const LeaseClientOptions& options,
                                                        LeaseClientHooks hooks, Budgets& budgets,
                                                        Bus& bus, const Verifier& verifier,
                                                        const Clock& clock) {
  SW_TRY(auto log, LevelLog::Create(options.folder, options.boot_id));
  // NOLINTNEXTLINE(modernize-make-unique): make_unique takes no names of members
  std::unique_ptr<Rep> made(new Rep{.options = options,
                                    .hooks = std::move(hooks),
                                    .budgets = budgets.rep(),
                                    .bus = bus,
                                    .verifier = verifier,
                                    .clock = clock,
                                    .log = std::move(log)});
  std::unique_ptr<LeaseClient> client(new LeaseClient(std::move(made)));
  Rep& rep = *client->rep_;
  rep.budgets.wants_request = [inbox = rep.inbox] { inbox->Wake(); };
  bus.OnConnected([inbox = rep.inbox] {
    const std::lock_guard lock(inbox->mutex);
    inbox->ask = true;
    inbox->woken = true;
    inbox->changed.notify_one();
  });
  if (options.threaded)
    rep.thread = std::jthread([&rep](const std::stop_token& stop) { rep.Loop(stop); });
  return client;
}

LeaseClient::~LeaseClient() {
  if (rep_->thread.joinable()) {
    rep_->thread.request_stop();
    rep_->inbox->Wake();
    rep_->thread.join();
  }
  rep_->grants.reset();
  rep_->recalls.reset();
}

void LeaseClient::Rep::Loop(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    RunOnce();
    // Whoever waits meanwhile joins the next question.
    const int64_t since_us = (clock.MonotonicNs() - asked_ns) / 1000;
    const bool waits = Waits();
    std::unique_lock lock(inbox->mutex);
    if (since_us < options.gap_us && !stop.stop_requested())
      inbox->changed.wait_for(lock, stop, std::chrono::microseconds(options.gap_us - since_us),
                              [] { return false; });
    const int64_t next_ns =
        waits ? asked_ns + RepeatNs() : heartbeat_ns + options.heartbeat_ms * 1'000'000;
    const int64_t left_ns = next_ns - clock.MonotonicNs();
    inbox->changed.wait_for(lock, stop,
                            std::chrono::nanoseconds(std::clamp<int64_t>(
                                left_ns, 1'000'000, options.heartbeat_ms * 1'000'000)),
                            [this] { return inbox->woken; });
    inbox->woken = false;
  }
}

void LeaseClient::RunOnce() { rep_->RunOnce(); }

void LeaseClient::Rep::RunOnce() {
  const std::lock_guard lock(round);
  const int64_t now_ns = clock.MonotonicNs();
  Subscribe();
  TakeMessages();
  if (now_ns - ticked_ns >= kTickNs) Tick(now_ns);
  RecordLevels();
  // Now that what was granted counts: whoever waits in vain is told so.
  if (std::exchange(heard, false)) {
    budgets.WithHolders([&](LeaseHolders&) {
      budgets.Decide(now_ns);
      return true;
    });
  }
  bool due = now_ns - heartbeat_ns >= options.heartbeat_ms * 1'000'000;
  {
    const std::lock_guard inbox_lock(inbox->mutex);
    due = std::exchange(inbox->ask, false) || due;
  }
  if (now_ns - asked_ns >= RepeatNs()) due = due || Waits();
  Ask(now_ns, due);
}

// Whoever still waits asks again: soon when the last answer did not help (the control plane may
// know more by now), later when there was none: a message may be lost, or the control plane is
// slow, and more questions would make it slower.
int64_t LeaseClient::Rep::RepeatNs() const {
  return options.repeat_ms * (answered_ns >= asked_ns ? 1'000'000 : 5'000'000);
}

bool LeaseClient::Rep::Waits() {
  return budgets.WithHolders([&](LeaseHolders&) { return !budgets.waiters.empty(); });
}

void LeaseClient::Rep::Subscribe() {
  const auto subscribe = [this](const std::string& subject, bool grant) {
    auto made = bus.Subscribe(subject, [inbox = inbox, grant](const BusMessage& message) {
      inbox->Put(grant, message.payload);
    });
    return made ? std::move(*made) : nullptr;
  };
  if (grants == nullptr) grants = subscribe(subjects::Grant(options.instance), true);
  if (recalls == nullptr) recalls = subscribe(std::string(subjects::kRecall), false);
}

void LeaseClient::Rep::TakeMessages() {
  std::deque<Inbox::Message> messages;
  {
    const std::lock_guard lock(inbox->mutex);
    messages.swap(inbox->messages);
  }
  for (const Inbox::Message& message : messages) {
    const Result<void> done =
        message.grant ? TakeGrant(message.payload) : TakeRecall(message.payload);
    if (done) {
      ++taken;
      continue;
    }
    ++refused;
    log::Warn(message.grant ? "lease grant refused" : "lease recall refused",
              {{"reason", done.error().message}});
  }
}

Result<v1::Signed> LeaseClient::Rep::OpenSigned(const std::string& payload,
                                                v1::Signed::Purpose purpose) const {
  v1::Signed message;
  if (!message.ParseFromString(payload))
    return Fail(ErrorCode::kCorrupt, "the message is not signed");
  SW_CHECK(verifier.Verify(message, purpose));
  return message;
}

Result<void> LeaseClient::Rep::CheckEpoch(int64_t epoch) const {
  const int64_t known = hooks.highest_epoch();
  if (epoch < known) return Fail(ErrorCode::kStale, "it comes from an earlier control plane");
  if (epoch > known) return hooks.note_epoch(epoch);
  return {};
}

Result<void> LeaseClient::Rep::TakeGrant(const std::string& payload) {
  SW_TRY(const v1::Signed message, OpenSigned(payload, v1::Signed::PURPOSE_GRANT));
  v1::LeaseGrant grant;
  if (!grant.ParseFromString(message.payload()))
    return Fail(ErrorCode::kCorrupt, "a lease grant cannot be read");
  SW_CHECK(CheckEpoch(grant.epoch()));
  const int64_t now_ns = clock.MonotonicNs();
  const LeaseHolder::GrantOutcome outcome =
      budgets.WithHolders([&](LeaseHolders& holders) { return holders.OnGrant(grant, now_ns); });
  heard = true;
  answered_ns = now_ns;
  if (outcome.tombstoned) CarryOn();
  // One for a process that was here before is no fault.
  return {};
}

Result<void> LeaseClient::Rep::TakeRecall(const std::string& payload) {
  SW_TRY(const v1::Signed message, OpenSigned(payload, v1::Signed::PURPOSE_RECALL));
  v1::Recall recall;
  if (!recall.ParseFromString(message.payload()))
    return Fail(ErrorCode::kCorrupt, "a recall cannot be read");
  SW_CHECK(CheckEpoch(recall.epoch()));
  budgets.WithHolders([&](LeaseHolders& holders) {
    holders.OnRecall(recall);
    return true;
  });
  return {};
}

// The control plane has given this holder up: never again is anything granted to it.
void LeaseClient::Rep::CarryOn() {
  const std::string fresh = FreshId();
  // On disk before it is used, so that its accounts can be closed whatever happens.
  if (auto recorded = log->Append(fresh, {}); !recorded) {
    ++record_failures;
    log::Fault("no new budget holder: it cannot be recorded",
               {{"reason", recorded.error().message}});
    return;
  }
  ++tombstones;
  log::Warn(
      "the control plane gave this data plane up while it was out of reach; budgets are leased "
      "anew",
      {{"holder", fresh}});
  budgets.WithHolders([&](LeaseHolders& holders) {
    const int64_t now_ns = clock.MonotonicNs();
    budgets.WaitAnew(holders.Replace(fresh, now_ns), now_ns);
    return true;
  });
}

// What was granted becomes money once it is on disk; what was given back is told once it is.
void LeaseClient::Rep::RecordLevels() {
  bool any = true;
  for (int i = 0; any && i < kRoundsMax; ++i) {
    any = false;
    if (auto recorded = RecordOnce(any); !recorded) {
      ++record_failures;
      if (!std::exchange(log_failed, true))
        log::Fault("budget levels cannot be recorded; nothing more is leased until they can",
                   {{"reason", recorded.error().message}});
      return;
    }
  }
  log_failed = false;
  if (log->Grown()) CompactLog();
}

void LeaseClient::Rep::CompactLog() {
  std::map<std::string, std::set<std::string>> live;
  budgets.WithHolders([&](LeaseHolders& holders) {
    for (const LeaseHolder* holder : holders.All())
      for (const AccountFigures& figures : holder->Figures())
        live[NameOf(*holder)].insert(AccountOf(figures.key).SerializeAsString());
    return true;
  });
  const auto keep = [&live](std::string_view holder, const v1::Account& account) {
    const auto found = live.find(std::string(holder));
    return found != live.end() && found->second.contains(account.SerializeAsString());
  };
  if (auto compacted = log->Compact(keep); !compacted)
    log::Warn("the budget level log cannot be compacted", {{"reason", compacted.error().message}});
}

void LeaseClient::Rep::TakeLevels() {
  budgets.WithHolders([&](LeaseHolders& holders) {
    for (LeaseHolder* holder : holders.All()) {
      if (!holder->HasLevels()) continue;
      const LeaseHolder::Levels levels = holder->TakeLevels();
      Unrecorded& one = unrecorded.emplace_back();
      one.holder = holder->id();
      one.name = NameOf(*holder);
      one.ticket = levels.ticket;
      one.levels.reserve(levels.levels.size());
      for (const AccountLevel& level : levels.levels) {
        v1::HolderAccount& listed = one.levels.emplace_back();
        *listed.mutable_account() = AccountOf(level.key);
        listed.set_granted_seen(level.granted);
        listed.set_returned(level.returned);
      }
    }
    return true;
  });
}

// In the order in which they were taken: a later ticket confirms those before it.
Result<void> LeaseClient::Rep::RecordOnce(bool& any) {
  if (unrecorded.size() < kUnrecordedMax) TakeLevels();
  while (!unrecorded.empty()) {
    const Unrecorded& one = unrecorded.front();
    SW_CHECK(log->Append(one.name, one.levels));
    budgets.WithHolders([&](LeaseHolders& holders) {
      if (LeaseHolder* holder = holders.Find(one.holder))
        holder->Recorded(one.ticket, clock.MonotonicNs());
      return true;
    });
    unrecorded.pop_front();
    any = true;
  }
  return {};
}

void LeaseClient::Rep::Tick(int64_t now_ns) {
  ticked_ns = now_ns;
  budgets.WithHolders([&](LeaseHolders& holders) {
    holders.Tick(now_ns, clock.WallMs());
    return true;
  });
  LeaveBehind();
}

// A holder that was given up: when its last call has ended and it has said several times what came
// of its money, its figures are final.
void LeaseClient::Rep::LeaveBehind() {
  budgets.WithHolders([&](LeaseHolders& holders) {
    for (LeaseHolder* holder : holders.Ended()) {
      const std::string id = holder->id();
      if (++farewells[id] < kFarewells || holder->HasLevels()) continue;
      v1::Closed& closed = budgets.left_behind.emplace_back();
      closed.set_holder(NameOf(*holder));
      for (v1::AccountCharge& charge : holder->Closing())
        *closed.add_accounts() = std::move(charge);
      holders.Drop(id);
      farewells.erase(id);
    }
    return true;
  });
}

void LeaseClient::Rep::Ask(int64_t now_ns, bool all) {
  if (all) heartbeat_ns = now_ns;
  if (bus.state() != BusState::kConnected) return;
  const auto requests = budgets.WithHolders([&](LeaseHolders& holders) {
    std::vector<v1::LeaseRequest> made;
    if (!std::exchange(met, true)) holders.current().OnFirstContact(now_ns);
    for (LeaseHolder* holder : holders.All())
      if (all || holder->WantsRequest()) made.push_back(holder->MakeRequest(now_ns));
    return made;
  });
  if (requests.empty()) return;
  asked_ns = now_ns;
  const std::string subject = subjects::Lease(options.instance);
  for (const v1::LeaseRequest& request : requests) {
    const bool done = bus.Publish(subject, request.SerializeAsString()).has_value();
    ++(done ? sent : unsent);
  }
}

void LeaseClient::Goodbye() {
  if (rep_->thread.joinable()) {
    rep_->thread.request_stop();
    rep_->inbox->Wake();
    rep_->thread.join();
  }
  const std::lock_guard lock(rep_->round);
  rep_->TakeMessages();
  rep_->budgets.WithHolders([&](LeaseHolders& holders) {
    for (LeaseHolder* holder : holders.All()) holder->ReturnAll();
    return true;
  });
  rep_->RecordLevels();
  rep_->Ask(rep_->clock.MonotonicNs(), true);
}

void LeaseClient::Collect(MetricsText& text) const {
  const auto put = [&text](std::string_view name, std::string_view help, int64_t value) {
    text.Family(name, "counter", help);
    text.Sample(name, {}, value);
  };
  put("spillway_lease_requests_total", "Lease requests sent.", rep_->sent);
  put("spillway_lease_requests_failed_total", "Lease requests that could not be sent.",
      rep_->unsent);
  put("spillway_lease_messages_total", "Grants and recalls taken.", rep_->taken);
  put("spillway_lease_messages_refused_total",
      "Grants and recalls with a wrong signature or an earlier epoch.", rep_->refused);
  put("spillway_lease_record_failures_total",
      "Times that budget levels could not be written to disk.", rep_->record_failures);
  put("spillway_lease_tombstones_total",
      "Times that the control plane gave this process up while it was out of reach.",
      rep_->tombstones);
  text.Family("spillway_lease_contact", "gauge",
              "1 while the control plane answers; else on_partition decides.");
  const bool contact = rep_->budgets.WithHolders([&](LeaseHolders& holders) {
    return holders.current().InContact(rep_->clock.MonotonicNs());
  });
  text.Sample("spillway_lease_contact", {}, int64_t{contact ? 1 : 0});
}

}  // namespace spillway
