#include "dataplane/limits/ticket.h"

#include <algorithm>
#include <format>
#include <iterator>
#include <utility>

#include "dataplane/limits/table.h"

namespace spillway {
namespace {

bool IsTighter(const LimitStanding& a, const LimitStanding& b) {
  if (a.limit == 0 || b.limit == 0) return a.limit != 0;
  return static_cast<__int128>(a.remaining) * b.limit <
         static_cast<__int128>(b.remaining) * a.limit;
}

void AppendKind(std::string_view kind, const LimitStanding& standing, std::string& headers) {
  if (standing.limit == 0) return;
  std::format_to(std::back_inserter(headers),
                 "x-ratelimit-limit-{0}: {1}\r\nx-ratelimit-remaining-{0}: {2}\r\n"
                 "x-ratelimit-reset-{0}: {3}\r\n",
                 kind, standing.limit, standing.remaining, ResetText(standing.reset_ms));
}

}  // namespace

std::string ResetText(int64_t ms) {
  if (ms < 1'000) return std::format("{}ms", std::max<int64_t>(ms, 0));
  const int64_t seconds = (ms + 999) / 1'000;
  if (seconds < 60) return std::format("{}s", seconds);
  const int64_t minutes = seconds / 60;
  if (minutes < 60) return std::format("{}m{}s", minutes, seconds % 60);
  return std::format("{}h{}m{}s", minutes / 60, minutes % 60, seconds % 60);
}

void LimitStandings::Merge(const LimitStandings& other) {
  if (IsTighter(other.requests, requests)) requests = other.requests;
  if (IsTighter(other.tokens, tokens)) tokens = other.tokens;
}

void LimitStandings::AppendHeaders(std::string& headers) const {
  AppendKind("requests", requests, headers);
  AppendKind("tokens", tokens, headers);
}

LimitTicket::LimitTicket(LimitTicket&& other) noexcept
    : table_(other.table_),
      count_(std::exchange(other.count_, 0)),
      went_upstream_(other.went_upstream_),
      near_(other.near_),
      far_(std::move(other.far_)),
      standings_(other.standings_) {}

LimitTicket& LimitTicket::operator=(LimitTicket&& other) noexcept {
  if (this == &other) return *this;
  Drop();
  table_ = other.table_;
  count_ = std::exchange(other.count_, 0);
  went_upstream_ = other.went_upstream_;
  near_ = other.near_;
  far_ = std::move(other.far_);
  standings_ = other.standings_;
  return *this;
}

void LimitTicket::Push(const Hold& hold) {
  if (count_ < near_.size()) {
    near_[count_] = hold;
  } else {
    far_.push_back(hold);
  }
  ++count_;
}

void LimitTicket::SetTokens(const LimitAsk& tokens, bool only_up) {
  for (size_t i = 0; i < count_; ++i) {
    Hold& hold = at(i);
    hold.tokens = table_->SetTokens(*hold.entry, hold.tokens, tokens, only_up);
  }
}

void LimitTicket::Settle(const LimitAsk& used) {
  went_upstream_ = true;
  SetTokens(used, /*only_up=*/false);
}

void LimitTicket::RaiseTo(const LimitAsk& at_least) { SetTokens(at_least, /*only_up=*/true); }

void LimitTicket::Absorb(LimitTicket other) {
  if (other.table_ != nullptr) table_ = other.table_;
  for (size_t i = 0; i < other.count_; ++i) Push(other.at(i));
  other.count_ = 0;
  went_upstream_ = went_upstream_ || other.went_upstream_;
  standings_.Merge(other.standings_);
}

void LimitTicket::Drop() {
  for (size_t i = 0; i < count_; ++i)
    table_->Release(*at(i).entry, /*give_back=*/!went_upstream_, at(i).tokens);
  count_ = 0;
  far_.clear();
  went_upstream_ = false;
}

}  // namespace spillway
