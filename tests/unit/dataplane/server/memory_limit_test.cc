#include "dataplane/server/memory_limit.h"

#include <unistd.h>

#include <catch2/catch_all.hpp>
#include <filesystem>
#include <map>
#include <string>

#include "tests/fakes/temp_folder.h"

namespace spillway {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

int64_t Machine() { return int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE); }

struct Row {
  const char* name;
  const char* groups;
  std::map<std::string, std::string> files;  // below /sys/fs/cgroup
  int64_t want;                              // 0: what the machine has
};

TEST_CASE("the memory limit is the least of the control groups' and the machine's") {
  const Row rows[] = {
      {"no control groups", "", {}, 0},
      {"a container's own group", "0::/\n", {{"memory.max", "104857600\n"}}, 100 * kMiB},
      {"no limit", "0::/\n", {{"memory.max", "max\n"}}, 0},
      {"more than the machine has", "0::/\n", {{"memory.max", "9000000000000000000\n"}}, 0},
      {"more than a number holds", "0::/\n", {{"memory.max", "99999999999999999999\n"}}, 0},
      {"a group of a group",
       "0::/outer/inner\n",
       {{"outer/memory.max", "52428800\n"}, {"outer/inner/memory.max", "104857600\n"}},
       50 * kMiB},
      {"a path of the host's", "0::/kubepods/pod7\n", {{"memory.max", "104857600\n"}}, 100 * kMiB},
      {"version 1",
       "3:cpu,cpuacct:/a\n2:memory:/a\n0::/\n",
       {{"memory/a/memory.limit_in_bytes", "104857600\n"},
        {"memory/memory.limit_in_bytes", "9223372036854771712\n"}},
       100 * kMiB},
      {"lines that mean nothing", "nonsense\n0:\n1::\n2:memory:x\n\n", {{"memory.max", "1\n"}}, 0},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      const TempFolder root;
      std::filesystem::create_directories(root.Path("proc/self"));
      root.Write("proc/self/cgroup", row.groups);
      for (const auto& [file, text] : row.files) {
        const std::string path = "sys/fs/cgroup/" + file;
        std::filesystem::create_directories(std::filesystem::path(root.Path(path)).parent_path());
        root.Write(path, text);
      }
      CHECK(MemoryLimitBytes(root.path()) == (row.want == 0 ? Machine() : row.want));
    }
  }
}

TEST_CASE("four fifths of the limit are used before requests are refused") {
  const TempFolder root;
  std::filesystem::create_directories(root.Path("proc/self"));
  std::filesystem::create_directories(root.Path("sys/fs/cgroup"));
  root.Write("proc/self/cgroup", "0::/\n");
  root.Write("sys/fs/cgroup/memory.max", "104857600\n");
  CHECK(DefaultMemoryMax(root.path()) == 80 * kMiB);
  root.Write("sys/fs/cgroup/memory.max", "1000\n");
  CHECK(DefaultMemoryMax(root.path()) == kMiB);  // 0 would be no limit
  CHECK(DefaultMemoryMax() > 0);
  CHECK(DefaultMemoryMax() <= Machine());
}

}  // namespace
}  // namespace spillway
