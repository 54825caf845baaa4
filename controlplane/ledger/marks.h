#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/ledger/seq_set.h"
#include "spillway/v1/usage.pb.h"

namespace spillway::ledger {

// How far one incarnation's records are in the ledger. A value; the ledger keeps one per
// incarnation.
struct Mark {
  std::string instance;
  int64_t committed_upto = 0;  // every seq up to it is applied
  SeqSet applied;              // above it
  SeqSet lost;                 // declared unreadable; counted as applied
  int64_t known_upto = 0;      // the highest seq known to exist
  int64_t closed_seq = 0;      // of its Closed record; 0: none yet
  bool retired = false;        // what is applied of it from now on settles at once

  bool Has(int64_t seq) const { return seq <= committed_upto || applied.Contains(seq); }
  void Add(int64_t from, int64_t to);
  // Known to exist and not applied.
  std::vector<std::pair<int64_t, int64_t>> Gaps() const;
  // Nothing more will come: closed, and everything is there.
  bool complete() const {
    return closed_seq > 0 && committed_upto >= closed_seq && committed_upto >= known_upto;
  }

  std::string Bytes() const;
  static Mark FromProto(const v1::LedgerMark& stored);
};

}  // namespace spillway::ledger
