// spillway-loadgen: prints one JSON object with what it measured.
#include "tests/bench/loadgen.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <print>
#include <string>
#include <string_view>

namespace {

constexpr char kHelp[] =
    "spillway-loadgen --port N --body FILE [--key K] [--stream] [--connections N] [--rate R]\n"
    "  [--seconds S] [--warmup S] [--requests-per-connection N] [--ramp S] [--path P]\n"
    "Closed loop without --rate; open loop (latency counts from the due time) with it.\n";

void Percentiles(const char* name, std::vector<uint32_t> values, bool last) {
  std::ranges::sort(values);
  const auto at = [&](double share) {
    return values.empty()
               ? 0U
               : values[std::min(values.size() - 1,
                                 static_cast<size_t>(static_cast<double>(values.size()) * share))];
  };
  std::print(R"("{}":{{"p50":{},"p90":{},"p99":{},"p999":{},"max":{}}}{})", name, at(0.5), at(0.9),
             at(0.99), at(0.999), at(1.0), last ? "" : ",");
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> flags;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--help" || !name.starts_with("--")) {
      std::fputs(kHelp, stderr);
      return name == "--help" ? 0 : 2;
    }
    flags[name] = name == "--stream" || i + 1 >= argc ? "yes" : argv[++i];
  }
  const auto number = [&](const char* name, double otherwise) {
    return flags.contains(name) ? std::atof(flags[name].c_str()) : otherwise;
  };
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  std::ifstream body(flags["--body"]);
  spillway::bench::Plan plan;
  plan.body.assign(std::istreambuf_iterator<char>(body), {});
  plan.port = static_cast<uint16_t>(number("--port", 0));
  if (plan.body.empty() || plan.port == 0) {
    std::fputs(kHelp, stderr);
    return 2;
  }
  if (flags.contains("--path")) plan.path = flags["--path"];
  plan.key = flags["--key"];
  plan.stream = flags.contains("--stream");
  plan.connections = static_cast<int>(number("--connections", 1));
  plan.rate = number("--rate", 0);
  plan.seconds = number("--seconds", 8);
  plan.warmup_seconds = number("--warmup", 2);
  plan.requests_per_connection = static_cast<int64_t>(number("--requests-per-connection", 0));
  plan.ramp_seconds = number("--ramp", 0);

  const spillway::bench::Tally tally = spillway::bench::Run(plan);
  std::print(R"({{"answers":{},"errors":{},"events":{},"out_of_order":{},"streams_open_max":{},)"
             R"("first_error":"{}",)",
             tally.answers, tally.errors, tally.events, tally.out_of_order, tally.streams_open_max,
             tally.first_error);
  Percentiles("latency_us", tally.latency_us, false);
  Percentiles("first_event_us", tally.first_event_us, true);
  std::println("}}");
  return 0;
}
