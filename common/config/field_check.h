#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/config/findings.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::config {

inline constexpr int64_t kOutputTokensMax = 1'000'000'000;

// What the checks of one resource's fields have in common. Refers to the findings; not thread-safe.
class FieldCheck {
 public:
  FieldCheck(size_t index, Findings& findings) : index_(index), findings_(findings) {}

  // `value` is never a secret.
  void Refuse(std::string field, std::string_view value, std::string allowed) {
    findings_.Add(index_, std::move(field), value, std::move(allowed));
  }

 protected:
  void Name(std::string field, std::string_view name);
  // UTF-8 without control characters, at most `bytes_max`.
  void Text(std::string field, std::string_view text, size_t bytes_max);
  // 0 stands for the default.
  void Timeout(std::string field, int64_t ms);
  void AtMost(std::string field, int count, int count_max);
  void Range(std::string field, int64_t value, int64_t min, int64_t max);
  // Three forms are good: a plaintext on its way in, a sealed value, and a reference alone, which
  // stands for the value that is stored under it or is resolved later.
  void CheckSecret(const std::string& field, const v1::Secret& secret);
  // A price as written: its own, a book's or a default.
  void CheckPrice(const std::string& field, const v1::Price& price);

 private:
  void CheckRates(const std::string& field, const v1::Price& price);
  void CheckSteps(const std::string& field, const v1::Price& price);
  void CheckTier(const std::string& field, const v1::TierPrice& tier);

  size_t index_;
  Findings& findings_;
};

// Budgets, rate limits, alert sinks, price books; other kinds are passed over.
void CheckMoneyFields(const v1::Resource& resource, size_t index, Findings& findings);

// Text that is passed on or shown.
bool IsCleanText(std::string_view text, size_t bytes_max);

inline constexpr int64_t kYear10000Ms = 253'402'300'800'000;

}  // namespace spillway::config
