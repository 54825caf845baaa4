#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controlplane/cli/table.h"
#include "controlplane/cli/value.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::cli {

// A model and the price that applies to it.
struct PricedModel {
  std::string name;
  std::string provider;
  std::string upstream_model;
  std::string source;  // "model", "price_book/house", "catalogue 2026-11-20", ...
  bool unpriced = false;
  int64_t output_tokens_max = 0;  // 0: not known
  v1::Price price;
};
PricedModel PricedModelOf(const v1::Model& model);

// One line a model, USD per million tokens.
Table PricesTable(const std::vector<PricedModel>& models);
// "gpt-5-mini (openai, gpt-5-mini): ..." with its line feed.
std::string PriceHeading(const PricedModel& model);
// Every rate that a call can be billed by: a line for each service tier and length of input.
Table RatesTable(const v1::Price& price);
// All of that for programs: each rate as `..._nanos` and as an exact decimal, `..._usd`.
Value PriceValue(const PricedModel& model);

}  // namespace spillway::cli
