#include "controlplane/budgets/account_charges.h"

#include <algorithm>
#include <map>
#include <utility>

#include "controlplane/budgets/lease_tables.h"
#include "controlplane/budgets/nanos_sum.h"
#include "controlplane/ledger/keys.h"

namespace spillway {
namespace {

constexpr size_t kChargesMax = 64;        // accounts of one event; a data plane names 24 at most
constexpr size_t kSettledKept = 200'000;  // totals remembered, about 40 MB

}  // namespace

AccountCharges::AccountCharges(const Store& store, LeaseBook& book, const Clock& clock)
    : store_(store), book_(book), clock_(clock) {
  for (auto& [number, part] : book.TakeWaitingParts()) {
    std::vector<Part>& parts = parts_[part.incarnation()];
    parts.push_back({.number = number, .part = std::move(part)});
  }
}

Result<void> AccountCharges::Settle(const Settlement& settlement, int sign) {
  if (!settlement.charges.empty()) {
    const std::string holder = settlement.holder.Id();
    const size_t count = std::min(settlement.charges.size(), kChargesMax);
    refused_ += static_cast<int64_t>(settlement.charges.size() - count);
    for (const ChargeSink::Charge& charge : settlement.charges.first(count)) {
      if (!IsAccount(*charge.account)) {
        ++refused_;
        continue;
      }
      SW_CHECK(Charge(*charge.account, holder, sign * charge.nanos));
    }
  }
  if (young_.empty()) return {};
  for (const YoungBudgets::Missed& missed : young_.Of(settlement, sign))
    SW_CHECK(Charge(missed.account, kSeedHolder, missed.delta));
  return {};
}

Result<void> AccountCharges::Charge(const v1::Account& account, std::string_view holder,
                                    Nanos delta) {
  if (delta == 0) return {};
  std::string key = LeaseKey(account, holder);
  auto at = pending_.find(key);
  if (at == pending_.end()) {
    // What it spent is in the roll-ups, from which the budget starts should it come (back).
    if (!settled_.contains(key) && !book_.Knows(account.budget_id())) {
      ++refused_;
      return {};
    }
    SW_TRY(const Nanos settled, SettledSoFar(key));
    Pending pending{.holder = std::string(holder), .account = account, .settled = settled};
    at = pending_.emplace(std::move(key), std::move(pending)).first;
  }
  at->second.settled = SaturatingSum(at->second.settled, delta);
  at->second.delta = SaturatingSum(at->second.delta, delta);
  return {};
}

Result<Nanos> AccountCharges::SettledSoFar(const std::string& key) {
  if (const auto at = settled_.find(key); at != settled_.end()) return at->second;
  return ReadCharge(store_, key);
}

void AccountCharges::Met(std::string_view instance, std::string_view packed) {
  v1::StoredNotice notice;
  notice.mutable_met()->set_instance(std::string(instance));
  notice.mutable_met()->set_holder(ledger::UnpackIncarnation(packed));
  notices_.emplace_back(book_.NextNotice(), std::move(notice));
}

void AccountCharges::Close(const Holder& holder, int64_t upto_seq, const v1::Closed& closed) {
  Part part{.number = book_.NextNotice(), .fresh = true};
  part.part.set_holder(holder.Id());
  *part.part.mutable_closed() = closed;
  part.part.set_incarnation(std::string(holder.packed));
  part.part.set_upto_seq(upto_seq);
  parts_[std::string(holder.packed)].push_back(std::move(part));
  parts_changed_ = true;
}

void AccountCharges::Reached(std::string_view packed, int64_t seq) {
  if (parts_.empty()) return;
  const auto at = parts_.find(std::string(packed));
  if (at == parts_.end()) return;
  for (Part& part : at->second) {
    if (part.ready || part.part.upto_seq() > seq) continue;
    part.ready = true;
    parts_changed_ = true;
  }
}

// What they hold stays exposed, since it may have been spent unseen; unless an operator says that
// it was not: then only what was reported counts, though its events may never come.
Result<void> AccountCharges::Retire(std::string_view instance, bool free_leases) {
  v1::StoredNotice notice;
  v1::RetiredInstance& retired = *notice.mutable_retired();
  retired.set_instance(std::string(instance));
  retired.set_free_leases(free_leases);
  if (free_leases) {
    SW_TRY(*retired.mutable_holders(), ReportedByHoldersOf(store_, instance));
  }
  notices_.emplace_back(book_.NextNotice(), std::move(notice));
  return {};
}

void AccountCharges::Write(WriteBatch& batch) {
  if (!young_.empty()) {
    for (const std::string& id : young_.DropGrown(clock_.MonotonicNs())) PutSeed(batch, id, {});
  }
  for (const auto& [key, pending] : pending_) PutCharge(batch, key, pending.settled);
  for (const auto& [number, notice] : notices_) PutNotice(batch, number, notice);
  if (!parts_changed_) return;
  for (const auto& [packed, parts] : parts_) {
    for (const Part& part : parts) {
      if (!part.fresh) continue;
      v1::StoredNotice notice;
      *notice.mutable_closed() = part.part;
      PutNotice(batch, part.number, notice);
    }
  }
}

void AccountCharges::Committed() {
  LedgerNews news;
  news.notices = std::exchange(notices_, {});
  // Forgetting all at once is rare and cheap; the store still knows.
  if (settled_.size() + pending_.size() > kSettledKept) settled_.clear();
  for (auto& [key, pending] : pending_) {
    settled_[key] = pending.settled;
    news.charges.push_back({.holder = std::move(pending.holder),
                            .account = std::move(pending.account),
                            .delta = pending.delta,
                            .settled = pending.settled});
  }
  pending_.clear();
  if (std::exchange(parts_changed_, false)) TakeReady(news);
  young_.Committed();
  if (!news.empty()) book_.Commit(news);
}

void AccountCharges::TakeReady(LedgerNews& news) {
  std::map<std::string, LedgerNews::Closing> closings;
  for (auto& [packed, parts] : parts_) {
    for (Part& part : parts) {
      part.fresh = false;
      if (!part.ready) continue;
      LedgerNews::Closing& closing = closings[part.part.holder()];
      closing.numbers.push_back(part.number);
      closing.closed.MergeFrom(part.part.closed());
    }
    std::erase_if(parts, [](const Part& part) { return part.ready; });
  }
  std::erase_if(parts_, [](const auto& entry) { return entry.second.empty(); });
  for (auto& [holder, closing] : closings) {
    closing.holder = holder;
    news.closings.push_back(std::move(closing));
  }
}

void AccountCharges::Discarded() {
  pending_.clear();
  notices_.clear();
  young_.Restore();
  if (!std::exchange(parts_changed_, false)) return;
  for (auto& [packed, parts] : parts_) {
    std::erase_if(parts, [](const Part& part) { return part.fresh; });
    for (Part& part : parts) part.ready = false;  // found again by the next batch
  }
  std::erase_if(parts_, [](const auto& entry) { return entry.second.empty(); });
}

void AccountCharges::Seed(std::span<const LeaseAccountRow> before, WriteBatch& batch) {
  for (const LeaseAccountRow& row : before) {
    const std::string key = LeaseKey(row);
    settled_[key] = row.settled;
    PutCharge(batch, key, row.settled);
  }
}

}  // namespace spillway
