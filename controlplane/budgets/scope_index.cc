#include "controlplane/budgets/scope_index.h"

namespace spillway {
namespace {

// The names of a scope or a call, the most telling first; with the dimension before each.
template <typename Names>
std::vector<std::string> NamesOf(const Names& names) {
  std::vector<std::string> list;
  const auto add = [&list](char dimension, const std::string& name) {
    if (!name.empty()) list.push_back(std::string(1, dimension) + name);
  };
  add('k', names.key());
  add('u', names.user());
  add('t', names.team());
  add('f', names.feature());
  add('r', names.route());
  add('m', names.model());
  add('p', names.provider());
  add('o', names.organization());
  return list;
}

}  // namespace

void ScopeIndex::Add(const v1::Scope& scope, size_t number) {
  const std::vector<std::string> names = NamesOf(scope);
  (names.empty() ? nameless_ : by_name_[names.front()]).push_back(number);
}

void ScopeIndex::Clear() {
  by_name_.clear();
  nameless_.clear();
}

void ScopeIndex::EachCandidate(const v1::Attribution& who,
                               const std::function<void(size_t)>& visit) const {
  for (const size_t number : nameless_) visit(number);
  if (by_name_.empty()) return;
  for (const std::string& name : NamesOf(who)) {
    const auto named = by_name_.find(name);
    if (named == by_name_.end()) continue;
    for (const size_t number : named->second) visit(number);
  }
}

}  // namespace spillway
