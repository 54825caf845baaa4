#include "dataplane/pipeline/job.h"

#include <charconv>

#include "common/ids.h"
#include "common/utf8.h"

namespace spillway {
namespace {

constexpr std::string_view kMetadataHeader = "x-spillway-metadata";
constexpr std::string_view kTimeoutHeader = "x-spillway-timeout-ms";
constexpr size_t kFeatureBytesMax = 128;
constexpr int64_t kTimeoutMsMax = int64_t{24} * 3'600'000;

// At most 128 bytes, cut between characters; empty when it is no text that a report could show.
std::string FeatureOf(std::string_view text) {
  if (!IsUtf8(text)) return {};
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return {};
  }
  size_t size = 0;
  while (size < text.size()) {
    const size_t next = size + Utf8Length(text.substr(size));
    if (next > kFeatureBytesMax) break;
    size = next;
  }
  return std::string(text.substr(0, size));
}

// The header has the form of a request's `metadata`, and the same strict rules.
Result<openai::Request> DecodeMetadata(std::string_view value) {
  std::string body = R"({"model":"m","messages":[{"role":"user","content":"m"}],"metadata":)";
  body.append(value).append("}");
  const size_t size = body.size();
  body.append(openai::kBodyPadding, '\0');
  Result<openai::Request> decoded =
      openai::DecodeRequest(openai::Operation::kChat, std::string_view(body).substr(0, size));
  if (decoded) return decoded;
  return Fail(ErrorCode::kInvalidRequest,
              "the header x-spillway-metadata is no JSON object with text values: " +
                  decoded.error().message,
              std::string(kMetadataHeader));
}

void TakeIfEmpty(std::string& target, std::string_view value) {
  if (target.empty() && IsResourceName(value)) target = value;
}

}  // namespace

Result<void> Attribute(const RequestHead& head, Job& job) {
  job.user = job.key->user;
  if (const std::string_view value = head.Find(kMetadataHeader); !value.empty()) {
    SW_TRY(const openai::Request metadata, DecodeMetadata(value));
    TakeIfEmpty(job.user, metadata.metadata_user);
    job.feature = FeatureOf(metadata.metadata_feature);
  }
  TakeIfEmpty(job.user, job.request.metadata_user);
  TakeIfEmpty(job.user, job.request.user);
  if (job.feature.empty()) job.feature = FeatureOf(job.request.metadata_feature);
  if (job.feature.empty()) job.feature = job.key->feature;
  return {};
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
