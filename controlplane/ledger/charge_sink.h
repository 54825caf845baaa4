#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/error.h"
#include "controlplane/store/store.h"
#include "spillway/v1/lease.pb.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// Takes what the ledger's events charge to budget accounts. Implemented by controlplane/budgets.
//
// Everything between the first call and Committed or Discarded is one batch of the ledger and
// changes together with its events, marks and roll-ups: Write adds to that batch, Committed says
// that it is durable, Discarded that it never was. One batch at a time: the ledger calls under its
// writers' lock, from any thread. Errors are the store's; they drop the batch.
class ChargeSink {
 public:
  virtual ~ChargeSink() = default;

  struct Charge {
    const v1::Account* account = nullptr;  // valid during the call
    int64_t nanos = 0;                     // what enforcement counts; never negative
  };
  // Whose accounts: the holder that the record names, else the incarnation it belongs to.
  struct Holder {
    std::string_view packed;  // the record's incarnation, 16 bytes
    std::string_view named;   // a holder id as the record gives it; mostly empty
    std::string Id() const;   // 32 hex digits
  };
  // What one event settles, on which accounts, and for whom: the attribution matters to a budget
  // that is younger than the attempt, which the attempt's accounts therefore do not name.
  struct Settlement {
    Holder holder;
    int64_t started_seq = 0;  // of the attempt; 0: not of one alone
    int64_t time_ms = 0;
    const v1::Attribution& who;
    std::span<const Charge> charges;
    int64_t cost = 0;  // of the event as a whole, as reports have it
  };
  virtual Result<void> Add(const Settlement& settlement) = 0;
  // The same of an estimate that gives way to the truth.
  virtual Result<void> TakeBack(const Settlement& settlement) = 0;
  // An incarnation's first record: it is a holder, whether it ever asked for a lease or not.
  virtual void Met(std::string_view instance, std::string_view packed) = 0;
  // The holder ended; these are (part of) its final figures. They count, and nothing is granted to
  // it ever again, once the incarnation's records are all there up to `upto_seq`.
  virtual void Close(const Holder& holder, int64_t upto_seq, const v1::Closed& closed) = 0;
  // The incarnation's records are all there up to and with `seq`. Also told at the start.
  virtual void Reached(std::string_view packed, int64_t seq) = 0;
  // Every holder of the instance ended unheard: nothing is granted to them ever again. Its open
  // attempts were settled before. `free_leases`: an operator takes it upon himself that what they
  // have not reported as spent was not.
  virtual Result<void> Retire(std::string_view instance, bool free_leases) = 0;

  virtual void Write(WriteBatch& batch) = 0;
  virtual void Committed() = 0;
  virtual void Discarded() = 0;
};

}  // namespace spillway
