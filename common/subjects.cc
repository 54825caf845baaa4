#include "common/subjects.h"

#include <algorithm>
#include <format>

namespace spillway::subjects {

std::string Delta(int64_t revision) { return std::format("spillway.config.delta.{}", revision); }

std::string Manifest(int64_t revision) {
  return std::format("spillway.config.full.{}.manifest", revision);
}

std::string Chunk(int64_t revision, int index) {
  return std::format("spillway.config.full.{}.{}", revision, index);
}

std::string Usage(std::string_view instance) { return std::format("spillway.usage.{}", instance); }

std::string Fleet(std::string_view instance) { return std::format("spillway.fleet.{}", instance); }

std::string Instruction(std::string_view instance) {
  return std::format("spillway.instruct.{}", instance);
}

std::string Lease(std::string_view instance) { return std::format("spillway.lease.{}", instance); }

std::string Grant(std::string_view instance) { return std::format("spillway.grant.{}", instance); }

bool IsToken(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           c == '-';
  });
}

}  // namespace spillway::subjects
