#include "dataplane/dialect/answer_json.h"
#include "dataplane/dialect/openai.h"

namespace spillway::openai {

Response ScanResponse(Operation operation, std::string_view body) {
  const AnswerFacts facts = ReadAnswer(body);
  Response response{.usage = facts.usage, .is_object = facts.is_object, .is_error = facts.is_error};
  // A second walk, only for answers that must be estimated.
  const bool has_text = operation != Operation::kEmbeddings;
  if (facts.is_object && !facts.usage && has_text) response.content_bytes = CountContentBytes(body);
  return response;
}

}  // namespace spillway::openai
