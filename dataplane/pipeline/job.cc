#include "dataplane/pipeline/job.h"

#include <charconv>

namespace spillway {
namespace {

constexpr std::string_view kTimeoutHeader = "x-spillway-timeout-ms";
constexpr int64_t kTimeoutMsMax = int64_t{24} * 3'600'000;

}  // namespace

CallShape ShapeOf(const Job& job, const ModelSpec& model) {
  const openai::Request& request = job.request;
  return {.route = request.model,
          .model = model,
          .body_bytes = static_cast<int64_t>(job.body.size()),
          .messages = request.messages,
          .media_parts = request.media_parts,
          .media_bytes = request.media_bytes,
          .choices = request.choices,
          .output_tokens_max = request.output_tokens_max,
          .makes_output = request.operation != openai::Operation::kEmbeddings,
          .service_tier = request.service_tier};
}

Result<int64_t> ClientTimeoutMs(const RequestHead& head) {
  const std::string_view text = head.Find(kTimeoutHeader);
  if (text.empty()) return 0;
  int64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size() || value < 1 ||
      value > kTimeoutMsMax) {
    return Fail(ErrorCode::kInvalidRequest,
                "x-spillway-timeout-ms must be a number from 1 to 86400000",
                std::string(kTimeoutHeader));
  }
  return value;
}

}  // namespace spillway
