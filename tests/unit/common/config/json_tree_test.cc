#include "common/config/json_tree.h"

#include <catch2/catch_all.hpp>

namespace spillway::config {
namespace {

using Type = JsonNode::Type;

TEST_CASE("a JSON text keeps its order, its numbers and its doubled keys") {
  const auto root = ParseJson(
      "\n{\"b\": 2.50e-07, \"a\": [1, -0.0, true, null, \"x\\n\\u00e9\\ud83d\\ude00\"], \"b\": "
      "{}} ");
  REQUIRE(root);
  CHECK(root->type == Type::kObject);
  REQUIRE(root->members.size() == 3);
  CHECK(root->members[0].key == "b");
  CHECK(root->members[0].value.text == "2.50e-07");
  CHECK(root->Find("b")->type == Type::kNumber);
  CHECK(root->members[2].value.type == Type::kObject);
  const JsonNode& list = *root->Find("a");
  REQUIRE(list.items.size() == 5);
  CHECK(list.items[1].text == "-0.0");
  CHECK(list.items[2].type == Type::kBool);
  CHECK(list.items[3].type == Type::kNull);
  CHECK(list.items[4].text == "x\n\xc3\xa9\xf0\x9f\x98\x80");
  CHECK(root->Find("c") == nullptr);
  CHECK(list.Find("b") == nullptr);
}

TEST_CASE("what the RFC does not allow is refused with its line") {
  struct Row {
    std::string text;
    std::string want;
  };
  const auto row = GENERATE(values<Row>({
      {"", "line 1: expected a value"},
      {"{\n\n]", "line 3: expected a key"},
      {"{\"a\":1,}", "expected a key"},
      {"{\"a\" 1}", "expected ':'"},
      {"{\"a\":1 \"b\":2}", "expected ',' or '}'"},
      {"[1,]", "expected a value"},
      {"[1 2]", "expected ',' or ']'"},
      {"01", "begins with 0"},
      {"1.", "expected a digit"},
      {"1e", "expected a digit"},
      {"+1", "expected a value"},
      {"NaN", "expected a value"},
      {"nul", "expected a value"},
      {"1 2", "something follows"},
      {"\"\\x\"", "an unknown escape"},
      {"\"\\u12g4\"", "a broken \\u escape"},
      {"\"\\ud800\"", "a lone surrogate"},
      {"\"\\udc00\"", "a lone surrogate"},
      {"\"\\ud800\\u0041\"", "a lone surrogate"},
      {"\"a\nb\"", "a control character"},
      {"\"abc", "a string without its end"},
      {"\"abc\\", "an unknown escape"},
      {"\"\\u", "a broken \\u escape"},
      {"\xff", "not valid UTF-8"},
      {std::string(40, '['), "deeper than 32"},
      {std::string(1001, '1'), "over 1000 bytes"},
      {std::string((16 << 20) + 1, ' '), "larger than 16 MiB"},
  }));
  CAPTURE(row.text.substr(0, 40));
  const auto root = ParseJson(row.text);
  REQUIRE_FALSE(root);
  CHECK_THAT(root.error().message, Catch::Matchers::ContainsSubstring(row.want));
}

TEST_CASE("too many values are refused") {
  std::string text = "[0";
  for (int i = 0; i < 1'000'000; ++i) text += ",0";
  CHECK_FALSE(ParseJson(text + "]"));
}

}  // namespace
}  // namespace spillway::config
