#include "dataplane/telemetry/access_line.h"

#include <catch2/catch_all.hpp>
#include <string>

namespace spillway {
namespace {

AccessRecord FullRecord() {
  AccessRecord record;
  record.key = "support-bot";
  record.organization = "acme";
  record.team = "support";
  record.user = "alice";
  record.feature = "summarizer";
  record.route = "support-tier";
  record.model = "gpt-5-mini";
  record.provider = "openai";
  record.status = 200;
  record.attempts = 2;
  record.stream = true;
  record.fallback = true;
  record.end = "finished";
  record.usage = {.input = 11, .output = 22, .cached_input = 3, .reasoning = 4};
  record.usage_source = "provider";
  record.cost = 1'234'567;
  record.upstream_us = 800;
  record.first_token_us = 400;
  record.request_bytes = 2'048;
  record.response_bytes = 512;
  record.revision = 7;
  return record;
}

TEST_CASE("an access line has every fact of the request, in a fixed order") {
  std::string line;
  AppendAccessLine(line, "2026-11-21T10:57:01.042Z", "req-1", FullRecord(), 1'000);
  CHECK(
      line ==
      "{\"time\":\"2026-11-21T10:57:01.042Z\",\"request_id\":\"req-1\",\"key\":\"support-bot\","
      "\"organization\":\"acme\",\"team\":\"support\",\"user\":\"alice\",\"feature\":"
      "\"summarizer\","
      "\"route\":\"support-tier\",\"model\":\"gpt-5-mini\",\"provider\":\"openai\",\"status\":200,"
      "\"attempts\":2,\"fallback\":true,\"stream\":true,\"end\":\"finished\",\"input_tokens\":11,"
      "\"output_tokens\":22,\"cached_input_tokens\":3,\"reasoning_tokens\":4,\"usage_source\":"
      "\"provider\","
      "\"cost_nanos\":1234567,\"duration_us\":1000,\"upstream_us\":800,\"first_token_us\":400,"
      "\"request_bytes\":2048,\"response_bytes\":512,\"revision\":7}\n");
}

TEST_CASE("an access line says what limited a request, and its rarer tokens") {
  AccessRecord record;
  record.status = 200;
  record.limit = "budget/dear";
  record.downgraded = "mini";
  record.budget_warning = "soft";
  record.usage = {.input = 9,
                  .cache_write_5m = 1,
                  .cache_write_1h = 2,
                  .audio_input = 3,
                  .audio_output = 4,
                  .images = 5};
  std::string line;
  AppendAccessLine(line, "t", "r", record, 0);
  CAPTURE(line);
  CHECK(line.find(R"("limit":"budget/dear","downgraded":"mini","budget_warning":"soft",)") !=
        line.npos);
  CHECK(line.find(R"("cache_write_5m_tokens":1,"cache_write_1h_tokens":2,"audio_input_tokens":3,)"
                  R"("audio_output_tokens":4,"images":5,)") != line.npos);
}

TEST_CASE("text without a value is left out, numbers never are") {
  std::string line = "before\n";
  AccessRecord record;
  record.status = 401;
  record.refusal = "invalid_api_key";
  AppendAccessLine(line, "2026-11-21T10:57:01.042Z", "r", record, 5);
  CHECK(line ==
        "before\n{\"time\":\"2026-11-21T10:57:01.042Z\",\"request_id\":\"r\",\"status\":401,"
        "\"refusal\":\"invalid_api_key\",\"attempts\":0,\"fallback\":false,\"stream\":false,"
        "\"input_tokens\":0,\"output_tokens\":0,\"cached_input_tokens\":0,\"reasoning_tokens\":0,"
        "\"cost_nanos\":0,\"duration_us\":5,\"upstream_us\":0,\"first_token_us\":0,"
        "\"request_bytes\":0,\"response_bytes\":0,\"revision\":0}\n");
}

TEST_CASE("a client's text cannot break out of its line") {
  struct Row {
    std::string name, value, want;
  };
  const auto row = GENERATE(values<Row>({
      {"quote", "a\"b", R"("a\"b")"},
      {"backslash", "a\\b", R"("a\\b")"},
      {"line feed", "a\nb", R"("a\nb")"},
      {"escape", "a\x1b[31m", R"("a\u001b[31m")"},
      {"DEL", "a\x7f", R"("a\u007f")"},
      {"UTF-8 stays", "caf\xc3\xa9", "\"caf\xc3\xa9\""},
      {"cut UTF-8", "a\xe2\x82", ""},
      {"overlong UTF-8", "\xc0\xaf", ""},
  }));
  CAPTURE(row.name);
  AccessRecord record;
  record.feature = row.value;
  std::string line;
  AppendAccessLine(line, "t", "r", record, 0);
  CHECK(std::ranges::count(line, '\n') == 1);
  if (row.want.empty()) {
    CHECK(line.find(row.value) == line.npos);
    CHECK(line.find("\"feature\":\"") != line.npos);
  } else {
    CHECK(line.find("\"feature\":" + row.want + ",") != line.npos);
  }
}

TEST_CASE("log times follow the calendar") {
  struct Row {
    int64_t wall_ms;
    std::string_view want;
  };
  LogTime time;
  for (const Row& row :
       {Row{0, "1970-01-01T00:00:00.000Z"}, Row{1'795'258'621'042, "2026-11-21T10:57:01.042Z"},
        Row{1'795'258'621'999, "2026-11-21T10:57:01.999Z"},
        Row{1'795'258'622'000, "2026-11-21T10:57:02.000Z"},
        Row{951'782'399'999, "2000-02-28T23:59:59.999Z"},
        Row{951'782'400'000, "2000-02-29T00:00:00.000Z"}}) {
    CHECK(time.Format(row.wall_ms) == row.want);
  }
}

}  // namespace
}  // namespace spillway
