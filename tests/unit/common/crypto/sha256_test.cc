#include "common/crypto/sha256.h"

#include <catch2/catch_all.hpp>
#include <thread>
#include <vector>

namespace spillway {

TEST_CASE("the examples of FIPS 180") {
  struct Row {
    std::string input;
    std::string want;
  };
  const auto row = GENERATE(values<Row>({
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1'000'000, 'a'),
       "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
  }));
  CHECK(HexOf(AsBytes(Sha256(row.input))) == row.want);
}

TEST_CASE("parts are hashed as one text") {
  CHECK(Sha256Parts({"a", "", "bc"}) == Sha256("abc"));
  CHECK(Sha256Parts({}) == Sha256(""));
}

TEST_CASE("threads do not disturb each other") {
  std::vector<std::jthread> threads;
  threads.reserve(4);
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, &wrong] {
      const std::string text(100, static_cast<char>('a' + t));
      const Sha256Digest first = Sha256(text);
      for (int i = 0; i < 2'000; ++i) wrong += Sha256(text) == first ? 0 : 1;
    });
  }
  threads.clear();
  CHECK(wrong == 0);
}

TEST_CASE("hex digits and back") {
  CHECK(HexOf(std::string("\0\x7F\xFF", 3)) == "007fff");
  CHECK(BytesOfHex("007fFF") == std::string("\0\x7F\xFF", 3));
  CHECK(BytesOfHex("") == "");
  for (const char* text : {"0", "0g", "0x", " 0", "00 "}) {
    CAPTURE(text);
    CHECK(BytesOfHex(text) == std::nullopt);
  }
}

}  // namespace spillway
