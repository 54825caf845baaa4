#include "controlplane/budgets/scope_index.h"

#include <catch2/catch_all.hpp>
#include <random>
#include <set>

#include "controlplane/budgets/scope_match.h"

namespace spillway {
namespace {

// A name of few, or none.
std::string Name(std::mt19937_64& random) {
  const uint64_t which = random() % 5;
  return which < 3 ? std::string() : "n" + std::to_string(which);
}

template <typename Names>
void FillIn(Names& names, std::mt19937_64& random) {
  names.set_organization(Name(random));
  names.set_team(Name(random));
  names.set_user(Name(random));
  names.set_key(Name(random));
  names.set_feature(Name(random));
  names.set_route(Name(random));
  names.set_model(Name(random));
  names.set_provider(Name(random));
}

}  // namespace

TEST_CASE("what a call falls under is always among its candidates, and each of these once") {
  std::mt19937_64 random(20'261'122);
  std::vector<v1::Scope> scopes(300);
  ScopeIndex index;
  for (size_t i = 0; i < scopes.size(); ++i) {
    if (i > 0) FillIn(scopes[i], random);
    index.Add(scopes[i], i);
  }
  size_t matches = 0;
  size_t candidates = 0;
  for (int call = 0; call < 2'000; ++call) {
    v1::Attribution who;
    FillIn(who, random);
    std::multiset<size_t> met;
    index.EachCandidate(who, [&](size_t number) { met.insert(number); });
    candidates += met.size();
    for (size_t i = 0; i < scopes.size(); ++i) {
      if (SubjectIn(scopes[i], who)) {
        ++matches;
        REQUIRE(met.contains(i));
      }
      REQUIRE(met.count(i) <= 1);
    }
  }
  CHECK(matches > 2'000);
  CHECK(candidates < 2'000 * scopes.size() / 2);
}

}  // namespace spillway
