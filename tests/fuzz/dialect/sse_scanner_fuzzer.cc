// However a stream is cut into reads, a client sees the same bytes and accounting the same usage;
// and it sees everything but usage events. The first byte of the input seeds the cuts.
#include <simdjson.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <print>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/dialect/openai.h"

namespace spillway::openai {
namespace {

void Require(bool good, const char* what) {
  if (good) return;
  std::println(stderr, "violation: {}", what);
  std::abort();
}

struct Outcome {
  bool good = true;
  std::string seen;
  std::optional<TokenUsage> usage;
  std::string tier;
  bool done = false, error = false, mid_event = false;
  int64_t finishes = 0;
  int64_t estimate = 0;
};

void RequireParts(const TokenUsage& usage) {
  for (const int64_t part : {usage.cached_input, usage.cache_write_5m, usage.audio_input}) {
    Require(part >= 0 && part <= usage.input, "a part of the input");
  }
  for (const int64_t part : {usage.reasoning, usage.audio_output}) {
    Require(part >= 0 && part <= usage.output, "a part of the output");
  }
}

// `seed` 0: all in one read.
Outcome Run(std::string_view stream, bool hide, uint32_t seed) {
  StreamScanner scanner(Operation::kChat, hide);
  Outcome outcome;
  std::vector<std::string_view> out;
  const auto collect = [&] {
    for (const std::string_view piece : out) outcome.seen += piece;
    out.clear();
  };
  const bool cut = seed != 0;
  while (!stream.empty() && outcome.good) {
    seed = seed * 1664525 + 1013904223;
    const size_t size = seed % 3 == 0 ? 1 : (seed >> 8) % 40 + 1;
    // A copy, so that a view into an earlier read is found out.
    const std::string read(stream.substr(0, cut ? size : stream.size()));
    outcome.good = scanner.Feed(read, out);
    collect();
    stream.remove_prefix(read.size());
  }
  if (outcome.good) scanner.Finish(out);
  collect();
  outcome.usage = scanner.usage();
  if (outcome.usage) RequireParts(*outcome.usage);
  outcome.tier = scanner.service_tier();
  outcome.done = scanner.done();
  outcome.finishes = scanner.finishes();
  outcome.error = scanner.error_seen();
  outcome.mid_event = scanner.mid_event();
  outcome.estimate = scanner.OutputTokensEstimate();
  return outcome;
}

void CompareFacts(const Outcome& a, const Outcome& b) {
  Require(a.good == b.good, "whether the stream is good");
  if (!a.good) return;
  Require(a.usage == b.usage, "the usage");
  Require(a.tier == b.tier && BilledTier(a.tier) == a.tier, "the service tier");
  Require(a.done == b.done && a.finishes == b.finishes && a.error == b.error, "how it ended");
  Require(a.mid_event == b.mid_event, "whether the last event is whole");
  Require(a.estimate == b.estimate, "the estimate");
}

// The stream in blocks, by the plainest means: line after line.
std::vector<std::string_view> Blocks(std::string_view stream) {
  std::vector<std::string_view> blocks;
  size_t begin = 0;
  int lines = 0;
  for (size_t at = 0; at < stream.size();) {
    const size_t line = at;
    while (at < stream.size() && stream[at] != '\r' && stream[at] != '\n') ++at;
    if (at == stream.size()) break;
    const bool blank = at == line;
    const bool comment = stream[line] == ':';
    at += stream.substr(at).starts_with("\r\n") ? 2 : 1;
    if (!blank) ++lines;
    if (!blank && !(comment && lines == 1)) continue;
    blocks.push_back(stream.substr(begin, at - begin));
    begin = at;
    lines = 0;
  }
  if (begin < stream.size()) blocks.push_back(stream.substr(begin));
  return blocks;
}

std::string DataOf(std::string_view block) {
  std::string data;
  while (!block.empty()) {
    const size_t end = std::min(block.find_first_of("\r\n"), block.size());
    std::string_view line = block.substr(0, end);
    block.remove_prefix(std::min(end + 1, block.size()));
    if (!line.starts_with("data:")) continue;
    if (!data.empty()) data += '\n';
    data += line.substr(line.starts_with("data: ") ? 6 : 5);
  }
  return data;
}

// Whether a strict parser sees a usage event.
bool IsUsageEvent(std::string_view block) {
  simdjson::dom::parser parser;
  simdjson::dom::object event;
  const auto error = parser.parse(DataOf(block)).get(event);
  // Integers over 64 bits stop the reference, and are no fault.
  if (error == simdjson::BIGINT_ERROR) return true;
  if (error != simdjson::SUCCESS) return false;
  bool empty_choices = false;
  bool usage = false;
  for (const auto& member : event) {
    simdjson::dom::array choices;
    if (member.key == "usage") usage = member.value.is_object();
    if (member.key != "choices") continue;
    empty_choices = member.value.get(choices) == simdjson::SUCCESS && choices.size() == 0;
  }
  return empty_choices && usage;
}

// What is missing are usage events, and nothing else.
void CheckHidden(std::string_view stream, std::string_view seen) {
  // A byte order mark is one at the stream's start only.
  size_t mark = stream.starts_with("\xef\xbb\xbf") ? 3 : 0;
  for (const std::string_view block : Blocks(stream)) {
    if (seen.starts_with(block)) {
      seen.remove_prefix(block.size());
    } else {
      Require(IsUsageEvent(block.substr(mark)), "something else than a usage event was hidden");
    }
    mark = 0;
  }
  Require(seen.empty(), "bytes made up");
}

void Check(std::string_view stream, uint32_t seed) {
  const Outcome shown = Run(stream, false, 0);
  const Outcome shown_cut = Run(stream, false, seed);
  CompareFacts(shown, shown_cut);
  if (shown.good && !shown.mid_event) {
    Require(shown.seen == stream && shown_cut.seen == stream, "bytes lost");
  }
  Require(stream.starts_with(shown_cut.seen), "bytes changed");

  const Outcome hidden = Run(stream, true, 0);
  const Outcome hidden_cut = Run(stream, true, seed);
  CompareFacts(hidden, hidden_cut);
  CompareFacts(hidden, shown);
  if (!hidden.good || hidden.mid_event) return;
  Require(hidden.seen == hidden_cut.seen, "cuts change what is hidden");
  CheckHidden(stream, hidden.seen);
}

}  // namespace
}  // namespace spillway::openai

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  spillway::openai::Check(stream, data[0] + 1U);
  return 0;
}
