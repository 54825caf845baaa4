#include "dataplane/telemetry/telemetry.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <string>
#include <thread>

#include "tests/fakes/temp_folder.h"

namespace spillway {
namespace {

class FixedClock final : public Clock {
 public:
  int64_t WallMs() const override { return 1'795'258'621'042; }
  int64_t MonotonicNs() const override { return now_ns; }
  int64_t now_ns = 10'000'000'000;
};

class NoBody final : public BodyReader {
 public:
  Task<Result<std::string_view>> ReadAll() override { co_return std::string_view(); }
  void Release() override {}
};

struct Bench {
  FixedClock clock;
  Loop loop{clock};
  RequestHead head;
  NoBody body;

  Exchange MakeExchange(int64_t took_us) {
    Exchange x{.loop = loop, .head = head, .body = body, .request_id = "r1"};
    x.accepted_ns = clock.now_ns - took_us * 1'000;
    return x;
  }
};

std::string Scrape(const Telemetry& telemetry) {
  MetricsText text;
  telemetry.Append(text);
  return std::move(text).Take();
}

bool HasLine(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

AccessRecord Served() {
  AccessRecord record;
  record.route = "tier";
  record.model = "mini";
  record.provider = "openai";
  record.status = 200;
  record.attempts = 1;
  record.usage = {.input = 10, .output = 20, .cached_input = 1, .reasoning = 2};
  record.cost = 1'500'000'000;
  record.upstream_us = 900;
  record.first_token_us = 950;
  record.request_bytes = 100;
  record.response_bytes = 200;
  return record;
}

TEST_CASE("what budgets and limits did is counted by their names") {
  Bench bench;
  Telemetry telemetry({&bench.loop}, nullptr);
  const auto record = [&](const char* limit, const char* downgraded, const char* warning,
                          int attempts) {
    Exchange x = bench.MakeExchange(10);
    x.record.limit = limit;
    x.record.downgraded = downgraded;
    x.record.budget_warning = warning;
    x.record.attempts = attempts;
    telemetry.shard(0).Record(x);
  };
  record("budget/day", "", "", 0);
  record("budget/day", "", "", 0);
  record("budget/day", "mini", "", 1);
  record("rate_limit/hour", "", "", 0);
  record("", "", "soft", 1);
  record("", "", "", 1);
  const std::string text = Scrape(telemetry);
  CAPTURE(text);
  CHECK(HasLine(text,
                R"(spillway_limited_requests_total{limit="budget/day",action="downgraded"} 1)"));
  CHECK(HasLine(text, R"(spillway_limited_requests_total{limit="budget/day",action="refused"} 2)"));
  CHECK(HasLine(text, R"(spillway_limited_requests_total{limit="budget/soft",action="warned"} 1)"));
  CHECK(HasLine(text,
                R"(spillway_limited_requests_total{limit="rate_limit/hour",action="refused"} 1)"));
}

TEST_CASE("counters of every loop are merged at scrape") {
  Bench bench;
  Loop second(bench.clock);
  second.index = 1;
  Telemetry telemetry({&bench.loop, &second}, nullptr);
  for (int i = 0; i < 3; ++i) {
    Exchange x = bench.MakeExchange(1'000);
    x.record = Served();
    telemetry.shard(i % 2).Record(x);
  }
  Exchange refused = bench.MakeExchange(10);
  refused.record.status = 401;
  refused.record.refusal = "invalid_api_key";
  telemetry.shard(1).Record(refused);
  Exchange stream = bench.MakeExchange(10);
  stream.record = Served();
  stream.record.stream = true;
  stream.record.fallback = true;
  stream.record.end = "upstream_cut";
  telemetry.shard(0).Record(stream);

  const std::string text = Scrape(telemetry);
  CAPTURE(text);
  CHECK(HasLine(
      text, R"(spillway_requests_total{route="tier",provider="openai",status="200",code=""} 4)"));
  CHECK(HasLine(
      text,
      R"(spillway_requests_total{route="",provider="",status="401",code="invalid_api_key"} 1)"));
  CHECK(HasLine(
      text,
      R"(spillway_tokens_total{route="tier",model="mini",provider="openai",type="input"} 40)"));
  CHECK(HasLine(
      text,
      R"(spillway_tokens_total{route="tier",model="mini",provider="openai",type="output"} 80)"));
  CHECK(HasLine(
      text,
      R"(spillway_tokens_total{route="tier",model="mini",provider="openai",type="cached_input"} 4)"));
  CHECK(HasLine(
      text,
      R"(spillway_tokens_total{route="tier",model="mini",provider="openai",type="reasoning"} 8)"));
  CHECK(HasLine(
      text,
      R"(spillway_cost_nanos_total{route="tier",model="mini",provider="openai"} 6000000000)"));
  CHECK(HasLine(text, R"(spillway_cost_usd_total{route="tier",model="mini",provider="openai"} 6)"));
  CHECK(HasLine(text, R"(spillway_attempts_total{route="tier",model="mini",provider="openai"} 4)"));
  CHECK(HasLine(text, R"(spillway_streams_total{end="upstream_cut"} 1)"));
  CHECK(HasLine(text, "spillway_fallbacks_total 1"));
  CHECK(HasLine(text, "spillway_request_bytes_total 400"));
  CHECK(HasLine(text, "spillway_response_bytes_total 800"));
  CHECK(HasLine(text, "spillway_overhead_seconds_count 4"));
  CHECK(HasLine(text, "spillway_time_to_first_token_seconds_count 4"));
}

TEST_CASE("label sets are bounded; the rest is counted as other") {
  Bench bench;
  Telemetry telemetry({&bench.loop}, nullptr);
  for (int i = 0; i < 1'500; ++i) {
    Exchange x = bench.MakeExchange(10);
    x.record.status = 200;
    x.record.route = "route-" + std::to_string(i);
    telemetry.shard(0).Record(x);
  }
  const std::string text = Scrape(telemetry);
  CHECK(HasLine(
      text, R"(spillway_requests_total{route="route-999",provider="",status="200",code=""} 1)"));
  CHECK(text.find("route-1000") == std::string::npos);
  CHECK(HasLine(
      text,
      R"(spillway_requests_total{route="other",provider="other",status="other",code="other"} 500)"));
}

TEST_CASE("histograms count into buckets that double") {
  struct Row {
    int64_t us;
    std::string first_bucket;  // the smallest that holds it
  };
  const auto row = GENERATE(values<Row>({{-5, "0.000008"},
                                         {0, "0.000008"},
                                         {8, "0.000008"},
                                         {9, "0.000016"},
                                         {16, "0.000016"},
                                         {17, "0.000032"},
                                         {1'000, "0.001024"},
                                         {1'000'000, "1.048576"},
                                         {134'217'728, "134.217728"},
                                         {134'217'729, "+Inf"},
                                         {INT64_MAX, "+Inf"}}));
  CAPTURE(row.us);
  Histogram histogram;
  histogram.Observe(row.us);
  HistogramSum sum;
  sum.Add(histogram);
  MetricsText text;
  sum.Append(text, "h", "help");
  const std::string rendered = std::move(text).Take();
  const size_t at = rendered.find("} 1\n");
  REQUIRE(at != std::string::npos);
  const std::string want = "h_bucket{le=\"" + row.first_bucket + "\"";
  CHECK(rendered.compare(at + 1 - want.size() - 1, want.size(), want) == 0);
  CHECK(HasLine(rendered, "h_count 1"));
}

TEST_CASE("scraping while requests are counted never tears a value") {
  Bench bench;
  Telemetry telemetry({&bench.loop}, nullptr);
  std::atomic<bool> stop{false};
  std::thread scraper([&] {
    while (!stop.load()) (void)Scrape(telemetry);
  });
  for (int i = 0; i < 20'000; ++i) {
    Exchange x = bench.MakeExchange(10);
    x.record = Served();
    x.record.route = "r" + std::to_string(i % 700);
    telemetry.shard(0).Record(x);
  }
  stop = true;
  scraper.join();
  CHECK(
      HasLine(Scrape(telemetry),
              R"(spillway_requests_total{route="r0",provider="openai",status="200",code=""} 29)"));
}

TEST_CASE("lines reach the file in order, also those handed over at the end") {
  Bench bench;
  const TempFolder folder;
  const std::string path = folder.Path("access.log");
  {
    auto log = AccessLog::Open(path);
    REQUIRE(log);
    Telemetry telemetry({&bench.loop}, *std::move(log));
    for (int i = 0; i < 500; ++i) {
      Exchange x = bench.MakeExchange(10);
      x.request_id = "id-" + std::to_string(i);
      x.record = Served();
      telemetry.shard(0).Record(x);
    }
  }
  std::istringstream lines(folder.Read("access.log"));
  std::string line;
  int count = 0;
  while (std::getline(lines, line)) {
    CHECK(line.find("\"request_id\":\"id-" + std::to_string(count) + "\"") != std::string::npos);
    ++count;
  }
  CHECK(count == 500);
}

TEST_CASE("buffered lines are handed over after a moment of silence") {
  Loop loop(SystemClock());
  const TempFolder folder;
  const std::string path = folder.Path("access.log");
  auto log = AccessLog::Open(path);
  REQUIRE(log);
  Telemetry telemetry({&loop}, *std::move(log));
  RequestHead head;
  NoBody body;
  Exchange x{.loop = loop, .head = head, .body = body, .request_id = "r1"};
  telemetry.shard(0).Record(x);
  CHECK(folder.Read("access.log").empty());
  const int64_t end_ns = SystemClock().MonotonicNs() + 5'000'000'000;
  while (folder.Read("access.log").empty() && SystemClock().MonotonicNs() < end_ns) {
    loop.io.run_for(std::chrono::milliseconds(20));
    loop.io.restart();
  }
  CHECK(folder.Read("access.log").find("\"request_id\":\"r1\"") != std::string::npos);
}

TEST_CASE("a stalled file drops lines, counts them, and never blocks") {
  std::signal(SIGPIPE, SIG_IGN);  // as the program does
  const TempFolder folder;
  const std::string path = folder.Path("access.log");
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  std::thread reader;
  int fd = -1;
  // Opening for writing waits for a reader; this one then reads nothing.
  reader = std::thread([&] { fd = ::open(path.c_str(), O_RDONLY); });
  auto log = AccessLog::Open(path);
  reader.join();
  REQUIRE(log);
  const int blocks = 200;
  for (int i = 0; i < blocks; ++i) {
    std::string lines(AccessLog::kBlockBytes * 4, 'x');
    (*log)->Hand(lines, 10);
    CHECK(lines.empty());
  }
  CHECK((*log)->lines_dropped() > 0);
  CHECK((*log)->lines_dropped() <= blocks * 10);
  ::close(fd);  // writes now fail instead of waiting
  log->reset();
}

TEST_CASE("a rotated file is opened again") {
  const TempFolder folder;
  const std::string path = folder.Path("access.log");
  const std::string rotated = folder.Path("access.log.1");
  auto log = AccessLog::Open(path);
  REQUIRE(log);
  std::string lines = "before\n";
  (*log)->Hand(lines, 1);
  while (folder.Read("access.log").empty()) std::this_thread::yield();
  std::filesystem::rename(path, rotated);
  (*log)->Reopen();
  while (!std::filesystem::exists(path)) std::this_thread::yield();
  lines = "after\n";
  (*log)->Hand(lines, 1);
  log->reset();
  CHECK(folder.Read("access.log.1") == "before\n");
  CHECK(folder.Read("access.log") == "after\n");
}

TEST_CASE("an access log that cannot be opened is refused with its path") {
  const auto log = AccessLog::Open("/nonexistent-folder/access.log");
  REQUIRE_FALSE(log);
  CHECK(log.error().code == ErrorCode::kInvalidConfig);
  CHECK(log.error().message.find("/nonexistent-folder/access.log") != std::string::npos);
}

}  // namespace
}  // namespace spillway
