#include "dataplane/metering/meter.h"

#include <algorithm>
#include <tuple>
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
  std::string service_tier;
  bool stream = false;
  bool fallback = false;
  bool downgraded = false;
  bool unpriced = false;
  std::string accounts;  // joined
  std::string holder;
  Nanos reserved = 0;
  int64_t revision = 0;
  int64_t started_ms = 0;
  int64_t started_ns = 0;
  int64_t started_seq = 0;  // 0: there was no space for it
};

AttemptCharge ChargeOf(const TokenUsage& usage, v1::UsageSource source, const Price& price,
                       std::string_view service_tier, Nanos reserved) {
  if (source == v1::USAGE_SOURCE_NONE) return {};
  const Nanos cost = CostOf(usage, price, service_tier);
  return {.cost = cost,
          .hold = source == v1::USAGE_SOURCE_ESTIMATED ? std::max(cost, reserved) : cost};
}

OpenAttempt::OpenAttempt(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
OpenAttempt::OpenAttempt(OpenAttempt&&) noexcept = default;

OpenAttempt::~OpenAttempt() {
  if (!rep_) return;
  const int64_t elapsed_us = (rep_->clock.MonotonicNs() - rep_->started_ns) / 1000;
  std::move(*this).Finish({.usage = rep_->estimate,
                           .source = v1::USAGE_SOURCE_ESTIMATED,
                           .end = v1::END_UPSTREAM_CUT,
                           .duration_us = elapsed_us,
                           .service_tier = rep_->service_tier});
}

void OpenAttempt::Outgrow(const TokenUsage& covered, Nanos reserved) {
  Rep& rep = *rep_;
  if (rep.started_seq == 0) return;
  const Nanos likely = CostOf(covered, rep.price, rep.service_tier);
  rep.estimate = covered;
  rep.reserved = std::max(rep.accounts.empty() ? likely : reserved, rep.reserved);
  RecordBuffer record;
  EncodeStarted(rep.started_ms,
                {.request_id = rep.request_id,
                 .attempt_id = rep.attempt_id,
                 .attempt = rep.attempt,
                 .attribution = rep.attribution,
                 .reserved = rep.reserved,
                 .estimate = covered,
                 .service_tier = rep.service_tier,
                 .revision = rep.revision,
                 .accounts = rep.accounts,
                 .holder = rep.holder,
                 .likely = likely == rep.reserved ? 0 : likely,
                 .started_seq = rep.started_seq},
                record);
  // Without space for it a kill bills what was said before.
  std::ignore = rep.journal.Append(record.view(), Journal::Kind::kOther);
}

AttemptCharge OpenAttempt::Finish(const AttemptOutcome& outcome) && {
  const std::unique_ptr<Rep> rep = std::move(rep_);
  const Nanos reserved = rep->accounts.empty() ? 0 : outcome.reserved.value_or(rep->reserved);
  const AttemptCharge charge =
      ChargeOf(outcome.usage, outcome.source, rep->price, outcome.service_tier, reserved);
  const std::string service_tier = CleanText(outcome.service_tier, kTierBytesMax);
  RecordBuffer record;
  EncodeFinished(rep->clock.WallMs(),
                 {.started_seq = rep->started_seq,
                  .request_id = rep->request_id,
                  .attempt_id = rep->attempt_id,
                  .attempt = rep->attempt,
                  .attribution = rep->attribution,
                  .usage = outcome.usage,
                  .cost = charge.cost,
                  .source = outcome.source,
                  .end = outcome.end,
                  .http_status = outcome.http_status,
                  .winner = outcome.winner,
                  .stream = rep->stream,
                  .duration_us = outcome.duration_us,
                  .first_token_us = outcome.first_token_us,
                  .service_tier = service_tier,
                  .accounts = rep->accounts,
                  .holder = rep->holder,
                  .hold = charge.hold,
                  .unpriced = rep->unpriced,
                  .fallback = rep->fallback,
                  .downgraded = rep->downgraded},
                 record);
  const auto kind = rep->started_seq > 0 ? Journal::Kind::kEnd : Journal::Kind::kLoneEnd;
  if (rep->journal.Append(record.view(), kind)) return charge;
  rep->journal.CountEnd({.attribution = rep->attribution,
                         .usage = outcome.usage,
                         .cost = charge.cost,
                         .estimated = outcome.source == v1::USAGE_SOURCE_ESTIMATED,
                         .request = outcome.winner || outcome.end == v1::END_CLIENT_LEFT,
                         .started_seq = rep->started_seq,
                         .accounts = rep->accounts,
                         .holder = rep->holder,
                         .hold = charge.hold});
  return charge;
}

Result<OpenAttempt> Meter::Start(const AttemptInfo& info) {
  const Nanos likely = CostOf(info.estimate, info.price, info.service_tier);
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
                                                         .provider = info.provider,
                                                         .tags = info.tags}),
                       .attempt = info.attempt,
                       .price = info.price,
                       .estimate = info.estimate,
                       .service_tier = CleanText(info.service_tier, kTierBytesMax),
                       .stream = info.stream,
                       .fallback = info.fallback,
                       .downgraded = info.downgraded,
                       .unpriced = info.unpriced || info.price == nullptr,
                       .accounts = JoinAccounts(info.accounts),
                       .holder = CleanText(info.holder, kIdBytesMax),
                       .reserved = info.accounts.empty() ? likely : info.reserved,
                       .revision = info.revision,
                       .started_ms = clock_.WallMs(),
                       .started_ns = clock_.MonotonicNs()});
  RecordBuffer record;
  EncodeStarted(rep->started_ms,
                {.request_id = rep->request_id,
                 .attempt_id = rep->attempt_id,
                 .attempt = rep->attempt,
                 .attribution = rep->attribution,
                 .reserved = rep->reserved,
                 .estimate = info.estimate,
                 .service_tier = rep->service_tier,
                 .revision = info.revision,
                 .accounts = rep->accounts,
                 .holder = rep->holder,
                 .likely = likely == rep->reserved ? 0 : likely},
                record);
  SW_TRY(rep->started_seq, journal_.Append(record.view(), Journal::Kind::kStarted));
  return OpenAttempt(std::move(rep));
}

}  // namespace spillway
