#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>

#include "common/money.h"
#include "dataplane/budgets/budgets.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// What the cost of a call depends on, as far as it is known before the call. Views, valid during
// the call.
struct CallShape {
  std::string_view route;  // what the client named, for the output's usual length
  const ModelSpec& model;
  int64_t body_bytes = 0;
  int64_t messages = 1;
  int64_t media_parts = 0;        // images, audio, files in the input
  int64_t media_bytes = 0;        // of body_bytes, theirs
  int64_t choices = 1;            // answers: n, of each prompt
  int64_t output_tokens_max = 0;  // per choice, what the client set; 0: nothing
  bool makes_output = true;       // false: embeddings
  std::string_view service_tier;  // what the client asked for; empty or "auto": any may be billed
};

struct Estimate {
  TokenUsage likely;  // the input as learned, the output's p90: Started.estimate, token limits
  Ask ask;            // likely's cost, and the bounds for `cap`
};

// What calls will cost, learned from what they did: per model the prompt tokens per byte (a moving
// average), per route the 90th percentile of the output's length. One per process; any thread, no
// locks: relaxed atomics, so that two calls that end at once may count as one. Bounded: names
// beyond kNamesMax share what all calls together taught. Knowing nothing it says four bytes per
// token and kOutputTokensDefault.
class Estimator {
 public:
  static constexpr int64_t kTokensMax = int64_t{1} << 40;  // no count beyond it is believed
  static constexpr size_t kNamesMax = 1024;                // models; as many routes
  static constexpr int64_t kOutputTokensDefault = 1024;
  // Of bounds, on top of one token per byte of the body.
  static constexpr int64_t kTokensPerCallBound = 512;
  static constexpr int64_t kTokensPerMessageBound = 16;
  static constexpr int64_t kTokensPerMediaBound = 50'000;
  // The output's bound per choice when neither client nor model names one.
  static constexpr int64_t kOutputTokensBound = 4096;
  // `cap`: output per choice below which a call is not worth making (or the client's own maximum).
  static constexpr int64_t kOutputTokensLeast = 16;

  Estimator();
  ~Estimator();
  Estimator(const Estimator&) = delete;
  Estimator& operator=(const Estimator&) = delete;

  Estimate Of(const CallShape& shape) const;
  // A call that a provider reported the usage of.
  void Learn(const CallShape& shape, const TokenUsage& usage);
  // Prompt tokens of so many bytes of text, as learned.
  int64_t InputTokens(std::string_view model, int64_t bytes) const;

  // `cap`: the most output tokens per choice that `amount` pays for, whatever the input comes to;
  // what to splice as max_completion_tokens. Between 0 and OutputBound().
  static int64_t AffordableMax(const CallShape& shape, Nanos amount);
  // Output tokens per choice that the call cannot exceed: the client's maximum, at most the
  // model's; kOutputTokensBound when there is neither (so it must be spliced).
  static int64_t OutputBound(const CallShape& shape);
  // What the call costs at most when each choice makes `output_tokens`. Saturates.
  static Nanos CostBound(const CallShape& shape, int64_t output_tokens);

 private:
  // Eight buckets per doubling: an error of 9 % at most.
  static constexpr size_t kBuckets = size_t{8} * 21;
  struct RatioSlot {
    std::atomic<uint64_t> name{0};   // hash; 0: free
    std::atomic<uint64_t> ratio{0};  // tokens per byte in 2^-16, above it the number of samples
  };
  struct LengthSlot {
    std::atomic<uint64_t> name{0};
    std::atomic<int64_t> quantile{0};  // 0: not enough samples yet
    std::atomic<uint32_t> samples{0};
    std::array<std::atomic<uint32_t>, kBuckets> counts{};
  };
  template <typename Slots>
  static auto* Find(Slots& slots, std::string_view name);
  static void Teach(RatioSlot& slot, int64_t bytes, int64_t tokens);
  static void Teach(LengthSlot& slot, int64_t tokens);
  int64_t LikelyOutput(const CallShape& shape) const;

  struct Tables;
  std::unique_ptr<Tables> tables_;
};

}  // namespace spillway
