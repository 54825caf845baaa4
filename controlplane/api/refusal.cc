#include "controlplane/api/refusal.h"

#include "common/config/validate.h"

namespace spillway::api {
namespace {

Refusal::Kind KindOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidConfig:
    case ErrorCode::kInvalidRequest:
    case ErrorCode::kDuplicateKey:
      return Refusal::Kind::kInvalid;
    case ErrorCode::kNotFound:
      return Refusal::Kind::kNotFound;
    case ErrorCode::kConflict:
    case ErrorCode::kStale:
    case ErrorCode::kNotReady:
      return Refusal::Kind::kNotNow;
    case ErrorCode::kUnavailable:
    case ErrorCode::kOverloaded:
    case ErrorCode::kDraining:
    case ErrorCode::kCancelled:
      return Refusal::Kind::kUnavailable;
    default:
      return Refusal::Kind::kInternal;
  }
}

}  // namespace

Refusal::Refusal(Error error) : kind(KindOf(error.code)), message(std::move(error.message)) {
  if (kind == Kind::kInvalid && !error.param.empty()) {
    violations.push_back(MakeViolation("", error.param, "", message));
  }
}

std::unexpected<Refusal> RefuseInvalid(std::vector<v1::Violation> violations) {
  std::string message = config::Describe(violations.front());
  if (violations.size() > 1) {
    message += " (and " + std::to_string(violations.size() - 1) + " more)";
  }
  return std::unexpected(
      Refusal(Refusal::Kind::kInvalid, std::move(message), std::move(violations)));
}

v1::Violation MakeViolation(std::string resource, std::string field, std::string value,
                            std::string allowed) {
  v1::Violation violation;
  violation.set_resource(std::move(resource));
  violation.set_field(std::move(field));
  violation.set_value(std::move(value));
  violation.set_allowed(std::move(allowed));
  return violation;
}

}  // namespace spillway::api
