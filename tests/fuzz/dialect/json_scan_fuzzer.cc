// Holds the strict pass against a reference: simdjson's DOM, which validates all it reads, and a
// plain search for duplicates on it. Then splices, and holds what the upstream would parse against
// what the client's body said.
#include <simdjson.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <print>
#include <set>
#include <string>
#include <string_view>

#include "dataplane/dialect/openai.h"
#include "dataplane/dialect/policy_fields.h"
#include "dataplane/dialect/strict_json.h"

namespace spillway::openai {
namespace {

namespace dom = simdjson::dom;
constexpr std::string_view kUpstreamModel = "upstream \"model\"";

void Require(bool good, const char* what) {
  if (good) return;
  std::println(stderr, "disagreement: {}", what);
  std::abort();
}

bool AllDistinct(dom::element element) {
  if (element.is_array()) {
    for (const dom::element inner : element.get_array().value_unsafe()) {
      if (!AllDistinct(inner)) return false;
    }
  } else if (element.is_object()) {
    std::set<std::string_view> keys;
    for (const auto& member : element.get_object().value_unsafe()) {
      if (!keys.insert(member.key).second || !AllDistinct(member.value)) return false;
    }
  }
  return true;
}

bool HasTwins(dom::object object, Scope scope) {
  for (const auto& member : object) {
    const Field field = FieldOf(scope, member.key);
    if (field == Field::kNone && CaseTwinOf(scope, member.key) != Field::kNone) return true;
    const bool options = field == Field::kStreamOptions && member.value.is_object();
    if (options && HasTwins(member.value.get_object().value_unsafe(), Scope::kStreamOptions)) {
      return true;
    }
  }
  return false;
}

enum class Verdict { kGood, kBad, kNoOpinion };

// Numbers are beyond the reference: it stores 64 bits, and refuses what a larger integer says.
Verdict Reference(std::string_view body, dom::parser& parser, dom::element& root) {
  if (body.starts_with("\xef\xbb\xbf")) return Verdict::kBad;
  const auto error = parser.parse(body.data(), body.size(), true).get(root);
  if (error == simdjson::NUMBER_ERROR || error == simdjson::BIGINT_ERROR)
    return Verdict::kNoOpinion;
  if (error != simdjson::SUCCESS || !root.is_object()) return Verdict::kBad;
  if (!AllDistinct(root) || HasTwins(root.get_object().value_unsafe(), Scope::kTop)) {
    return Verdict::kBad;
  }
  return Verdict::kGood;
}

std::string Text(dom::element element) { return simdjson::minify(element); }

bool IsLimit(std::string_view key) { return key == "max_tokens" || key == "max_completion_tokens"; }

// A provider that obeys any limit it finds stays under the cap; what was lower stays as it was.
void CheckLimit(dom::element theirs, dom::element ours, int64_t cap) {
  int64_t asked = 0;
  const bool said = theirs.get(asked) == simdjson::SUCCESS && asked > 0;
  Require(ours.get_int64().value() == (said && asked < cap ? asked : cap), "a limit of the output");
}

void RequireLimited(dom::object upstream, const char* what) {
  bool limited = false;
  for (const auto& member : upstream) limited |= IsLimit(member.key);
  Require(limited, what);
}

// Every member but the spliced ones is the same on both sides, in the same order. `cap` 0: none.
void CompareMembers(dom::object client, dom::object upstream, bool usage_forced, int64_t cap) {
  auto theirs = client.begin();
  for (const auto& ours : upstream) {
    const bool known = theirs != client.end() && (*theirs).key == ours.key;
    if (!known && cap > 0 && IsLimit(ours.key)) {
      Require(ours.value.get_int64().value() == cap, "an added limit");
      continue;
    }
    if (!known) {
      Require(usage_forced && ours.key == "stream_options", "a member that nobody sent");
      Require(Text(ours.value) == R"({"include_usage":true})", "inserted options");
      continue;
    }
    if (ours.key == "model") {
      Require(ours.value.get_string().value() == kUpstreamModel, "the upstream's model");
    } else if (usage_forced && ours.key == "stream_options") {
      Require(ours.value["include_usage"].get_bool().value(), "usage not asked for");
    } else if (cap > 0 && IsLimit(ours.key)) {
      CheckLimit((*theirs).value, ours.value, cap);
    } else {
      Require(Text(ours.value) == Text((*theirs).value), "a member that changed");
    }
    ++theirs;
  }
  Require(theirs == client.end(), "a member that got lost");
}

void CheckTags(const Request& request, dom::object client) {
  dom::object metadata;
  Require(request.metadata.size() <= 16, "too many tags");
  if (client["metadata"].get(metadata) != simdjson::SUCCESS) {
    Require(request.metadata.empty(), "tags that nobody sent");
    return;
  }
  for (const auto& [name, value] : request.metadata) {
    std::string_view sent;
    Require(name.size() <= 64 && value.size() <= 512, "a tag out of bounds");
    Require(metadata.at_key(name).get(sent) == simdjson::SUCCESS, "a tag that nobody sent");
    Require(sent.starts_with(value) && (sent.size() <= 512) == (sent == value), "a tag's value");
  }
}

void CheckSplice(Operation operation, std::string_view body, dom::object client, int64_t cap) {
  const auto request = DecodeRequest(operation, body);
  if (!request) return;
  Require(client["model"].get_string().value() == request->model, "the model that is billed");
  CheckTags(*request, client);
  Require(request->choices >= 1 && request->media_parts >= 0, "the counts");
  const SplicedBody spliced(*request, body, kUpstreamModel, cap);
  std::string upstream;
  for (const std::string_view piece : spliced.pieces()) upstream += piece;
  Require(upstream.size() == spliced.size(), "the size of the spliced body");
  dom::parser parser;
  dom::element root;
  Require(parser.allocate(upstream.size(), kDepthMax + 8) == simdjson::SUCCESS, "memory");
  Require(parser.parse(upstream).get(root) == simdjson::SUCCESS, "a spliced body that is broken");
  const bool forced = request->stream && !request->include_usage;
  const bool capped = cap > 0 && operation != Operation::kEmbeddings;
  CompareMembers(client, root.get_object().value_unsafe(), forced, capped ? cap : 0);
  if (capped) RequireLimited(root.get_object().value_unsafe(), "no limit of the output");
}

void Check(std::string_view text) {
  std::string padded(text);
  padded.append(kBodyPadding, '"');
  const std::string_view body = std::string_view(padded).substr(0, text.size());
  // Answers are read without validation: whatever comes, they are only not understood.
  ScanResponse(Operation::kChat, body);
  ScanError(body);
  dom::parser parser;
  dom::element root;
  Require(parser.allocate(body.size() + 1, kDepthMax) == simdjson::SUCCESS, "memory");
  const Verdict want = Reference(body, parser, root);
  const bool good = ScanStrict(body).has_value();
  if (want != Verdict::kNoOpinion) Require(good == (want == Verdict::kGood), "the strict pass");
  if (!good || want != Verdict::kGood) return;
  for (const Operation operation :
       {Operation::kChat, Operation::kCompletions, Operation::kEmbeddings}) {
    for (const int64_t cap : {int64_t{0}, int64_t{1}, int64_t{100}}) {
      CheckSplice(operation, body, root.get_object().value_unsafe(), cap);
    }
  }
}

}  // namespace
}  // namespace spillway::openai

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  spillway::openai::Check({reinterpret_cast<const char*>(data), size});
  return 0;
}
