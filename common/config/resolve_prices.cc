#include <algorithm>
#include <format>
#include <string>
#include <unordered_map>

#include "common/config/prices.h"

namespace spillway::config {
namespace {

struct Known {
  const v1::PriceBookEntry* entry;
  const std::string* source;
};

// Every price that a state and the catalogue know, by upstream model name. Refers to both.
class PriceIndex {
 public:
  explicit PriceIndex(std::vector<const v1::PriceBook*> books) : books_(std::move(books)) {
    std::ranges::sort(books_, {}, [](const v1::PriceBook* book) { return book->name(); });
    sources_.reserve(books_.size() + 1);
    for (const v1::PriceBook* book : books_) Add(*book, std::format("price_book/{}", book->name()));
    Add(Catalogue(), CatalogueSource());
  }

  void Resolve(v1::Model& model) const;

 private:
  void Add(const v1::PriceBook& book, std::string source) {
    sources_.push_back(std::move(source));
    for (const v1::PriceBookEntry& entry : book.models()) {
      known_.try_emplace(entry.model(), Known{&entry, &sources_.back()});
    }
    const bool says = book.unknown() != v1::UNKNOWN_PRICE_UNSPECIFIED;
    if (says && policy_ == nullptr) policy_ = &book;
  }
  void ApplyPolicy(v1::ResolvedPrice& resolved) const;

  std::vector<const v1::PriceBook*> books_;
  std::vector<std::string> sources_;  // never grows beyond what was reserved
  std::unordered_map<std::string_view, Known> known_;
  const v1::PriceBook* policy_ = nullptr;  // the first book that has one
};

// What an earlier call put there.
void Forget(v1::Model& model) {
  const int64_t filled = model.resolved_price().output_tokens_max();
  if (filled != 0 && filled == model.output_tokens_max()) model.clear_output_tokens_max();
  model.clear_resolved_price();
}

void PriceIndex::ApplyPolicy(v1::ResolvedPrice& resolved) const {
  switch (policy_ == nullptr ? v1::UNKNOWN_PRICE_REFUSE : policy_->unknown()) {
    case v1::UNKNOWN_PRICE_DEFAULT:
      *resolved.mutable_price() = policy_->default_price();
      resolved.set_source(std::format("price_book/{} default", policy_->name()));
      break;
    case v1::UNKNOWN_PRICE_ALLOW:
      resolved.set_source(std::format("price_book/{} allow", policy_->name()));
      resolved.set_unpriced(true);
      break;
    default:
      break;
  }
}

void PriceIndex::Resolve(v1::Model& model) const {
  Forget(model);
  // A price of its own is never mixed with another; without `input` it is a mistake to report.
  const bool own = model.has_price();
  v1::ResolvedPrice resolved;
  const auto found =
      known_.find(model.upstream_model().empty() ? model.name() : model.upstream_model());
  if (found == known_.end()) {
    if (!own) ApplyPolicy(resolved);
  } else {
    const v1::PriceBookEntry& entry = *found->second.entry;
    if (!own) {
      *resolved.mutable_price() = entry.price();
      resolved.set_source(*found->second.source);
    }
    if (model.output_tokens_max() == 0 && entry.output_tokens_max() > 0) {
      model.set_output_tokens_max(entry.output_tokens_max());
      resolved.set_output_tokens_max(entry.output_tokens_max());
    }
  }
  if (resolved.ByteSizeLong() > 0) *model.mutable_resolved_price() = std::move(resolved);
}

}  // namespace

void ResolvePrices(std::vector<v1::Resource>& state) {
  std::vector<const v1::PriceBook*> books;
  bool any_model = false;
  for (const v1::Resource& resource : state) {
    if (resource.has_price_book()) books.push_back(&resource.price_book());
    any_model |= resource.has_model();
  }
  if (!any_model) return;
  const PriceIndex index(std::move(books));
  for (v1::Resource& resource : state) {
    if (resource.has_model()) index.Resolve(*resource.mutable_model());
  }
}

}  // namespace spillway::config
