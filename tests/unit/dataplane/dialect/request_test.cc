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

TEST_CASE("metadata is read for tags, within bounds") {
  std::string members;
  for (int i = 0; i < 20; ++i) members += R"("k)" + std::to_string(i) + R"(":"v",)";
  const Padded body(
      Chat(R"("metadata":{"te\u0061m":"a\"b","number":1,"list":["x"],"inner":{"k":"v"},)"
           R"("long":")" +
           std::string(600, 'x') + R"(",")" + std::string(65, 'n') + R"(":"name too long",)" +
           members + R"("feature":"f","user":"u"})"));
  const auto request = DecodeRequest(Operation::kChat, body.view());
  REQUIRE(request.has_value());
  REQUIRE(request->metadata.size() == 16);
  CHECK(request->metadata[0] == std::pair<std::string, std::string>("team", "a\"b"));
  CHECK(request->metadata[1] == std::pair<std::string, std::string>("long", std::string(512, 'x')));
  CHECK(request->metadata[2].first == "k0");
  CHECK(request->metadata_user == "u");
  CHECK(request->metadata_feature == "f");
}

TEST_CASE("what an estimate needs of a request") {
  struct Counts {
    std::string name;
    Operation operation;
    std::string body;
    int64_t messages, media, choices;
    int64_t media_bytes = 0;
  };
  const auto row = GENERATE(values<Counts>({
      {"texts", Operation::kChat,
       R"({"model":"m","messages":[{"role":"system","content":"a"},{"role":"user","content":"b"}]})",
       2, 0, 1},
      {"parts", Operation::kChat,
       R"({"model":"m","n":3,"messages":[{"role":"user","content":[{"type":"text","text":"a"},)"
       R"({"type":"image_url","image_url":{"url":"u","type":"text"}},{"type":"input_audio"},)"
       R"({"text":"no type"},{"typ\u0065":"refusal","refusal":"r"},{"type":7},"odd",[{"type":"file"}]]}]})",
       1, 4, 3, 108},
      {"audio of an earlier answer", Operation::kChat,
       R"({"model":"m","messages":[{"role":"assistant","audio":{"id":"a"}},{"role":"user","audio":null}]})",
       2, 1, 1, 10},
      {"parts elsewhere", Operation::kChat,
       R"({"model":"m","content":[{"type":"image_url"}],"messages":[{"x":{"content":[{"type":"file"}]}}]})",
       1, 0, 1},
      {"one prompt", Operation::kCompletions, R"({"model":"m","prompt":"x","n":2})", 0, 0, 2},
      {"prompts", Operation::kCompletions, R"({"model":"m","prompt":["x","y","z"],"n":2})", 0, 0,
       6},
      {"tokens", Operation::kCompletions, R"({"model":"m","prompt":[1,2,3]})", 0, 0, 1},
      {"lists of tokens", Operation::kCompletions, R"({"model":"m","prompt":[[1],[2]]})", 0, 0, 2},
      {"no prompts", Operation::kCompletions, R"({"model":"m","prompt":[]})", 0, 0, 1},
      {"embeddings", Operation::kEmbeddings, R"({"model":"m","input":["x","y"]})", 0, 0, 1},
  }));
  INFO(row.name);
  const Padded body(row.body);
  const auto request = DecodeRequest(row.operation, body.view());
  REQUIRE(request.has_value());
  CHECK(request->messages == row.messages);
  CHECK(request->media_parts == row.media);
  CHECK(request->media_bytes == row.media_bytes);
  CHECK(request->choices == row.choices);
}

TEST_CASE("limits of the output and the service tier are read where they stand") {
  const Padded body(
      Chat(R"("max_tokens": 50 ,"service_tier":"fl\u0065x","max_completion_tokens":null)"));
  const auto request = DecodeRequest(Operation::kChat, body.view());
  REQUIRE(request.has_value());
  const Span span = request->max_tokens.value;
  CHECK(body.view().substr(span.begin, span.end - span.begin) == "50");
  CHECK(request->max_tokens.tokens == 50);
  CHECK_FALSE(request->max_completion_tokens.value.empty());
  CHECK(request->max_completion_tokens.tokens == 0);
  CHECK(request->output_tokens_max == 50);
  CHECK(request->service_tier == "flex");
  const Padded wrong(Chat(R"("service_tier":5)"));
  const auto refused = DecodeRequest(Operation::kChat, wrong.view());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().param == "service_tier");
}

TEST_CASE("a cap lowers what the client asked for, or is added; all else stays") {
  struct Cap {
    std::string name;
    Operation operation;
    std::string body;
    std::string want;
  };
  constexpr auto kChat = Operation::kChat;
  const auto row = GENERATE_COPY(values<Cap>({
      {"absent", kChat, R"({"model":"m","messages":[1]})",
       R"({"max_completion_tokens":100,"model":"up","messages":[1]})"},
      {"above", kChat, R"({"max_completion_tokens": 101 ,"model":"m","messages":[1]})",
       R"({"max_completion_tokens": 100 ,"model":"up","messages":[1]})"},
      {"equal", kChat, R"({"max_completion_tokens":100,"model":"m","messages":[1]})",
       R"({"max_completion_tokens":100,"model":"up","messages":[1]})"},
      {"below", kChat, R"({"model":"m","max_tokens":7,"messages":[1]})",
       R"({"model":"up","max_tokens":7,"messages":[1]})"},
      {"the older name", kChat, R"({"model":"m","messages":[1],"max_tokens":500})",
       R"({"model":"up","messages":[1],"max_tokens":100})"},
      {"both, one above", kChat,
       R"({"max_tokens":500,"model":"m","messages":[1],"max_completion_tokens":50})",
       R"({"max_tokens":100,"model":"up","messages":[1],"max_completion_tokens":50})"},
      {"null", kChat, R"({"model":"m","messages":[1],"max_completion_tokens":null})",
       R"({"model":"up","messages":[1],"max_completion_tokens":100})"},
      {"zero", kChat, R"({"model":"m","messages":[1],"max_tokens":0})",
       R"({"model":"up","messages":[1],"max_tokens":100})"},
      {"escaped key", kChat, R"({"max_t\u006fkens":500,"model":"m","messages":[1]})",
       R"({"max_t\u006fkens":100,"model":"up","messages":[1]})"},
      {"stream", kChat, R"({"messages":[1],"stream":true,"model":"m"})",
       R"({"stream_options":{"include_usage":true},"max_completion_tokens":100,"messages":[1],"stream":true,"model":"up"})"},
      {"stream, all at once", kChat,
       R"({"max_tokens":101,"stream_options":{"include_usage":false},"max_completion_tokens":999,"messages":[1],"stream":true,"model":"m"})",
       R"({"max_tokens":100,"stream_options":{"include_usage":true},"max_completion_tokens":100,"messages":[1],"stream":true,"model":"up"})"},
      {"inner fields stay", kChat,
       R"({"model":"m","messages":[{"max_tokens":900}],"max_tokens":900})",
       R"({"model":"up","messages":[{"max_tokens":900}],"max_tokens":100})"},
      {"completion", Operation::kCompletions, R"({"model":"m","prompt":"x"})",
       R"({"max_tokens":100,"model":"up","prompt":"x"})"},
      {"embeddings", Operation::kEmbeddings, R"({"model":"m","input":"x"})",
       R"({"model":"up","input":"x"})"},
  }));
  INFO(row.name);
  const Padded body(row.body);
  const auto request = DecodeRequest(row.operation, body.view());
  REQUIRE(request.has_value());
  const SplicedBody spliced(*request, body.view(), "up", 100);
  CHECK(Join(spliced.pieces()) == row.want);
  CHECK(spliced.size() == row.want.size());
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
