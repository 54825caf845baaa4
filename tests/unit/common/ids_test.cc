#include "common/ids.h"

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <map>
#include <set>

namespace spillway {
namespace {

bool IsHexId(const std::string& id) {
  return id.size() == 32 && id.find_first_not_of("0123456789abcdef") == std::string::npos;
}

bool IsBase62(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) != 0; });
}

}  // namespace

TEST_CASE("ids are 32 hex digits and never repeat") {
  std::set<std::string> seen;
  for (int i = 0; i < 10'000; ++i) {
    const std::string fast = FastId();
    const std::string fresh = FreshId();
    REQUIRE(IsHexId(fast));
    REQUIRE(IsHexId(fresh));
    REQUIRE(seen.insert(fast).second);
    REQUIRE(seen.insert(fresh).second);
  }
}

TEST_CASE("a minted secret has its form and carries its public id") {
  struct Row {
    NewSecret minted;
    std::string prefix;
  };
  for (const Row& row : {Row{MintApiKey(), "sk-sw-"}, Row{MintAdminToken(), "sk-admin-"}}) {
    CAPTURE(row.prefix);
    REQUIRE(row.minted.secret.size() == row.prefix.size() + 12 + 1 + 43);
    CHECK(row.minted.secret.starts_with(row.prefix + row.minted.public_id + "-"));
    CHECK(row.minted.public_id.size() == 12);
    CHECK(IsBase62(row.minted.public_id));
    CHECK(IsBase62(row.minted.secret.substr(row.prefix.size() + 13)));
    CHECK(PublicIdOf(row.minted.secret) == row.minted.public_id);
  }
}

TEST_CASE("every character of a secret is equally likely") {
  std::map<char, int> counts;
  constexpr int kSecrets = 4000;
  for (int i = 0; i < kSecrets; ++i) {
    for (const char c : MintApiKey().secret.substr(19)) ++counts[c];
  }
  REQUIRE(counts.size() == 62);
  const double expected = kSecrets * 43 / 62.0;  // 2,774; one sigma is about 52
  for (const auto& [c, count] : counts) {
    CAPTURE(c, count);
    CHECK(std::abs(count - expected) < 6 * 53);
  }
}

TEST_CASE("only texts of our form have a public id") {
  const std::string tail(43, 'x');
  const auto text = GENERATE_COPY(values<std::string>(
      {"", "sk-sw-", "sk-proj-abcdefghijkl-" + tail, "sk-sw-abcdefghijkl" + tail,
       "sk-sw-abcdefghijk-" + tail + "x", "sk-sw-abcdefghijkl-" + tail + "x",
       "sk-sw-abcdefghijkl-" + tail.substr(1), "sk-sw-abcdefghijk.-" + tail,
       "sk-sw-abcdefghijkl-" + tail.substr(1) + "-"}));
  CAPTURE(text);
  CHECK(PublicIdOf(text) == std::nullopt);
}

TEST_CASE("resource names") {
  struct Row {
    std::string name;
    bool want;
  };
  const auto row = GENERATE(values<Row>({{"a", true},
                                         {"0", true},
                                         {"gpt-5.1:mini_x/y", true},
                                         {std::string(128, 'a'), true},
                                         {"", false},
                                         {std::string(129, 'a'), false},
                                         {"-a", false},
                                         {".a", false},
                                         {"a b", false},
                                         {"a\n", false},
                                         {std::string("a\0", 2), false},
                                         {"caf\xC3\xA9", false},
                                         {"a*", false}}));
  CAPTURE(row.name);
  CHECK(IsResourceName(row.name) == row.want);
}

}  // namespace spillway
