#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dataplane/dialect/openai.h"
#include "dataplane/exchange/request.h"
#include "dataplane/snapshot/snapshot.h"
#include "dataplane/upstream/response_head.h"

// Which headers pass the gateway, in both directions. Pure functions that append to a string.
namespace spillway {

// What the head of an upstream request is made of.
struct UpstreamRequestFacts {
  const ProviderSpec& provider;
  int credential = 0;
  openai::Operation operation = openai::Operation::kChat;
  bool stream = false;
  size_t body_bytes = 0;
  std::string_view attempt_id;
  const RequestHead& client;  // of whose headers a few go upstream
};
void AppendUpstreamHead(std::string& out, const UpstreamRequestFacts& facts);

// Tells SDKs whether to try again themselves.
inline constexpr std::string_view kShouldRetry = "x-should-retry";

// The provider's headers that a client may see, each a line. Its request id changes its name; what
// the writer or the gateway says itself (framing, type, x-request-id) stays away. `own_limits`: so
// do its x-ratelimit-*, because the gateway shows its own.
void AppendProviderHeaders(std::string& out, const UpstreamHead& head, bool own_limits);

// The same type as static text when it is one of the usual ones, else a copy in `storage`.
std::string_view KnownContentType(std::string_view type, std::string& storage);

void AppendHeader(std::string& out, std::string_view name, std::string_view value);
void AppendHeader(std::string& out, std::string_view name, int64_t value);

// Milliseconds to wait by Retry-After (seconds) or retry-after-ms; 0: neither, or a date.
int64_t RetryAfterMs(const UpstreamHead& head);

}  // namespace spillway
