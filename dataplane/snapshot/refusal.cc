#include "dataplane/snapshot/refusal.h"

#include <array>

namespace spillway {
namespace {

struct ClassRow {
  std::string_view name;
  ErrorCode code;
};
constexpr std::array<ClassRow, kRefusalClasses> kClasses = {{
    {"corrupt", ErrorCode::kCorrupt},
    {"signature", ErrorCode::kCorrupt},
    {"epoch", ErrorCode::kStale},
    {"revision", ErrorCode::kStale},
    {"cluster", ErrorCode::kConflict},
    {"oversized", ErrorCode::kInvalidConfig},
    {"invalid", ErrorCode::kInvalidConfig},
    {"missing", ErrorCode::kUnavailable},
    {"quarantined", ErrorCode::kConflict},
}};

}  // namespace

std::string_view NameOf(RefusalClass refusal) {
  return kClasses[static_cast<size_t>(refusal)].name;
}

std::unexpected<Error> Refuse(RefusalClass refusal, std::string message) {
  const ClassRow& row = kClasses[static_cast<size_t>(refusal)];
  return Fail(row.code, std::move(message), std::string(row.name));
}

RefusalClass ClassOf(const Error& error) {
  for (size_t i = 0; i < kClasses.size(); ++i) {
    if (kClasses[i].name == error.param) return static_cast<RefusalClass>(i);
  }
  switch (error.code) {
    case ErrorCode::kStale:
      return RefusalClass::kRevision;
    case ErrorCode::kUnavailable:
    case ErrorCode::kNotFound:
    case ErrorCode::kCancelled:
      return RefusalClass::kMissing;
    case ErrorCode::kInvalidConfig:
      return RefusalClass::kInvalid;
    default:
      return RefusalClass::kCorrupt;
  }
}

}  // namespace spillway
