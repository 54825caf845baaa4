#include "common/settings.h"

#include <catch2/catch_all.hpp>
#include <cstdlib>

namespace spillway {
namespace {

// The flags of a server as far as the tests need them.
struct Flags {
  std::string listen = "127.0.0.1:8080";
  int64_t threads = 2;
  bool tls = false;
  int64_t drain_timeout_ms = 600'000;
  int64_t body_bytes_max = 32 << 20;

  std::optional<Settings::Exit> Parse(std::vector<const char*> arguments) {
    Settings settings("spillway-test", "A server of the tests.");
    settings.Add("listen,--address", listen, "where to listen");
    settings.Add("threads", threads, "event loops");
    settings.Add("tls", tls, "speak TLS");
    settings.AddDuration("drain-timeout", drain_timeout_ms, "how long to wait for streams");
    settings.AddBytes("body-bytes-max", body_bytes_max, "largest request body");
    arguments.insert(arguments.begin(), "spillway-test");
    return settings.Parse(static_cast<int>(arguments.size()), arguments.data());
  }
};

// Sets a variable for one test.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { ::unsetenv(name_); }

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("without flags the defaults stand") {
  Flags flags;
  CHECK_FALSE(flags.Parse({}));
  CHECK(flags.listen == "127.0.0.1:8080");
  CHECK(flags.drain_timeout_ms == 600'000);
  CHECK_FALSE(flags.tls);
}

TEST_CASE("flags set values of every kind") {
  Flags flags;
  CHECK_FALSE(flags.Parse({"--listen", "[::1]:9", "--threads=8", "--tls", "--drain-timeout", "90s",
                           "--body-bytes-max=64KiB"}));
  CHECK(flags.listen == "[::1]:9");
  CHECK(flags.threads == 8);
  CHECK(flags.tls);
  CHECK(flags.drain_timeout_ms == 90'000);
  CHECK(flags.body_bytes_max == 65'536);
}

TEST_CASE("a flag of two names answers to both, and to both variables, the first before") {
  Flags flags;
  CHECK_FALSE(flags.Parse({"--address", "[::1]:9"}));
  CHECK(flags.listen == "[::1]:9");
  const Variable address("SPILLWAY_ADDRESS", "0.0.0.0:2");
  CHECK_FALSE(flags.Parse({}));
  CHECK(flags.listen == "0.0.0.0:2");
  const Variable listen("SPILLWAY_LISTEN", "0.0.0.0:1");
  CHECK_FALSE(flags.Parse({}));
  CHECK(flags.listen == "0.0.0.0:1");
  CHECK_FALSE(flags.Parse({"--address", "[::1]:9"}));
  CHECK(flags.listen == "[::1]:9");
}

TEST_CASE("a switch shows itself and how to switch it off") {
  Flags flags;
  const auto exit_now = flags.Parse({"--help"});
  REQUIRE(exit_now);
  CHECK(exit_now->text.contains("--tls,--no-tls"));
}

TEST_CASE("a flag can be switched off") {
  Flags flags{.tls = true};
  CHECK_FALSE(flags.Parse({"--no-tls"}));
  CHECK_FALSE(flags.tls);
}

TEST_CASE("each flag has its environment variable, and the command line wins") {
  const Variable listen("SPILLWAY_LISTEN", "0.0.0.0:1");
  const Variable drain("SPILLWAY_DRAIN_TIMEOUT", "5s");
  const Variable tls("SPILLWAY_TLS", "true");
  Flags flags;
  CHECK_FALSE(flags.Parse({"--listen", "0.0.0.0:2"}));
  CHECK(flags.listen == "0.0.0.0:2");
  CHECK(flags.drain_timeout_ms == 5'000);
  CHECK(flags.tls);
}

TEST_CASE("a bad flag is one clear line and exit 2") {
  struct Row {
    std::vector<const char*> arguments;
    std::string want;
  };
  const auto row = GENERATE(values<Row>({
      {{"--drain-timeout", "soon"}, "--drain-timeout: \"soon\" must be a whole number with ms"},
      {{"--body-bytes-max", "1TB"}, "--body-bytes-max: \"1TB\" must be a whole number of bytes"},
      {{"--threads", "many"}, "--threads"},
      {{"--lisen", "x"}, "--lisen"},
      {{"stray"}, "stray"},
      {{"--listen"}, "--listen"},
  }));
  Flags flags;
  const auto exit_now = flags.Parse(row.arguments);
  REQUIRE(exit_now);
  CAPTURE(exit_now->text);
  CHECK(exit_now->code == 2);
  CHECK(exit_now->text.starts_with("spillway-test: "));
  CHECK(exit_now->text.contains(row.want));
  CHECK(exit_now->text.find('\n') == exit_now->text.size() - 1);
}

TEST_CASE("a bad environment variable is refused like a flag") {
  const Variable drain("SPILLWAY_DRAIN_TIMEOUT", "10 minutes");
  Flags flags;
  const auto exit_now = flags.Parse({});
  REQUIRE(exit_now);
  CHECK(exit_now->code == 2);
  CHECK(exit_now->text.contains("10 minutes"));
}

TEST_CASE("help shows every flag with its default and variable") {
  Flags flags;
  const auto exit_now = flags.Parse({"--help"});
  REQUIRE(exit_now);
  CHECK(exit_now->code == 0);
  for (const char* text : {"--listen", "127.0.0.1:8080", "SPILLWAY_LISTEN", "--drain-timeout",
                           "10m", "SPILLWAY_DRAIN_TIMEOUT", "32MiB", "SPILLWAY_BODY_BYTES_MAX",
                           "speak TLS [false]", "SPILLWAY_TLS", "--version"}) {
    CAPTURE(text, exit_now->text);
    CHECK(exit_now->text.contains(text));
  }
}

TEST_CASE("the version names the program and the build") {
  Flags flags;
  const auto exit_now = flags.Parse({"--version"});
  REQUIRE(exit_now);
  CHECK(exit_now->code == 0);
  CHECK(exit_now->text == "spillway-test " + std::string(Version()) + "\n");
  CHECK_THAT(std::string(Version()), Catch::Matchers::Matches(R"(\d+\.\d+\.\d+(\+[0-9a-f]{12})?)"));
}

TEST_CASE("the environment tells unset from empty") {
  const Variable empty("SPILLWAY_TEST_EMPTY", "");
  CHECK(Environment("SPILLWAY_TEST_EMPTY") == "");
  CHECK(Environment("SPILLWAY_TEST_UNSET") == std::nullopt);
}

}  // namespace spillway
