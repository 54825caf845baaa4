#include <catch2/catch_all.hpp>
#include <string>

#include "tests/mockprovider/answer.h"
#include "tests/mockprovider/behaviour.h"
#include "tests/mockprovider/call_ledger.h"
#include "tests/mockprovider/http_parse.h"
#include "tests/mockprovider/stream_script.h"

namespace spillway::mock {
namespace {

using State = HttpParsed::State;

TEST_CASE("HTTP requests are taken whole or refused") {
  struct Row {
    std::string name, bytes;
    State state;
    int status = 0;
    std::string body = {};
    std::string rest = {};  // behind the request
  };
  const auto row = GENERATE(values<Row>({
      {"get", "GET /a?x=1 HTTP/1.1\r\nHost: h\r\n\r\n", State::kReady},
      {"body", "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET", State::kReady, 0, "abc",
       "GET"},
      {"chunked",
       "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
       State::kReady, 0, "abc"},
      {"trailers",
       "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
       State::kReady, 0, "a"},
      {"half a head", "GET / HTTP/1.1\r\nHost", State::kNeedMore},
      {"half a body", "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", State::kNeedMore},
      {"half a chunk", "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab\r\n",
       State::kNeedMore},
      {"garbage", "\x16\x03\x01 whatever\r\n\r\n", State::kBad, 400},
      {"no version", "GET /\r\n\r\n", State::kBad, 400},
      {"header without colon", "GET / HTTP/1.1\r\nHost\r\n\r\n", State::kBad, 400},
      {"two lengths", "POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
       State::kBad, 400},
      {"length and chunks",
       "POST /a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na", State::kBad,
       400},
      {"bad length", "POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n", State::kBad, 400},
      {"huge length", "POST /a HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", State::kBad, 413},
      {"bad chunk size", "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
       State::kBad, 400},
      {"huge chunk", "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff0\r\n",
       State::kBad, 413},
      {"chunk without end", "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
       State::kBad, 400},
      {"endless head", "GET / HTTP/1.1\r\nX: " + std::string(70'000, 'a'), State::kBad, 431},
  }));
  INFO(row.name);
  HttpRequest request;
  const HttpParsed parsed = ParseHttp(row.bytes, request);
  CHECK(parsed.state == row.state);
  CHECK(parsed.status == row.status);
  if (row.state != State::kReady) return;
  CHECK(request.body == row.body);
  CHECK(row.bytes.substr(parsed.consumed) == row.rest);
}

TEST_CASE("headers that matter are found in any case") {
  HttpRequest request;
  const std::string bytes =
      "POST /v1/x?model=a%20b&y HTTP/1.1\r\nAUTHORIZATION: Bearer  "
      "sk-12345678\r\nX-Spillway-Attempt-Id: "
      "abc\r\nConnection: Close\r\nExpect: 100-Continue\r\n\r\n";
  REQUIRE(ParseHttp(bytes, request).state == State::kReady);
  CHECK(request.api_key == "sk-12345678");
  CHECK(request.attempt_id == "abc");
  CHECK_FALSE(request.keep_alive);
  CHECK(request.expect_continue);
  CHECK(request.path == "/v1/x");
  CHECK(request.QueryValue("model") == "a%20b");
  CHECK(request.QueryValue("mod").empty());
}

TEST_CASE("behaviours by a model's name") {
  Behaviour behaviour;
  ApplyName("mock-error-429-retry-7-tokens-64-gap-400-ttft-20-nodone-rst-5-large", behaviour);
  CHECK(behaviour.status == 429);
  CHECK(behaviour.retry_after == 7);
  CHECK(behaviour.tokens == 64);
  CHECK(behaviour.gap_ms == 400);
  CHECK(behaviour.ttft_ms == 20);
  CHECK(behaviour.no_done);
  CHECK(behaviour.cut_after == 5);
  CHECK(behaviour.cut_how == CutHow::kRst);
  Behaviour untouched;
  ApplyName("gpt-error-429", untouched);
  ApplyName("mock-", untouched);
  ApplyName("mock-tokens", untouched);
  ApplyName("mock-tokens-many", untouched);
  CHECK(untouched.status == 200);
  CHECK(untouched.tokens == 16);
}

TEST_CASE("behaviours that were put hold until they are taken back") {
  BehaviourBook book;
  REQUIRE(book.Put(R"([{"model":"*","tokens":5},{"model":"a","status":503,"fail_times":2}])"));
  const auto plan = book.Resolve("a");
  CHECK(plan->Take().status == 503);
  CHECK(plan->Take().status == 503);
  CHECK(plan->Take().status == 200);
  CHECK(plan->Take().tokens == 5);
  CHECK(book.Resolve("a") == plan);
  CHECK(book.Resolve("mock-tokens-7")->Take().tokens == 7);
  book.Remove("a");
  CHECK(book.Resolve("a")->Take().status == 200);
  book.Clear();
  CHECK(book.Resolve("a")->Take().tokens == 16);
  for (const char* bad : {"", "1", R"({"tokens":"5"})", R"({"tokens":-2})", R"({"unknown":1})",
                          R"({"reset":1})", R"({"cut_how":"bang"})", R"([{"tokens":1},{"x":1}])"}) {
    INFO(bad);
    CHECK_FALSE(book.Put(bad).has_value());
  }
}

// A padded copy: the parser reads behind a body's end.
Result<ApiRequest> Parse(Operation operation, std::string body) {
  const size_t size = body.size();
  body.append(64, ' ');
  return ParseApiRequest(operation, std::string_view(body).substr(0, size));
}

constexpr const char* kTools =
    R"([{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}])";

TEST_CASE("requests are read, and tools are called when the user spoke last") {
  const std::string user =
      R"({"model":"m","messages":[{"role":"user","content":"hi"}],"tools":)" + std::string(kTools);
  const auto request = Parse(
      Operation::kChat,
      user + R"(,"n":2,"max_tokens":3,"stream":true,"stream_options":{"include_usage":true}})");
  REQUIRE(request.has_value());
  CHECK(request->wants_tool_call);
  CHECK(request->tool_name == "get_weather");
  CHECK(request->tool_parameter == "city");
  CHECK(request->choices == 2);
  CHECK(request->tokens_max == 3);
  CHECK(request->stream);
  CHECK(request->include_usage);
  CHECK(request->prompt_tokens == 8);
  CHECK_FALSE(Parse(Operation::kChat, user + R"(,"tool_choice":"none"})")->wants_tool_call);
  CHECK_FALSE(Parse(Operation::kChat,
                    R"({"model":"m","messages":[{"role":"user"},{"role":"tool"}],"tools":)" +
                        std::string(kTools) + "}")
                  ->wants_tool_call);
  CHECK(Parse(Operation::kCompletions, R"({"model":"m","prompt":["a","b"],"n":2})")->choices == 4);
  CHECK(Parse(Operation::kEmbeddings, R"({"model":"m","input":["a","b"]})")->inputs.size() == 2);
  CHECK(Parse(Operation::kEmbeddings, R"({"model":"m","input":[1,2,3]})")->inputs.size() == 1);
  for (const char* bad :
       {"", "{", "[]", R"({"messages":[{}]})", R"({"model":"m"})", R"({"model":"m","messages":[]})",
        R"({"model":"m","messages":[{}],"n":0})"}) {
    INFO(bad);
    CHECK_FALSE(Parse(Operation::kChat, bad).has_value());
  }
}

TEST_CASE("every kind of token stands in the usage and in the ledger's line") {
  Behaviour behaviour;
  REQUIRE(ApplyJson(R"({"tokens":10,"cached_tokens":3,"cache_write_tokens":2,)"
                    R"("audio_input_tokens":99,"reasoning_tokens":4,"audio_output_tokens":5})",
                    behaviour));
  auto request =
      Parse(Operation::kChat, R"({"model":"m","messages":[{"role":"user","content":"hi"}],)"
                              R"("service_tier":"flex"})");
  REQUIRE(request);
  const Answer answer = MakeAnswer(*std::move(request), behaviour, "id");
  std::string body;
  AppendBody(body, answer);
  CHECK_THAT(body, Catch::Matchers::ContainsSubstring(
                       R"("usage":{"prompt_tokens":8,"completion_tokens":10,"total_tokens":18,)"
                       R"("prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":2,)"
                       R"("audio_tokens":3},"completion_tokens_details":{"reasoning_tokens":4,)"
                       R"("audio_tokens":5}})"));
  CHECK_THAT(body, Catch::Matchers::ContainsSubstring(R"("service_tier":"flex")"));

  const TokenParts cut = PartsOf(behaviour, 4, 6);
  CHECK(cut.cached == 3);
  CHECK(cut.cache_write == 1);
  CHECK(cut.audio_input == 0);
  CHECK(cut.reasoning == 4);
  CHECK(cut.audio_output == 2);
  CHECK(behaviour.WithoutFaults().cache_write_tokens == 2);

  CallLedger ledger(1, true);
  auto call = std::make_shared<Call>();
  call->input_tokens = 8;
  call->output_tokens = 6;
  call->cached = 3;
  call->cache_write = 2;
  call->audio_input = 3;
  call->reasoning_most = 4;
  call->audio_output_most = 5;
  call->service_tier = "flex";
  ledger.shard(0).Open(call);
  CHECK_THAT(ledger.RenderLines(),
             Catch::Matchers::ContainsSubstring(
                 R"("cached":3,"cache_write":2,"audio_input":3,"reasoning":4,"audio_output":2,)"
                 R"("service_tier":"flex")"));
}

TEST_CASE("an answer names the tier of its behaviour, else of its request") {
  const auto tier = [](const std::string& behaves, const std::string& asks) {
    Behaviour behaviour;
    behaviour.service_tier = behaves;
    ApiRequest request;
    request.service_tier = asks;
    return ServiceTier(request, behaviour);
  };
  CHECK(tier("", "") == "default");
  CHECK(tier("", "auto") == "default");
  CHECK(tier("", "priority") == "priority");
  CHECK(tier("default", "priority") == "default");
}

struct Played {
  std::string events;
  StreamScript::Step end;
  int64_t tokens;
};

// The events of a stream without HTTP's chunks.
Played Play(const Answer& answer) {
  StreamScript script(answer);
  std::string wire;
  while (script.Next() == StreamScript::Step::kToken || script.Next() == StreamScript::Step::kOther)
    script.Emit(wire);
  if (script.Next() == StreamScript::Step::kCut) script.EmitCut(wire);
  Played played{.end = script.Next(), .tokens = script.tokens()};
  for (size_t at = 0; at < wire.size();) {
    const size_t line = wire.find("\r\n", at);
    const size_t size = std::stoul(wire.substr(at, line - at), nullptr, 16);
    played.events += wire.substr(line + 2, size);
    at = line + 2 + size + 2;
  }
  return played;
}

size_t Count(const std::string& text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST_CASE("streams have their tokens, usage and end, or the fault that was asked for") {
  const auto play = [](std::string_view faults, std::string_view more) {
    Behaviour behaviour;
    REQUIRE(ApplyJson(faults, behaviour));
    auto request =
        Parse(Operation::kChat,
              R"({"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true)" +
                  std::string(more) + "}");
    REQUIRE(request);
    const Answer answer = MakeAnswer(*std::move(request), behaviour, "id");
    return Play(answer);
  };
  const std::string usage = R"(,"stream_options":{"include_usage":true})";
  const Played whole = play(R"({"tokens":3})", usage);
  CHECK(whole.end == StreamScript::Step::kEnd);
  CHECK(whole.tokens == 3);
  CHECK(Count(whole.events, "data: {") == 6);
  CHECK(whole.events.ends_with("data: [DONE]\n\n"));
  CHECK(Count(whole.events, R"("choices":[],"usage":{"prompt_tokens":8,"completion_tokens":3,)") ==
        1);
  CHECK(Count(whole.events, R"("usage":null)") == 5);
  CHECK(Count(play(R"({"tokens":3})", "").events, "usage") == 0);
  CHECK(play(R"({"tokens":3})", R"(,"n":2)").tokens == 6);
  CHECK(Count(play(R"({"tokens":9})", R"(,"max_tokens":2)").events,
              R"("finish_reason":"length")") == 1);
  CHECK_FALSE(play(R"({"no_done":true})", "").events.contains("[DONE]"));
  CHECK_FALSE(play(R"({"no_usage":true})", usage).events.contains("usage"));
  CHECK(play(R"({"explicit_zero_usage":true})", usage).events.contains(R"("completion_tokens":0)"));
  const Played last = play(R"({"usage_in_last_content":true})", usage);
  CHECK_FALSE(last.events.contains(R"("choices":[])"));
  CHECK(last.events.contains(R"("usage":{"prompt_tokens":8)"));
  const Played cut = play(R"({"tokens":5,"cut_after":2})", "");
  CHECK(cut.end == StreamScript::Step::kCut);
  CHECK(cut.tokens == 2);
  CHECK_FALSE(play(R"({"cut_after":2,"cut_inside_event":true})", "").events.ends_with("\n"));
  CHECK(play(R"({"tokens":5,"stall_after":0})", "").end == StreamScript::Step::kStall);
  CHECK(play(R"({"tokens":5,"error_event_at":2})", "").events.contains(R"(data: {"error":{)"));
  CHECK(play(R"({"tokens":5,"malformed_event_at":2})", "").events.contains("\"tok\n\n"));
  const Played tool = play(R"({"tokens":3})", R"(,"tools":)" + std::string(kTools));
  CHECK(tool.events.contains(R"("arguments":"{\"city\":\"token0 ")"));
  CHECK(tool.events.contains(R"("arguments":"token2 \"}")"));
  CHECK(tool.events.contains(R"("finish_reason":"tool_calls")"));
}

TEST_CASE("keys are never shown") {
  CHECK(KeyLabel("sk-mock-0001") == "...0001");
  CHECK(KeyLabel("short") == "short");
  CHECK(KeyLabel("secret7") == "short");
  CHECK(KeyLabel("") == "none");
}

}  // namespace
}  // namespace spillway::mock
