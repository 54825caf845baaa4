#include "dataplane/options.h"

#include <catch2/catch_all.hpp>
#include <cstdlib>
#include <vector>

namespace spillway {
namespace {

DataPlaneOptions Parse(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"spillway-dataplane", "--config", "spillway.yaml"});
  std::vector<char*> argv;
  argv.reserve(arguments.size());
  for (std::string& argument : arguments) argv.push_back(argument.data());
  return ParseOptionsOrExit(static_cast<int>(argv.size()), argv.data());
}

}  // namespace

TEST_CASE("a data plane's NATS credentials have two names") {
  CHECK(Parse({"--nats-credentials", "/a"}).nats_credentials_file == "/a");
  CHECK(Parse({"--nats-creds", "/b"}).nats_credentials_file == "/b");
  for (const char* name : {"SPILLWAY_NATS_CREDENTIALS", "SPILLWAY_NATS_CREDS"}) {
    CAPTURE(name);
    ::setenv(name, "/c", 1);
    CHECK(Parse({}).nats_credentials_file == "/c");
    ::unsetenv(name);
  }
  CHECK(Parse({}).nats_credentials_file.empty());
}

}  // namespace spillway
