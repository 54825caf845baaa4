// What a batch's events charge to budget accounts, handed to the ChargeSink.
#include <algorithm>

#include "controlplane/ledger/apply.h"
#include "controlplane/ledger/keys.h"

namespace spillway {

std::string ChargeSink::Holder::Id() const {
  // What names no holder would be an account nobody could ever close.
  return ledger::PackIncarnation(named) ? std::string(named) : ledger::UnpackIncarnation(packed);
}

namespace ledger {
namespace {

constexpr int64_t kPartsMax = 10'000;  // Closed records of one incarnation

// Records of data planes that know no hold have the cost only; it is never above the hold.
int64_t HoldOf(const v1::Finished& finished) {
  return std::max({finished.hold_nanos(), finished.cost_nanos(), int64_t{0}});
}

}  // namespace

Result<void> ApplyBatch::Charge(std::string_view packed, int64_t time_ms,
                                const v1::Finished& finished, bool take_back) {
  if (state_.charges == nullptr) return {};
  const int64_t nanos = HoldOf(finished);
  charges_.clear();
  for (const v1::Account& account : finished.accounts())
    charges_.push_back({.account = &account, .nanos = nanos});
  const ChargeSink::Settlement settlement{.holder = {.packed = packed, .named = finished.holder()},
                                          .started_seq = finished.started_seq(),
                                          .time_ms = time_ms,
                                          .who = finished.attribution(),
                                          .charges = charges_,
                                          .cost = std::max<int64_t>(finished.cost_nanos(), 0)};
  return take_back ? state_.charges->TakeBack(settlement) : state_.charges->Add(settlement);
}

Result<void> ApplyBatch::ChargeAggregate(std::string_view packed) {
  if (state_.charges == nullptr) return {};
  const v1::Aggregate& aggregate = record_.aggregate();
  charges_.clear();
  for (const v1::AccountCharge& charge : aggregate.accounts())
    charges_.push_back(
        {.account = &charge.account(), .nanos = std::max<int64_t>(charge.charged(), 0)});
  return state_.charges->Add({.holder = {.packed = packed, .named = aggregate.holder()},
                              .time_ms = record_.time_ms(),
                              .who = aggregate.attribution(),
                              .charges = charges_,
                              .cost = std::max<int64_t>(aggregate.cost_nanos(), 0)});
}

// An incarnation ends with its last Closed, whose number every part of it names. One that names a
// holder ends that holder only: its process may go on under another one.
void ApplyBatch::Closed(const std::string& packed, Mark& mark, int64_t seq) {
  const v1::Closed& closed = record_.closed();
  const int64_t upto = std::max(seq, std::min(closed.last_seq(), seq + kPartsMax));
  if (closed.holder().empty()) mark.closed_seq = std::max(mark.closed_seq, upto);
  if (state_.charges != nullptr)
    state_.charges->Close({.packed = packed, .named = closed.holder()}, upto, closed);
}

Result<void> ApplyBatch::RetireHolders(const std::string& instance, bool free_leases) {
  if (state_.charges == nullptr) return {};
  return state_.charges->Retire(instance, free_leases);
}

}  // namespace ledger
}  // namespace spillway
