#include "dataplane/metering/meter.h"

#include <utility>

#include "dataplane/metering/journal.h"
#include "dataplane/metering/record_encoding.h"

namespace spillway {

struct OpenAttempt::Rep {
  Journal& journal;
  const Clock& clock;
  std::string request_id;
  std::string attempt_id;
  std::string attribution;  // serialised
  int attempt = 1;
  Price price;
  TokenUsage estimate;
  bool stream = false;
  int64_t started_ns = 0;
  int64_t started_seq = 0;  // 0: there was no space for it
};

OpenAttempt::OpenAttempt(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
OpenAttempt::OpenAttempt(OpenAttempt&&) noexcept = default;

OpenAttempt::~OpenAttempt() {
  if (!rep_) return;
  const int64_t elapsed_us = (rep_->clock.MonotonicNs() - rep_->started_ns) / 1000;
  std::move(*this).Finish({.usage = rep_->estimate,
                           .source = v1::USAGE_SOURCE_ESTIMATED,
                           .end = v1::END_UPSTREAM_CUT,
                           .duration_us = elapsed_us});
}

Nanos OpenAttempt::Finish(const AttemptOutcome& outcome) && {
  const std::unique_ptr<Rep> rep = std::move(rep_);
  const Nanos cost =
      outcome.source == v1::USAGE_SOURCE_NONE ? 0 : CostOf(outcome.usage, rep->price);
  RecordBuffer record;
  EncodeFinished(rep->clock.WallMs(),
                 {.started_seq = rep->started_seq,
                  .request_id = rep->request_id,
                  .attempt_id = rep->attempt_id,
                  .attempt = rep->attempt,
                  .attribution = rep->attribution,
                  .usage = outcome.usage,
                  .cost = cost,
                  .source = outcome.source,
                  .end = outcome.end,
                  .http_status = outcome.http_status,
                  .winner = outcome.winner,
                  .stream = rep->stream,
                  .duration_us = outcome.duration_us,
                  .first_token_us = outcome.first_token_us},
                 record);
  const auto kind = rep->started_seq > 0 ? Journal::Kind::kEnd : Journal::Kind::kOther;
  if (rep->journal.Append(record.view(), kind)) return cost;
  rep->journal.CountEnd({.attribution = rep->attribution,
                         .usage = outcome.usage,
                         .cost = cost,
                         .estimated = outcome.source == v1::USAGE_SOURCE_ESTIMATED,
                         .request = outcome.winner || outcome.end == v1::END_CLIENT_LEFT,
                         .started_seq = rep->started_seq});
  return cost;
}

Result<OpenAttempt> Meter::Start(const AttemptInfo& info) {
  auto rep = std::make_unique<OpenAttempt::Rep>(
      OpenAttempt::Rep{.journal = journal_,
                       .clock = clock_,
                       .request_id = CleanText(info.request_id, kIdBytesMax),
                       .attempt_id = CleanText(info.attempt_id, kIdBytesMax),
                       .attribution = EncodeAttribution({.organization = info.organization,
                                                         .team = info.team,
                                                         .user = info.user,
                                                         .key = info.key,
                                                         .feature = info.feature,
                                                         .route = info.route,
                                                         .model = info.model,
                                                         .provider = info.provider}),
                       .attempt = info.attempt,
                       .price = info.price,
                       .estimate = info.estimate,
                       .stream = info.stream,
                       .started_ns = clock_.MonotonicNs()});
  RecordBuffer record;
  EncodeStarted(clock_.WallMs(),
                {.request_id = rep->request_id,
                 .attempt_id = rep->attempt_id,
                 .attempt = rep->attempt,
                 .attribution = rep->attribution,
                 .reserved = CostOf(info.estimate, info.price),
                 .estimate = info.estimate,
                 .revision = info.revision},
                record);
  SW_TRY(rep->started_seq, journal_.Append(record.view(), Journal::Kind::kStarted));
  return OpenAttempt(std::move(rep));
}

}  // namespace spillway
