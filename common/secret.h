#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace spillway {

// A string that is wiped when it goes and cannot be printed, formatted or logged by accident.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(const Secret&) = default;
  Secret(Secret&&) noexcept = default;
  Secret& operator=(const Secret& other);
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() { Wipe(); }

  std::string_view Reveal() const { return value_; }
  bool empty() const { return value_.empty(); }

 private:
  void Wipe();

  std::string value_;
};

// Equal length and bytes, in a time that depends on the length only.
bool ConstantTimeEquals(std::string_view a, std::string_view b);

}  // namespace spillway
