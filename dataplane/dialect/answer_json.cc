#include "dataplane/dialect/answer_json.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>

#include "dataplane/dialect/openai.h"

namespace spillway::openai {
namespace {

namespace ondemand = simdjson::ondemand;
static_assert(kBodyPadding >= simdjson::SIMDJSON_PADDING);

constexpr int64_t kTokensMax = int64_t{1} << 40;
constexpr size_t kParserKept = 1 << 20;

// The thread's parser, lent for one document. Its buffers grow with what it reads; large ones do
// not stay.
class LentParser {
 public:
  LentParser() : parser_(OfThread()) {}
  ~LentParser() {
    if (parser_.capacity() > kParserKept) parser_ = ondemand::parser();
  }
  LentParser(const LentParser&) = delete;
  LentParser& operator=(const LentParser&) = delete;

  ondemand::parser* operator->() const { return &parser_; }

 private:
  static ondemand::parser& OfThread() {
    thread_local ondemand::parser parser;
    return parser;
  }
  ondemand::parser& parser_;
};

// A count as providers write it; nullopt: no number. Sets `absurd` for one that nobody could mean.
std::optional<int64_t> ReadCount(ondemand::value value, bool& absurd) {
  ondemand::number number;
  const simdjson::error_code error = value.get_number().get(number);
  const bool beyond = error == simdjson::BIGINT_ERROR ||
                      number.get_number_type() == ondemand::number_type::big_integer;
  if (error != simdjson::SUCCESS && !beyond) return std::nullopt;
  const double rough = beyond ? 0 : number.as_double();
  if (beyond || std::isnan(rough) || rough > static_cast<double>(kTokensMax)) {
    absurd = true;
    return std::nullopt;
  }
  return rough <= 0 ? 0 : static_cast<int64_t>(rough);
}

struct Counts {
  std::optional<int64_t> input, output, total;
  int64_t cached = 0, cache_write = 0, audio_input = 0;
  int64_t reasoning = 0, audio_output = 0;
  bool absurd = false;
};

struct Detail {
  std::string_view key;
  int64_t Counts::* count;
};
constexpr std::array<Detail, 3> kInputDetails{{{"cached_tokens", &Counts::cached},
                                               {"cache_write_tokens", &Counts::cache_write},
                                               {"audio_tokens", &Counts::audio_input}}};
constexpr std::array<Detail, 2> kOutputDetails{
    {{"reasoning_tokens", &Counts::reasoning}, {"audio_tokens", &Counts::audio_output}}};

// The members of a details object, as prompt_tokens_details.cached_tokens.
void ReadDetails(ondemand::value value, std::span<const Detail> details, Counts& counts) {
  ondemand::object object;
  if (value.get_object().get(object) != simdjson::SUCCESS) return;
  for (auto member : object) {
    std::string_view key;
    ondemand::value count;
    if (member.escaped_key().get(key) != simdjson::SUCCESS) return;
    if (member.value().get(count) != simdjson::SUCCESS) return;
    for (const Detail& detail : details) {
      if (detail.key != key) continue;
      counts.*detail.count = ReadCount(count, counts.absurd).value_or(0);
      break;
    }
  }
}

bool IsCachedKey(std::string_view key) {
  return key == "prompt_cache_hit_tokens" || key == "num_cached_tokens" || key == "cached_tokens";
}

bool ReadCounts(ondemand::object object, Counts& counts) {
  int64_t elsewhere = 0;  // cached tokens by another name
  for (auto member : object) {
    std::string_view key;
    ondemand::value value;
    if (member.escaped_key().get(key) != simdjson::SUCCESS) return false;
    if (member.value().get(value) != simdjson::SUCCESS) return false;
    if (key == "prompt_tokens") {
      counts.input = ReadCount(value, counts.absurd);
    } else if (key == "completion_tokens") {
      counts.output = ReadCount(value, counts.absurd);
    } else if (key == "total_tokens") {
      counts.total = ReadCount(value, counts.absurd);
    } else if (key == "prompt_tokens_details") {
      ReadDetails(value, kInputDetails, counts);
    } else if (key == "completion_tokens_details") {
      ReadDetails(value, kOutputDetails, counts);
    } else if (IsCachedKey(key)) {
      elsewhere = ReadCount(value, counts.absurd).value_or(0);
    }
  }
  counts.cached = std::max(counts.cached, elsewhere);
  return true;
}

std::optional<TokenUsage> ReadUsage(ondemand::object object) {
  Counts counts;
  if (!ReadCounts(object, counts) || counts.absurd) return std::nullopt;
  if (!counts.input && !counts.output) return std::nullopt;
  TokenUsage usage{.input = counts.input.value_or(0), .output = counts.output.value_or(0)};
  if (counts.total == usage.input + usage.output + counts.reasoning) {
    usage.output += counts.reasoning;
  }
  usage.cached_input = std::min(counts.cached, usage.input);
  usage.cache_write_5m = std::min(counts.cache_write, usage.input);
  usage.audio_input = std::min(counts.audio_input, usage.input);
  usage.reasoning = std::min(counts.reasoning, usage.output);
  usage.audio_output = std::min(counts.audio_output, usage.output);
  return usage;
}

void ReadMember(std::string_view key, ondemand::value value, AnswerFacts& facts) {
  if (key == "usage") {
    ondemand::object usage;
    facts.has_usage = value.get_object().get(usage) == simdjson::SUCCESS;
    if (facts.has_usage) facts.usage = ReadUsage(usage);
  } else if (key == "error") {
    bool null = false;
    facts.is_error = value.is_null().get(null) != simdjson::SUCCESS || !null;
  } else if (key == "service_tier") {
    std::string_view tier;
    if (value.get_string().get(tier) == simdjson::SUCCESS) facts.service_tier = BilledTier(tier);
  } else if (key == "choices") {
    ondemand::array choices;
    bool empty = false;
    facts.choices_empty = value.get_array().get(choices) == simdjson::SUCCESS &&
                          choices.is_empty().get(empty) == simdjson::SUCCESS && empty;
  }
}

// The same keys as in event_facts.cc.
bool IsTextKey(std::string_view key) {
  return key == "content" || key == "text" || key == "arguments" || key == "refusal" ||
         key == "reasoning" || key == "reasoning_content" || key == "input" || key == "transcript";
}

// Adds up the strings under IsTextKey keys. `depth` bounds the walk through what a provider sent.
int64_t CountText(ondemand::value value, int depth) {
  constexpr int kDepth = 12;
  int64_t bytes = 0;
  ondemand::json_type type{};
  if (depth > kDepth || value.type().get(type) != simdjson::SUCCESS) return 0;
  if (type == ondemand::json_type::array) {
    for (auto element : value.get_array()) {
      ondemand::value inner;
      if (element.get(inner) != simdjson::SUCCESS) break;
      bytes += CountText(inner, depth + 1);
    }
  } else if (type == ondemand::json_type::object) {
    for (auto member : value.get_object()) {
      std::string_view key;
      ondemand::value inner;
      if (member.escaped_key().get(key) != simdjson::SUCCESS) break;
      if (member.value().get(inner) != simdjson::SUCCESS) break;
      std::string_view text;
      if (IsTextKey(key) && inner.get_string().get(text) == simdjson::SUCCESS) {
        bytes += static_cast<int64_t>(text.size());
      } else {
        bytes += CountText(inner, depth + 1);
      }
    }
  }
  return bytes;
}

// Integers that 64 bits do not hold are no fault.
bool IsValid(std::string_view padded) {
  simdjson::dom::parser parser;
  const simdjson::error_code error = parser.parse(padded.data(), padded.size(), false).error();
  return error == simdjson::SUCCESS || error == simdjson::BIGINT_ERROR;
}

}  // namespace

AnswerFacts ReadAnswer(std::string_view json) {
  AnswerFacts facts;
  const LentParser parser;
  ondemand::document document;
  const simdjson::padded_string_view padded(json.data(), json.size(), json.size() + kBodyPadding);
  if (parser->iterate(padded).get(document) != simdjson::SUCCESS) return facts;
  ondemand::object object;
  if (document.get_object().get(object) != simdjson::SUCCESS) return facts;
  for (auto member : object) {
    std::string_view key;
    ondemand::value value;
    if (member.escaped_key().get(key) != simdjson::SUCCESS) return facts;
    if (member.value().get(value) != simdjson::SUCCESS) return facts;
    ReadMember(key, value, facts);
  }
  // A parser that met nonsense on the way is dead, and its loops end as if all were well.
  facts.is_object = document.is_alive() && document.at_end();
  return facts;
}

AnswerFacts ReadEvent(std::string_view json) {
  thread_local std::string padded;
  padded.assign(json);
  padded.append(kBodyPadding, '\0');
  const std::string_view event = std::string_view(padded).substr(0, json.size());
  const AnswerFacts facts = IsValid(event) ? ReadAnswer(event) : AnswerFacts();
  if (padded.capacity() > kParserKept) std::string().swap(padded);
  return facts;
}

int64_t CountContentBytes(std::string_view json) {
  const LentParser parser;
  ondemand::document document;
  const simdjson::padded_string_view padded(json.data(), json.size(), json.size() + kBodyPadding);
  if (parser->iterate(padded).get(document) != simdjson::SUCCESS) return 0;
  ondemand::value choices;
  if (document.find_field_unordered("choices").get(choices) != simdjson::SUCCESS) return 0;
  return CountText(choices, 0);
}

}  // namespace spillway::openai
