// What a call can cost at most: every token at the dearest rate that it may be billed at.
#include <algorithm>
#include <limits>

#include "dataplane/budgets/estimator.h"

namespace spillway {
namespace {

using Wide = __int128;
constexpr int64_t kPerMillion = 1'000'000;
// A completion makes n answers to each of its prompts, and prompts are as many as fit a body.
constexpr int64_t kAnswersMax = int64_t{1} << 32;

struct DearestRates {
  Nanos input = 0;
  Nanos output = 0;
  Nanos fixed = 0;  // per request
};

void Raise(const Rates& rates, DearestRates& dearest) {
  dearest.input = std::max({dearest.input, rates.input, rates.cached_input, rates.cache_write_5m,
                            rates.cache_write_1h, rates.audio_input});
  dearest.output = std::max({dearest.output, rates.output, rates.reasoning, rates.audio_output});
  dearest.fixed = std::max(dearest.fixed, rates.request);
}

// Which step applies is known only when the input is counted: any up to the bound may.
void Raise(const RateSteps& steps, int64_t input_bound, DearestRates& dearest) {
  Raise(steps.base, dearest);
  for (const auto& [above, rates] : steps.above)
    if (input_bound > above) Raise(rates, dearest);
}

int64_t InputBound(const CallShape& shape) {
  const Wide bound =
      Wide{std::max<int64_t>(shape.body_bytes, 0)} + Estimator::kTokensPerCallBound +
      Wide{std::max<int64_t>(shape.messages, 0)} * Estimator::kTokensPerMessageBound +
      Wide{std::max<int64_t>(shape.media_parts, 0)} * Estimator::kTokensPerMediaBound;
  return static_cast<int64_t>(std::min<Wide>(bound, Estimator::kTokensMax));
}

DearestRates RatesOf(const CallShape& shape, int64_t input_bound) {
  DearestRates dearest;
  const PriceTable* table = shape.model.price.get();
  if (table == nullptr) return dearest;
  // A tier that was asked for may be refused and the standard one billed; one that was left to the
  // provider may be any.
  Raise(table->standard, input_bound, dearest);
  const bool any = shape.service_tier.empty() || shape.service_tier == "auto";
  for (const auto& [tier, steps] : table->tiers)
    if (any || tier == shape.service_tier) Raise(steps, input_bound, dearest);
  return dearest;
}

// As CostOf rounds: once, half up.
Wide CostOfTokens(const DearestRates& rates, Wide input, Wide output) {
  return (input * rates.input + output * rates.output + kPerMillion / 2) / kPerMillion +
         rates.fixed;
}

Wide ChoicesOf(const CallShape& shape) {
  return std::clamp<int64_t>(shape.choices, 1, kAnswersMax);
}

}  // namespace

int64_t Estimator::OutputBound(const CallShape& shape) {
  if (!shape.makes_output) return 0;
  const int64_t client = shape.output_tokens_max;
  const int64_t model = shape.model.output_tokens_max;
  if (client <= 0 && model <= 0) return kOutputTokensBound;
  if (client <= 0 || model <= 0) return std::min(std::max(client, model), Estimator::kTokensMax);
  return std::min(client, model);
}

Nanos Estimator::CostBound(const CallShape& shape, int64_t output_tokens) {
  const int64_t input = InputBound(shape);
  const Wide cost =
      CostOfTokens(RatesOf(shape, input), input,
                   ChoicesOf(shape) * std::clamp<int64_t>(output_tokens, 0, Estimator::kTokensMax));
  return static_cast<Nanos>(std::min<Wide>(cost, std::numeric_limits<Nanos>::max()));
}

int64_t Estimator::AffordableMax(const CallShape& shape, Nanos amount) {
  const int64_t bound = OutputBound(shape);
  const int64_t input = InputBound(shape);
  const DearestRates rates = RatesOf(shape, input);
  const Wide per_token = ChoicesOf(shape) * rates.output;
  if (per_token == 0) return bound;
  // What is just below half a nano-dollar more is rounded away.
  const Wide left = (Wide{amount} - rates.fixed) * kPerMillion + (kPerMillion - 1) / 2 -
                    Wide{input} * rates.input;
  if (left <= 0) return 0;
  return static_cast<int64_t>(std::min<Wide>(left / per_token, bound));
}

}  // namespace spillway
