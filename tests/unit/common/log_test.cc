#include "common/log.h"

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <thread>
#include <vector>

#include "tests/fakes/captured_log.h"

namespace spillway::log {

TEST_CASE("one event is one JSON line with its fields") {
  const std::string line = CapturedLog([] {
    Warn("journal \"full\"\n", {{"bytes", int64_t{-5}}, {"path", "/x\x1B"}, {"ok", "1"}});
  });
  CHECK_THAT(
      line, Catch::Matchers::Matches(
                R"(\{"time":"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ","level":"warn",)"
                R"("message":"journal \\"full\\"\\n","bytes":-5,"path":"/x\\u001b","ok":"1"\}\n)"));
}

TEST_CASE("events below the level are not written") {
  REQUIRE(SetLevel("warn"));
  const std::string text = CapturedLog([] {
    Debug("one");
    Info("two");
    Warn("three");
    Fault("four");
  });
  REQUIRE(SetLevel("info"));
  CHECK(std::ranges::count(text, '\n') == 2);
  CHECK(text.contains(R"("level":"warn","message":"three")"));
  CHECK(text.contains(R"("level":"error","message":"four")"));
}

TEST_CASE("an unknown level is refused and changes nothing") {
  for (const char* name : {"", "INFO", "trace", "warning"}) {
    const auto result = SetLevel(name);
    REQUIRE_FALSE(result);
    CHECK(result.error().message.contains("debug, info, warn or error"));
  }
}

TEST_CASE("a runaway value is cut") {
  const std::string line = CapturedLog([] { Info("m", {{"v", std::string(1'000'000, 'x')}}); });
  CHECK(line.size() < 5'000);
  CHECK(line.ends_with("\"}\n"));
}

TEST_CASE("lines of several threads are never mixed") {
  const std::string text = CapturedLog([] {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([] {
        for (int i = 0; i < 200; ++i) Info("m", {{"v", std::string(300, 'x')}});
      });
    }
  });
  size_t lines = 0;
  for (size_t start = 0; start < text.size(); ++lines) {
    const size_t end = text.find('\n', start);
    REQUIRE(text.substr(start, 8) == R"({"time":)");
    REQUIRE(text.substr(end - 2, 2) == "\"}");
    start = end + 1;
  }
  CHECK(lines == 800);
}

}  // namespace spillway::log
