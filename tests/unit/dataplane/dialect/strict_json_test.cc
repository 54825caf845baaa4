#include "dataplane/dialect/strict_json.h"

#include <catch2/catch_all.hpp>
#include <string>

#include "tests/unit/dataplane/dialect/padded.h"

namespace spillway::openai {
namespace {

std::string Nested(int depth) {
  return R"({"a":)" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
}

// `count` distinct keys, and one of them again at the end when asked.
std::string ManyKeys(int count, bool twice) {
  std::string body = R"({"model":"m")";
  for (int i = 0; i < count; ++i) body += ",\"key" + std::to_string(i) + "\":" + std::to_string(i);
  if (twice) body += ",\"\\u006bey" + std::to_string(count / 2) + "\":0";
  return body + "}";
}

struct JsonRow {
  std::string name;
  std::string body;
  std::string want;  // part of the message; empty: accepted
  ErrorCode code = ErrorCode::kInvalidRequest;
};

TEST_CASE("the strict pass refuses what parsers read differently") {
  const auto row = GENERATE(values<JsonRow>({
      {"plain", R"({"model":"cheap"})", ""},
      {"white space around", " \t\r\n{ \"model\" : \"cheap\" , \"a\" : [ 1 , { } ] } \n", ""},
      {"duplicate key", R"({"model":"cheap","model":"expensive"})", "duplicate",
       ErrorCode::kDuplicateKey},
      {"escaped second", R"({"model":"cheap","mod\u0065l":"expensive"})", "duplicate",
       ErrorCode::kDuplicateKey},
      {"escaped first", R"({"mod\u0065l":"cheap","model":"expensive"})", "duplicate",
       ErrorCode::kDuplicateKey},
      {"only escaped", R"({"mod\u0065l":"cheap"})", ""},
      {"duplicate far inside", R"({"a":[{"b":{"c":1,"d":2,"\u0063":3}}]})", "duplicate",
       ErrorCode::kDuplicateKey},
      {"duplicate long keys", R"({"a_key_of_many_bytes":1,"a_key_of_m\u0061ny_bytes":2})",
       "duplicate", ErrorCode::kDuplicateKey},
      {"empty key twice", R"({"":1,"":2})", "duplicate", ErrorCode::kDuplicateKey},
      {"same key in different objects", R"({"a":{"x":1},"b":{"x":1},"x":[{"x":1},{"x":1}]})", ""},
      {"keys that share ends", R"({"abcdefgh1ABCDEFGH":1,"abcdefgh2ABCDEFGH":2})", ""},
      {"nul in a key", R"({"a":1,"a\u0000":2})", ""},
      {"two values", R"({"model":"cheap"}{"model":"expensive"})", "bytes behind"},
      {"comment behind", R"({"model":"cheap"}/* */)", "bytes behind"},
      {"comment inside", R"({"model":/**/"cheap"})", "expected a value"},
      {"nul behind", std::string("{\"model\":\"m\"}\0", 14), "bytes behind"},
      {"byte order mark", "\xef\xbb\xbf{}", "byte order mark"},
      {"invalid utf-8 in a value", "{\"a\":\"\xff\"}", "UTF-8"},
      {"invalid utf-8 in a key", "{\"\xc0\xaf\":1}", "UTF-8"},
      {"surrogate in utf-8", "{\"a\":\"\xed\xa0\x80\"}", "UTF-8"},
      {"cut utf-8", "{\"a\":\"\xe2\x82\"}", "UTF-8"},
      {"depth 128", Nested(128), ""},
      {"depth 129", Nested(129), "deeper than 128"},
      {"depth 100000", Nested(100'000), "deeper than 128"},
      {"open depth 100000", std::string(100'000, '['), "expected an object"},
      {"objects 100000 deep",
       [] {
         std::string s;
         for (int i = 0; i < 100'000; ++i) s += R"({"a":)";
         return s;
       }(),
       "deeper than 128"},
      {"lone high surrogate", R"({"a":"\ud800"})", "lone surrogate"},
      {"lone low surrogate", R"({"a":"\udc00"})", "lone surrogate"},
      {"reversed pair", R"({"a":"\udc00\ud800"})", "lone surrogate"},
      {"high and text", R"({"a":"\ud800x"})", "lone surrogate"},
      {"high and another escape", R"({"a":"\ud800\n"})", "lone surrogate"},
      {"high and high", R"({"a":"\ud800\ud800"})", "lone surrogate"},
      {"pair", R"({"a":"\ud83d\ude00"})", ""},
      {"pair as a key, and plain", "{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}", "duplicate",
       ErrorCode::kDuplicateKey},
      {"bad hex", R"({"a":"\u00g0"})", "\\u escape"},
      {"short hex at the end", R"({"a":"\u00)", "\\u escape"},
      {"unknown escape", R"({"a":"\x41"})", "unknown escape"},
      {"every escape", R"({"a":"\"\\\/\b\f\n\r\t\u00e9"})", ""},
      {"raw line end", "{\"a\":\"x\ny\"}", "control character"},
      {"raw tab", "{\"a\":\"\t\"}", "control character"},
      {"del is fine", "{\"a\":\"\x7f\"}", ""},
      {"open string", R"({"a":"b)", "without its end"},
      {"string open behind a backslash", R"({"a":"b\)", "unknown escape"},
      {"open object", R"({"a":1)", "expected ',' or '}'"},
      {"open array", R"({"a":[1)", "expected ',' or ']'"},
      {"trailing comma", R"({"a":1,})", "expected a key"},
      {"leading comma", R"({,"a":1})", "expected a key"},
      {"double comma", R"({"a":[1,,2]})", "expected a value"},
      {"trailing comma in array", R"({"a":[1,]})", "expected a value"},
      {"no colon", R"({"a" 1})", "expected ':'"},
      {"no value", R"({"a":})", "expected a value"},
      {"single quotes", R"({'a':1})", "expected a key"},
      {"bare key", R"({a:1})", "expected a key"},
      {"cut literal", R"({"a":tru})", "expected a value"},
      {"long literal", R"({"a":truex})", "expected ','"},
      {"capital literal", R"({"a":True})", "expected a value"},
      {"nan", R"({"a":NaN})", "expected a value"},
      {"infinity", R"({"a":-Infinity})", "expected a value"},
      {"array", R"([{"model":"m"}])", "expected an object"},
      {"string", R"("model")", "expected an object"},
      {"empty", "", "expected an object"},
      {"white space only", "  \n", "expected an object"},
      {"form feed as space", "{\f}", "expected a key"},
      {"no-break space", "\xc2\xa0{}", "expected an object"},
      {"many keys", ManyKeys(5000, false), ""},
      {"many keys, one twice", ManyKeys(5000, true), "duplicate", ErrorCode::kDuplicateKey},
      {"33 keys, one twice", ManyKeys(32, true), "duplicate", ErrorCode::kDuplicateKey},
      {"32 keys, one twice", ManyKeys(31, true), "duplicate", ErrorCode::kDuplicateKey},
  }));
  INFO(row.name);
  const Padded body(row.body);
  const auto fields = ScanStrict(body.view());
  if (row.want.empty()) {
    if (!fields) FAIL(fields.error().message);
    return;
  }
  REQUIRE_FALSE(fields.has_value());
  CHECK(fields.error().code == row.code);
  CHECK_THAT(fields.error().message, Catch::Matchers::ContainsSubstring(row.want));
}

TEST_CASE("numbers follow the grammar and fit a double") {
  struct Number {
    std::string text;
    bool good;
  };
  const auto row = GENERATE(values<Number>({
      {"0", true},
      {"-0", true},
      {"10", true},
      {"0.5", true},
      {"1e5", true},
      {"1E+5", true},
      {"1.5e-5", true},
      {"123456789012345678901234567890", true},
      {"1e308", true},
      {"1e-400", true},
      {"1.7976931348623157e308", true},
      {"0e999999", true},
      {std::string(999, '0').insert(1, "."), true},
      {"1e309", false},
      {"-1e400", false},
      {"1e999999999999999999", false},
      {std::string(400, '9'), false},
      {std::string(400, '9') + "e-5", false},
      {std::string(1001, '0').insert(1, "."), false},
      {"01", false},
      {"-01", false},
      {"00", false},
      {"+1", false},
      {"-", false},
      {".5", false},
      {"1.", false},
      {"1.e5", false},
      {"1e", false},
      {"1e+", false},
      {"0x10", false},
      {"1_000", false},
      {"--1", false},
      {"1 2", false},
      {"\xd9\xa1", false},
  }));
  INFO(row.text);
  const Padded inside(R"({"a":[)" + row.text + "]}");
  CHECK(ScanStrict(inside.view()).has_value() == row.good);
  const Padded member(R"({"a":)" + row.text + R"(,"b":1})");
  CHECK(ScanStrict(member.view()).has_value() == row.good);
}

TEST_CASE("policy fields in another case are refused at the top level only") {
  struct Twin {
    std::string body;
    std::string param;  // empty: accepted
  };
  const auto row = GENERATE(values<Twin>({
      {R"({"Model":"x"})", "model"},
      {R"({"model":"a","MODEL":"x"})", "model"},
      {R"({"Stream":true})", "stream"},
      {R"({"Stream_Options":{}})", "stream_options"},
      {R"({"max_Tokens":1})", "max_tokens"},
      {R"({"MaxTokens":1})", ""},
      {R"({"Max_Completion_Tokens":1})", "max_completion_tokens"},
      {R"({"Tools":[]})", "tools"},
      {R"({"USER":"x"})", "user"},
      {R"({"Metadata":{}})", "metadata"},
      {R"({"N":2})", "n"},
      {R"({"Service_tier":"flex"})", "service_tier"},
      {R"({"Best_of":2})", "best_of"},
      {"{\"\xc5\xbftream\":true}", "stream"},
      {"{\"u\xc5\xbf"
       "er\":\"x\"}",
       "user"},
      {"{\"max_to\xe2\x84\xaa"
       "ens\":1}",
       "max_tokens"},
      {R"({"\u017ftream":true})", "stream"},
      {R"({"stream_options":{"Include_Usage":false}})", "stream_options.include_usage"},
      {R"({"a":{"Model":"x"},"tools_":1,"Temperature":1})", ""},
      {R"({"metadata":{"User":"x"}})", ""},
  }));
  INFO(row.body);
  const Padded body(row.body);
  const auto fields = ScanStrict(body.view());
  REQUIRE(fields.has_value() == row.param.empty());
  if (!fields) CHECK(fields.error().param == row.param);
}

TEST_CASE("a body of a hundred thousand keys is no burden") {
  std::string text = "{\"a\":{";
  for (int i = 0; i < 200'000; ++i) text += (i ? ",\"" : "\"") + std::to_string(i) + "common\":0";
  text += "}}";
  const Padded body(text);
  const auto start = std::chrono::steady_clock::now();
  CHECK(ScanStrict(body.view()).has_value());
  // A quadratic search would take minutes.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("over a million keys open at once are refused") {
  std::string text = "{";
  for (int i = 0; i < 1'000'100; ++i) text += (i ? ",\"" : "\"") + std::to_string(i) + "\":0";
  text += "}";
  const Padded body(text);
  const auto fields = ScanStrict(body.view());
  REQUIRE_FALSE(fields.has_value());
  CHECK(fields.error().code == ErrorCode::kInvalidRequest);
}

}  // namespace
}  // namespace spillway::openai
