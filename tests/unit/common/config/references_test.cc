#include "common/config/references.h"

#include <catch2/catch_all.hpp>
#include <cstdlib>
#include <format>

#include "tests/fakes/temp_folder.h"

namespace spillway::config {
namespace {

Result<std::string> Echo(std::string_view scheme, std::string_view name) {
  if (name == "MISSING") return Fail(ErrorCode::kUnavailable, "MISSING is not set");
  return std::format("<{} {}>", scheme, name);
}

}  // namespace

TEST_CASE("what is a reference") {
  struct Row {
    std::string text;
    bool want;
  };
  const auto row = GENERATE(values<Row>({{"${env:OPENAI_API_KEY}", true},
                                         {"${env:_x9}", true},
                                         {"${file:/run/secrets/key}", true},
                                         {"${file:with spaces}", true},
                                         {"${env:9X}", false},
                                         {"${env:A-B}", false},
                                         {"${env:}", false},
                                         {"${file:}", false},
                                         {"${file:a\nb}", false},
                                         {"${vault:x}", false},
                                         {"${OPENAI_API_KEY}", false},
                                         {"$env:X", false},
                                         {"a${env:X}", false},
                                         {"${env:X}b", false},
                                         {"${env:X}${env:Y}", false},
                                         {"", false}}));
  CAPTURE(row.text);
  CHECK(ParseReference(row.text).has_value() == row.want);
}

TEST_CASE("references inside a text are resolved") {
  CHECK(ResolveText("plain", &Echo) == "plain");
  CHECK(ResolveText("", &Echo) == "");
  CHECK(ResolveText("http://${env:H}:${file:p}/v1", &Echo) == "http://<env H>:<file p>/v1");
  CHECK(ResolveText("$5 {x}", &Echo) == "$5 {x}");
  CHECK(ResolveText("${env:MISSING}", &Echo).error().message == "MISSING is not set");
  CHECK_FALSE(ResolveText("${env:X", &Echo));
  CHECK_FALSE(ResolveText("${nope}", &Echo));
  const auto large = [](std::string_view, std::string_view) -> Result<std::string> {
    return std::string(40'000, 'x');
  };
  CHECK_FALSE(ResolveText("${env:A}${env:B}", large));
}

TEST_CASE("the system's references") {
  const TempFolder folder;
  const ReadReference read = SystemReferences();
  ::setenv("SPILLWAY_TEST_REFERENCE", "from-env", 1);
  CHECK(read("env", "SPILLWAY_TEST_REFERENCE") == "from-env");
  ::unsetenv("SPILLWAY_TEST_REFERENCE");
  CHECK(read("env", "SPILLWAY_TEST_REFERENCE").error().message.contains("is not set"));
  CHECK(read("file", folder.Write("key", "from-file\r\n\n")) == "from-file");
  CHECK_FALSE(read("file", folder.Path("absent")));
  CHECK_FALSE(read("file", folder.Write("large", std::string(70'000, 'x'))));
}

TEST_CASE("what may be sent as a credential") {
  CHECK(CheckCredentialText("sk-abc~!"));
  for (const std::string& text :
       {std::string(), std::string("a b"), std::string("a\nX: y"), std::string("caf\xC3\xA9"),
        std::string("a\x7F"), std::string(4097, 'a')}) {
    const auto result = CheckCredentialText(text);
    REQUIRE_FALSE(result);
    if (text.size() > 1) CHECK_FALSE(result.error().message.contains(text));
  }
}

}  // namespace spillway::config
