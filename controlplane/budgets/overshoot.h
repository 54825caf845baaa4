#pragma once

#include <functional>
#include <string>

#include "controlplane/budgets/lease_book.h"
#include "controlplane/budgets/lease_rows.h"
#include "spillway/v1/resources.pb.h"

namespace spillway {

// By how much real spend may end above the limit of one account, with what is in flight now. With
// `open_unheard` only as long as no data plane starts twice in one outage.
struct OvershootBound {
  Nanos nanos = 0;
  std::string why;  // one line
};

using HintOfHolder = std::function<LeaseBook::Hint(const std::string& holder)>;
// `fleet_size`: data planes that are counted on, also those that hold nothing of this account.
OvershootBound BoundOf(const v1::Budget& budget, const LeaseAccountFigures& account,
                       const HintOfHolder& hint_of, int64_t fleet_size);

}  // namespace spillway
