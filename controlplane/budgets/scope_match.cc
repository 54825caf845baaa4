#include "controlplane/budgets/scope_match.h"

#include <algorithm>
#include <string>
#include <utility>

namespace spillway {
namespace {

constexpr std::string_view kTagPrefix = "tag:";

std::string_view TagOf(const v1::Attribution& who, std::string_view name) {
  const auto at = std::ranges::find(who.tags(), name, &v1::Tag::name);
  return at == who.tags().end() ? std::string_view() : std::string_view(at->value());
}

std::string_view ValueOf(const v1::Attribution& who, std::string_view dimension) {
  if (dimension == "organization") return who.organization();
  if (dimension == "team") return who.team();
  if (dimension == "user") return who.user();
  if (dimension == "key") return who.key();
  if (dimension == "feature") return who.feature();
  if (dimension == "route") return who.route();
  if (dimension == "model") return who.model();
  if (dimension == "provider") return who.provider();
  if (dimension.starts_with(kTagPrefix)) return TagOf(who, dimension.substr(kTagPrefix.size()));
  return {};
}

}  // namespace

std::optional<std::string_view> SubjectIn(const v1::Scope& scope, const v1::Attribution& who) {
  const std::pair<std::string_view, std::string_view> wanted[] = {
      {scope.organization(), who.organization()},
      {scope.team(), who.team()},
      {scope.user(), who.user()},
      {scope.key(), who.key()},
      {scope.feature(), who.feature()},
      {scope.route(), who.route()},
      {scope.model(), who.model()},
      {scope.provider(), who.provider()}};
  for (const auto& [want, is] : wanted)
    if (!want.empty() && want != is) return {};
  for (const auto& [name, value] : scope.tags())
    if (TagOf(who, name) != value) return {};
  if (scope.each().empty()) return std::string_view();
  const std::string_view subject = ValueOf(who, scope.each());
  if (subject.empty()) return {};
  return subject;
}

bool NeedsTags(const v1::Scope& scope) {
  return !scope.tags().empty() || scope.each().starts_with(kTagPrefix);
}

}  // namespace spillway
