#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace spillway {

// Every refusal and failure that leaves a module. The table in error.cc gives each its stable name,
// HTTP status and OpenAI error type: errors become HTTP from that one table.
enum class ErrorCode : uint8_t {
  // The caller's fault.
  kInvalidRequest,       // 400: malformed JSON, unknown shape; `param` names the field
  kDuplicateKey,         // 400: the same JSON key twice in one object
  kUnsupportedEncoding,  // 415
  kBodyTooLarge,         // 413
  kInvalidApiKey,        // 401
  kKeyExpired,           // 401
  kKeyRevoked,           // 401
  kModelNotFound,        // 404: unknown, or not for this key
  kNotFound,             // 404: no such path
  kMethodNotAllowed,     // 405
  kRequestTimeout,       // 408: the request did not arrive in time
  kHeadersTooLarge,      // 431
  kBudgetExceeded,       // 429: the message names the budget and when it starts anew
  kRateLimited,          // 429: a limit of this gateway, not the provider's
  // The provider's.
  kUpstreamUnreachable,  // 502: DNS, connect, reset before an answer
  kUpstreamTls,          // 502
  kUpstreamCredentials,  // 502: the provider refused our own credential
  kUpstreamInvalid,      // 502: an answer that is no HTTP or no JSON, or too large
  kUpstreamTruncated,    // 502, or in band: the answer stopped before its end
  kUpstreamTimeout,      // 504
  kUpstreamRateLimited,  // 429
  kUpstreamError,        // the provider's own status is passed on
  // Ours.
  kNotReady,     // 503: no configuration yet
  kOverloaded,   // 503: limits of this process
  kDraining,     // 503
  kJournalFull,  // 503: journal policy `refuse`
  kInternal,     // 500
  // Not HTTP: files, bus, store, snapshots.
  kInvalidConfig,
  kUnavailable,  // a peer or file is not there (yet); retrying may help
  kConflict,     // somebody else wrote first
  kCorrupt,      // checksum, signature or format
  kStale,        // an epoch or revision below what is known
  kCancelled,
};

struct ErrorInfo {
  std::string_view name;         // stable: "invalid_api_key"
  int http_status;               // 0: never shown to a client
  std::string_view openai_type;  // "invalid_request_error"
};
const ErrorInfo& InfoOf(ErrorCode code);

// A value; says what happened in one sentence that a person can act on. `message` never holds a
// secret or a prompt.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  std::string param = {};      // the field at fault, when there is one
  int http_status = 0;         // overrides the table (kUpstreamError); 0: the table's
  int64_t retry_after_ms = 0;  // 0: nothing known
  std::string budget = {};     // kBudgetExceeded: the one that refuses, by name
  bool transient = false;      // kBudgetExceeded: the same call may pass a moment later

  int HttpStatus() const { return http_status != 0 ? http_status : InfoOf(code).http_status; }
  // "context: message", for adding the place on the way up.
  Error Within(std::string_view context) &&;
};

template <typename T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> Fail(ErrorCode code, std::string message, std::string param = {}) {
  return std::unexpected(
      Error{.code = code, .message = std::move(message), .param = std::move(param)});
}

}  // namespace spillway

// SW_TRY(declaration, expression): unwraps a Result or returns its error; SW_CHECK for no value.
// The CO_ forms do the same in coroutines.
#define SW_CONCAT_INNER(a, b) a##b
#define SW_CONCAT(a, b) SW_CONCAT_INNER(a, b)
#define SW_TRY_IMPL(result, ret, declaration, ...)             \
  auto result = (__VA_ARGS__);                                 \
  if (!result) ret std::unexpected(std::move(result).error()); \
  declaration = *std::move(result)
#define SW_TRY(declaration, ...) \
  SW_TRY_IMPL(SW_CONCAT(sw_result_, __LINE__), return, declaration, __VA_ARGS__)
#define SW_CHECK(...)                                       \
  do {                                                      \
    if (auto sw_result = (__VA_ARGS__); !sw_result)         \
      return std::unexpected(std::move(sw_result).error()); \
  } while (false)
#define SW_CO_TRY(declaration, ...) \
  SW_TRY_IMPL(SW_CONCAT(sw_result_, __LINE__), co_return, declaration, __VA_ARGS__)
#define SW_CO_CHECK(...)                                       \
  do {                                                         \
    if (auto sw_result = (__VA_ARGS__); !sw_result)            \
      co_return std::unexpected(std::move(sw_result).error()); \
  } while (false)
