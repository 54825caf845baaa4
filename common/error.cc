#include "common/error.h"

#include <array>

namespace spillway {
namespace {

constexpr std::string_view kInvalid = "invalid_request_error";
constexpr std::string_view kRateLimit = "rate_limit_error";
// What OpenAI sends when an account has used up its money: SDKs and frameworks know it as an error
// that no retry mends before the budget starts anew.
constexpr std::string_view kQuota = "insufficient_quota";
constexpr std::string_view kServer = "server_error";

struct Row {
  ErrorCode code;
  ErrorInfo info;
};

// Names and statuses are a contract with applications: rows are added, never changed.
constexpr std::array kTable = {
    Row{ErrorCode::kInvalidRequest, {"invalid_request", 400, kInvalid}},
    Row{ErrorCode::kDuplicateKey, {"duplicate_key", 400, kInvalid}},
    Row{ErrorCode::kUnsupportedEncoding, {"unsupported_encoding", 415, kInvalid}},
    Row{ErrorCode::kBodyTooLarge, {"body_too_large", 413, kInvalid}},
    // SDKs tell a bad key by the status and this code; the type is the one OpenAI sends with it.
    Row{ErrorCode::kInvalidApiKey, {"invalid_api_key", 401, kInvalid}},
    Row{ErrorCode::kKeyExpired, {"key_expired", 401, kInvalid}},
    Row{ErrorCode::kKeyRevoked, {"key_revoked", 401, kInvalid}},
    Row{ErrorCode::kModelNotFound, {"model_not_found", 404, kInvalid}},
    Row{ErrorCode::kNotFound, {"not_found", 404, kInvalid}},
    Row{ErrorCode::kMethodNotAllowed, {"method_not_allowed", 405, kInvalid}},
    Row{ErrorCode::kRequestTimeout, {"request_timeout", 408, kInvalid}},
    Row{ErrorCode::kHeadersTooLarge, {"headers_too_large", 431, kInvalid}},
    Row{ErrorCode::kBudgetExceeded, {"budget_exceeded", 429, kQuota}},
    Row{ErrorCode::kRateLimited, {"rate_limit_exceeded", 429, kRateLimit}},
    Row{ErrorCode::kUpstreamUnreachable, {"upstream_unreachable", 502, kServer}},
    Row{ErrorCode::kUpstreamTls, {"upstream_tls", 502, kServer}},
    Row{ErrorCode::kUpstreamCredentials, {"upstream_credentials", 502, kServer}},
    Row{ErrorCode::kUpstreamInvalid, {"upstream_invalid", 502, kServer}},
    Row{ErrorCode::kUpstreamTruncated, {"upstream_truncated", 502, kServer}},
    Row{ErrorCode::kUpstreamTimeout, {"upstream_timeout", 504, kServer}},
    Row{ErrorCode::kUpstreamRateLimited, {"upstream_rate_limited", 429, kRateLimit}},
    // 502 stands when nobody set the provider's own status.
    Row{ErrorCode::kUpstreamError, {"upstream_error", 502, kServer}},
    Row{ErrorCode::kNotReady, {"not_ready", 503, kServer}},
    Row{ErrorCode::kOverloaded, {"overloaded", 503, kServer}},
    Row{ErrorCode::kDraining, {"draining", 503, kServer}},
    Row{ErrorCode::kJournalFull, {"journal_full", 503, kServer}},
    Row{ErrorCode::kInternal, {"internal_error", 500, kServer}},
    Row{ErrorCode::kInvalidConfig, {"invalid_config", 0, kServer}},
    Row{ErrorCode::kUnavailable, {"unavailable", 0, kServer}},
    Row{ErrorCode::kConflict, {"conflict", 0, kServer}},
    Row{ErrorCode::kCorrupt, {"corrupt", 0, kServer}},
    Row{ErrorCode::kStale, {"stale", 0, kServer}},
    Row{ErrorCode::kCancelled, {"cancelled", 0, kServer}},
};

constexpr bool InOrder() {
  for (size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<size_t>(kTable[i].code) != i) return false;
  }
  return kTable.size() == static_cast<size_t>(ErrorCode::kCancelled) + 1;
}
static_assert(InOrder(), "one row for every ErrorCode, in its order");

}  // namespace

const ErrorInfo& InfoOf(ErrorCode code) {
  const auto index = static_cast<size_t>(code);
  return kTable[index < kTable.size() ? index : static_cast<size_t>(ErrorCode::kInternal)].info;
}

Error Error::Within(std::string_view context) && {
  message.insert(0, ": ").insert(0, context);
  return std::move(*this);
}

}  // namespace spillway
