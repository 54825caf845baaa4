#pragma once

#include <set>
#include <string>
#include <string_view>

#include "common/config/json_tree.h"
#include "common/config/price_import.h"

namespace spillway::config {

// What the readers of both forms fill. Refers to the options and the import.
class Importer {
 public:
  Importer(const ImportOptions& options, PriceImport& import)
      : options_(options), import_(import) {}

  const ImportOptions& options() const { return options_; }
  void Skip(std::string_view model, std::string why) {
    import_.skipped.push_back({std::string(model), std::move(why)});
  }
  void LeaveOut(const std::string& field) { ++import_.left_out[field]; }
  // The first price of a name wins; a second one is skipped.
  void Add(std::string_view model, v1::Price price, int64_t output_tokens_max);

 private:
  const ImportOptions& options_;
  PriceImport& import_;
  std::set<std::string, std::less<>> names_;
};

// USD, as a number or a text that holds one, times 10^power.
Result<int64_t> ExactFigure(const JsonNode& value, int power);
// The dearest price that a configuration takes.
inline constexpr int64_t kImportedNanosMax = int64_t{1'000'000} * int64_t{1'000'000'000};

// More than any model has.
inline constexpr size_t kPriceFieldsMax = 1000;

// The prices beyond so many input tokens; 0: those of any length. Steps stay in ascending order.
v1::Price& StepOf(v1::Price& price, int64_t above);

void ImportPriceMap(const JsonNode& root, Importer& importer);
void ImportGenaiPrices(const JsonNode& root, Importer& importer);

}  // namespace spillway::config
