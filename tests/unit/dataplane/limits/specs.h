#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/limits/limits.h"
#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// Limits as a snapshot would give them.
struct LimitFigures {
  int64_t requests = 0;
  int64_t tokens = 0;
  int64_t concurrent = 0;
  int64_t period_ms = 1'000;
  v1::TokenKind kind = v1::TOKEN_KIND_TOTAL;
};
inline std::shared_ptr<const RateLimitSpec> SpecOf(std::string name, const LimitFigures& figures) {
  auto spec = std::make_shared<RateLimitSpec>();
  spec->name = std::move(name);
  spec->requests = figures.requests;
  spec->tokens = figures.tokens;
  spec->concurrent = figures.concurrent;
  spec->period_ms = figures.period_ms;
  spec->token_kind = figures.kind;
  return spec;
}
inline std::vector<RateLimitMatch> MatchOf(const std::shared_ptr<const RateLimitSpec>& spec,
                                           std::string subject = "") {
  return {{.limit = spec, .subject = std::move(subject)}};
}

}  // namespace spillway
