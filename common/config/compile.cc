#include "common/config/compile.h"

#include <algorithm>
#include <tuple>

#include "common/config/resource.h"

namespace spillway::config {

std::vector<v1::Entry> ToEntries(const Validated& config) {
  std::vector<v1::Entry> entries;
  entries.reserve(config.resources().size());
  for (const v1::Resource& resource : config.resources()) entries.push_back(ToEntry(resource));
  std::ranges::sort(entries, [](const v1::Entry& a, const v1::Entry& b) {
    return std::tuple<int, std::string_view>(a.kind(), a.name()) <
           std::tuple<int, std::string_view>(b.kind(), b.name());
  });
  return entries;
}

}  // namespace spillway::config
