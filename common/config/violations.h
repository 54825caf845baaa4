#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "spillway/v1/admin.pb.h"

namespace spillway::config {

// A value as it may stand in a message: one printable line of at most 100 bytes.
std::string Shown(std::string_view value);

// Collects violations up to a number that a person still reads; the rest is counted in a last row.
// Not thread-safe.
class ViolationList {
 public:
  static constexpr size_t kMax = 1000;

  // `value` is shown as it is, so never a secret; empty: there is none to show.
  void Add(std::string_view resource, std::string_view field, std::string_view value,
           std::string allowed);
  void Add(std::vector<v1::Violation> violations);
  // Whether what is added from now on is only counted.
  bool full() const { return violations_.size() >= kMax; }
  std::vector<v1::Violation> Take() &&;

 private:
  std::vector<v1::Violation> violations_;
  size_t left_out_ = 0;
};

}  // namespace spillway::config
