#include "dataplane/server/memory_limit.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <format>
#include <fstream>
#include <limits>
#include <string_view>

namespace spillway {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
constexpr int64_t kMiB = int64_t{1} << 20;

// kNoLimit: there is no such file, or it says "max".
int64_t ReadLimit(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  int64_t bytes = 0;
  if (!(file >> text)) return kNoLimit;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  return error == std::errc() && bytes > 0 ? bytes : kNoLimit;
}

// A group has at most what every group around it has. In a container the path may be the host's,
// and then only the outermost folder is there: it is the container's own group.
int64_t LeastUpwards(const std::string& top, std::string group, const std::string& name) {
  int64_t least = ReadLimit(top + "/" + name);
  while (group.size() > 1) {
    least = std::min(least, ReadLimit(std::format("{}{}/{}", top, group, name)));
    group.resize(group.rfind('/'));
  }
  return least;
}

// One line of /proc/self/cgroup: "0::/path" (v2), "7:memory:/path" or "4:cpu,memory:/path" (v1).
int64_t LimitOf(const std::string& root, std::string_view line) {
  const size_t first = line.find(':');
  const size_t second = first == line.npos ? line.npos : line.find(':', first + 1);
  if (second == line.npos || !line.substr(second + 1).starts_with('/')) return kNoLimit;
  const std::string group(line.substr(second + 1));
  const std::string_view controllers = line.substr(first + 1, second - first - 1);
  const std::string top = root + "/sys/fs/cgroup";
  if (controllers.empty()) return LeastUpwards(top, group, "memory.max");
  if (!controllers.contains("memory")) return kNoLimit;
  return LeastUpwards(top + "/memory", group, "memory.limit_in_bytes");
}

}  // namespace

int64_t MemoryLimitBytes(const std::string& root) {
  int64_t least = int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) least = std::min(least, LimitOf(root, line));
  return least;
}

int64_t DefaultMemoryMax(const std::string& root) {
  return std::max(MemoryLimitBytes(root) / 5 * 4 / kMiB, int64_t{1}) * kMiB;
}

}  // namespace spillway
