#include "dataplane/budgets/reservation.h"

#include <utility>

#include "dataplane/budgets/budgets_rep.h"

namespace spillway {

Reservation::Reservation(std::unique_ptr<State> state) : state_(std::move(state)) {}
Reservation::Reservation(Reservation&& other) noexcept = default;

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this == &other) return *this;
  Drop();
  state_ = std::move(other.state_);
  return *this;
}

Reservation::Reservation() noexcept = default;
Reservation::~Reservation() { Drop(); }

void Reservation::Drop() {
  if (state_ == nullptr) return;
  if (state_->upstream) {
    state_->budgets->Settle(*state_, state_->amount, state_->amount);
  } else {
    state_->budgets->Void(*state_);
  }
  state_.reset();
}

Nanos Reservation::amount() const { return state_ == nullptr ? 0 : state_->amount; }
bool Reservation::capped() const { return state_ != nullptr && state_->capped; }

std::span<const AccountBytes> Reservation::accounts() const {
  if (state_ == nullptr) return {};
  return {state_->accounts.data(), state_->accounts.size()};
}

std::string_view Reservation::holder() const {
  return state_ == nullptr ? std::string_view() : state_->holder_name;
}

void Reservation::WentUpstream() {
  if (state_ != nullptr) state_->upstream = true;
}

bool Reservation::Extend(Nanos more) {
  return state_ == nullptr || more <= 0 || state_->budgets->Extend(*state_, more);
}

void Reservation::Settle(Nanos cost, Nanos hold) && {
  if (state_ == nullptr) return;
  state_->budgets->Settle(*state_, cost, hold);
  state_.reset();
}

}  // namespace spillway
