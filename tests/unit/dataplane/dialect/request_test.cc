#include <catch2/catch_all.hpp>
#include <string>

#include "dataplane/dialect/openai.h"
#include "tests/unit/dataplane/dialect/padded.h"

namespace spillway::openai {
namespace {

// A chat body with `more` members behind the required ones.
std::string Chat(const std::string& more) {
  return R"({"model":"m","messages":[{"role":"user","content":"hi"}])" +
         (more.empty() ? "" : "," + more) + "}";
}

TEST_CASE("operations and their paths") {
  CHECK(OperationOf("/v1/chat/completions") == Operation::kChat);
  CHECK(OperationOf("/v1/completions") == Operation::kCompletions);
  CHECK(OperationOf("/v1/embeddings") == Operation::kEmbeddings);
  for (const char* path :
       {"/v1/chat", "/v1/chat/completions/", "/chat/completions", "/v1", "", "/v2/embeddings"}) {
    INFO(path);
    CHECK_FALSE(OperationOf(path));
  }
  CHECK(UpstreamPath(Operation::kChat) == "/chat/completions");
  CHECK(UpstreamPath(Operation::kCompletions) == "/completions");
  CHECK(UpstreamPath(Operation::kEmbeddings) == "/embeddings");
}

TEST_CASE("wrong types of policy fields are named in OpenAI's words") {
  struct Row {
    Operation operation;
    std::string body;
    std::string param;
    std::string message;
  };
  constexpr auto kChat = Operation::kChat;
  const auto row = GENERATE_COPY(values<Row>({
      {kChat, R"({"messages":[{}]})", "model", "Missing required parameter"},
      {kChat, R"({"model":null,"messages":[{}]})", "model", "but got null"},
      {kChat, R"({"model":7,"messages":[{}]})", "model", "but got a number"},
      {kChat, R"({"model":"","messages":[{}]})", "model", "printable ASCII"},
      {kChat, "{\"model\":\"gp\xc3\xa9\",\"messages\":[{}]}", "model", "printable ASCII"},
      {kChat, R"({"model":"a\nb","messages":[{}]})", "model", "printable ASCII"},
      {kChat, R"({"model":")" + std::string(257, 'm') + R"(","messages":[{}]})", "model",
       "1 to 256"},
      {kChat, R"({"model":"m"})", "messages", "Missing"},
      {kChat, R"({"model":"m","messages":[]})", "messages", "at least one"},
      {kChat, R"({"model":"m","messages":[ ]})", "messages", "at least one"},
      {kChat, R"({"model":"m","messages":"hi"})", "messages", "an array of objects"},
      {kChat, R"({"model":"m","messages":null})", "messages", "but got null"},
      {kChat, Chat(R"("stream":"true")"), "stream", "a boolean or null"},
      {kChat, Chat(R"("stream":1)"), "stream", "a boolean or null"},
      {kChat, Chat(R"("stream_options":true)"), "stream_options", "an object or null"},
      {kChat, Chat(R"("stream_options":{"include_usage":1})"), "stream_options.include_usage",
       "a boolean"},
      {kChat, Chat(R"("n":0)"), "n", "between 1 and 128"},
      {kChat, Chat(R"("n":129)"), "n", "between 1 and 128"},
      {kChat, Chat(R"("n":1.5)"), "n", "an integer"},
      {kChat, Chat(R"("n":1e0)"), "n", "an integer"},
      {kChat, Chat(R"("n":"2")"), "n", "an integer or null"},
      {kChat, Chat(R"("n":-1)"), "n", "between"},
      {kChat, Chat(R"("max_tokens":-1)"), "max_tokens", "between 0"},
      {kChat, Chat(R"("max_tokens":-0)"), "max_tokens", "between 0"},
      {kChat, Chat(R"("max_tokens":1.0)"), "max_tokens", "an integer"},
      {kChat, Chat(R"("max_tokens":99999999999999999999)"), "max_tokens", "an integer"},
      {kChat, Chat(R"("max_completion_tokens":[])"), "max_completion_tokens", "an integer or null"},
      {kChat, Chat(R"("user":{"id":1})"), "user", "a string"},
      {kChat, Chat(R"("metadata":"x")"), "metadata", "an object or null"},
      {kChat, Chat(R"("metadata":{"user":1})"), "metadata.user", "a string"},
      {kChat, Chat(R"("metadata":{"feature":[]})"), "metadata.feature", "a string"},
      {Operation::kCompletions, R"({"model":"m"})", "prompt", "Missing"},
      {Operation::kCompletions, R"({"model":"m","prompt":"x","best_of":0})", "best_of", "between"},
      {Operation::kEmbeddings, R"({"model":"m"})", "input", "Missing"},
  }));
  INFO(row.body);
  const Padded body(row.body);
  const auto request = DecodeRequest(row.operation, body.view());
  REQUIRE_FALSE(request.has_value());
  CHECK(request.error().code == ErrorCode::kInvalidRequest);
  CHECK(request.error().param == row.param);
  CHECK_THAT(request.error().message, Catch::Matchers::ContainsSubstring(row.message));
}

TEST_CASE("policy fields are read with their defaults") {
  const Padded body(Chat(""));
  const auto request = DecodeRequest(Operation::kChat, body.view());
  REQUIRE(request.has_value());
  CHECK(request->model == "m");
  CHECK_FALSE(request->stream);
  CHECK_FALSE(request->include_usage);
  CHECK(request->stream_options.empty());
  CHECK(request->output_tokens_max == 0);
  CHECK(request->choices == 1);
  CHECK(request->user.empty());
}

TEST_CASE("policy fields are read where they stand, unescaped") {
  const Padded body(
      R"({"stre\u0061m":true,"n":2,"messages":[{"model":"no","n":9}],"max_tokens":5,)"
      R"("max_completion_tokens":7,"mod\u0065l":"gpt\u002d5\/x","user":"al\u00efce",)"
      R"("metadata":{"user":"bob","feature":"\"q\"","other":1},"stream_options":{"include_usage":true}})");
  const auto request = DecodeRequest(Operation::kChat, body.view());
  REQUIRE(request.has_value());
  CHECK(request->model == "gpt-5/x");
  CHECK(request->stream);
  CHECK(request->include_usage);
  CHECK(request->choices == 2);
  CHECK(request->output_tokens_max == 7);
  CHECK(request->user ==
        "al\xc3\xaf"
        "ce");
  CHECK(request->metadata_user == "bob");
  CHECK(request->metadata_feature == "\"q\"");
  const Span span = request->model_value;
  CHECK(body.view().substr(span.begin, span.end - span.begin) == R"("gpt\u002d5\/x")");
}

TEST_CASE("null stands for absent, except for the prompt's own field") {
  const Padded chat(Chat(
      R"("stream":null,"n":null,"max_tokens":null,"user":null,"metadata":null,"stream_options":null)"));
  CHECK(DecodeRequest(Operation::kChat, chat.view()).has_value());
  const Padded completion(R"({"model":"m","prompt":null,"best_of":4,"n":2})");
  const auto request = DecodeRequest(Operation::kCompletions, completion.view());
  REQUIRE(request.has_value());
  CHECK(request->choices == 4);
}

TEST_CASE("embeddings never stream") {
  const Padded body(R"({"model":"m","input":["a"],"stream":true})");
  const auto request = DecodeRequest(Operation::kEmbeddings, body.view());
  REQUIRE(request.has_value());
  CHECK_FALSE(request->stream);
}

TEST_CASE("attribution is cut at a character") {
  std::string user;
  for (int i = 0; i < 400; ++i) user += "\xc3\xa9";
  user.insert(0, "x");
  const Padded body(Chat(R"("user":")" + user + '"'));
  const auto request = DecodeRequest(Operation::kChat, body.view());
  REQUIRE(request.has_value());
  CHECK(request->user == user.substr(0, 511));
}

struct Splice {
  std::string name;
  std::string body;
  std::string want;
};

TEST_CASE("only the model and the request for usage change") {
  const auto row = GENERATE(values<Splice>({
      {"unary", R"({"model":"m","messages":[1],"x":1.50})",
       R"({"model":"up\"1","messages":[1],"x":1.50})"},
      {"unary keeps stream options", R"({"model":"m","messages":[1],"stream_options":null})",
       R"({"model":"up\"1","messages":[1],"stream_options":null})"},
      {"no options", R"({"messages":[1],"stream":true,"model":"m"})",
       R"({"stream_options":{"include_usage":true},"messages":[1],"stream":true,"model":"up\"1"})"},
      {"white space kept", "\n{ \"model\" : \"m\" ,\t\"messages\":[1],\"stream\":true } ",
       "\n{\"stream_options\":{\"include_usage\":true}, \"model\" : \"up\\\"1\" "
       ",\t\"messages\":[1],\"stream\":true } "},
      {"null options", R"({"model":"m","messages":[1],"stream":true,"stream_options": null })",
       R"({"model":"up\"1","messages":[1],"stream":true,"stream_options": {"include_usage":true} })"},
      {"empty options", R"({"model":"m","messages":[1],"stream":true,"stream_options":{ }})",
       R"({"model":"up\"1","messages":[1],"stream":true,"stream_options":{"include_usage":true }})"},
      {"other options",
       R"({"stream_options":{"include_obfuscation":false},"model":"m","messages":[1],"stream":true})",
       R"({"stream_options":{"include_usage":true,"include_obfuscation":false},"model":"up\"1","messages":[1],"stream":true})"},
      {"false",
       R"({"stream_options":{"a":1,"include_usage":false},"model":"m","messages":[1],"stream":true})",
       R"({"stream_options":{"a":1,"include_usage":true},"model":"up\"1","messages":[1],"stream":true})"},
      {"null value",
       R"({"stream_options":{"include_usage": null},"model":"m","messages":[1],"stream":true})",
       R"({"stream_options":{"include_usage": true},"model":"up\"1","messages":[1],"stream":true})"},
      {"asked already",
       R"({"stream_options":{"include_usage":true},"model":"m","messages":[1],"stream":true})",
       R"({"stream_options":{"include_usage":true},"model":"up\"1","messages":[1],"stream":true})"},
      {"escaped keys",
       R"({"stream_option\u0073":{"include_us\u0061ge":false},"mod\u0065l":"m","messages":[1],"stream":true})",
       R"({"stream_option\u0073":{"include_us\u0061ge":true},"mod\u0065l":"up\"1","messages":[1],"stream":true})"},
  }));
  INFO(row.name);
  const Padded body(row.body);
  const auto request = DecodeRequest(Operation::kChat, body.view());
  REQUIRE(request.has_value());
  const SplicedBody spliced(*request, body.view(), "up\"1");
  CHECK(Join(spliced.pieces()) == row.want);
  CHECK(spliced.size() == row.want.size());
}

TEST_CASE("prompt tokens by size") {
  CHECK(EstimateInputTokens(0) == 0);
  CHECK(EstimateInputTokens(1) == 1);
  CHECK(EstimateInputTokens(4) == 1);
  CHECK(EstimateInputTokens(5) == 2);
}

}  // namespace
}  // namespace spillway::openai
