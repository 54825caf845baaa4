#include "controlplane/cli/price_text.h"

#include <array>
#include <format>
#include <utility>

#include "common/config/prices.h"
#include "common/money.h"

namespace spillway::cli {
namespace {

struct RateName {
  std::string_view heading;
  std::string_view field;
  Nanos Rates::* rate;
};
constexpr std::array<RateName, 10> kRates{{{">INPUT", "input", &Rates::input},
                                           {">OUTPUT", "output", &Rates::output},
                                           {">CACHED", "cached_input", &Rates::cached_input},
                                           {">WRITE 5M", "cache_write_5m", &Rates::cache_write_5m},
                                           {">WRITE 1H", "cache_write_1h", &Rates::cache_write_1h},
                                           {">REASONING", "reasoning", &Rates::reasoning},
                                           {">AUDIO IN", "audio_input", &Rates::audio_input},
                                           {">AUDIO OUT", "audio_output", &Rates::audio_output},
                                           {">PER IMAGE", "image", &Rates::image},
                                           {">PER CALL", "request", &Rates::request}}};

// The rates of one tier from one length of input on.
struct RateLine {
  std::string tier;
  int64_t above = 0;
  Rates rates;
};

void AddLines(const std::string& tier, const RateSteps& steps, std::vector<RateLine>& lines) {
  lines.push_back({.tier = tier, .above = 0, .rates = steps.base});
  for (const auto& [above, rates] : steps.above) {
    lines.push_back({.tier = tier, .above = above, .rates = rates});
  }
}

std::vector<RateLine> LinesOf(const v1::Price& price) {
  const Price table = config::CompilePrice(price);
  std::vector<RateLine> lines;
  AddLines("standard", table->standard, lines);
  for (const auto& [tier, steps] : table->tiers) AddLines(tier, steps, lines);
  return lines;
}

}  // namespace

PricedModel PricedModelOf(const v1::Model& model) {
  const v1::ResolvedPrice& resolved = model.resolved_price();
  PricedModel priced{
      .name = model.name(),
      .provider = model.provider(),
      .upstream_model = model.upstream_model().empty() ? model.name() : model.upstream_model(),
      .source = "model",
      .unpriced = false,
      .output_tokens_max = model.output_tokens_max(),
      .price = model.price()};
  if (model.has_price()) return priced;
  priced.source = resolved.source();
  priced.unpriced = resolved.unpriced() || !resolved.has_price();
  priced.price = resolved.price();
  return priced;
}

Table PricesTable(const std::vector<PricedModel>& models) {
  Table table({"MODEL", "PROVIDER", "UPSTREAM MODEL", ">INPUT USD/M", ">OUTPUT USD/M",
               ">CACHED USD/M", ">OUTPUT MAX", "PRICE FROM"});
  for (const PricedModel& model : models) {
    const Rates rates = model.unpriced ? Rates() : config::CompilePrice(model.price)->standard.base;
    const auto usd = [&](Nanos nanos) { return model.unpriced ? "?" : FormatUsd(nanos); };
    table.Row({model.name, model.provider, model.upstream_model, usd(rates.input),
               usd(rates.output), usd(rates.cached_input),
               model.output_tokens_max == 0 ? "" : Grouped(model.output_tokens_max), model.source});
  }
  return table;
}

std::string PriceHeading(const PricedModel& model) {
  std::string text = model.name;
  if (!model.provider.empty()) {
    text += std::format(" ({}, {})", model.provider, model.upstream_model);
  }
  text += model.unpriced ? ": no price is known; calls cost 0 and are listed as unpriced"
                         : ": USD per million tokens";
  text += model.source == "model" ? ", from the model itself" : ", from " + model.source;
  if (model.output_tokens_max > 0) {
    text += std::format("; at most {} output tokens a call", Grouped(model.output_tokens_max));
  }
  return Printable(text) + "\n";
}

Table RatesTable(const v1::Price& price) {
  std::vector<std::string> headings{"TIER", ">INPUT OVER"};
  for (const RateName& name : kRates) headings.emplace_back(name.heading);
  Table table(std::move(headings));
  for (const RateLine& line : LinesOf(price)) {
    std::vector<std::string> cells{line.tier, Grouped(line.above)};
    for (const RateName& name : kRates) cells.push_back(FormatUsd(line.rates.*name.rate));
    table.Row(std::move(cells));
  }
  return table;
}

Value PriceValue(const PricedModel& model) {
  Value::List lines;
  for (const RateLine& line : model.unpriced ? std::vector<RateLine>() : LinesOf(model.price)) {
    Value item;
    item.Set("tier", line.tier).Set("above_input_tokens", line.above);
    for (const RateName& name : kRates) {
      const Nanos nanos = line.rates.*name.rate;
      item.Set(std::format("{}_nanos", name.field), nanos)
          .Set(std::format("{}_usd", name.field), FormatUsd(nanos));
    }
    lines.push_back(std::move(item));
  }
  Value value;
  value.Set("model", model.name)
      .Set("provider", model.provider)
      .Set("upstream_model", model.upstream_model)
      .Set("source", model.source)
      .Set("unpriced", model.unpriced)
      .Set("output_tokens_max", model.output_tokens_max)
      .Set("rates", std::move(lines));
  return value;
}

}  // namespace spillway::cli
