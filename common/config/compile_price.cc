#include <algorithm>
#include <limits>

#include "common/config/prices.h"

namespace spillway::config {
namespace {

constexpr Nanos kNanosMax = std::numeric_limits<Nanos>::max();

// The figures that `inner` names, over those of `outer`.
v1::Price Overlaid(const v1::Price& outer, const v1::Price& inner) {
  v1::Price price = outer;
  price.clear_long_context();
  price.clear_tiers();
  v1::Price figures = inner;
  figures.clear_long_context();
  figures.clear_tiers();
  price.MergeFrom(figures);
  return price;
}

Rates Complete(const v1::Price& price) {
  const auto or_else = [](bool present, Nanos own, Nanos other) { return present ? own : other; };
  Rates rates{.input = price.input(), .output = price.output()};
  rates.cached_input = or_else(price.has_cached_input(), price.cached_input(), rates.input);
  rates.cache_write_5m = or_else(price.has_cache_write_5m(), price.cache_write_5m(), rates.input);
  rates.cache_write_1h =
      or_else(price.has_cache_write_1h(), price.cache_write_1h(), rates.cache_write_5m);
  rates.reasoning = or_else(price.has_reasoning(), price.reasoning(), rates.output);
  rates.audio_input = or_else(price.has_audio_input(), price.audio_input(), rates.input);
  rates.audio_output = or_else(price.has_audio_output(), price.audio_output(), rates.output);
  rates.image = price.image();
  rates.request = price.request();
  return rates;
}

// `base` with the steps that `steps` names.
RateSteps Stepped(const v1::Price& base, const v1::Price& steps) {
  RateSteps stepped{.base = Complete(base), .above = {}};
  for (const v1::LongContextPrice& step : steps.long_context()) {
    stepped.above.emplace_back(step.above_input_tokens(), Complete(Overlaid(base, step.price())));
  }
  std::ranges::stable_sort(stepped.above, {}, &std::pair<int64_t, Rates>::first);
  return stepped;
}

Nanos Share(Nanos nanos, int32_t percent) {
  using Wide = __int128;
  const Wide share = (Wide{nanos} * percent + 50) / 100;
  return share > kNanosMax ? kNanosMax : static_cast<Nanos>(share);
}

Rates Share(const Rates& rates, int32_t percent) {
  return {.input = Share(rates.input, percent),
          .output = Share(rates.output, percent),
          .cached_input = Share(rates.cached_input, percent),
          .cache_write_5m = Share(rates.cache_write_5m, percent),
          .cache_write_1h = Share(rates.cache_write_1h, percent),
          .reasoning = Share(rates.reasoning, percent),
          .audio_input = Share(rates.audio_input, percent),
          .audio_output = Share(rates.audio_output, percent),
          .image = Share(rates.image, percent),
          .request = Share(rates.request, percent)};
}

RateSteps CompileTier(const v1::Price& price, const v1::TierPrice& tier) {
  if (!tier.has_percent()) {
    const bool own_steps = !tier.price().long_context().empty();
    return Stepped(Overlaid(price, tier.price()), own_steps ? tier.price() : price);
  }
  RateSteps steps = Stepped(price, price);
  steps.base = Share(steps.base, tier.percent());
  for (auto& [above, rates] : steps.above) rates = Share(rates, tier.percent());
  return steps;
}

}  // namespace

Price CompilePrice(const v1::Price& price) {
  PriceTable table{.standard = Stepped(price, price), .tiers = {}};
  for (const v1::TierPrice& tier : price.tiers()) {
    table.tiers.emplace_back(tier.tier(), CompileTier(price, tier));
  }
  return std::make_shared<const PriceTable>(std::move(table));
}

Price PriceOf(const v1::Model& model) {
  if (model.price().has_input()) return CompilePrice(model.price());
  const v1::ResolvedPrice& resolved = model.resolved_price();
  return resolved.has_price() && !resolved.unpriced() ? CompilePrice(resolved.price()) : nullptr;
}

}  // namespace spillway::config
