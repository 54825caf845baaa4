#include <algorithm>
#include <array>
#include <string>

#include "common/json.h"
#include "dataplane/dialect/byte_scan.h"
#include "dataplane/dialect/openai.h"

namespace spillway::openai {
namespace {

// Text that takes the place of a span; an empty span inserts.
struct Edit {
  Span place;
  std::string_view text;
};

constexpr size_t kEditsMax = 4;  // model, usage, and both limits of the output

// How the usage event is asked for, by what the client wrote.
Edit UsageEdit(const Request& request, std::string_view body) {
  if (!request.include_usage_value.empty()) return {request.include_usage_value, "true"};
  const Span options = request.stream_options;
  if (options.empty()) {
    const Span front{request.members_begin, request.members_begin};
    return {front, R"("stream_options":{"include_usage":true},)"};
  }
  if (body[options.begin] != '{') return {options, R"({"include_usage":true})"};
  const char* const inside = body.data() + options.begin + 1;
  const bool empty = *SkipJsonSpace(inside, body.data() + options.end) == '}';
  const Span front{options.begin + 1, options.begin + 1};
  return {front, empty ? R"("include_usage":true)" : R"("include_usage":true,)"};
}

// The member that is added; its number is what replaces a value.
std::string CapMember(const Request& request, int64_t cap) {
  const bool chat = request.operation == Operation::kChat;
  return (chat ? R"("max_completion_tokens":)" : R"("max_tokens":)") + std::to_string(cap) + ",";
}

// Returns the new count of edits.
size_t AddCap(const Request& request, int64_t cap, std::string_view member,
              std::array<Edit, kEditsMax>& edits, size_t count) {
  const size_t colon = member.find(':');
  const std::string_view number = member.substr(colon + 1, member.size() - colon - 2);
  const auto lower = [&](const OutputLimit& limit) {
    const bool above = limit.tokens == 0 || limit.tokens > cap;
    if (!limit.value.empty() && above) edits[count++] = {limit.value, number};
  };
  lower(request.max_tokens);
  lower(request.max_completion_tokens);
  if (request.max_tokens.value.empty() && request.max_completion_tokens.value.empty()) {
    edits[count++] = {{request.members_begin, request.members_begin}, member};
  }
  return count;
}

}  // namespace

SplicedBody::SplicedBody(const Request& request, std::string_view body,
                         std::string_view upstream_model, int64_t output_tokens_cap) {
  AppendJsonString(model_text_, upstream_model);
  std::array<Edit, kEditsMax> edits{Edit{request.model_value, model_text_}};
  size_t count = 1;
  if (request.stream && !request.include_usage) edits[count++] = UsageEdit(request, body);
  if (output_tokens_cap > 0 && request.operation != Operation::kEmbeddings) {
    cap_text_ = CapMember(request, output_tokens_cap);
    count = AddCap(request, output_tokens_cap, cap_text_, edits, count);
  }
  std::stable_sort(edits.begin(), edits.begin() + static_cast<std::ptrdiff_t>(count),
                   [](const Edit& a, const Edit& b) { return a.place.begin < b.place.begin; });

  pieces_.reserve(2 * count + 1);
  const auto add = [this](std::string_view piece) {
    if (piece.empty()) return;
    pieces_.push_back(piece);
    size_ += piece.size();
  };
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    add(body.substr(at, edits[i].place.begin - at));
    add(edits[i].text);
    at = edits[i].place.end;
  }
  add(body.substr(at));
}

}  // namespace spillway::openai
