#include "controlplane/alerts/signature.h"

#include <catch2/catch_all.hpp>
#include <string>

namespace spillway::alerts {
namespace {

std::string Bytes(std::string_view hex) { return BytesOfHex(hex).value(); }

TEST_CASE("HMAC-SHA256 gives the published vectors (RFC 4231)") {
  struct Case {
    const char* name;
    std::string key, message;
    const char* want;
  };
  const Case kCases[] = {
      {"1", std::string(20, '\x0b'), "Hi There",
       "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
      {"2", "Jefe", "what do ya want for nothing?",
       "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
      {"3", std::string(20, '\xaa'), std::string(50, '\xdd'),
       "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
      {"4", Bytes("0102030405060708090a0b0c0d0e0f10111213141516171819"), std::string(50, '\xcd'),
       "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
      {"6, a key longer than a block", std::string(131, '\xaa'),
       "Test Using Larger Than Block-Size Key - Hash Key First",
       "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
      {"7", std::string(131, '\xaa'),
       "This is a test using a larger than block-size key and a larger than block-size data. The "
       "key needs to be hashed before being used by the HMAC algorithm.",
       "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) {
      CHECK(HexOf(AsBytes(HmacSha256(test.key, test.message))) == test.want);
    }
  }
}

TEST_CASE("a signature covers the secret, the time and the body") {
  const std::string signature = SignatureOf("secret", 1'767'225'600, R"({"type":"test"})");
  CHECK(signature == "v1=" + HexOf(AsBytes(HmacSha256("secret", R"(1767225600.{"type":"test"})"))));
  CHECK(signature != SignatureOf("Secret", 1'767'225'600, R"({"type":"test"})"));
  CHECK(signature != SignatureOf("secret", 1'767'225'601, R"({"type":"test"})"));
  CHECK(signature != SignatureOf("secret", 1'767'225'600, R"({"type":"tesT"})"));
}

}  // namespace
}  // namespace spillway::alerts
