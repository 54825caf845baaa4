#include <algorithm>
#include <array>
#include <utility>

#include "dataplane/dialect/answer_json.h"
#include "dataplane/dialect/openai.h"

namespace spillway::openai {

std::string BilledTier(std::string_view reported) {
  constexpr size_t kTierBytesMax = 32;
  constexpr std::array<std::string_view, 3> kStandard = {"default", "standard", "auto"};
  const bool word = std::ranges::all_of(reported, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  const bool other =
      word && reported.size() <= kTierBytesMax && !std::ranges::contains(kStandard, reported);
  return std::string(other ? reported : std::string_view());
}

Response ScanResponse(Operation operation, std::string_view body) {
  AnswerFacts facts = ReadAnswer(body);
  Response response{.usage = facts.usage,
                    .is_object = facts.is_object,
                    .is_error = facts.is_error,
                    .service_tier = std::move(facts.service_tier)};
  // A second walk, only for answers that must be estimated.
  const bool has_text = operation != Operation::kEmbeddings;
  if (facts.is_object && !facts.usage && has_text) response.content_bytes = CountContentBytes(body);
  return response;
}

}  // namespace spillway::openai
