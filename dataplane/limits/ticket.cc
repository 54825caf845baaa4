#include "dataplane/limits/ticket.h"

#include <algorithm>
#include <utility>

#include "common/number_text.h"
#include "dataplane/limits/table.h"

namespace spillway {
namespace {

bool IsTighter(const LimitStanding& a, const LimitStanding& b) {
  if (a.limit == 0 || b.limit == 0) return a.limit != 0;
  return static_cast<__int128>(a.remaining) * b.limit <
         static_cast<__int128>(b.remaining) * a.limit;
}

void AppendReset(int64_t ms, std::string& out) {
  const auto part = [&out](int64_t value, std::string_view unit) {
    AppendNumber(out, value);
    out.append(unit);
  };
  if (ms < 1'000) return part(std::max<int64_t>(ms, 0), "ms");
  const int64_t seconds = (ms + 999) / 1'000;
  if (seconds >= 3'600) part(seconds / 3'600, "h");
  if (seconds >= 60) part(seconds / 60 % 60, "m");
  part(seconds % 60, "s");
}

// Of every answer: without std::format, which takes ten times as long.
void AppendKind(std::string_view kind, const LimitStanding& standing, std::string& headers) {
  if (standing.limit == 0) return;
  headers.append("x-ratelimit-limit-").append(kind).append(": ");
  AppendNumber(headers, standing.limit);
  headers.append("\r\nx-ratelimit-remaining-").append(kind).append(": ");
  AppendNumber(headers, standing.remaining);
  headers.append("\r\nx-ratelimit-reset-").append(kind).append(": ");
  AppendReset(standing.reset_ms, headers);
  headers.append("\r\n");
}

}  // namespace

std::string ResetText(int64_t ms) {
  std::string text;
  AppendReset(ms, text);
  return text;
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
      settled_(other.settled_),
      near_(other.near_),
      far_(std::move(other.far_)),
      standings_(other.standings_) {}

LimitTicket& LimitTicket::operator=(LimitTicket&& other) noexcept {
  if (this == &other) return *this;
  Drop();
  table_ = other.table_;
  count_ = std::exchange(other.count_, 0);
  settled_ = other.settled_;
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

void LimitTicket::Settle(const LimitAsk& used) {
  settled_ = true;
  for (size_t i = 0; i < count_; ++i) {
    Hold& hold = at(i);
    hold.tokens = table_->SetTokens(*hold.entry, hold.tokens, used);
  }
}

void LimitTicket::Drop() {
  for (size_t i = 0; i < count_; ++i)
    table_->Release(*at(i).entry, /*give_back=*/!settled_, at(i).tokens);
  count_ = 0;
  far_.clear();
  settled_ = false;
}

}  // namespace spillway
