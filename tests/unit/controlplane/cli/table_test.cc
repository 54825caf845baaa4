#include "controlplane/cli/table.h"

#include <catch2/catch_all.hpp>

namespace spillway::cli {
namespace {

TEST_CASE("a table is as wide as its cells and ends no line with spaces") {
  Table table({"NAME", ">COST", "NOTE"});
  table.Row({"a", "1.5", ""});
  table.Row({"longer-name", "1,000", "x"});
  CHECK(table.Text() ==
        "NAME          COST  NOTE\n"
        "a              1.5  -\n"
        "longer-name  1,000  x\n");
}

TEST_CASE("letters of several bytes count as one") {
  Table table({"NAME", "X"});
  table.Row({"naïve", "1"});
  table.Row({"plain", "2"});
  CHECK(table.Text() ==
        "NAME   X\n"
        "naïve  1\n"
        "plain  2\n");
}

TEST_CASE("what comes from outside cannot steer a terminal") {
  CHECK(Printable("a\x1b[31mb\nc\x7f") == "a?[31mb?c?");
  CHECK(Printable("x\xC2\x9By") == "x?y");
  CHECK(Printable("naïve") == "naïve");
}

TEST_CASE("numbers and sizes for people") {
  CHECK(Grouped(0) == "0");
  CHECK(Grouped(999) == "999");
  CHECK(Grouped(1000) == "1,000");
  CHECK(Grouped(-1234567) == "-1,234,567");
  CHECK(SizeText(1023) == "1023 B");
  CHECK(SizeText(1536) == "1.5 KiB");
  CHECK(SizeText(int64_t{5} << 30) == "5.0 GiB");
  CHECK(Joined({"a", "b"}, ", ") == "a, b");
}

}  // namespace
}  // namespace spillway::cli
