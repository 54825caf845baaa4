#include <nats/nats.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "common/nats_bus_calls.h"
#include "common/nats_bus_rep.h"

namespace spillway {
namespace {

constexpr int64_t kDuplicateWindowNs = 120'000'000'000;

struct FreeStreamInfo {
  void operator()(jsStreamInfo* info) const { jsStreamInfo_Destroy(info); }
};
using StreamInfo = std::unique_ptr<jsStreamInfo, FreeStreamInfo>;

Result<StreamInfo> InfoOf(NatsLink& link, const std::string& stream) {
  jsOptions options = Waiting();
  jsStreamInfo* info = nullptr;
  auto code = static_cast<jsErrCode>(0);
  const natsStatus status = js_GetStreamInfo(&info, link.js, stream.c_str(), &options, &code);
  if (status != NATS_OK) return NatsFailure("stream " + stream, status, code);
  return StreamInfo(info);
}

void Apply(const StreamSpec& spec, jsStreamConfig& config) {
  config.MaxBytes = spec.bytes_max;
  config.MaxMsgsPerSubject = spec.messages_per_subject_max;
  config.MaxAge = spec.age_max_s * 1'000'000'000;
  config.Discard = spec.discard_new ? js_DiscardNew : js_DiscardOld;
  config.AllowDirect = spec.allow_direct;
}

bool SameSubjects(const jsStreamConfig& config, const std::vector<std::string>& subjects) {
  return std::equal(config.Subjects, config.Subjects + config.SubjectsLen, subjects.begin(),
                    subjects.end());
}

bool UpToDate(const jsStreamConfig& config, const StreamSpec& spec) {
  return config.MaxBytes == spec.bytes_max &&
         config.MaxMsgsPerSubject == spec.messages_per_subject_max &&
         config.MaxAge == spec.age_max_s * 1'000'000'000 &&
         (config.Discard == js_DiscardNew) == spec.discard_new &&
         config.AllowDirect == spec.allow_direct && SameSubjects(config, spec.subjects);
}

}  // namespace

Result<void> NatsBus::EnsureStream(const StreamSpec& spec) {
  SW_TRY(const auto up, rep_->Link());
  std::vector<const char*> subjects;
  subjects.reserve(spec.subjects.size());
  for (const std::string& subject : spec.subjects) subjects.push_back(subject.c_str());
  jsOptions options = Waiting();
  auto code = static_cast<jsErrCode>(0);
  const auto found = InfoOf(*up, spec.name);
  if (!found && found.error().code != ErrorCode::kNotFound) return std::unexpected(found.error());
  if (found) {
    jsStreamConfig& config = *(*found)->Config;
    if (UpToDate(config, spec)) return {};
    // The rest of what the server has stays as it is. Subjects are lent for the call only.
    Apply(spec, config);
    const auto had = std::pair(config.Subjects, config.SubjectsLen);
    config.Subjects = subjects.data();
    config.SubjectsLen = static_cast<int>(subjects.size());
    const natsStatus status = js_UpdateStream(nullptr, up->js, &config, &options, &code);
    std::tie(config.Subjects, config.SubjectsLen) = had;
    if (status != NATS_OK) return NatsFailure("update stream " + spec.name, status, code);
    return {};
  }
  jsStreamConfig config;
  jsStreamConfig_Init(&config);
  config.Name = spec.name.c_str();
  config.Subjects = subjects.data();
  config.SubjectsLen = static_cast<int>(subjects.size());
  config.Storage = js_FileStorage;
  config.Retention = js_LimitsPolicy;
  config.Replicas = rep_->options.stream_replicas;
  config.Duplicates = kDuplicateWindowNs;
  config.DenyDelete = true;
  Apply(spec, config);
  const natsStatus status = js_AddStream(nullptr, up->js, &config, &options, &code);
  if (status != NATS_OK) return NatsFailure("create stream " + spec.name, status, code);
  return {};
}

Result<StreamState> NatsBus::GetStreamState(std::string_view stream) {
  SW_TRY(const auto up, rep_->Link());
  SW_TRY(const StreamInfo info, InfoOf(*up, std::string(stream)));
  return StreamState{.created_ns = info->Created,
                     .first_seq = info->State.FirstSeq,
                     .last_seq = info->State.LastSeq,
                     .messages = info->State.Msgs,
                     .bytes = info->State.Bytes};
}

Result<void> NatsBus::Purge(std::string_view stream, uint64_t below_seq, std::string_view subject) {
  SW_TRY(const auto up, rep_->Link());
  const std::string filter(subject);
  jsOptions options = Waiting();
  options.Stream.Purge.Sequence = below_seq;
  if (!filter.empty()) options.Stream.Purge.Subject = filter.c_str();
  auto code = static_cast<jsErrCode>(0);
  const std::string name(stream);
  const natsStatus status = js_PurgeStream(up->js, name.c_str(), &options, &code);
  if (status != NATS_OK) return NatsFailure("purge " + name, status, code);
  return {};
}

Result<std::optional<BusMessage>> NatsBus::GetLast(std::string_view stream,
                                                   std::string_view subject, int timeout_ms) {
  SW_TRY(const auto up, rep_->Link());
  const std::string name(stream);
  const std::string wanted(subject);
  jsOptions options = Waiting(timeout_ms);
  jsDirectGetMsgOptions get;
  jsDirectGetMsgOptions_Init(&get);
  get.LastBySubject = wanted.c_str();
  natsMsg* raw = nullptr;
  const natsStatus status = js_DirectGetMsg(&raw, up->js, name.c_str(), &options, &get);
  const std::unique_ptr<natsMsg, FreeMessage> message(raw);
  if (status == NATS_NOT_FOUND) return std::nullopt;
  if (status == NATS_NO_RESPONDERS) {
    return Fail(ErrorCode::kNotFound,
                "stream " + name + " does not exist or answers no direct gets");
  }
  if (status != NATS_OK) return NatsFailure("get " + wanted, status, 0);
  BusMessage last{.subject = wanted, .payload = {}, .stream_seq = natsMsg_GetSequence(raw)};
  last.payload.assign(natsMsg_GetData(raw), static_cast<size_t>(natsMsg_GetDataLength(raw)));
  return last;
}

Result<void> NatsBus::DeleteConsumer(std::string_view stream, std::string_view name) {
  SW_TRY(const auto up, rep_->Link());
  jsOptions options = Waiting();
  auto code = static_cast<jsErrCode>(0);
  const std::string consumer(name);
  const natsStatus status =
      js_DeleteConsumer(up->js, std::string(stream).c_str(), consumer.c_str(), &options, &code);
  if (status == NATS_OK || CodeOf(status, code) == ErrorCode::kNotFound) return {};
  return NatsFailure("delete consumer " + consumer, status, code);
}

}  // namespace spillway
