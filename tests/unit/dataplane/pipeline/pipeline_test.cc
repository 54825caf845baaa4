#include "dataplane/pipeline/pipeline.h"

#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/pipeline/bench.h"

namespace spillway {
namespace {

const std::string kChatAnswer =
    R"({"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":40}}})";

std::string ChatCall(const std::string& model, const std::string& more = "") {
  return R"({"model":")" + model + R"(","messages":[{"role":"user","content":"hi"}])" + more + "}";
}

TEST_CASE("a call is answered with the provider's bytes and billed by its usage") {
  Bench bench;
  bench.a.Next({Send(JsonAnswer(
      200, kChatAnswer, "x-request-id: up-1\r\nopenai-processing-ms: 5\r\nSet-Cookie: s\r\n"))});
  const auto asked = bench.Call(kChat, ChatCall("both", R"(,"unknown_field":[1,2])"));
  const FakeClient& client = asked->client;
  CHECK(client.status == 200);
  CHECK(client.body == kChatAnswer);
  CHECK(client.content_type == "application/json");
  CHECK(client.Header("x-request-id") == "req-1");
  CHECK(client.Header("x-spillway-upstream-request-id") == "up-1");
  CHECK(client.Header("openai-processing-ms") == "5");
  CHECK(client.Header("Set-Cookie").empty());
  CHECK(client.Header("x-spillway-model") == "a");
  CHECK(client.Header("x-spillway-attempts") == "1");
  CHECK(client.Header("x-spillway-fallback").empty());
  CHECK(client.Header("x-spillway-revision") == "42");
  CHECK_FALSE(client.Header("x-spillway-overhead-us").empty());
  // 100 input at 1 USD, 50 output at 2 USD per million; cached input costs as input.
  CHECK(client.Header("x-spillway-cost-usd") == "0.0002");

  REQUIRE(bench.a.requests().size() == 1);
  const ScriptedProvider::Request& sent = bench.a.requests()[0];
  CHECK(sent.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"));
  CHECK(sent.Header("Authorization") == "Bearer secret-pa-main");
  CHECK(sent.body == ChatCall("upstream-a", R"(,"unknown_field":[1,2])"));

  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == 1);
  CHECK(bills[0].started.attempt_id() == sent.Header("x-spillway-attempt-id"));
  CHECK(bills[0].started.request_id() == "req-1");
  CHECK(bills[0].started.attribution().organization() == "acme");
  CHECK(bills[0].started.attribution().team() == "support");
  CHECK(bills[0].started.attribution().key() == "bot");
  CHECK(bills[0].started.attribution().route() == "both");
  CHECK(bills[0].started.attribution().model() == "a");
  CHECK(bills[0].started.attribution().provider() == "pa");
  CHECK(bills[0].started.attribution().feature() == "chat");
  CHECK(bills[0].finished.end() == v1::END_FINISHED);
  CHECK(bills[0].finished.source() == v1::USAGE_SOURCE_PROVIDER);
  CHECK(bills[0].finished.winner());
  CHECK(bills[0].finished.cost_nanos() == 200'000);
  CHECK(bills[0].finished.usage().cached_input_tokens() == 40);

  const AccessRecord& record = asked->x->record;
  CHECK(record.status == 200);
  CHECK(record.end == "finished");
  CHECK(record.refusal.empty());
  CHECK(record.cost == 200'000);
  CHECK(record.usage_source == "provider");
  CHECK(bench.pool.idle_count() == 1);
}

TEST_CASE("the journal knows of a call before the provider does") {
  Bench bench;
  bench.a.Next({Hold(), Send(JsonAnswer(200, kChatAnswer))});
  const auto asked = bench.Ask(kChat, ChatCall("a", R"(,"max_tokens":7,"n":2)"));
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
  const std::vector<Billed> open = bench.Bills();
  REQUIRE(open.size() == 1);
  CHECK(open[0].finished.end() == v1::END_REASON_UNSPECIFIED);
  CHECK(open[0].started.estimate().output_tokens() == 14);
  CHECK(open[0].started.estimate().input_tokens() > 0);
  CHECK(open[0].started.reserved_nanos() > 0);
  bench.a.Resume();
  bench.Finish(*asked);
  CHECK(bench.Bills()[0].finished.end() == v1::END_FINISHED);
}

TEST_CASE("usage that is missing is estimated, usage that is zero stays zero") {
  Bench bench;
  bench.a.Next({Send(JsonAnswer(200, R"({"choices":[{"message":{"content":"12345678"}}]})"))});
  CHECK(bench.Call(kChat, ChatCall("a"))->client.status == 200);
  bench.a.Next({Send(
      JsonAnswer(200, R"({"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}})"))});
  CHECK(bench.Call(kChat, ChatCall("a"))->client.Header("x-spillway-cost-usd") == "0");
  const std::vector<Billed> bills = bench.Bills();
  REQUIRE(bills.size() == 2);
  CHECK(bills[0].finished.source() == v1::USAGE_SOURCE_ESTIMATED);
  CHECK(bills[0].finished.usage().input_tokens() == bills[0].started.estimate().input_tokens());
  CHECK(bills[0].finished.usage().output_tokens() == 2);
  CHECK(bills[1].finished.source() == v1::USAGE_SOURCE_PROVIDER);
  CHECK(bills[1].finished.usage().input_tokens() == 0);
  CHECK(bills[1].finished.cost_nanos() == 0);
}

TEST_CASE("what cannot be served is refused in OpenAI's form, without a provider") {
  struct Row {
    const char* name;
    Method method;
    const char* path;
    std::string body;
    std::vector<std::pair<std::string, std::string>> headers;
    bool right_key;
    int status;
    const char* code;
  };
  const Row rows[] = {
      {"no key", Method::kPost, kChat, ChatCall("a"), {}, false, 401, "invalid_api_key"},
      {"wrong key",
       Method::kPost,
       kChat,
       ChatCall("a"),
       {{"Authorization", "Bearer nope"}},
       false,
       401,
       "invalid_api_key"},
      {"no such path", Method::kPost, "/v1/nothing", "", {}, true, 404, "not_found"},
      {"GET for POST", Method::kGet, kChat, "", {}, true, 405, "method_not_allowed"},
      {"POST for GET", Method::kPost, "/v1/models", "", {}, true, 405, "method_not_allowed"},
      {"bad JSON", Method::kPost, kChat, "{", {}, true, 400, "invalid_request"},
      {"duplicate key",
       Method::kPost,
       kChat,
       R"({"model":"a","mod\u0065l":"b","messages":[]})",
       {},
       true,
       400,
       "duplicate_key"},
      {"unknown model", Method::kPost, kChat, ChatCall("nope"), {}, true, 404, "model_not_found"},
      {"broken metadata beside an unknown model",
       Method::kPost,
       kChat,
       ChatCall("nope"),
       {{"x-spillway-metadata", "{"}},
       true,
       400,
       "invalid_request"},
      {"bad timeout",
       Method::kPost,
       kChat,
       ChatCall("a"),
       {{"x-spillway-timeout-ms", "soon"}},
       true,
       400,
       "invalid_request"},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench bench;
      const auto asked = bench.Prepare(row.path, row.body);
      asked->head.method = row.method;
      if (!row.right_key) asked->own_headers.clear();
      for (const auto& header : row.headers) asked->own_headers.push_back(header);
      bench.Go(*asked);
      bench.Finish(*asked);
      CHECK(asked->client.status == row.status);
      CHECK(asked->client.content_type == "application/json");
      CHECK(asked->client.body.starts_with("{\"error\":{"));
      CHECK(asked->client.Header("x-request-id") == "req-1");
      CHECK(asked->x->record.status == row.status);
      CHECK(asked->x->record.refusal == row.code);
      CHECK(asked->x->record.attempts == 0);
      // What nobody has admitted is the client's text, perhaps its key: no label, not logged.
      CHECK(asked->x->record.route.empty());
      CHECK(bench.a.accepted() == 0);
      CHECK(bench.Bills().empty());
    }
  }
}

TEST_CASE("without configuration nothing is served, and nobody is told that a key is wrong") {
  Bench bench;
  bench.loop.snapshot.reset();
  const auto asked = bench.Call(kChat, ChatCall("a"));
  CHECK(asked->client.status == 503);
  CHECK(asked->x->record.refusal == "not_ready");
}

TEST_CASE("models are listed by name, and found by names with a slash") {
  Bench bench;
  const auto get = [&](const char* path) {
    auto asked = bench.Prepare(path, "");
    asked->head.method = Method::kGet;
    bench.Go(*asked);
    bench.Finish(*asked);
    return asked;
  };
  const auto list = get("/v1/models");
  CHECK(list->client.status == 200);
  for (const char* name : {"\"a\"", "\"b\"", "\"both\"", "\"vendor/with-slash\""}) {
    CHECK(list->client.body.find(name) != std::string::npos);
  }
  CHECK(get("/v1/models/both")->client.status == 200);
  CHECK(get("/v1/models/vendor/with-slash")->client.body.find("vendor/with-slash") !=
        std::string::npos);
  CHECK(get("/v1/models/vendor%2Fwith-slash")->client.status == 200);
  CHECK(get("/v1/models/nope")->client.status == 404);
  CHECK(get("/v1/modelsx")->client.status == 404);
  CHECK(get("/v1/models/%zz")->client.status == 404);
}

TEST_CASE("a refusal that the server found is answered and recorded like any other") {
  Bench bench;
  auto asked = bench.Prepare(kChat, "");
  const auto refuse = [](Pipeline& pipeline, Exchange& x, ResponseWriter& out) -> Task<bool> {
    co_await pipeline.Refuse(
        x, out, {.code = ErrorCode::kOverloaded, .message = "full", .retry_after_ms = 1'200});
    co_return true;
  };
  CHECK(Await(bench.loop, refuse(*bench.pipeline, *asked->x, asked->client)));
  CHECK(asked->client.status == 503);
  CHECK(asked->client.Header("retry-after") == "2");
  CHECK(asked->x->record.refusal == "overloaded");
}

TEST_CASE("a configuration that comes in the middle of a call does not mix with it") {
  Bench bench;
  bench.a.Next({Hold(), Send(JsonAnswer(200, kChatAnswer))});
  const std::weak_ptr<const Snapshot> old = bench.loop.snapshot;
  const auto asked = bench.Ask(kChat, ChatCall("a"));
  REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1; }));
  bench.loop.snapshot.reset();
  CHECK(old.expired());  // a call under way keeps its plan, not the snapshot
  bench.a.Resume();
  bench.Finish(*asked);
  CHECK(asked->client.status == 200);
  CHECK(asked->client.Header("x-spillway-revision") == "42");
}

TEST_CASE("trace context is the request's own, also on a connection that is kept") {
  Bench bench;
  const auto ask = [&](std::vector<std::pair<std::string, std::string>> context) {
    bench.a.Next({Send(JsonAnswer(200, kChatAnswer))});
    const auto asked = bench.Prepare(kChat, ChatCall("one"));
    for (auto& header : context) asked->own_headers.push_back(std::move(header));
    bench.Go(*asked);
    bench.Finish(*asked);
    CHECK(asked->client.status == 200);
    return bench.a.requests().back();
  };
  const ScriptedProvider::Request first =
      ask({{"traceparent", "00-a-b-01"}, {"tracestate", "x=1"}});
  CHECK(first.Header("traceparent") == "00-a-b-01");
  CHECK(first.Header("tracestate") == "x=1");
  const ScriptedProvider::Request other = ask({{"traceparent", "00-c-d-01"}});
  CHECK(other.Header("traceparent") == "00-c-d-01");
  CHECK_FALSE(other.head.contains("tracestate"));
  const ScriptedProvider::Request none = ask({});
  CHECK_FALSE(none.head.contains("traceparent"));
  CHECK(none.connection == first.connection);
  CHECK(bench.a.accepted() == 1);
}

}  // namespace
}  // namespace spillway
