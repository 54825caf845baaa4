#include "common/crypto/state_digest.h"

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <map>
#include <random>

#include "common/crypto/sha256.h"

namespace spillway {
namespace {

using State = std::map<std::pair<int, std::string>, std::string>;

StateDigest DigestOf(const State& state) {
  StateDigest digest;
  for (const auto& [id, bytes] : state)
    digest.Add(static_cast<v1::Kind>(id.first), id.second, bytes);
  return digest;
}

}  // namespace

TEST_CASE("an entry's hash covers kind, name and bytes with their lengths") {
  StateDigest digest;
  digest.Add(v1::KIND_MODEL, "ab", "xyz");
  const std::string text("\x02\0\0\0\x02\0\0\0ab\x03\0\0\0xyz", 17);
  CHECK(HexOf(digest.Bytes()) == HexOf(AsBytes(Sha256(text))));
}

TEST_CASE("moving a border between the parts changes the digest") {
  StateDigest a;
  a.Add(v1::KIND_MODEL, "ab", "c");
  StateDigest b;
  b.Add(v1::KIND_MODEL, "a", "bc");
  StateDigest c;
  c.Add(v1::KIND_ROUTE, "ab", "c");
  CHECK(a != b);
  CHECK(a != c);
}

TEST_CASE("the empty state is zero, and what is taken away leaves no trace") {
  StateDigest digest;
  CHECK(digest.Bytes() == std::string(32, '\0'));
  digest.Subtract(v1::KIND_KEY, "k", "1");
  CHECK(digest != StateDigest());
  digest.Add(v1::KIND_KEY, "k", "1");
  CHECK(digest == StateDigest());
}

TEST_CASE("after 1,000 random changes the digest is that of the state, in any order") {
  std::mt19937_64 random(42);
  State state;
  StateDigest digest;
  for (int i = 0; i < 1'000; ++i) {
    const int kind = 1 + static_cast<int>(random() % 7);
    const std::pair id{kind, "name" + std::to_string(random() % 50)};
    if (const auto found = state.find(id); found != state.end()) {
      digest.Subtract(static_cast<v1::Kind>(kind), id.second, found->second);
      state.erase(found);
    }
    if (random() % 4 != 0) {
      state[id] = std::string(random() % 100, static_cast<char>(random()));
      digest.Add(static_cast<v1::Kind>(kind), id.second, state[id]);
    }
    REQUIRE(digest == DigestOf(state));
  }
  std::vector<std::pair<std::pair<int, std::string>, std::string>> shuffled(state.begin(),
                                                                            state.end());
  for (int i = 0; i < 10; ++i) {
    std::ranges::shuffle(shuffled, random);
    StateDigest again;
    for (const auto& [id, bytes] : shuffled)
      again.Add(static_cast<v1::Kind>(id.first), id.second, bytes);
    REQUIRE(again == digest);
  }
}

TEST_CASE("carries and borrows run through all words") {
  const StateDigest ones = StateDigest::FromBytes(std::string(32, '\xFF'));
  StateDigest digest = ones;
  digest.Add(v1::KIND_USER, "u", "x");
  digest.Subtract(v1::KIND_USER, "u", "x");
  CHECK(digest == ones);
  StateDigest wrapped;
  wrapped.Subtract(v1::KIND_USER, "u", "x");
  wrapped.Subtract(v1::KIND_USER, "u", "x");
  wrapped.Add(v1::KIND_USER, "u", "x");
  wrapped.Add(v1::KIND_USER, "u", "x");
  CHECK(wrapped == StateDigest());
}

TEST_CASE("bytes and back") {
  StateDigest digest;
  digest.Add(v1::KIND_TEAM, "t", "b");
  CHECK(digest.Bytes().size() == 32);
  CHECK(StateDigest::FromBytes(digest.Bytes()) == digest);
  CHECK(StateDigest::FromBytes("") == StateDigest());
  CHECK(StateDigest::FromBytes(digest.Bytes() + "more") == digest);
}

}  // namespace spillway
