#include "controlplane/budgets/lease_book.h"

#include <algorithm>
#include <iterator>
#include <mutex>
#include <set>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "common/log.h"
#include "controlplane/budgets/lease_tables.h"

namespace spillway {
namespace {

constexpr size_t kHintsMax = 1'000'000;
constexpr int kUsesAtOnce = 64;  // under the lock that every grant waits for
constexpr size_t kHeardMax = 100'000;
constexpr size_t kChangedMax = 200'000;
constexpr int64_t kDayMs = 86'400'000;

template <typename T>
void Append(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

void Merge(LeaseEffects& to, LeaseEffects&& from) {
  Append(to.accounts, std::move(from.accounts));
  Append(to.dropped_accounts, std::move(from.dropped_accounts));
  Append(to.holders, std::move(from.holders));
  Append(to.dropped_holders, std::move(from.dropped_holders));
  if (from.keeper) to.keeper = from.keeper;
  Append(to.grants, std::move(from.grants));
  Append(to.recalls, std::move(from.recalls));
}

// Charges move `settled` alone, which the ledger wrote; of the rows that they touched the desk has
// to write those that were granted more on the occasion.
void KeepGranted(LeaseEffects& effects) {
  std::unordered_set<std::string> granted;
  for (const LeaseEffects::Outgoing& out : effects.grants)
    for (const v1::GrantedAccount& account : out.grant.accounts())
      granted.insert(LeaseKey(account.account(), out.grant.holder()));
  std::erase_if(effects.accounts,
                [&](const LeaseAccountRow& row) { return !granted.contains(LeaseKey(row)); });
}

BudgetUse UseOf(const std::string& budget_id, const LeaseAccountFigures& figures) {
  const bool ends = figures.resets_at_s != INT64_MAX;
  return {.budget_id = budget_id,
          .subject = figures.subject,
          .window_start_s = figures.window.start_s,
          .window_end_s = ends ? figures.resets_at_s : 0,
          .limit = figures.limit,
          .settled = figures.settled};
}

}  // namespace

struct LeaseBook::Rep {
  Rep(Store& the_store, const Clock& the_clock, const LeaseKeeperOptions& options)
      : store(the_store), clock(the_clock), keeper(options) {}

  Store& store;
  const Clock& clock;

  mutable std::mutex mutex;  // guards what follows
  LeaseKeeper keeper;
  int64_t epoch = 0;
  int64_t written_epoch = 0;
  LeaseEffects gathered;               // to be flushed
  std::vector<int64_t> gathered_done;  // notices that `gathered` makes superfluous
  std::unordered_set<std::string> counted;
  int64_t last_notice = 0;
  std::unordered_map<std::string, Hint> hints;  // by lease key
  struct Heard {
    int64_t wall_ms = 0;
    int64_t monotonic_ns = 0;
  };
  std::unordered_map<std::string, Heard> heard;  // by holder
  std::function<void()> wake;
  bool restored = false;  // the gate is to be shut with the first epoch
  std::vector<std::pair<int64_t, v1::ClosedPart>> waiting_parts;
  std::set<std::tuple<std::string, std::string, int64_t>> changed;  // budget id, subject, window

  // The flusher's own: taken, and not on disk yet.
  LeaseEffects unwritten;
  std::vector<int64_t> unwritten_done;

  void Advance() { keeper.Advance(clock.WallMs(), clock.MonotonicNs()); }
  void Gather() {
    if (keeper.HasEffects()) Merge(gathered, keeper.TakeEffects());
  }
  void Tell(int64_t number, const v1::StoredNotice& notice);
  void TellRetired(const v1::RetiredInstance& retired);
  void Charge(const LedgerNews& news);
  void NoteGrants(const std::vector<LeaseEffects::Outgoing>& grants);
};

namespace {

// The window clock never goes back: a start under a wrong date is told at once, and at each start
// from then on until the clocks are near each other again.
void CheckClock(int64_t stored_ms, int64_t wall_ms) {
  if (stored_ms - wall_ms > kDayMs) {
    log::Fault(
        "the window clock of budgets is ahead of this machine's: budgets count in windows to come, "
        "and the clock falls back by 5 % at most. Set the machine's date right; if it is right, "
        "restore a backup from before the wrong one, or wait",
        {{"ahead_s", (stored_ms - wall_ms) / 1000}});
  } else if (wall_ms - stored_ms > kDayMs) {
    log::Fault(
        "the window clock of budgets goes forward by more than a day. That is right after so long "
        "a stop, or so long without a grant. Otherwise the machine's date is wrong: stop this "
        "process, set the date, and restore a backup, because the clock does not go back",
        {{"forward_s", (wall_ms - stored_ms) / 1000}});
  }
}

}  // namespace

LeaseBook::LeaseBook(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
LeaseBook::~LeaseBook() = default;

Result<std::unique_ptr<LeaseBook>> LeaseBook::Open(Store& store, const Clock& clock,
                                                   std::span<const BudgetTerms> budgets,
                                                   const Options& options) {
  SW_TRY(StoredLeases stored, LoadLeases(store));
  auto rep = std::make_unique<Rep>(store, clock, options.keeper);
  rep->counted.insert(stored.seeds.begin(), stored.seeds.end());
  std::vector<BudgetTerms> terms;
  for (const BudgetTerms& budget : budgets)
    if (rep->counted.contains(budget.id)) terms.push_back(budget);
  rep->keeper.SetBudgets(terms);
  if (stored.keeper) {
    CheckClock(stored.keeper->time_ms, clock.WallMs());
    rep->keeper.Load(*stored.keeper);
  }
  for (const LeaseHolderRow& row : stored.holders) rep->keeper.Load(row);
  for (const LeaseAccountRow& row : stored.accounts) rep->keeper.Load(row);
  rep->keeper.Begin(0, clock.WallMs(), clock.MonotonicNs());
  rep->restored = options.restored;
  for (const auto& [number, notice] : stored.notices) rep->Tell(number, notice);
  rep->Gather();
  return std::unique_ptr<LeaseBook>(new LeaseBook(std::move(rep)));
}

void LeaseBook::Begin(int64_t epoch) {
  const std::lock_guard lock(rep_->mutex);
  rep_->epoch = epoch;
  rep_->keeper.Begin(epoch, rep_->clock.WallMs(), rep_->clock.MonotonicNs());
  // Under the new epoch: only what holders say under this one counts. The stream's state is told
  // later, when it is known.
  if (std::exchange(rep_->restored, false)) rep_->keeper.BeginRestore(/*stream_damaged=*/false);
  rep_->Gather();
}

bool LeaseBook::begun() const {
  const std::lock_guard lock(rep_->mutex);
  return rep_->epoch != 0;
}

int64_t LeaseBook::written_epoch() const {
  const std::lock_guard lock(rep_->mutex);
  return rep_->written_epoch;
}

void LeaseBook::Rep::Tell(int64_t number, const v1::StoredNotice& notice) {
  last_notice = std::max(last_notice, number);
  if (notice.has_closed()) {
    waiting_parts.emplace_back(number, notice.closed());
    return;
  }
  if (notice.has_met()) keeper.OnHolder(notice.met().holder(), notice.met().instance());
  if (notice.has_retired()) TellRetired(notice.retired());
  gathered_done.push_back(number);
}

// Tombstoned first: what is granted to it on the way must not happen.
void LeaseBook::Rep::TellRetired(const v1::RetiredInstance& retired) {
  for (const std::string& holder : keeper.TombstoneInstance(retired.instance(), true)) {
    if (!retired.free_leases()) continue;
    const auto reported = std::ranges::find(retired.holders(), holder, &v1::Closed::holder);
    keeper.OnClosed(holder, reported == retired.holders().end() ? v1::Closed() : *reported);
  }
}

std::vector<std::pair<int64_t, v1::ClosedPart>> LeaseBook::TakeWaitingParts() {
  const std::lock_guard lock(rep_->mutex);
  return std::exchange(rep_->waiting_parts, {});
}

void LeaseBook::Change(const std::function<void(LeaseKeeper&)>& change) {
  std::function<void()> wake;
  {
    const std::lock_guard lock(rep_->mutex);
    rep_->Advance();
    change(rep_->keeper);
    rep_->Gather();
    if (!rep_->gathered.empty()) wake = rep_->wake;
  }
  if (wake) wake();
}

void LeaseBook::Read(const std::function<void(const LeaseKeeper&)>& read) const {
  const std::lock_guard lock(rep_->mutex);
  read(rep_->keeper);
}

void LeaseBook::Commit(const LedgerNews& news) {
  std::function<void()> wake;
  {
    const std::lock_guard lock(rep_->mutex);
    rep_->Advance();
    rep_->Gather();
    rep_->Charge(news);
    for (const auto& [number, notice] : news.notices) rep_->Tell(number, notice);
    for (const LedgerNews::Closing& closing : news.closings) {
      rep_->keeper.OnClosed(closing.holder, closing.closed);
      rep_->gathered_done.insert(rep_->gathered_done.end(), closing.numbers.begin(),
                                 closing.numbers.end());
    }
    rep_->Gather();
    const bool due = !rep_->gathered.empty() || !rep_->gathered_done.empty();
    if (due || !rep_->changed.empty()) wake = rep_->wake;
  }
  if (wake) wake();
}

void LeaseBook::Rep::Charge(const LedgerNews& news) {
  for (const LedgerNews::Charge& charge : news.charges) {
    const v1::Account& account = charge.account;
    if (charge.holder == kSeedHolder) {
      keeper.Seed(account.budget_id(), account.subject(), account.window_start_s(), charge.settled);
    } else {
      keeper.OnCharge(charge.holder, account, charge.delta);
    }
    if (changed.size() < kChangedMax)
      changed.emplace(account.budget_id(), account.subject(), account.window_start_s());
  }
  LeaseEffects effects = keeper.TakeEffects();
  KeepGranted(effects);
  Merge(gathered, std::move(effects));
}

int64_t LeaseBook::NextNotice() {
  const std::lock_guard lock(rep_->mutex);
  return ++rep_->last_notice;
}

std::vector<BudgetUse> LeaseBook::TakeChanged(size_t max) {
  std::vector<BudgetUse> uses;
  bool more = true;
  while (more && uses.size() < max) {
    const std::lock_guard lock(rep_->mutex);
    for (int i = 0; i < kUsesAtOnce && uses.size() < max && !rep_->changed.empty(); ++i) {
      const auto [budget_id, subject, start_s] =
          std::move(rep_->changed.extract(rep_->changed.begin()).value());
      if (!rep_->counted.contains(budget_id)) continue;
      uses.push_back(UseOf(budget_id, rep_->keeper.Figures(budget_id, subject, start_s)));
    }
    more = !rep_->changed.empty();
  }
  return uses;
}

void LeaseBook::EachUse(const std::string& budget_id, int64_t ended_within_ms,
                        const std::function<void(const BudgetUse&)>& tell) const {
  LeaseAccountPage page;
  do {
    Read([&](const LeaseKeeper& keeper) {
      page = keeper.List(budget_id, page.next, kUsesAtOnce, ended_within_ms);
    });
    for (const LeaseAccountFigures& figures : page.accounts) tell(UseOf(budget_id, figures));
  } while (!page.next.empty());
}

void LeaseBook::Note(const v1::LeaseRequest& request) {
  const std::lock_guard lock(rep_->mutex);
  if (rep_->heard.size() < kHeardMax || rep_->heard.contains(request.holder()))
    rep_->heard[request.holder()] = {.wall_ms = rep_->clock.WallMs(),
                                     .monotonic_ns = rep_->clock.MonotonicNs()};
  for (const v1::HolderAccount& account : request.accounts()) {
    const std::string key = LeaseKey(account.account(), request.holder());
    const auto known = rep_->hints.find(key);
    if (known != rep_->hints.end()) {
      known->second.overrun = std::max<Nanos>(account.overrun(), 0);
    } else if (account.overrun() > 0 && rep_->hints.size() < kHintsMax) {
      rep_->hints[key].overrun = account.overrun();
    }
  }
}

void LeaseBook::Rep::NoteGrants(const std::vector<LeaseEffects::Outgoing>& grants) {
  for (const LeaseEffects::Outgoing& out : grants) {
    for (const v1::GrantedAccount& account : out.grant.accounts()) {
      const std::string key = LeaseKey(account.account(), out.grant.holder());
      if (hints.size() >= kHintsMax && !hints.contains(key)) continue;
      hints[key].remainder = std::max<Nanos>(account.remainder(), 0);
    }
  }
}

LeaseBook::Hint LeaseBook::HintOf(const v1::Account& account, std::string_view holder) const {
  const std::lock_guard lock(rep_->mutex);
  const auto at = rep_->hints.find(LeaseKey(account, holder));
  return at == rep_->hints.end() ? Hint{} : at->second;
}

int64_t LeaseBook::HeardMs(const std::string& holder) const {
  const std::lock_guard lock(rep_->mutex);
  const auto at = rep_->heard.find(holder);
  return at == rep_->heard.end() ? 0 : at->second.wall_ms;
}

int64_t LeaseBook::HeardNs(const std::string& holder) const {
  const std::lock_guard lock(rep_->mutex);
  const auto at = rep_->heard.find(holder);
  return at == rep_->heard.end() ? 0 : at->second.monotonic_ns;
}

Result<LeaseBook::Outbox> LeaseBook::Flush() {
  int64_t epoch = 0;
  {
    const std::lock_guard lock(rep_->mutex);
    epoch = rep_->epoch;
    rep_->Gather();
    Merge(rep_->unwritten, std::exchange(rep_->gathered, {}));
    Append(rep_->unwritten_done, std::exchange(rep_->gathered_done, {}));
  }
  LeaseEffects& effects = rep_->unwritten;
  WriteBatch batch;
  // Removals first: a row that came again since stays, and one too many is removed another time.
  for (const LeaseAccountRow& row : effects.dropped_accounts) DropLease(batch, row);
  for (const std::string& holder : effects.dropped_holders) DropHolder(batch, holder);
  for (const LeaseAccountRow& row : effects.accounts) PutLease(batch, row);
  for (const LeaseHolderRow& row : effects.holders) PutHolder(batch, row);
  if (effects.keeper) PutKeeper(batch, *effects.keeper);
  for (const int64_t number : rep_->unwritten_done) DropNotice(batch, number);
  SW_CHECK(rep_->store.Write(std::move(batch)));
  rep_->unwritten_done.clear();
  const LeaseEffects written = std::exchange(rep_->unwritten, {});
  const std::lock_guard lock(rep_->mutex);
  rep_->written_epoch = epoch;
  rep_->NoteGrants(written.grants);
  for (const LeaseAccountRow& row : written.dropped_accounts) rep_->hints.erase(LeaseKey(row));
  for (const std::string& holder : written.dropped_holders) rep_->heard.erase(holder);
  return Outbox{.grants = written.grants, .recalls = written.recalls};
}

void LeaseBook::Count(const BudgetTerms& terms, std::span<const LeaseAccountRow> before) {
  Change([&](LeaseKeeper& keeper) {
    keeper.SetBudget(terms);
    rep_->counted.insert(terms.id);
    rep_->Gather();
    for (const LeaseAccountRow& row : before)
      keeper.Seed(row.budget_id, row.subject, row.window_start_s, row.settled);
    // What Seed changed stands in the ledger's table already.
    LeaseEffects effects = keeper.TakeEffects();
    KeepGranted(effects);
    Merge(rep_->gathered, std::move(effects));
  });
}

bool LeaseBook::Counted(const std::string& budget_id) const {
  const std::lock_guard lock(rep_->mutex);
  return rep_->counted.contains(budget_id);
}

bool LeaseBook::Knows(const std::string& budget_id) const {
  const std::lock_guard lock(rep_->mutex);
  return rep_->keeper.Knows(budget_id);
}

std::vector<std::string> LeaseBook::CountedIds() const {
  const std::lock_guard lock(rep_->mutex);
  return {rep_->counted.begin(), rep_->counted.end()};
}

void LeaseBook::Forget(const std::string& budget_id) {
  Change([&](LeaseKeeper& keeper) {
    keeper.RemoveBudget(budget_id);
    rep_->counted.erase(budget_id);
  });
}

void LeaseBook::OnEffects(std::function<void()> wake) {
  const std::lock_guard lock(rep_->mutex);
  rep_->wake = std::move(wake);
}

}  // namespace spillway
