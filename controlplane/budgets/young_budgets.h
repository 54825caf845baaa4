#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/money.h"
#include "common/window.h"
#include "controlplane/budgets/scope_index.h"
#include "controlplane/ledger/charge_sink.h"
#include "spillway/v1/resources.pb.h"

namespace spillway {

// Budgets so young that attempts still end which began before them: those name no account of the
// budget, so what they cost is charged to the pseudo-holder for what was before. Not thread-safe:
// the ledger's writers' lock guards it.
class YoungBudgets {
 public:
  struct Young {
    v1::Budget budget;
    WindowSpan window;     // the one that ran when it was made; rolling: from its oldest bucket
    int64_t until_ns = 0;  // monotonic; grown up from then on
    // Attempts that ran when it was made, by OpenKey (ledger/keys.h): what was set aside for them.
    std::unordered_map<std::string, Nanos> outstanding;
  };
  void Add(Young young);
  void Remove(const std::string& budget_id);
  // Their ids.
  std::vector<std::string> DropGrown(int64_t now_ns);
  bool empty() const { return young_.empty(); }

  struct Missed {
    v1::Account account;
    Nanos delta = 0;
  };
  // What an event settles on young budgets whose accounts it does not name. An attempt of
  // `outstanding` settles the difference to what was set aside, once. `sign` -1: taken back.
  std::vector<Missed> Of(const ChargeSink::Settlement& settlement, int sign);
  // The batch is durable; or it never was, and its attempts are outstanding as before.
  void Committed() { taken_.clear(); }
  void Restore();

 private:
  void Index();
  void Settle(Young& young, const ChargeSink::Settlement& settlement, int sign,
              std::vector<Missed>& missed);

  std::vector<Young> young_;
  ScopeIndex scopes_;  // of young_
  // By the batch at hand: budget id, and what was outstanding.
  std::vector<std::pair<std::string, std::pair<const std::string, Nanos>>> taken_;
};

// The start of the window that an event of `time_ms` belongs to, as far as its time can tell.
int64_t WindowStartOf(const v1::Budget& budget, int64_t time_ms);

}  // namespace spillway
