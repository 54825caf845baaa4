#include <algorithm>
#include <format>
#include <fstream>
#include <utility>

#include "common/config/load.h"
#include "common/config/price_import.h"
#include "common/config/prices.h"
#include "common/config/validate.h"
#include "common/ids.h"
#include "common/money.h"
#include "common/utc.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/price_text.h"

namespace spillway::cli {
namespace {

constexpr size_t kImportBytesMax = size_t{16} << 20;
constexpr size_t kShownMax = 20;  // of what was skipped; -o json has all of it

struct ShowArguments {
  std::string model;
  bool catalogue = false;
};

struct ImportArguments {
  std::string path;
  std::string name = "imported";
  std::string provider;
  std::string to;
};

Flag CatalogueFlag(ShowArguments& arguments) {
  return {.names = "--catalogue",
          .value = "",
          .help = "the catalogue of this program instead of the cluster's models; asks nobody",
          .target = &arguments.catalogue};
}

// The catalogue's entries as if each were a model.
std::vector<PricedModel> CatalogueModels() {
  std::vector<PricedModel> models;
  for (const v1::PriceBookEntry& entry : config::Catalogue().models()) {
    models.push_back({.name = entry.model(),
                      .provider = {},
                      .upstream_model = entry.model(),
                      .source = config::CatalogueSource(),
                      .unpriced = false,
                      .output_tokens_max = entry.output_tokens_max(),
                      .price = entry.price()});
  }
  return models;
}

Answer<std::vector<PricedModel>> ModelsOf(Session& session, const ShowArguments& arguments) {
  if (arguments.catalogue) return CatalogueModels();
  SW_TRY(const std::vector<v1::Resource> all, ListAll(session, v1::KIND_MODEL));
  std::vector<PricedModel> models;
  models.reserve(all.size());
  for (const v1::Resource& resource : all) models.push_back(PricedModelOf(resource.model()));
  return models;
}

Answer<int> ListPrices(Session& session, const ShowArguments& arguments) {
  SW_TRY(std::vector<PricedModel> models, ModelsOf(session, arguments));
  if (!arguments.model.empty()) {
    std::erase_if(models, [&](const PricedModel& model) {
      return model.name != arguments.model && model.upstream_model != arguments.model;
    });
  }
  Value::List items;
  for (const PricedModel& model : models) items.push_back(PriceValue(model));
  session.PrintItems(std::move(items), PricesTable(models),
                     arguments.model.empty() ? "no models" : "no such model");
  return kOk;
}

Answer<int> ShowPrice(Session& session, const ShowArguments& arguments) {
  SW_TRY(const std::vector<PricedModel> models, ModelsOf(session, arguments));
  const auto found = std::ranges::find(models, arguments.model, &PricedModel::name);
  if (found == models.end()) {
    const bool shipped = config::FindPrice(config::Catalogue(), arguments.model) != nullptr;
    return FailWith(std::format("there is no model {}{}", Printable(arguments.model),
                                shipped && !arguments.catalogue
                                    ? "; the catalogue knows one of that name: --catalogue shows it"
                                    : ""));
  }
  if (!session.for_people()) {
    session.Print(PriceValue(*found));
    return kOk;
  }
  session.out() << PriceHeading(*found);
  if (!found->unpriced) session.Print(RatesTable(found->price), "");
  return kOk;
}

Answer<std::string> ReadList(Session& session, const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) return FailWith(path + ": cannot be opened");
  }
  std::istream& in = path == "-" ? session.in() : file;
  std::string text(kImportBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad()) return FailWith(path + ": cannot be read");
  // One byte over the limit is enough for the parser to refuse it.
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

Answer<void> WriteBook(Session& session, const ImportArguments& arguments,
                       const std::string& yaml) {
  if (arguments.to.empty()) {
    session.out() << yaml;
    return {};
  }
  std::ofstream file(arguments.to, std::ios::binary | std::ios::trunc);
  file << yaml;
  file.close();
  if (!file) return FailWith(arguments.to + ": cannot be written");
  return {};
}

std::string Models(int64_t count) {
  return std::format("{} model{}", count, count == 1 ? "" : "s");
}

// On stderr: standard output is the price book.
void ReportImport(Session& session, const config::PriceImport& import) {
  session.err() << std::format("{} imported, {} skipped\n", Models(import.book.models_size()),
                               import.skipped.size());
  for (size_t i = 0; i < std::min(import.skipped.size(), kShownMax); ++i) {
    const config::SkippedModel& skipped = import.skipped[i];
    session.err() << Printable(std::format("  skipped {}: {}", skipped.model, skipped.why)) << "\n";
  }
  if (import.skipped.size() > kShownMax) {
    session.err() << std::format("  and {} more: -o json names all\n",
                                 import.skipped.size() - kShownMax);
  }
  size_t shown = 0;
  for (const auto& [field, models] : import.left_out) {
    if (++shown > kShownMax) break;
    session.err() << Printable(std::format("  left out: {} of {}", field, Models(models))) << "\n";
  }
}

Value ImportValue(const config::PriceImport& import) {
  Value::List skipped;
  for (const config::SkippedModel& model : import.skipped) {
    Value item;
    item.Set("model", model.model).Set("why", model.why);
    skipped.push_back(std::move(item));
  }
  Value left_out;
  for (const auto& [field, models] : import.left_out) left_out.Set(field, models);
  Value value;
  value.Set("price_book", import.book.name())
      .Set("models", static_cast<int64_t>(import.book.models_size()))
      .Set("skipped", std::move(skipped))
      .Set("left_out", std::move(left_out));
  return value;
}

Answer<int> ImportPrices(Session& session, const ImportArguments& arguments) {
  if (!IsResourceName(arguments.name)) {
    return FailUsage(
        "--name must be 1 to 128 letters, digits and ._:/- that begin with a letter "
        "or digit");
  }
  const bool json = session.format() == Format::kJson;
  if (json && arguments.to.empty()) {
    return FailUsage("-o json reports on the import: say with --to FILE where the book goes");
  }
  SW_TRY(const std::string text, ReadList(session, arguments.path));
  constexpr size_t kDateBytes = 10;
  auto import =
      config::ImportPrices(text, {.book = arguments.name,
                                  .provider = arguments.provider,
                                  .today = FormatUtc(session.now_ms()).substr(0, kDateBytes)});
  if (!import) return FailWith(std::format("{}: {}", arguments.path, import.error().message));
  v1::Resource resource;
  *resource.mutable_price_book() = import->book;
  const config::Validation checked = config::Validate({resource});
  if (!checked.ok()) return FailWith(config::Describe(checked.violations.front()));
  SW_CHECK(WriteBook(session, arguments, config::RenderYaml({resource})));
  if (json) {
    session.Print(ImportValue(*import));
  } else {
    ReportImport(session, *import);
  }
  return kOk;
}

Command ListPricesCommand() {
  auto a = std::make_shared<ShowArguments>();
  return {.name = "list",
          .summary = "Every model, its price, and where that comes from",
          .flags = {{"--model", "NAME", "only this model, or this upstream model", &a->model},
                    CatalogueFlag(*a)},
          .examples = {{"prices list", "what the cluster's models cost"},
                       {"prices list --catalogue", "what is known without being told"}},
          .run = [a](Session& s) { return ListPrices(s, *a); },
          .values = a};
}

Command ShowPriceCommand() {
  auto a = std::make_shared<ShowArguments>();
  return {.name = "show",
          .summary = "All rates of one model: every kind of token, long contexts, service tiers",
          .arguments = {{.name = "MODEL", .help = "its name", .target = &a->model}},
          .flags = {CatalogueFlag(*a)},
          .examples = {{"prices show gpt-5-mini", "which price applies, and from where"},
                       {"prices show claude-sonnet-4-5 --catalogue", "what the catalogue says"}},
          .run = [a](Session& s) { return ShowPrice(s, *a); },
          .values = a};
}

Command ImportCommand() {
  auto a = std::make_shared<ImportArguments>();
  return {
      .name = "import",
      .summary =
          "Make a price book of a published price list: LiteLLM's price map or "
          "genai-prices' data.json.\nFigures are converted exactly; a model with one that "
          "cannot be is skipped and named. At most 16 MiB and 100,000 models.",
      .arguments = {{.name = "FILE",
                     .help = "the list, JSON; - for standard input",
                     .target = &a->path}},
      .flags = {{"--name", "BOOK", "name of the price book (default imported)", &a->name},
                {"--provider", "NAME",
                 "only this litellm_provider or genai-prices provider; its prefix (\"groq/\") is "
                 "taken off the names",
                 &a->provider},
                {"--to", "PATH", "write the price book there (default: standard output)", &a->to}},
      .examples = {{"prices import prices.json --provider openai --to prices.yaml",
                    "a file that `apply` takes"},
                   {"prices import - --name litellm < model_prices.json",
                    "read standard input, write standard output"}},
      .run = [a](Session& s) { return ImportPrices(s, *a); },
      .values = a};
}

}  // namespace

Command PricesCommand() {
  return {.name = "prices",
          .summary = "What models cost, and which price applies",
          .verbs = {ListPricesCommand(), ShowPriceCommand(), ImportCommand()}};
}

}  // namespace spillway::cli
