#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace spillway {

class LimitTable;
struct LimitEntry;

// Tokens that a request is expected to use, or used.
struct LimitAsk {
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;
};

// One kind of limit as a client may see it. limit 0: there is none.
struct LimitStanding {
  int64_t limit = 0;
  int64_t remaining = 0;
  int64_t reset_ms = 0;  // until the bucket is filled again
};
// The tightest requests limit and the tightest tokens limit: the least remaining per limit.
struct LimitStandings {
  LimitStanding requests;
  LimitStanding tokens;
  // Keeps the tighter of each.
  void Merge(const LimitStandings& other);
  // "x-ratelimit-limit-requests: 60\r\n" and so on, in OpenAI's form (resets as "12ms", "1s",
  // "6m0s"); nothing for a kind without limit.
  void AppendHeaders(std::string& headers) const;
};
// OpenAI's form of a duration: "0ms".."999ms", then whole seconds rounded up as "1s", "1m30s",
// "1h0m0s".
std::string ResetText(int64_t ms);

// Proof that rate limits let a request pass, and what it holds of them. Move-only; any thread, one
// at a time; must not outlive RateLimits. Dropping it frees its concurrency slots; one that was
// never settled gives back its request and its tokens, too.
class [[nodiscard]] LimitTicket {
 public:
  LimitTicket() = default;  // holds nothing
  LimitTicket(LimitTicket&& other) noexcept;
  LimitTicket& operator=(LimitTicket&& other) noexcept;
  ~LimitTicket() { Drop(); }

  // A provider may have had the request: it counts, with the tokens that were really used; debt is
  // allowed. May be repeated: the last figure holds.
  void Settle(const LimitAsk& used);
  // Ends it now.
  void Drop();

  // As of the admission, this request counted.
  const LimitStandings& standings() const { return standings_; }
  bool empty() const { return count_ == 0; }

 private:
  friend class LimitTable;
  struct Hold {
    LimitEntry* entry = nullptr;  // pinned
    int64_t tokens = 0;           // reserved, or settled
  };
  Hold& at(size_t i) { return i < near_.size() ? near_[i] : far_[i - near_.size()]; }
  void Push(const Hold& hold);

  LimitTable* table_ = nullptr;
  size_t count_ = 0;
  bool settled_ = false;
  std::array<Hold, 3> near_;  // most requests fall under few limits: no allocation for them
  std::vector<Hold> far_;
  LimitStandings standings_;
};

}  // namespace spillway
