#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <format>
#include <print>

#include "common/config/catalogue_text.h"
#include "common/config/load.h"
#include "common/config/prices.h"
#include "common/config/validate.h"

namespace spillway::config {
namespace {

// What was built in cannot be wrong at run time only: a build whose tests passed never gets here.
[[noreturn]] void RefuseCatalogue(const std::string& why) {
  std::println(stderr, "the built-in price catalogue cannot be read: {}", why);
  std::abort();
}

v1::PriceBook ParseCatalogue() {
  LoadResult loaded = LoadYaml(kCatalogueText, "catalogue.yaml", {});
  if (!loaded.violations.empty()) RefuseCatalogue(Describe(loaded.violations));
  if (loaded.config.resources.size() != 1 || !loaded.config.resources[0].has_price_book()) {
    RefuseCatalogue("it is not one price book");
  }
  return std::move(*loaded.config.resources[0].mutable_price_book());
}

}  // namespace

const v1::PriceBook& Catalogue() {
  static const v1::PriceBook catalogue = ParseCatalogue();
  return catalogue;
}

std::string CatalogueSource() { return std::format("catalogue {}", Catalogue().dated()); }

const v1::PriceBookEntry* FindPrice(const v1::PriceBook& book, std::string_view model) {
  const auto found = std::ranges::find(book.models(), model, &v1::PriceBookEntry::model);
  return found == book.models().end() ? nullptr : &*found;
}

}  // namespace spillway::config
