#include <catch2/catch_all.hpp>
#include <string>

#include "dataplane/dialect/openai.h"
#include "tests/unit/dataplane/dialect/padded.h"

namespace spillway::openai {
namespace {

struct ResponseRow {
  std::string name;
  std::string usage;  // the member's value
  std::optional<TokenUsage> want;
};

TEST_CASE("usage is read liberally and never absurdly") {
  const auto row = GENERATE(values<ResponseRow>({
      {"openai",
       R"({"prompt_tokens":30,"completion_tokens":12,"total_tokens":42,)"
       R"("prompt_tokens_details":{"cached_tokens":16,"audio_tokens":0},)"
       R"("completion_tokens_details":{"audio_tokens":0,"reasoning_tokens":8}})",
       TokenUsage{30, 12, 16, 8}},
      {"embeddings", R"({"prompt_tokens":9,"total_tokens":9})", TokenUsage{9, 0, 0, 0}},
      {"zero", R"({"prompt_tokens":0,"completion_tokens":0,"total_tokens":0})", TokenUsage{}},
      {"floats", R"({"prompt_tokens":30.0,"completion_tokens":12.0})", TokenUsage{30, 12, 0, 0}},
      {"null details",
       R"({"prompt_tokens":3,"completion_tokens":1,"prompt_tokens_details":null,)"
       R"("completion_tokens_details":{"reasoning_tokens":null}})",
       TokenUsage{3, 1, 0, 0}},
      {"negative", R"({"prompt_tokens":-5,"completion_tokens":7})", TokenUsage{0, 7, 0, 0}},
      {"cached over input",
       R"({"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":9}})",
       TokenUsage{5, 7, 5, 0}},
      {"reasoning beside",
       R"({"prompt_tokens":5,"completion_tokens":7,"total_tokens":22,"completion_tokens_details":{"reasoning_tokens":10}})",
       TokenUsage{5, 17, 0, 10}},
      {"every kind",
       R"({"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,)"
       R"("prompt_tokens_details":{"cached_tokens":40,"cache_write_tokens":30,"audio_tokens":20,)"
       R"("text_tokens":80,"image_tokens":0},"completion_tokens_details":{"reasoning_tokens":12.0,)"
       R"("audio_tokens":7,"accepted_prediction_tokens":1,"rejected_prediction_tokens":0}})",
       TokenUsage{.input = 100,
                  .output = 50,
                  .cached_input = 40,
                  .reasoning = 12,
                  .cache_write_5m = 30,
                  .audio_input = 20,
                  .audio_output = 7}},
      {"parts over their whole",
       R"({"prompt_tokens":5,"completion_tokens":3,"prompt_tokens_details":{"cache_write_tokens":9,)"
       R"("audio_tokens":7},"completion_tokens_details":{"audio_tokens":4,"reasoning_tokens":5}})",
       TokenUsage{.input = 5,
                  .output = 3,
                  .reasoning = 3,
                  .cache_write_5m = 5,
                  .audio_input = 5,
                  .audio_output = 3}},
      {"null and negative parts",
       R"({"prompt_tokens":5,"completion_tokens":null,"prompt_tokens_details":{"cache_write_tokens":null,)"
       R"("audio_tokens":-7,"cached_tokens":"3"}})",
       TokenUsage{.input = 5}},
      {"an absurd part",
       R"({"prompt_tokens":5,"completion_tokens":3,"prompt_tokens_details":{"audio_tokens":1e300}})",
       std::nullopt},
      {"deepseek",
       R"({"prompt_tokens":9,"completion_tokens":3,"prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":3})",
       TokenUsage{.input = 9, .output = 3, .cached_input = 6}},
      {"mistral", R"({"prompt_tokens":9,"completion_tokens":3,"num_cached_tokens":4})",
       TokenUsage{.input = 9, .output = 3, .cached_input = 4}},
      {"moonshot",
       R"({"prompt_tokens":9,"completion_tokens":3,"cached_tokens":5,"prompt_tokens_details":{"cached_tokens":5}})",
       TokenUsage{.input = 9, .output = 3, .cached_input = 5}},
      {"huge", R"({"prompt_tokens":5,"completion_tokens":99999999999999999})", std::nullopt},
      {"beyond integers", R"({"prompt_tokens":5,"completion_tokens":99999999999999999999999})",
       std::nullopt},
      {"strings", R"({"prompt_tokens":"5","completion_tokens":"7"})", std::nullopt},
      {"empty", "{}", std::nullopt},
      {"null", "null", std::nullopt},
      {"array", "[1]", std::nullopt},
  }));
  INFO(row.name);
  const Padded body(
      R"({"id":"c","choices":[{"index":0,"message":{"content":"a \"b\""}}],"usage":)" + row.usage +
      R"(,"more":[{}]})");
  const Response response = ScanResponse(Operation::kChat, body.view());
  CHECK(response.is_object);
  CHECK_FALSE(response.is_error);
  CHECK(response.usage == row.want);
  if (!row.want) CHECK(response.content_bytes == 5);
}

TEST_CASE("an answer says in which tier it was served") {
  struct Tier {
    std::string value;
    std::string want;
  };
  const auto row = GENERATE(values<Tier>({
      {R"("flex")", "flex"},
      {R"("priority")", "priority"},
      {R"("default")", ""},
      {R"("standard")", ""},
      {R"("auto")", ""},
      {R"("")", ""},
      {"null", ""},
      {"7", ""},
      {R"({"x":1})", ""},
      {R"("Flex tier")", ""},
      {R"("a\u0000b")", ""},
      {"\"" + std::string(33, 'a') + "\"", ""},
  }));
  INFO(row.value);
  const Padded body(R"({"choices":[],"service_tier":)" + row.value +
                    R"(,"usage":{"prompt_tokens":1}})");
  const Response response = ScanResponse(Operation::kChat, body.view());
  CHECK(response.is_object);
  CHECK(response.service_tier == row.want);
  CHECK(response.usage == TokenUsage{.input = 1});
}

TEST_CASE("answers that are no answers") {
  struct Answer {
    std::string body;
    bool is_object;
    bool is_error;
  };
  const auto row = GENERATE(values<Answer>({
      {R"({"error":{"message":"no"}})", true, true},
      {R"({"error":"no"})", true, true},
      {R"({"error":null,"choices":[]})", true, false},
      {R"({"choices":[{"error":{"message":"inside"}}]})", true, false},
      {"[]", false, false},
      {"", false, false},
      {"<html>", false, false},
      {R"({"choices":[)", false, false},
      {R"({"id":"c","choices":[{"index":0,"mess)", false, false},
      {"{\"id\":\"\xff\"}", false, false},
  }));
  INFO(row.body);
  const Padded body(row.body);
  const Response response = ScanResponse(Operation::kChat, body.view());
  CHECK(response.is_object == row.is_object);
  CHECK(response.is_error == row.is_error);
}

TEST_CASE("text is counted over all choices when usage is missing") {
  const Padded body(
      R"({"choices":[{"message":{"role":"assistant","content":"abcd"}},{"message":{"content":null,)"
      R"("tool_calls":[{"id":"call","function":{"name":"f","arguments":"{\"x\":1}"}}]}},{"text":"xyz"}]})");
  CHECK(ScanResponse(Operation::kChat, body.view()).content_bytes == 4 + 7 + 3);
}

TEST_CASE("error bodies of many servers") {
  struct Body {
    std::string text, message, type, code;
  };
  const auto row = GENERATE(values<Body>({
      {R"({"error":{"message":"slow down","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}})",
       "slow down", "rate_limit_error", "rate_limit_exceeded"},
      {R"({"error":{"message":"bad","code":400}})", "bad", "", "400"},
      {R"({"error":"plain"})", "plain", "", ""},
      {R"({"object":"error","message":"vllm","type":"BadRequestError","code":400})", "vllm",
       "BadRequestError", "400"},
      {R"({"detail":"Not Found"})", "Not Found", "", ""},
      {R"([{"error":{"message":"in a list"}}])", "in a list", "", ""},
      {"<html>busy</html>", "", "", ""},
      {"", "", "", ""},
      {R"({"error":{"message":["x"]}})", "", "", ""},
      {R"({"error":)", "", "", ""},
      {std::string(100'000, '['), "", "", ""},
  }));
  INFO(row.text);
  const ProviderError error = ScanError(row.text);
  CHECK(error.message == row.message);
  CHECK(error.type == row.type);
  CHECK(error.code == row.code);
}

TEST_CASE("refusals are OpenAI error objects") {
  const Error error{.code = ErrorCode::kInvalidRequest, .message = "say \"hi\"\n", .param = "n"};
  const std::string name(InfoOf(ErrorCode::kInvalidRequest).name);
  const std::string type(InfoOf(ErrorCode::kInvalidRequest).openai_type);
  const std::string want = R"({"error":{"message":"say \"hi\"\n","type":")" + type +
                           R"(","param":"n","code":")" + name + R"("}})";
  CHECK(RenderError(error) == want);
  CHECK(RenderStreamError(error) == "data: " + want + "\n\n");
  const std::string bare = RenderError({.code = ErrorCode::kInternal, .message = "bad \xff byte"});
  CHECK_THAT(bare, Catch::Matchers::ContainsSubstring(R"(bad \ufffd byte)"));
  CHECK_THAT(bare, Catch::Matchers::ContainsSubstring(R"("param":null)"));
}

TEST_CASE("models are listed") {
  CHECK(RenderModelList({}) == R"({"object":"list","data":[]})");
  CHECK(RenderModelList({"a", "b/c"}) ==
        R"({"object":"list","data":[{"id":"a","object":"model","created":0,"owned_by":"spillway"},)"
        R"({"id":"b/c","object":"model","created":0,"owned_by":"spillway"}]})");
}

}  // namespace
}  // namespace spillway::openai
