#include "controlplane/options.h"

#include <catch2/catch_all.hpp>
#include <cstdlib>
#include <vector>

namespace spillway {
namespace {

ControlPlaneOptions Parse(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "spillway-controlplane");
  std::vector<char*> argv;
  argv.reserve(arguments.size());
  for (std::string& argument : arguments) argv.push_back(argument.data());
  return ParseControlPlaneOptions(static_cast<int>(argv.size()), argv.data());
}

}  // namespace

TEST_CASE("a control plane's NATS credentials have two names") {
  CHECK(Parse({"--nats-credentials", "/a"}).nats.credentials_file == "/a");
  CHECK(Parse({"--nats-creds", "/b"}).nats.credentials_file == "/b");
  for (const char* name : {"SPILLWAY_NATS_CREDENTIALS", "SPILLWAY_NATS_CREDS"}) {
    CAPTURE(name);
    ::setenv(name, "/c", 1);
    CHECK(Parse({}).nats.credentials_file == "/c");
    ::unsetenv(name);
  }
  CHECK(Parse({}).nats.credentials_file.empty());
}

}  // namespace spillway
