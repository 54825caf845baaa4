#include "common/config/yaml_tree.h"

#include <catch2/catch_all.hpp>
#include <chrono>
#include <format>

namespace spillway::config {
namespace {

std::string Repeated(std::string_view text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

// Each level holds ten aliases of the one before.
std::string Bomb(int levels) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i <= levels; ++i) {
    text += std::format("a{0}: &a{0} [{1}*a{2}]\n", i, Repeated(std::format("*a{}, ", i - 1), 9),
                        i - 1);
  }
  return text;
}

}  // namespace

TEST_CASE("scalars stay as they are written, with their lines") {
  const auto tree = ParseYaml("a: 0.10\nb: \"0.10\"\nc: 2027-01-01\nd: ~\ne: [yes, 010]\n");
  REQUIRE(tree);
  REQUIRE(tree->roots.size() == 1);
  const YamlNode& root = *tree->roots[0];
  REQUIRE(root.type == YamlNode::Type::kMap);
  REQUIRE(root.items.size() == 10);
  CHECK(root.items[1]->text == "0.10");
  CHECK(root.items[3]->text == "0.10");
  CHECK(root.items[5]->text == "2027-01-01");
  CHECK(root.items[5]->line == 3);
  CHECK(root.items[7]->type == YamlNode::Type::kNull);
  CHECK(root.items[9]->items[1]->text == "010");
}

TEST_CASE("several documents are several roots") {
  const auto tree = ParseYaml("---\na: 1\n---\nb: 2\n");
  REQUIRE(tree);
  CHECK(tree->roots.size() == 2);
  CHECK(ParseYaml("")->roots.size() <= 1);
}

TEST_CASE("aliases are followed") {
  const auto tree = ParseYaml("a: &x {k: v}\nb: *x\n");
  REQUIRE(tree);
  CHECK(tree->roots[0]->items[1] == tree->roots[0]->items[3]);
}

TEST_CASE("a hostile text is refused with its reason") {
  struct Row {
    std::string name;
    std::string text;
    std::string want;
  };
  const auto row = GENERATE(values<Row>({
      {"aliases that explode", Bomb(9), "aliases must not repeat"},
      {"an alias of nothing", "a: *x\n", "line 1"},
      {"an alias inside its anchor", "a: &x [*x]\n", "after its anchor's end"},
      {"too deep in flow", Repeated("[", 40) + Repeated("]", 40), "at most 32 levels"},
      {"much too deep", Repeated("[", 100'000), "at most 32 levels"},
      {"too deep by aliases",
       "a: &a " + Repeated("[", 20) + Repeated("]", 20) + "\nb: " + Repeated("[", 20) + "*a" +
           Repeated("]", 20) + "\n",
       "at most 32 levels"},
      {"a tag of an application", "a: !!python/object:os.system x\n", "tags of applications"},
      {"a local tag", "a: !secret x\n", "tags of applications"},
      {"no UTF-8", "a: \xFF\n", "UTF-8"},
      {"UTF-16",
       std::string("\xFF\xFE"
                   "a\0",
                   4),
       "UTF-8"},
      {"a NUL", std::string("a: \0b\n", 6), "control characters"},
      {"an escape sequence", "a: \x1B[31m\n", "control characters"},
      {"no YAML", "a: [1, 2\nb: }\n", "this is no YAML"},
      {"a comma for a document", "'a'\n...\n,.\n", "line 3: this is no YAML"},
      {"a bracket for a document", "a: 1\n---\nb\n...\n]\n", "this is no YAML"},
      {"a tab as indentation", "a:\n\tb: 1\n", "this is no YAML"},
      {"too long", "a: " + std::string((16 << 20) + 1, 'x'), "16 MiB"},
      {"too many values", "[" + Repeated("a,", 2'000'001) + "]", "2000000 values"},
  }));
  CAPTURE(row.name);
  const auto tree = ParseYaml(row.text);
  REQUIRE_FALSE(tree);
  CAPTURE(tree.error().message);
  CHECK(tree.error().message.contains(row.want));
}

TEST_CASE("aliases within the limit are no bomb") { CHECK(ParseYaml(Bomb(3))); }

TEST_CASE("32 levels are allowed") { CHECK(ParseYaml(Repeated("[", 32) + Repeated("]", 32))); }

}  // namespace spillway::config
