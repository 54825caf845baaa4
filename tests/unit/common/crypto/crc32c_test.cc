#include "common/crypto/crc32c.h"

#include <catch2/catch_all.hpp>
#include <random>

namespace spillway {

TEST_CASE("the examples of RFC 3720") {
  struct Row {
    std::string name;
    std::string input;
    uint32_t want;
  };
  std::string rising;
  for (int i = 0; i < 32; ++i) rising += static_cast<char>(i);
  const auto row = GENERATE_COPY(values<Row>({
      {"empty", "", 0},
      {"32 zeros", std::string(32, '\0'), 0x8A9136AA},
      {"32 ones", std::string(32, '\xFF'), 0x62A8AB43},
      {"rising", rising, 0x46DD794E},
      {"falling", std::string(rising.rbegin(), rising.rend()), 0x113FDB5C},
      {"digits", "123456789", 0xE3069283},
  }));
  CAPTURE(row.name);
  CHECK(Crc32c(row.input) == row.want);
  CHECK(Crc32cByTable(row.input) == row.want);
}

TEST_CASE("instruction and table agree, whole and in parts") {
  std::mt19937_64 random(1);
  for (size_t size = 0; size < 300; ++size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    const uint32_t crc = Crc32c(bytes);
    REQUIRE(Crc32cByTable(bytes) == crc);
    const size_t cut = size == 0 ? 0 : random() % size;
    REQUIRE(Crc32c(bytes.substr(cut), Crc32c(bytes.substr(0, cut))) == crc);
  }
}

}  // namespace spillway
