#include "dataplane/pipeline/attempt.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace spillway {
namespace {

std::string_view NameOf(v1::UsageSource source) {
  switch (source) {
    case v1::USAGE_SOURCE_PROVIDER:
      return "provider";
    case v1::USAGE_SOURCE_NONE:
      return "none";
    default:
      return "estimated";
  }
}

std::string_view NameOf(v1::EndReason end) {
  switch (end) {
    case v1::END_FINISHED:
      return "finished";
    case v1::END_UPSTREAM_ERROR:
      return "upstream_error";
    case v1::END_UPSTREAM_STALLED:
      return "stalled";
    case v1::END_CLIENT_LEFT:
      return "client_left";
    case v1::END_UNREACHABLE:
      return "unreachable";
    default:
      return "upstream_cut";
  }
}

void Add(const TokenUsage& more, TokenUsage& sum) {
  sum.input += more.input;
  sum.output += more.output;
  sum.cached_input += more.cached_input;
  sum.reasoning += more.reasoning;
  sum.cache_write_5m += more.cache_write_5m;
  sum.cache_write_1h += more.cache_write_1h;
  sum.audio_input += more.audio_input;
  sum.audio_output += more.audio_output;
  sum.images += more.images;
}

int64_t OutputMost(const Job& job, const ModelSpec& model, const Holding& holding) {
  CallShape shape = ShapeOf(job, model);
  if (holding.output_cap > 0) shape.output_tokens_max = holding.output_cap;
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  if (shape.output_tokens_max <= 0) return kMax;
  const int64_t each = Estimator::OutputBound(shape);
  const int64_t choices = std::max<int64_t>(shape.choices, 1);
  return each > kMax / choices ? kMax : each * choices;
}

}  // namespace

Attempt::Attempt(Exchange& x, const Job& job, Estimator& estimator, const PlannedAttempt& planned,
                 Holding holding, OpenAttempt open, std::string id, UpstreamPool& pool,
                 const CallTimeouts& timeouts)
    : call(pool, *planned.model->provider, timeouts),
      x_(x),
      job_(job),
      estimator_(estimator),
      planned_(planned),
      holding_(std::move(holding)),
      open_(std::move(open)),
      id_(std::move(id)),
      begun_ns_(x.loop.clock->MonotonicNs()),
      output_most_(OutputMost(job, *planned.model, holding_)),
      covered_tokens_(holding_.estimate.likely.output) {}

Attempt::~Attempt() {
  Settle(Estimated(v1::END_UPSTREAM_CUT));
  Close(/*winner=*/true);
}

void Attempt::OnFirstToken() { first_token_ns_ = x_.loop.clock->MonotonicNs(); }

std::string_view Attempt::credential() const {
  const auto& credentials = model().provider->credentials;
  const auto index = static_cast<size_t>(planned_.credential);
  return index < credentials.size() ? std::string_view(credentials[index].api_key)
                                    : std::string_view();
}

void Attempt::Settle(Ending ending) {
  if (ending_) return;
  duration_us_ = (x_.loop.clock->MonotonicNs() - begun_ns_) / 1'000;
  reserved_ = holding_.reservation.amount();
  const AttemptCharge charge =
      ChargeOf(ending.usage, ending.source, model().price, ending.service_tier, reserved_);
  std::move(holding_.reservation).Settle(charge.cost, charge.hold);
  SettleLimits(ending);
  if (ending.source == v1::USAGE_SOURCE_PROVIDER) Teach(ending.usage);
  AccessRecord& record = x_.record;
  record.cost += charge.cost;
  Add(ending.usage, record.usage);
  record.usage_source = NameOf(ending.source);
  record.end = NameOf(ending.end);
  record.upstream_us += duration_us_;
  ending_ = std::move(ending);
}

// What nobody was asked is given back.
void Attempt::SettleLimits(const Ending& ending) {
  if (holding_.limits.empty()) return;
  if (ending.end != v1::END_UNREACHABLE) {
    holding_.limits.Settle(
        {.input_tokens = ending.usage.input, .output_tokens = ending.usage.output});
  }
  holding_.limits.Drop();
}

// Neither refusals nor answers that were cut short by our own cap say how long answers are.
void Attempt::Teach(const TokenUsage& usage) {
  const int64_t cap = holding_.output_cap;
  const int64_t each = usage.output / std::max<int64_t>(job_.request.choices, 1);
  if (http_status >= 300 || usage.input <= 0 || (cap > 0 && each >= cap)) return;
  estimator_.Learn(ShapeOf(job_, model()), usage);
}

void Attempt::Close(bool winner) {
  if (!open_) return;
  std::move(*open_).Finish({.usage = ending_->usage,
                            .source = ending_->source,
                            .end = ending_->end,
                            .http_status = http_status,
                            .winner = winner,
                            .duration_us = duration_us_,
                            .first_token_us = first_token_us(),
                            .service_tier = ending_->service_tier,
                            .reserved = reserved_});
  open_.reset();
}

Attempt::Ending Attempt::Estimated(v1::EndReason end) const {
  const TokenUsage& likely = holding_.estimate.likely;
  int64_t output = 0;
  if (scanner) output = scanner->OutputTokensEstimate(output_most_);
  if (coming) output = std::min(likely.output, openai::EstimateInputTokens(*coming));
  return {.end = end,
          .source = v1::USAGE_SOURCE_ESTIMATED,
          .usage = {.input = likely.input, .output = output},
          .service_tier = openai::BilledTier(job_.request.service_tier)};
}

Attempt::Ending Attempt::Told(v1::EndReason end) const {
  if (!scanner || !scanner->usage()) return Estimated(end);
  if (end != v1::END_FINISHED && scanner->usage_outdated()) {
    TokenUsage usage = *scanner->usage();
    usage.output = std::max(usage.output, scanner->OutputTokensEstimate(output_most_));
    return {.end = end,
            .source = v1::USAGE_SOURCE_ESTIMATED,
            .usage = usage,
            .service_tier = scanner->service_tier()};
  }
  return {.end = end,
          .source = v1::USAGE_SOURCE_PROVIDER,
          .usage = *scanner->usage(),
          .service_tier = scanner->service_tier()};
}

void Attempt::TopUp(int64_t step_tokens) {
  const int64_t relayed = scanner->OutputTokensEstimate(output_most_);
  if (relayed <= covered_tokens_) return;
  covered_tokens_ = std::max(relayed, std::min(relayed + step_tokens, output_most_));
  const TokenUsage ahead{.input = holding_.estimate.likely.input, .output = covered_tokens_};
  const Nanos more =
      CostOf(ahead, model().price, job_.request.service_tier) - holding_.reservation.amount();
  if (more > 0) holding_.reservation.Extend(more);
  if (open_) open_->Outgrow(ahead, holding_.reservation.amount());
}

}  // namespace spillway
