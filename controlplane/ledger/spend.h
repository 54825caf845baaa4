#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "controlplane/ledger/keys.h"
#include "controlplane/ledger/totals.h"
#include "spillway/v1/ledger.pb.h"
#include "spillway/v1/usage.pb.h"

namespace spillway::ledger {

// Who and when, of a roll-up row or an event. Views, valid during the call.
struct SpendFacts {
  int64_t time_ms = 0;
  std::array<std::string_view, 8> names;  // organization ... provider, as in a roll-up's key
  const google::protobuf::RepeatedPtrField<v1::Tag>* tags = nullptr;  // null: not known
};
SpendFacts FactsOf(const RollupId& row);
SpendFacts FactsOf(int64_t time_ms, const v1::Attribution& attribution);

// Adds rows and events up by what a query asks for. Bounded: what would be more than kGroupsMax
// groups is added to one that is named (overflow). One owner.
class SpendGroups {
 public:
  static constexpr size_t kGroupsMax = 100'000;

  // kInvalidRequest for what cannot be grouped by. `request` must outlive it.
  static Result<void> Check(const v1::QuerySpendRequest& request);
  // Whether only single events can answer.
  static bool NeedsEvents(const v1::QuerySpendRequest& request);

  explicit SpendGroups(const v1::QuerySpendRequest& request, size_t groups_max = kGroupsMax)
      : request_(request), groups_max_(groups_max) {}
  bool Matches(const SpendFacts& facts) const;
  void Add(const SpendFacts& facts, const Totals& totals);
  void AddOpen(const SpendFacts& facts, int64_t reserved_nanos);
  // Dearest first, or in time order when by hour, day or month.
  v1::QuerySpendResponse Response() const;

 private:
  struct Group {
    Totals totals;
    int64_t open_attempts = 0;
    int64_t open_reserved_nanos = 0;
  };
  using Values = std::vector<std::string>;
  Group& GroupOf(const SpendFacts& facts);
  static v1::SpendRow RowOf(const Values& values, const Group& group);

  const v1::QuerySpendRequest& request_;
  const size_t groups_max_;
  std::map<Values, Group> groups_;
};

}  // namespace spillway::ledger
