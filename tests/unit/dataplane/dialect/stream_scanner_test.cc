#include <catch2/catch_all.hpp>
#include <string>

#include "dataplane/dialect/openai.h"
#include "tests/unit/dataplane/dialect/padded.h"

namespace spillway::openai {
namespace {

constexpr std::string_view kUsage =
    R"({"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}})";

std::string Content(const std::string& text) {
  return R"({"id":"c","choices":[{"index":0,"delta":{"content":")" + text +
         R"("},"finish_reason":null}],"usage":null})";
}

std::string Data(std::string_view json, const std::string& eol = "\n") {
  return "data: " + std::string(json) + eol + eol;
}

// What a client sees of `stream` when it comes in reads of `step` bytes.
struct Seen {
  std::string bytes;
  bool good = true;
};

Seen Read(StreamScanner& scanner, std::string_view stream, size_t step) {
  Seen seen;
  std::vector<std::string_view> out;
  for (size_t at = 0; at < stream.size() && seen.good; at += step) {
    // A copy of its own, so that a view that outlives its read is found out.
    const std::string read(stream.substr(at, step));
    out.clear();
    seen.good = scanner.Feed(read, out);
    seen.bytes += Join(out);
  }
  out.clear();
  if (seen.good) scanner.Finish(out);
  seen.bytes += Join(out);
  return seen;
}

TEST_CASE("the usage event is hidden with its blank line, however lines end and reads fall") {
  const std::string eol = GENERATE("\n", "\r\n", "\r");
  const std::string head =
      ": hello" + eol + eol + Data(Content("a"), eol) + Data(Content("b"), eol);
  const std::string usage = Data(kUsage, eol);
  const std::string tail = Data("[DONE]", eol);
  const std::string whole = head + usage + tail;
  const std::string without = head + tail;
  for (size_t step = 1; step <= whole.size(); ++step) {
    INFO(step);
    StreamScanner hiding(Operation::kChat, true);
    const Seen seen = Read(hiding, whole, step);
    REQUIRE(seen.good);
    REQUIRE(seen.bytes == without);
    REQUIRE(hiding.usage() == TokenUsage{.input = 3, .output = 2});
    REQUIRE(hiding.done());
    REQUIRE_FALSE(hiding.mid_event());

    StreamScanner showing(Operation::kChat, false);
    REQUIRE(Read(showing, whole, step).bytes == whole);
    REQUIRE(showing.usage() == TokenUsage{.input = 3, .output = 2});
  }
}

TEST_CASE("usage in the last content event passes and counts") {
  const std::string last =
      R"({"choices":[{"index":0,"delta":{"content":"z"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":9}})";
  const std::string stream = Data(Content("a")) + Data(last) + Data("[DONE]");
  StreamScanner scanner(Operation::kChat, true);
  CHECK(Read(scanner, stream, 11).bytes == stream);
  CHECK(scanner.usage() == TokenUsage{.input = 7, .output = 9});
  CHECK(scanner.finishes() == 1);
}

TEST_CASE("the tier of a stream is the one that an event names") {
  const auto event = [](const std::string& tier) {
    return Data(R"({"choices":[{"delta":{"content":"\"service_tier\":\"no\""}}],"service_tier": )" +
                tier + "}");
  };
  const std::string stream =
      event("\"default\"") + event("null") + event("\"priority\"") + Data(kUsage) + Data("[DONE]");
  for (const size_t step : {size_t{1}, size_t{7}, size_t{10'000}}) {
    StreamScanner scanner(Operation::kChat, true);
    Read(scanner, stream, step);
    CHECK(scanner.service_tier() == "priority");
  }
  StreamScanner plain(Operation::kChat, true);
  Read(plain, event("\"default\"") + event("\"" + std::string(100'000, 'a') + "\""), 1000);
  CHECK(plain.service_tier().empty());
}

TEST_CASE("what an event's bytes mean") {
  struct Row {
    std::string name;
    std::string event;
    bool good = true, finish = false, error = false, usage = false, hidden = false;
  };
  const auto row = GENERATE(values<Row>({
      {"usage null", Data(R"({"choices":[],"usage":null})")},
      {"no choices member", Data(R"({"usage":{"prompt_tokens":1}})"), true, false, false, true},
      {"spaces", Data(R"({ "choices" : [ ] , "usage" : { "prompt_tokens" : 1 } })"), true, false,
       false, true, true},
      {"no space behind the colon", "data:" + std::string(kUsage) + "\n\n", true, false, false,
       true, true},
      {"two data lines", "data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":1}}\n\n", true,
       false, false, true, true},
      {"named event", "event: x\nid: 7\nretry: 9\n" + Data(kUsage), true, false, false, true, true},
      {"usage inside a text", Data(Content(R"(\"usage\":{\"prompt_tokens\":1})"))},
      {"error inside a text", Data(Content(R"(\"error\":{})"))},
      {"finish inside a text", Data(Content(R"(\"finish_reason\":\"stop\")"))},
      {"usage further down", Data(R"({"choices":[{"usage":{"prompt_tokens":1}}]})")},
      {"finish", Data(R"({"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]})"), true,
       true},
      {"error", Data(R"({"error":{"message":"overloaded","type":"server_error"}})"), true, false,
       true},
      {"error null", Data(R"({"error":null,"choices":[]})")},
      {"error inside a choice", Data(R"({"choices":[{"error":{"message":"x"}}]})")},
      {"empty data", "data:\n\n"},
      {"data without a colon", "data\n\n"},
      {"unknown fields", "event: ping\n\nfoo: bar\n\n"},
      {"blank lines", "\n\r\n\r\n\n"},
      {"byte order mark", "\xef\xbb\xbf" + Data(kUsage), true, false, false, true, true},
      {"byte order mark, no blank line",
       "\xef\xbb\xbf"
       "data: " +
           std::string(kUsage),
       true, false, false, true, true},
      {"html", "<html>\n\n", false},
      {"json without events", R"({"error":{"message":"x"}})", false},
      {"cut json", "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"tok\n\n", false},
      {"not json", Data("oops"), false},
      {"broken usage", Data(R"({"choices":[],"usage":{"prompt_tokens":1}},})"), false},
      {"invalid utf-8", Data(Content("\xff")), false},
      {"done with space", "data:  [DONE] \n\n"},
  }));
  INFO(row.name);
  for (const size_t step : {size_t{1}, size_t{7}, size_t{10'000}}) {
    INFO(step);
    StreamScanner scanner(Operation::kChat, true);
    const Seen seen = Read(scanner, row.event, step);
    CHECK(seen.good == row.good);
    if (!row.good) continue;
    CHECK(scanner.finishes() == (row.finish ? 1 : 0));
    CHECK(scanner.error_seen() == row.error);
    CHECK(scanner.usage().has_value() == row.usage);
    CHECK(seen.bytes == (row.hidden ? "" : row.event));
  }
}

TEST_CASE("an event goes out with its last byte, and a comment with its line") {
  StreamScanner scanner(Operation::kChat, GENERATE(true, false));
  const auto fed = [&scanner](std::string_view bytes) {
    std::vector<std::string_view> out;
    REQUIRE(scanner.Feed(bytes, out));
    return Join(out);
  };
  CHECK(fed("data: {\"id\"") == "");
  CHECK(fed(":\"c\",\"choices\":[{\"index\"") == "");
  CHECK(scanner.mid_event());
  CHECK(fed(":0,\"delta\":{\"content\":\"x\"}}]}") == "");
  CHECK(fed("\n") == "");
  CHECK(fed("\n: beat") ==
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n");
  CHECK(fed("\n") == ": beat\n");
  CHECK_FALSE(scanner.mid_event());
  CHECK(fed("\ndata: [DONE]\n\ndata: {") == "\ndata: [DONE]\n\n");
}

TEST_CASE("an error event that repeats the secret never goes out, nor what is behind it") {
  const std::string secret = "key-1";
  const std::string content = Data(Content("of key-1"));  // no error
  const std::string error = R"({"error":{"message":"bad key-1"}})";
  const std::string other = Data(R"({"error":{"message":"bad key-2"}})");
  const size_t step = GENERATE(size_t{1}, size_t{7}, size_t{10'000});
  StreamScanner scanner(Operation::kChat, true, secret);
  SECTION("in the middle") {
    const Seen seen = Read(scanner, content + other + Data(error) + Data("[DONE]"), step);
    CHECK_FALSE(seen.good);
    CHECK(seen.bytes == content + other);
    CHECK(scanner.withheld());
    CHECK_FALSE(scanner.done());
  }
  SECTION("at the end of the body, without its blank line") {
    CHECK(Read(scanner, content + "data: " + error, step).bytes == content);
    CHECK(scanner.withheld());
  }
  SECTION("another error passes") {
    CHECK(Read(scanner, content + other, step).bytes == content + other);
    CHECK_FALSE(scanner.withheld());
  }
  CHECK(scanner.error_seen());
}

TEST_CASE("a cut event never goes out, however large") {
  StreamScanner scanner(Operation::kChat, true);
  const std::string whole = Data(Content("a"));
  const std::string cut = Data(Content(std::string(200'000, 'x')));
  const Seen seen = Read(scanner, whole + cut.substr(0, cut.size() - 9), 4096);
  CHECK(seen.good);
  CHECK(scanner.mid_event());
  CHECK(seen.bytes == whole);
}

TEST_CASE("an event over the limit ends the stream") {
  const size_t step = GENERATE(size_t{4096}, size_t{4 << 20});
  StreamScanner scanner(Operation::kChat, GENERATE(true, false));
  const std::string stream = Data(Content(std::string(StreamScanner::kEventBytesMax, 'x')));
  CHECK_FALSE(Read(scanner, stream, step).good);
}

TEST_CASE("the end of the body completes a last event, and shows a cut one") {
  struct Row {
    std::string name, tail;
    bool mid_event, done;
    bool forwarded;
  };
  const auto row = GENERATE(values<Row>({
      {"done without blank line", "data: [DONE]\n", false, true, true},
      {"done without line end", "data: [DONE]", false, true, true},
      {"usage without blank line", "data: " + std::string(kUsage), false, false, false},
      {"cut", "data: {\"id\":\"c\",\"usage\":{\"a\":1}", true, false, false},
      {"nothing", "", false, false, true},
  }));
  INFO(row.name);
  StreamScanner scanner(Operation::kChat, true);
  const std::string head = Data(Content("a"));
  const Seen seen = Read(scanner, head + row.tail, 9);
  CHECK(seen.good);
  CHECK(scanner.mid_event() == row.mid_event);
  CHECK(scanner.done() == row.done);
  CHECK(seen.bytes == head + (row.forwarded ? row.tail : ""));
}

TEST_CASE("a byte order mark hides no line of the only event, which nothing ends") {
  StreamScanner scanner(Operation::kChat, true);
  const std::string stream =
      "\xef\xbb\xbf"
      "data: {\"a\":1}\ndata: " +
      std::string(kUsage) + "\n";
  const Seen seen = Read(scanner, stream, 9);
  CHECK(seen.good);
  CHECK(scanner.mid_event());
  CHECK_FALSE(scanner.usage());
}

TEST_CASE("output tokens are estimated by events, or by bytes when events are large") {
  StreamScanner small(Operation::kChat, true);
  Read(small,
       Data(R"({"choices":[{"delta":{"role":"assistant","content":""}}]})") + Data(Content("a")) +
           Data(Content("b")),
       1000);
  CHECK(small.OutputTokensEstimate() == 2);
  StreamScanner large(Operation::kChat, true);
  Read(large, Data(Content(std::string(400, 'a'))), 1000);
  CHECK(large.OutputTokensEstimate() == 100);
  CHECK(large.OutputTokensEstimate(60) == 60);
  CHECK(large.OutputTokensEstimate(0) == 1);  // the event was there
  StreamScanner calls(Operation::kChat, true);
  Read(
      calls,
      Data(
          R"({"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"ab\""}}]}}]})"),
      1000);
  CHECK(calls.OutputTokensEstimate() == 2);
  StreamScanner audio(Operation::kChat, true);
  Read(audio,
       Data(R"({"choices":[{"delta":{"audio":{"id":"x","transcript":"abcdefgh"}}}]})") +
           Data(R"({"choices":[{"delta":{"audio":{"data":"UklGRg=="}}}]})") +
           Data(R"({"choices":[{"delta":{"audio":{"data":"UklGRg=="}}}]})") +
           Data(R"({"choices":[{"delta":{"audio":{"data":"","expires_at":1}}}]})"),
       1000);
  CHECK(audio.OutputTokensEstimate() == 3);
  StreamScanner text(Operation::kCompletions, true);
  Read(text, Data(R"({"choices":[{"text":"abcdefgh"}]})"), 1000);
  CHECK(text.OutputTokensEstimate() == 2);
}

TEST_CASE("the same texts count as output in a stream and in a whole answer") {
  const std::string key = GENERATE("content", "text", "arguments", "refusal", "reasoning",
                                   "reasoning_content", "input", "transcript", "role");
  INFO(key);
  const std::string choice = R"([{"index":0,"x":{")" + key + R"(":"abcdefgh"}}])";
  StreamScanner stream(Operation::kChat, true);
  Read(stream, Data(R"({"choices":)" + choice + "}"), 1000);
  CHECK(stream.OutputTokensEstimate() == (key == "role" ? 0 : 2));
  const Padded whole(R"({"choices":)" + choice + "}");
  CHECK(ScanResponse(Operation::kChat, whole.view()).content_bytes == (key == "role" ? 0 : 8));
}

TEST_CASE("text behind the usage makes it an early one") {
  StreamScanner scanner(Operation::kChat, true);
  CHECK_FALSE(scanner.usage_outdated());
  Read(scanner, Data(Content("a")) + Data(kUsage), 1000);
  CHECK_FALSE(scanner.usage_outdated());
  Read(scanner, Data(Content("b")), 1000);
  CHECK(scanner.usage_outdated());
  Read(
      scanner,
      Data(
          R"({"choices":[{"delta":{"content":"c"}}],"usage":{"prompt_tokens":3,"completion_tokens":3}})"),
      1000);
  CHECK_FALSE(scanner.usage_outdated());
}

}  // namespace
}  // namespace spillway::openai
