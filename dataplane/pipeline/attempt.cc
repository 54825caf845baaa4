#include "dataplane/pipeline/attempt.h"

#include <algorithm>
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

}  // namespace

Attempt::Attempt(Exchange& x, const Job& job, const PlannedAttempt& planned, OpenAttempt open,
                 std::string id, UpstreamPool& pool, const CallTimeouts& timeouts)
    : call(pool, *planned.model->provider, timeouts),
      x_(x),
      job_(job),
      planned_(planned),
      open_(std::move(open)),
      id_(std::move(id)),
      begun_ns_(x.loop.clock->MonotonicNs()) {}

void Attempt::OnFirstToken() { first_token_ns_ = x_.loop.clock->MonotonicNs(); }

void Attempt::Finish(const Ending& ending) {
  if (!open_) return;
  const int64_t duration_us = (x_.loop.clock->MonotonicNs() - begun_ns_) / 1'000;
  const Nanos cost = std::move(*open_).Finish({.usage = ending.usage,
                                               .source = ending.source,
                                               .end = ending.end,
                                               .http_status = http_status,
                                               .winner = ending.winner,
                                               .duration_us = duration_us,
                                               .first_token_us = first_token_us()});
  open_.reset();
  AccessRecord& record = x_.record;
  record.cost += cost;
  record.usage.input += ending.usage.input;
  record.usage.output += ending.usage.output;
  record.usage.cached_input += ending.usage.cached_input;
  record.usage.reasoning += ending.usage.reasoning;
  record.usage_source = NameOf(ending.source);
  record.end = NameOf(ending.end);
  record.upstream_us += duration_us;
}

Attempt::Ending Attempt::Estimated(v1::EndReason end) const {
  const int64_t output = scanner ? scanner->output_tokens_estimate() : 0;
  return {.end = end,
          .source = v1::USAGE_SOURCE_ESTIMATED,
          .usage = {.input = job_.estimate.input, .output = output}};
}

Attempt::Ending Attempt::Told(v1::EndReason end) const {
  if (!scanner || !scanner->usage()) return Estimated(end);
  return {.end = end, .source = v1::USAGE_SOURCE_PROVIDER, .usage = *scanner->usage()};
}

}  // namespace spillway
