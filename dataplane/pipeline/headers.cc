#include "dataplane/pipeline/headers.h"

#include <array>
#include <charconv>
#include <optional>

namespace spillway {
namespace {

// Of the client's headers. Everything that authenticates, routes or describes the client stays
// here.
constexpr std::array<std::string_view, 3> kClientHeaders = {"openai-beta", "traceparent",
                                                            "tracestate"};

char LowerOf(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool StartsWithIgnoreCase(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && EqualsIgnoreCase(text.substr(0, prefix.size()), prefix);
}

constexpr std::string_view kRateLimitHeaders = "x-ratelimit-";

// The name under which the client sees a provider's header; empty: not at all.
std::string_view NameDownstream(std::string_view name) {
  switch (LowerOf(name.front())) {
    case 'o':  // not openai-organization and openai-project: whose account pays is the operator's
      return EqualsIgnoreCase(name, "openai-processing-ms") ||
                     EqualsIgnoreCase(name, "openai-version")
                 ? name
                 : std::string_view();
    case 'r':
      return EqualsIgnoreCase(name, "retry-after") || EqualsIgnoreCase(name, "retry-after-ms")
                 ? name
                 : std::string_view();
    case 'x':
      if (EqualsIgnoreCase(name, "x-request-id")) return "x-spillway-upstream-request-id";
      if (EqualsIgnoreCase(name, kShouldRetry)) return kShouldRetry;
      return StartsWithIgnoreCase(name, kRateLimitHeaders) ? name : std::string_view();
    default:
      return {};
  }
}

std::optional<int64_t> NumberOf(std::string_view text) {
  int64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || value < 0 || value > 1'000'000'000) return std::nullopt;
  return end == text.data() + text.size() || *end == '.' ? std::optional(value) : std::nullopt;
}

}  // namespace

void AppendHeader(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

void AppendHeader(std::string& out, std::string_view name, int64_t value) {
  char digits[24];
  const char* const end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  AppendHeader(out, name, {digits, end});
}

void AppendUpstreamHead(std::string& out, const UpstreamRequestFacts& facts) {
  const ProviderSpec& provider = facts.provider;
  out.append("POST ").append(provider.path_prefix).append(openai::UpstreamPath(facts.operation));
  out.append(" HTTP/1.1\r\nHost: ").append(provider.host_header).append("\r\n");
  const auto credential = static_cast<size_t>(facts.credential);
  if (credential < provider.credentials.size() &&
      !provider.credentials[credential].api_key.empty()) {
    out.append("Authorization: Bearer ")
        .append(provider.credentials[credential].api_key)
        .append("\r\n");
  }
  out.append(facts.stream ? "Accept: text/event-stream\r\n" : "Accept: application/json\r\n");
  out.append(
      "Content-Type: application/json\r\nAccept-Encoding: identity\r\nUser-Agent: spillway\r\n");
  AppendHeader(out, "Content-Length", static_cast<int64_t>(facts.body_bytes));
  AppendHeader(out, "x-spillway-attempt-id", facts.attempt_id);
  for (const Header& header : facts.client.headers) {
    for (const std::string_view allowed : kClientHeaders) {
      if (EqualsIgnoreCase(header.name, allowed)) AppendHeader(out, allowed, header.value);
    }
  }
  out.append("\r\n");
}

void AppendProviderHeaders(std::string& out, const UpstreamHead& head, bool own_limits) {
  for (const Header& header : head.headers) {
    const std::string_view name = NameDownstream(header.name);
    if (name.empty() || (own_limits && StartsWithIgnoreCase(name, kRateLimitHeaders))) continue;
    AppendHeader(out, name, header.value);
  }
}

std::string_view KnownContentType(std::string_view type, std::string& storage) {
  static constexpr std::array<std::string_view, 4> kKnown = {
      "application/json", "text/event-stream", "text/event-stream; charset=utf-8",
      "application/json; charset=utf-8"};
  for (const std::string_view known : kKnown) {
    if (type == known) return known;
  }
  storage = type.empty() ? kKnown.front() : type;
  return storage;
}

int64_t RetryAfterMs(const UpstreamHead& head) {
  if (const auto ms = NumberOf(head.Find("retry-after-ms"))) return *ms;
  if (const auto seconds = NumberOf(head.Find("retry-after"))) return *seconds * 1'000;
  return 0;
}

}  // namespace spillway
