#include "common/crypto/key_file.h"

#include <atomic>
#include <catch2/catch_all.hpp>
#include <filesystem>
#include <thread>
#include <vector>

#include "tests/fakes/temp_folder.h"

namespace spillway {
namespace {}  // namespace

TEST_CASE("a key file is made with its mode whatever the umask") {
  const TempFolder folder;
  const mode_t old = ::umask(0);
  CHECK(CreateKeyFile(folder.Path("open"), "x", 0600) == true);
  ::umask(0777);
  CHECK(CreateKeyFile(folder.Path("shut"), "y", 0644) == true);
  ::umask(old);
  CHECK(folder.Mode("open") == 0600);
  CHECK(folder.Mode("shut") == 0644);
  CHECK(folder.Read("open") == "x");
}

TEST_CASE("an existing key file is never replaced and no draft stays behind") {
  const TempFolder folder;
  folder.Write("key", "first");
  CHECK(CreateKeyFile(folder.Path("key"), "second", 0600) == false);
  CHECK(folder.Read("key") == "first");
  const auto entries = std::filesystem::directory_iterator(folder.Path(""));
  CHECK(std::distance(begin(entries), end(entries)) == 1);
}

TEST_CASE("of several creators one wins") {
  const TempFolder folder;
  std::atomic<int> winners = 0;
  std::vector<std::jthread> threads;
  threads.reserve(8);
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      winners += CreateKeyFile(folder.Path("key"), std::string(1000, char('a' + t)), 0600).value();
    });
  }
  threads.clear();
  CHECK(winners == 1);
  const std::string content = folder.Read("key");
  CHECK(content == std::string(1000, content.at(0)));
}

TEST_CASE("what cannot be read or made says why") {
  const TempFolder folder;
  const auto absent = ReadKeyFile(folder.Path("absent"));
  REQUIRE_FALSE(absent);
  CHECK(absent.error().code == ErrorCode::kUnavailable);
  CHECK(absent.error().message.contains("No such file"));

  folder.Write("large", std::string(66'000, 'x'));
  CHECK(ReadKeyFile(folder.Path("large")).error().code == ErrorCode::kCorrupt);
  CHECK_FALSE(ReadKeyFile(folder.Path("")));
  CHECK_FALSE(CreateKeyFile(folder.Path("no/such/folder/key"), "x", 0600));
}

}  // namespace spillway
