#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::config {

// Price lists of other projects as a price book. Two forms are read, told apart by their outermost
// value:
//   {NAME: {"input_cost_per_token": 2.5e-07, ...}}   the widely used price map (LiteLLM's
//       model_prices_and_context_window.json): USD per token, with the suffixes
//       _above_{N}k_tokens, _priority, _flex, _batches and, for cache writes, _above_1hr
//   [{"id": PROVIDER, "models": [{"id": NAME, "prices": {"input_mtok": 0.25, ...}}]}] genai-prices
//       (prices/data.json): USD per million tokens, by day where prices changed
// Every figure is converted exactly, without floating point. A model with a figure that cannot be
// (finer than a nano-dollar per million tokens, negative, no number) is skipped whole, and named:
// half a price would bill wrongly without a word. So is one whose prices depend on more than
// Spillway counts. Prices of other units (searches, characters, seconds) are left out and counted.
struct ImportOptions {
  std::string book = "imported";  // the price book's name
  std::string provider = {};      // only this litellm_provider, or genai-prices id; empty: all
  std::string today = {};         // "2026-11-20": chooses among dated prices, and dates the book
};

struct SkippedModel {
  std::string model;
  std::string why;
};

struct PriceImport {
  v1::PriceBook book;                 // by model name, sorted
  std::vector<SkippedModel> skipped;  // in the order of the file
  std::map<std::string, int64_t>
      left_out;  // price fields that were not read, and in how many models
};

// Refuses texts over 16 MiB or 100,000 models, and what is neither form. A book without any model
// is an error: nothing was imported.
Result<PriceImport> ImportPrices(std::string_view json, const ImportOptions& options);

}  // namespace spillway::config
