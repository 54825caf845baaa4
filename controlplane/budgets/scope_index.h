#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "spillway/v1/resources.pb.h"
#include "spillway/v1/usage.pb.h"

namespace spillway {

// Which of many scopes a call may fall under. Each is kept under the most telling name that it asks
// for, so that a call of one key or team meets few of them. Not thread-safe.
class ScopeIndex {
 public:
  void Add(const v1::Scope& scope, size_t number);
  void Clear();
  // Each number at most once, whose scope the call may fall under: SubjectIn decides.
  void EachCandidate(const v1::Attribution& who, const std::function<void(size_t)>& visit) const;

 private:
  std::unordered_map<std::string, std::vector<size_t>> by_name_;
  std::vector<size_t> nameless_;
};

}  // namespace spillway
