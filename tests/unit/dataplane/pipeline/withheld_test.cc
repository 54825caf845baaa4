// Providers that repeat the key they were given: no client may get it.
#include <catch2/catch_all.hpp>

#include "tests/unit/dataplane/pipeline/bench.h"

namespace spillway {
namespace {

using Steps = std::vector<ScriptedProvider::Step>;

const std::string kKey = "secret-pa-main";
const std::string kBadKey = R"({"error":{"message":"bad key secret-pa-main"}})";
const std::string kBadKeyEvent = "data: " + kBadKey + "\n\n";
constexpr const char* kWithheld = "the provider's error is withheld: it repeats the credential";

TEST_CASE("an error that repeats the credential is withheld, with its status and code") {
  struct Row {
    const char* name;
    Steps answer;
    bool stream;
    int status;
    std::string code;
  };
  const std::string long_text = std::string(2'043, 'x') + kKey;  // cut inside the key when shown
  const Row rows[] = {
      {"400", {Send(JsonAnswer(400, kBadKey))}, false, 400, "upstream_error"},
      {"429",
       {Send(JsonAnswer(429, kBadKey, "Retry-After: 7\r\n"))},
       false,
       429,
       "upstream_rate_limited"},
      {"500", {Send(JsonAnswer(500, kBadKey))}, true, 500, "upstream_error"},
      {"no JSON", {Send(JsonAnswer(500, "bad key " + kKey))}, false, 500, "upstream_error"},
      {"outside of the message",
       {Send(JsonAnswer(400, R"({"error":{"message":"no","key":")" + kKey + "\"}}"))},
       false,
       400,
       "upstream_error"},
      {"escaped",
       {Send(JsonAnswer(400, R"({"error":{"message":"bad key secret\u002dpa-main"}})"))},
       false,
       400,
       "upstream_error"},
      {"at the end of a long text",
       {Send(JsonAnswer(503, R"({"error":{"message":")" + long_text + "\"}}"))},
       false,
       503,
       "upstream_error"},
      {"200 with an error", {Send(JsonAnswer(200, kBadKey))}, false, 502, "upstream_error"},
      {"an event before any other",
       {Send(StreamHead() + Chunk(kBadKeyEvent))},
       true,
       502,
       "upstream_error"},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench bench;
      bench.a.Next(row.answer);
      const auto asked = bench.Call(kChat, Chat("one", row.stream ? R"(,"stream":true)" : ""));
      const FakeClient& client = asked->client;
      CHECK(client.status == row.status);
      CHECK(client.body.contains(kWithheld));
      CHECK(client.body.contains("\"code\":\"" + row.code + "\""));
      CHECK_FALSE((client.headers + client.body).contains(kKey.substr(0, 5)));
      CHECK(client.Header("retry-after") == (row.status == 429 ? "7" : ""));
      CHECK(asked->x->record.refusal == row.code);
    }
  }
}

TEST_CASE("an event that repeats the credential ends its stream with an error of ours") {
  // What the model itself says is no error.
  const std::string first =
      R"(data: {"choices":[{"index":0,"delta":{"content":"secret-pa-main"}}]})"
      "\n\n";
  struct Row {
    const char* name;
    std::string events;
  };
  const Row rows[] = {
      {"alone", kBadKeyEvent},
      {"and [DONE]", kBadKeyEvent + "data: [DONE]\n\n"},
      {"without its blank line", "data: " + kBadKey},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Bench bench;
      bench.a.Next(
          {Send(StreamHead() + Chunk(first)), Hold(), Send(Chunk(row.events) + kLastChunk)});
      const auto asked = bench.Ask(kChat, Chat("both", R"(,"stream":true)"));
      const FakeClient& client = asked->client;
      REQUIRE(RunUntil(bench.loop, [&] { return bench.a.holding() == 1 && !client.body.empty(); }));
      bench.a.Resume();
      bench.Finish(*asked);
      REQUIRE(client.body.starts_with(first));
      const std::string rest = client.body.substr(first.size());
      CHECK(rest.contains(kWithheld));
      CHECK(rest.contains(R"("code":"upstream_error")"));
      CHECK_FALSE(rest.contains(kKey));
      CHECK_FALSE(rest.contains("[DONE]"));
      CHECK(client.aborted);
      CHECK(asked->x->record.refusal == "upstream_error");
      CHECK(bench.b.accepted() == 0);
      const std::vector<Billed> bills = bench.Bills();
      REQUIRE(bills.size() == 1);
      CHECK(bills[0].finished.end() == v1::END_UPSTREAM_ERROR);
      CHECK(bills[0].finished.source() == v1::USAGE_SOURCE_ESTIMATED);
    }
  }
}

}  // namespace
}  // namespace spillway
