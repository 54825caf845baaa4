#include "dataplane/pipeline/attribution.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/utf8.h"

namespace spillway {
namespace {

constexpr std::string_view kMetadataHeader = "x-spillway-metadata";
constexpr std::string_view kUser = "user";
constexpr std::string_view kFeature = "feature";

using Pairs = std::vector<std::pair<std::string, std::string>>;

// ASCII's control characters, and those that follow it (U+0080 to U+009F).
bool IsControl(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first < 0x20 || first == 0x7f;
  return first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;
}

// At most `bytes_max` bytes, cut between characters; empty when it is no text that a report could
// show.
std::string_view LabelOf(std::string_view text, size_t bytes_max) {
  size_t kept = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t length = Utf8Length(text.substr(at));
    if (length == 0 || IsControl(text.substr(at, length))) return {};
    at += length;
    if (at <= bytes_max) kept = at;
  }
  return text.substr(0, kept);
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
  if (target.empty()) target = LabelOf(value, kLabelBytesMax);
}

void AddTags(const Pairs& metadata, Pairs& tags) {
  for (const auto& [name, value] : metadata) {
    if (tags.size() == kTagsMax) return;
    if (name == kUser || name == kFeature || name.size() > kTagBytesMax) continue;
    const std::string_view label = LabelOf(value, kTagBytesMax);
    if (label.empty() || LabelOf(name, kTagBytesMax).empty()) continue;
    if (std::ranges::find(tags, name, &Pairs::value_type::first) != tags.end()) continue;
    tags.emplace_back(name, label);
  }
}

// The key's own user and feature are configuration, and bounded by that.
void Bound(Job& job, DistinctNames& names) {
  using Kind = DistinctNames::Kind;
  const KeySpec& key = *job.key;
  const std::string_view team = key.team.empty() ? key.organization : key.team;
  const auto bound = [&](Kind kind, std::string_view name, std::string& value) {
    if (names.Admit(team, kind, name, value) != value) value = DistinctNames::kOverflow;
  };
  if (job.user != key.user) bound(Kind::kUser, {}, job.user);
  if (job.feature != key.feature) bound(Kind::kFeature, {}, job.feature);
  for (auto& [name, value] : job.tags) bound(Kind::kTag, name, value);
}

}  // namespace

Result<void> Attribute(const RequestHead& head, Job& job, DistinctNames* names) {
  job.user = job.key->user;
  if (const std::string_view value = head.Find(kMetadataHeader); !value.empty()) {
    SW_TRY(const openai::Request said, DecodeMetadata(value));
    TakeIfEmpty(job.user, said.metadata_user);
    TakeIfEmpty(job.feature, said.metadata_feature);
    AddTags(said.metadata, job.tags);
  }
  TakeIfEmpty(job.user, job.request.metadata_user);
  TakeIfEmpty(job.user, job.request.user);
  TakeIfEmpty(job.feature, job.request.metadata_feature);
  TakeIfEmpty(job.feature, job.key->feature);
  AddTags(job.request.metadata, job.tags);
  std::ranges::sort(job.tags);
  if (names != nullptr) Bound(job, *names);
  return {};
}

Facts FactsOf(const Job& job, const ModelSpec* model) {
  return {.organization = job.key->organization,
          .team = job.key->team,
          .user = job.user,
          .key = job.key->name,
          .feature = job.feature,
          .route = job.request.model,
          .model = model == nullptr ? std::string_view() : model->name,
          .provider = model == nullptr ? std::string_view() : model->provider->name,
          .tags = job.tags};
}

}  // namespace spillway
