#include "dataplane/pipeline/headers.h"

#include <catch2/catch_all.hpp>

namespace spillway {
namespace {

TEST_CASE("an upstream request says what it must and nothing of the client") {
  ProviderSpec provider;
  provider.host_header = "api.example:8443";
  provider.path_prefix = "/v1";
  provider.credentials = {{"main", "key-1"}, {"spare", "key-2"}};
  RequestHead client;
  client.headers = {{"Authorization", "Bearer sk-sw-client"},
                    {"x-api-key", "sk-sw-client"},
                    {"Cookie", "c=1"},
                    {"X-Forwarded-For", "1.2.3.4"},
                    {"Host", "gateway"},
                    {"OpenAI-Beta", "assistants=v2"},
                    {"TraceParent", "00-a-b-01"},
                    {"OpenAI-Organization", "org-client"},
                    {"x-request-id", "theirs"},
                    {"Connection", "upgrade"},
                    {"Expect", "100-continue"},
                    {"Idempotency-Key", "k"}};
  std::string head;
  AppendUpstreamHead(head, {.provider = provider,
                            .credential = 1,
                            .operation = openai::Operation::kChat,
                            .stream = true,
                            .body_bytes = 17,
                            .attempt_id = "att-1",
                            .client = client});
  CHECK(head ==
        "POST /v1/chat/completions HTTP/1.1\r\n"
        "Host: api.example:8443\r\n"
        "Authorization: Bearer key-2\r\n"
        "Accept: text/event-stream\r\n"
        "Content-Type: application/json\r\n"
        "Accept-Encoding: identity\r\n"
        "User-Agent: spillway\r\n"
        "Content-Length: 17\r\n"
        "x-spillway-attempt-id: att-1\r\n"
        "openai-beta: assistants=v2\r\n"
        "traceparent: 00-a-b-01\r\n"
        "\r\n");
}

TEST_CASE("a provider without credentials is asked without one") {
  ProviderSpec provider;
  provider.host_header = "h";
  const RequestHead client;
  std::string head;
  AppendUpstreamHead(
      head, {.provider = provider, .operation = openai::Operation::kEmbeddings, .client = client});
  CHECK(head.starts_with("POST /embeddings HTTP/1.1\r\n"));
  CHECK(head.find("Authorization") == std::string::npos);
  CHECK(head.find("Accept: application/json\r\n") != std::string::npos);
}

TEST_CASE("of a provider's headers the client sees the allowed ones") {
  UpstreamHead head;
  head.headers = {{"Content-Type", "application/json"},
                  {"Content-Length", "5"},
                  {"Transfer-Encoding", "chunked"},
                  {"Connection", "close"},
                  {"Set-Cookie", "a=b"},
                  {"Server", "nginx"},
                  {"Date", "today"},
                  {"X-Request-ID", "r-9"},
                  {"openai-processing-ms", "12"},
                  {"OpenAI-Version", "2020-10-01"},
                  {"openai-organization", "org-of-the-operator"},
                  {"openai-project", "proj-of-the-operator"},
                  {"Retry-After", "3"},
                  {"retry-after-ms", "2500"},
                  {"x-ratelimit-limit-requests", "60"},
                  {"X-Should-Retry", "true"},
                  {"x-spillway-cost-usd", "0"},
                  {"Location", "http://evil"},
                  {"x-internal", "1"}};
  std::string out;
  AppendProviderHeaders(out, head, /*own_limits=*/false);
  CHECK(out ==
        "x-spillway-upstream-request-id: r-9\r\n"
        "openai-processing-ms: 12\r\n"
        "OpenAI-Version: 2020-10-01\r\n"
        "Retry-After: 3\r\n"
        "retry-after-ms: 2500\r\n"
        "x-ratelimit-limit-requests: 60\r\n"
        "x-should-retry: true\r\n");
  out.clear();
  AppendProviderHeaders(out, head, /*own_limits=*/true);
  CHECK(out.find("x-ratelimit-") == std::string::npos);
  CHECK(out.find("x-should-retry: true\r\n") != std::string::npos);
}

TEST_CASE("retry-after is read as milliseconds") {
  struct Row {
    const char* name;
    std::vector<Header> headers;
    int64_t want;
  };
  const Row rows[] = {
      {"none", {}, 0},
      {"seconds", {{"Retry-After", "7"}}, 7'000},
      {"milliseconds win", {{"Retry-After", "7"}, {"retry-after-ms", "1500"}}, 1'500},
      {"fraction", {{"Retry-After", "0.5"}}, 0},
      {"date", {{"Retry-After", "Fri, 21 Nov 2026 10:57:01 GMT"}}, 0},
      {"negative", {{"Retry-After", "-1"}}, 0},
      {"huge", {{"Retry-After", "99999999999"}}, 0},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      UpstreamHead head;
      head.headers = row.headers;
      CHECK(RetryAfterMs(head) == row.want);
    }
  }
}

}  // namespace
}  // namespace spillway
