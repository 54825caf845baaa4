#include "common/error.h"

#include <catch2/catch_all.hpp>
#include <set>

namespace spillway {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) return Fail(ErrorCode::kInvalidRequest, "odd", "value");
  return value / 2;
}

Result<int> Quarter(int value) {
  SW_TRY(const int half, Half(value));
  SW_CHECK(Half(half));
  return half / 2;
}

}  // namespace

TEST_CASE("errors that clients see have the status and type that SDKs expect") {
  struct Row {
    ErrorCode code;
    std::string_view name;
    int status;
    std::string_view type;
  };
  const auto row = GENERATE(values<Row>({
      {ErrorCode::kInvalidRequest, "invalid_request", 400, "invalid_request_error"},
      {ErrorCode::kDuplicateKey, "duplicate_key", 400, "invalid_request_error"},
      {ErrorCode::kInvalidApiKey, "invalid_api_key", 401, "invalid_request_error"},
      {ErrorCode::kKeyRevoked, "key_revoked", 401, "invalid_request_error"},
      {ErrorCode::kModelNotFound, "model_not_found", 404, "invalid_request_error"},
      {ErrorCode::kUpstreamRateLimited, "upstream_rate_limited", 429, "rate_limit_error"},
      {ErrorCode::kUpstreamCredentials, "upstream_credentials", 502, "server_error"},
      {ErrorCode::kUpstreamTimeout, "upstream_timeout", 504, "server_error"},
      {ErrorCode::kNotReady, "not_ready", 503, "server_error"},
      {ErrorCode::kInternal, "internal_error", 500, "server_error"},
      {ErrorCode::kStale, "stale", 0, "server_error"},
  }));
  CAPTURE(row.name);
  CHECK(InfoOf(row.code).name == row.name);
  CHECK(InfoOf(row.code).http_status == row.status);
  CHECK(InfoOf(row.code).openai_type == row.type);
}

TEST_CASE("every error has a name of its own") {
  std::set<std::string_view> names;
  const int count = static_cast<int>(ErrorCode::kCancelled) + 1;
  for (int code = 0; code < count; ++code) {
    const ErrorInfo& info = InfoOf(static_cast<ErrorCode>(code));
    CHECK(names.insert(info.name).second);
    CHECK((info.http_status == 0 || (info.http_status >= 400 && info.http_status < 600)));
  }
}

TEST_CASE("a code from nowhere counts as internal") {
  CHECK(InfoOf(static_cast<ErrorCode>(250)).name == "internal_error");
}

TEST_CASE("an error's own status wins over the table") {
  Error error{.code = ErrorCode::kUpstreamError, .message = "teapot", .http_status = 418};
  CHECK(error.HttpStatus() == 418);
  error.http_status = 0;
  CHECK(error.HttpStatus() == 502);
}

TEST_CASE("Within adds the place and keeps the rest") {
  const Error error =
      Error{.code = ErrorCode::kCorrupt, .message = "bad", .param = "p"}.Within("disk");
  CHECK(error.message == "disk: bad");
  CHECK(error.code == ErrorCode::kCorrupt);
  CHECK(error.param == "p");
}

TEST_CASE("SW_TRY and SW_CHECK hand values on and errors up") {
  CHECK(Quarter(8) == 2);
  CHECK(Quarter(6).error().message == "odd");
  CHECK(Quarter(3).error().param == "value");
}

}  // namespace spillway
