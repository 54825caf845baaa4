#include "common/secret.h"

#include <catch2/catch_all.hpp>
#include <cstring>
#include <new>
#include <sstream>
#include <vector>

namespace spillway {
namespace {

template <typename T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };
static_assert(!Printable<Secret>);
static_assert(!std::is_convertible_v<Secret, std::string>);
static_assert(!std::is_convertible_v<Secret, std::string_view>);

}  // namespace

TEST_CASE("a secret gives its text only when asked") {
  const Secret secret("hunter2");
  CHECK(secret.Reveal() == "hunter2");
  CHECK_FALSE(secret.empty());
  CHECK(Secret().empty());
}

TEST_CASE("copies and moves carry the text") {
  Secret first(std::string(100, 'a'));
  Secret copy = first;
  Secret moved = std::move(first);
  CHECK(copy.Reveal() == std::string(100, 'a'));
  CHECK(moved.Reveal() == std::string(100, 'a'));
  copy = Secret("short");
  CHECK(copy.Reveal() == "short");
  moved = copy;
  CHECK(moved.Reveal() == "short");
  const Secret& same = moved;
  moved = same;
  CHECK(moved.Reveal() == "short");
}

TEST_CASE("a short secret is wiped from the place where it lived") {
  // Short texts live in the object itself, where the test may still look.
  alignas(Secret) std::array<unsigned char, sizeof(Secret)> place{};
  auto* secret = new (place.data()) Secret("swordfish");
  const Secret moved = std::move(*secret);
  secret->~Secret();
  const std::string left(reinterpret_cast<const char*>(place.data()), place.size());
  CHECK_FALSE(left.contains("wordfish"));
  CHECK(moved.Reveal() == "swordfish");
}

TEST_CASE("comparison in constant time compares") {
  CHECK(ConstantTimeEquals("", ""));
  CHECK(ConstantTimeEquals("abc", "abc"));
  CHECK_FALSE(ConstantTimeEquals("abc", "abd"));
  CHECK_FALSE(ConstantTimeEquals("abc", "ab"));
  CHECK_FALSE(ConstantTimeEquals("abc", "xbc"));
  CHECK(ConstantTimeEquals(std::string(1000, 'x'), std::string(1000, 'x')));
}

}  // namespace spillway
