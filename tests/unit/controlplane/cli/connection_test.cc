#include "controlplane/cli/connection.h"

#include <catch2/catch_all.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "tests/fakes/temp_folder.h"

namespace spillway::cli {
namespace {

namespace fs = std::filesystem;

// An environment and a home of its own.
class Home {
 public:
  Home() { values["HOME"] = folder_.path(); }

  std::string Write(const std::string& name, const std::string& text, fs::perms mode) const {
    const fs::path path = folder_.Path(name);
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
    fs::permissions(path, mode);
    return path.string();
  }
  void WriteConfig(const std::string& text, fs::perms mode = fs::perms::owner_read) const {
    Write(".config/spillway/config", text, mode);
  }
  Answer<Connection> Resolve(const ConnectionFlags& flags = {}) const {
    return ResolveConnection(flags, [this](const char* name) -> std::optional<std::string> {
      const auto it = values.find(name);
      if (it == values.end()) return std::nullopt;
      return it->second;
    });
  }

  std::map<std::string, std::string> values;

 private:
  TempFolder folder_;
};

TEST_CASE("flags win over the environment, that over the file, that over the default") {
  Home home;
  CHECK(home.Resolve()->address == "127.0.0.1:7070");
  home.WriteConfig("# where\nSPILLWAY_ADMIN = localhost:1\nSPILLWAY_ADMIN_TOKEN=\"from-file\"\n");
  CHECK(home.Resolve()->address == "localhost:1");
  CHECK(home.Resolve()->token.Reveal() == "from-file");
  home.values["SPILLWAY_ADMIN"] = "localhost:2";
  home.values["SPILLWAY_ADMIN_TOKEN"] = "from-environment";
  CHECK(home.Resolve()->address == "localhost:2");
  CHECK(home.Resolve()->token.Reveal() == "from-environment");
  const ConnectionFlags flags{
      .admin = "localhost:3",
      .token_file = home.Write("token", "from-token-file\n", fs::perms::owner_read)};
  CHECK(home.Resolve(flags)->address == "localhost:3");
  CHECK(home.Resolve(flags)->token.Reveal() == "from-token-file");
}

TEST_CASE("a scheme or a CA file says whether TLS is spoken") {
  Home home;
  CHECK_FALSE(home.Resolve({.admin = "localhost:1"})->tls);
  CHECK_FALSE(home.Resolve({.admin = "http://localhost:1"})->tls);
  CHECK(home.Resolve({.admin = "https://example.org:1/"})->tls);
  CHECK(home.Resolve({.admin = "https://example.org:1/"})->address == "example.org:1");
  CHECK(home.Resolve({.admin = "localhost:1", .ca_file = "/ca.pem"})->tls);
}

TEST_CASE("a token does not travel in clear to another machine") {
  struct Row {
    const char* address;
    bool allowed;
  };
  const auto row = GENERATE(values<Row>({{"127.0.0.1:1", true},
                                         {"127.9.9.9:1", true},
                                         {"localhost:1", true},
                                         {"[::1]:1", true},
                                         {"https://example.org:1", true},
                                         {"example.org:1", false},
                                         {"10.0.0.1:1", false},
                                         {"127.0.0.example:1", false},
                                         {"localhost.example.org:1", false},
                                         {"[fe80::1]:1", false}}));
  INFO(row.address);
  Home home;
  home.values["SPILLWAY_ADMIN_TOKEN"] = "t";
  const auto resolved = home.Resolve({.admin = row.address});
  CHECK(resolved.has_value() == row.allowed);
  CHECK(home.Resolve({.admin = row.address, .insecure_transport = true}).has_value());
  home.values.erase("SPILLWAY_ADMIN_TOKEN");
  CHECK(home.Resolve({.admin = row.address}).has_value());
}

TEST_CASE("settings that make no sense are usage errors") {
  Home home;
  ConnectionFlags flags;
  SECTION("no port") { flags.admin = "localhost"; }
  SECTION("a bad port") { flags.admin = "localhost:99999"; }
  SECTION("a certificate without its key") { flags.cert = "/c.pem"; }
  SECTION("a token file that is not there") { flags.token_file = "/nowhere/token"; }
  SECTION("an empty token file") {
    flags.token_file = home.Write("token", "\n", fs::perms::owner_read);
  }
  SECTION("a token of two words") { flags.token = "a b"; }
  SECTION("a line that is no setting") { home.WriteConfig("SPILLWAY_ADMIN\n"); }
  SECTION("an unknown name") { home.WriteConfig("SPILWAY_ADMIN=x:1\n"); }
  SECTION("a token that others can read") {
    home.WriteConfig("SPILLWAY_ADMIN_TOKEN=t\n", fs::perms::owner_read | fs::perms::group_read);
  }
  const auto resolved = home.Resolve(flags);
  REQUIRE_FALSE(resolved.has_value());
  CHECK(resolved.error().exit == kUsage);
}

TEST_CASE("a file without a token may be read by others") {
  Home home;
  home.WriteConfig("SPILLWAY_ADMIN=localhost:5\n", fs::perms::owner_read | fs::perms::others_read);
  CHECK(home.Resolve()->address == "localhost:5");
}

}  // namespace
}  // namespace spillway::cli
