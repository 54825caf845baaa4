#include <algorithm>
#include <array>

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

}  // namespace

SplicedBody::SplicedBody(const Request& request, std::string_view body,
                         std::string_view upstream_model) {
  AppendJsonString(model_text_, upstream_model);
  std::array<Edit, 2> edits{Edit{request.model_value, model_text_}, Edit{}};
  size_t count = 1;
  if (request.stream && !request.include_usage) edits[count++] = UsageEdit(request, body);
  if (count == 2 && edits[1].place.begin < edits[0].place.begin) std::swap(edits[0], edits[1]);

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
