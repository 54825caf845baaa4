#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/money.h"

namespace spillway::openai {

// What accounting needs of an answer's object or of a stream event's.
struct AnswerFacts {
  bool is_object = false;
  bool is_error = false;       // "error" that is not null
  bool choices_empty = false;  // "choices" is an array without elements
  bool has_usage = false;      // "usage" is an object, readable or not
  std::optional<TokenUsage> usage;
  std::string service_tier;  // as BilledTier has it
};

// Reads the top level of `json`, which is followed by kBodyPadding readable bytes. What stands
// between is skipped, not validated.
//
// Token counts are read liberally: integers, floats with whole value, null. Negative ones count 0;
// a `usage` with a count that nobody could mean is dropped, so that the call is estimated. No part
// exceeds its whole: cached, cache_write and audio tokens prompt_tokens, reasoning and audio tokens
// completion_tokens. Servers that count reasoning beside completion_tokens are known by their
// total_tokens, and get it added. Cached tokens are found under the names of other servers too:
// prompt_cache_hit_tokens (DeepSeek), num_cached_tokens (Mistral), cached_tokens (Moonshot).
AnswerFacts ReadAnswer(std::string_view json);
// The same for a stream's event: without padding, and validated, because a client would stumble
// over it; `is_object` is false for a broken one.
AnswerFacts ReadEvent(std::string_view json);

// The bytes of text in all choices of an unary answer (padded): messages, refusals,
// reasoning, arguments, transcripts.
int64_t CountContentBytes(std::string_view json);

}  // namespace spillway::openai
