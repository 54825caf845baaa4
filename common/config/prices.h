#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/money.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::config {

// Fills in what a written price leaves out, by the rules of resources.proto. A tier or a
// long-context step that does not name a figure takes it from the price around it, and only what
// nobody names is derived from the figures beside it: with output 15 and a step of output 22.5,
// reasoning costs 22.5 there. A tier of its own figures but without a long context keeps the steps
// of the price around it. A tier's percent rounds each rate half up. Never nullptr; any price
// compiles.
Price CompilePrice(const v1::Price& price);

// What a model is billed by: its own price (one that names `input`), else the resolved one;
// nullptr: none is known.
Price PriceOf(const v1::Model& model);

// Fills `resolved_price` of every model of a whole state, and `output_tokens_max` where it was not
// written: from the price books in order of their names, then from the shipped catalogue; else by
// the unknown-price policy. A price is found by the exact upstream model name (the model's own name
// when it has none). What an earlier call filled in is forgotten first, so that the same written
// state always gives the same bytes. A model that nothing knows keeps no resolved_price under
// `refuse`: for Validate to report. Call it before Validate, whenever models or price books change.
void ResolvePrices(std::vector<v1::Resource>& state);

// The shipped price book, named "catalogue": parsed once per process. Thread-safe.
const v1::PriceBook& Catalogue();
// "catalogue 2026-11-20": the source of what comes from it.
std::string CatalogueSource();
// The entry of exactly this name; nullptr: none.
const v1::PriceBookEntry* FindPrice(const v1::PriceBook& book, std::string_view model);

}  // namespace spillway::config
