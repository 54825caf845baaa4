#include "tests/mockprovider/behaviour.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <tuple>

namespace spillway::mock {
namespace {

constexpr size_t kPlansMax = 10'000;

struct NumberField {
  std::string_view name;
  std::string_view word;  // in a model's name: "word-N"
  int64_t Behaviour::* member;
};
constexpr NumberField kNumbers[] = {
    {"header_delay_ms", "delay", &Behaviour::header_delay_ms},
    {"ttft_ms", "ttft", &Behaviour::ttft_ms},
    {"gap_ms", "gap", &Behaviour::gap_ms},
    {"tokens", "tokens", &Behaviour::tokens},
    {"content_bytes", "bytes", &Behaviour::content_bytes},
    {"cached_tokens", "cached", &Behaviour::cached_tokens},
    {"cache_write_tokens", "cachewrite", &Behaviour::cache_write_tokens},
    {"audio_input_tokens", "audioin", &Behaviour::audio_input_tokens},
    {"reasoning_tokens", "reasoning", &Behaviour::reasoning_tokens},
    {"audio_output_tokens", "audioout", &Behaviour::audio_output_tokens},
    {"status", "error", &Behaviour::status},
    {"retry_after", "retry", &Behaviour::retry_after},
    {"retry_after_ms", "", &Behaviour::retry_after_ms},
    {"stall_after", "stall", &Behaviour::stall_after},
    {"cut_after", "cut", &Behaviour::cut_after},
    {"malformed_event_at", "malformed", &Behaviour::malformed_event_at},
    {"error_event_at", "inband", &Behaviour::error_event_at},
    {"fail_times", "fail", &Behaviour::fail_times},
};

struct FlagField {
  std::string_view name;
  std::string_view word;
  bool Behaviour::* member;
};
constexpr FlagField kFlags[] = {
    {"reset", "reset", &Behaviour::reset},
    {"reset_after_body", "resetbody", &Behaviour::reset_after_body},
    {"hang", "hang", &Behaviour::hang},
    {"cut_inside_event", "inside", &Behaviour::cut_inside_event},
    {"no_done", "nodone", &Behaviour::no_done},
    {"no_usage", "nousage", &Behaviour::no_usage},
    {"usage_in_last_content", "lastusage", &Behaviour::usage_in_last_content},
    {"explicit_zero_usage", "zerousage", &Behaviour::explicit_zero_usage},
    {"close_after_response", "close", &Behaviour::close_after_response},
};

struct TextField {
  std::string_view name;
  std::string Behaviour::* member;
};
constexpr TextField kTexts[] = {
    {"service_tier", &Behaviour::service_tier},
    {"error_code", &Behaviour::error_code},
    {"error_type", &Behaviour::error_type},
    {"error_message", &Behaviour::error_message},
    {"body", &Behaviour::body},
};

constexpr std::pair<std::string_view, CutHow> kCuts[] = {
    {"fin", CutHow::kFin}, {"rst", CutHow::kRst}, {"end", CutHow::kEnd}};

std::optional<int64_t> ParseNumber(std::string_view word) {
  int64_t value = 0;
  const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || rest != word.data() + word.size()) return std::nullopt;
  return value;
}

std::unexpected<Error> Wrong(std::string_view member, std::string_view expected) {
  return Fail(ErrorCode::kInvalidRequest,
              "'" + std::string(member) + "' must be " + std::string(expected),
              std::string(member));
}

// Nobody waits for a year, and no provider sends more than this.
Result<void> SetNumber(const NumberField& field, simdjson::dom::element value,
                       Behaviour& behaviour) {
  constexpr int64_t kMost = 1'000'000'000;
  int64_t number = 0;
  if (value.get(number) != simdjson::SUCCESS || number < -1 || number > kMost) {
    return Wrong(field.name, "a whole number from -1 to 1000000000");
  }
  behaviour.*field.member = number;
  return {};
}

Result<void> SetText(const TextField& field, simdjson::dom::element value, Behaviour& behaviour) {
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) {
    behaviour.*field.member = text;
  } else {
    behaviour.*field.member = simdjson::minify(value);
  }
  return {};
}

Result<void> SetCut(simdjson::dom::element value, Behaviour& behaviour) {
  std::string_view text;
  const bool is_text = value.get(text) == simdjson::SUCCESS;
  for (const auto& [name, how] : kCuts) {
    if (is_text && text == name) {
      behaviour.cut_how = how;
      return {};
    }
  }
  return Wrong("cut_how", "fin, rst or end");
}

Result<void> SetMember(std::string_view name, simdjson::dom::element value, Behaviour& behaviour) {
  for (const NumberField& field : kNumbers) {
    if (field.name == name) return SetNumber(field, value, behaviour);
  }
  for (const FlagField& field : kFlags) {
    if (field.name != name) continue;
    if (value.get(behaviour.*field.member) == simdjson::SUCCESS) return {};
    return Wrong(name, "true or false");
  }
  for (const TextField& field : kTexts) {
    if (field.name == name) return SetText(field, value, behaviour);
  }
  if (name == "cut_how") return SetCut(value, behaviour);
  if (name == "model") return {};
  return Wrong(name, "left out: there is no such member");
}

// One word of a model's name, and the one behind it; true when that one was used.
bool ApplyWord(std::string_view word, std::string_view next, Behaviour& behaviour) {
  for (const FlagField& field : kFlags) {
    if (field.word == word) behaviour.*field.member = true;
  }
  const auto number = ParseNumber(next);
  if (!number) return false;
  for (const auto& [name, how] : kCuts) {
    if (word != name) continue;
    behaviour.cut_after = *number;
    behaviour.cut_how = how;
    return true;
  }
  for (const NumberField& field : kNumbers) {
    if (field.word.empty() || field.word != word) continue;
    behaviour.*field.member = *number;
    return true;
  }
  return false;
}

}  // namespace

Behaviour Behaviour::WithoutFaults() const {
  return {.header_delay_ms = header_delay_ms,
          .ttft_ms = ttft_ms,
          .gap_ms = gap_ms,
          .tokens = tokens,
          .content_bytes = content_bytes,
          .cached_tokens = cached_tokens,
          .cache_write_tokens = cache_write_tokens,
          .audio_input_tokens = audio_input_tokens,
          .reasoning_tokens = reasoning_tokens,
          .audio_output_tokens = audio_output_tokens,
          .service_tier = service_tier};
}

void ApplyName(std::string_view model, Behaviour& behaviour) {
  if (!model.starts_with("mock-")) return;
  std::vector<std::string_view> words;
  for (size_t at = 0; at <= model.size();) {
    const size_t end = std::min(model.find('-', at), model.size());
    words.push_back(model.substr(at, end - at));
    at = end + 1;
  }
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string_view next = i + 1 < words.size() ? words[i + 1] : std::string_view();
    if (ApplyWord(words[i], next, behaviour)) ++i;
  }
}

Result<void> ApplyJson(std::string_view object, Behaviour& behaviour) {
  simdjson::dom::parser parser;
  simdjson::dom::object members;
  if (parser.parse(simdjson::padded_string(object)).get(members) != simdjson::SUCCESS) {
    return Fail(ErrorCode::kInvalidRequest, "a behaviour is a JSON object");
  }
  for (const auto& member : members) SW_CHECK(SetMember(member.key, member.value, behaviour));
  return {};
}

std::string DescribeBehaviours() {
  std::string names;
  std::string members;
  for (const NumberField& field : kNumbers) {
    members += std::string(field.name) + ", ";
    if (!field.word.empty()) names += std::string(field.word) + "-N ";
  }
  names += "rst-N end-N ";
  for (const FlagField& field : kFlags) {
    members += std::string(field.name) + ", ";
    names += std::string(field.word) + " ";
  }
  for (const TextField& field : kTexts) members += std::string(field.name) + ", ";
  return "Words in a model's name (mock-error-429, mock-tokens-64-gap-400): " + names +
         "\nMembers of PUT /mock/behaviour: model (\"*\": every one), " + members +
         "cut_how (fin, rst, end)";
}

const Behaviour& Plan::Take() {
  int64_t left = failures_left.load(std::memory_order_relaxed);
  while (left > 0) {
    if (failures_left.compare_exchange_weak(left, left - 1)) return faulty;
  }
  return left < 0 ? faulty : plain;
}

Result<void> BehaviourBook::Put(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (parser.parse(simdjson::padded_string(json)).get(root) != simdjson::SUCCESS) {
    return Fail(ErrorCode::kInvalidRequest, "the body is not JSON");
  }
  simdjson::dom::array list;
  if (root.get(list) != simdjson::SUCCESS) return PutOne(json);
  for (const simdjson::dom::element element : list) {
    SW_CHECK(PutOne(std::string(simdjson::minify(element))));
  }
  return {};
}

Result<void> BehaviourBook::PutOne(std::string_view object) {
  Behaviour probe;
  SW_CHECK(ApplyJson(object, probe));
  simdjson::dom::parser parser;
  const simdjson::padded_string padded(object);
  const simdjson::dom::element root = parser.parse(padded).value_unsafe();
  std::string_view model = "*";
  std::ignore = root["model"].get(model);
  const std::lock_guard lock(mutex_);
  put_[std::string(model)] = std::string(simdjson::minify(root));
  if (model == "*") resets_all_ = probe.reset;
  Changed(model);
  return {};
}

void BehaviourBook::Remove(std::string_view model) {
  const std::lock_guard lock(mutex_);
  const auto found = put_.find(model);
  if (found != put_.end()) put_.erase(found);
  if (model == "*") resets_all_ = false;
  Changed(model);
}

void BehaviourBook::Clear() {
  const std::lock_guard lock(mutex_);
  put_.clear();
  resets_all_ = false;
  Changed("*");
}

// Plans of other models stay: they may have counted failures.
void BehaviourBook::Changed(std::string_view model) {
  if (model == "*") {
    plans_.clear();
  } else if (const auto plan = plans_.find(model); plan != plans_.end()) {
    plans_.erase(plan);
  }
  version_.fetch_add(1, std::memory_order_release);
}

std::string BehaviourBook::Render() const {
  const std::lock_guard lock(mutex_);
  std::string out = "[";
  for (const auto& [model, object] : put_) {
    if (out.size() > 1) out += ',';
    out += object;
  }
  return out + "]\n";
}

std::vector<std::string> BehaviourBook::Models() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> models;
  for (const auto& [model, object] : put_) {
    if (model != "*") models.push_back(model);
  }
  return models;
}

std::shared_ptr<Plan> BehaviourBook::Resolve(std::string_view model) {
  const std::lock_guard lock(mutex_);
  if (const auto known = plans_.find(model); known != plans_.end()) return known->second;
  auto plan = std::make_shared<Plan>();
  // What is in put_ was applied once before: it cannot fail.
  const auto apply = [&](std::string_view name) {
    const auto found = put_.find(name);
    if (found != put_.end()) std::ignore = ApplyJson(found->second, plan->faulty);
  };
  apply("*");
  ApplyName(model, plan->faulty);
  if (model != "*") apply(model);
  plan->plain = plan->faulty.WithoutFaults();
  plan->failures_left = plan->faulty.fail_times;
  if (plans_.size() >= kPlansMax) plans_.clear();
  plans_.emplace(model, plan);
  return plan;
}

}  // namespace spillway::mock
