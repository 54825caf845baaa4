#include "dataplane/metering/usage_sums.h"

namespace spillway {

void AddUsage(v1::Usage& sum, const v1::Usage& more, int sign) {
  sum.set_input_tokens(sum.input_tokens() + sign * more.input_tokens());
  sum.set_output_tokens(sum.output_tokens() + sign * more.output_tokens());
  sum.set_cached_input_tokens(sum.cached_input_tokens() + sign * more.cached_input_tokens());
  sum.set_reasoning_tokens(sum.reasoning_tokens() + sign * more.reasoning_tokens());
  sum.set_cache_write_5m_tokens(sum.cache_write_5m_tokens() + sign * more.cache_write_5m_tokens());
  sum.set_cache_write_1h_tokens(sum.cache_write_1h_tokens() + sign * more.cache_write_1h_tokens());
  sum.set_audio_input_tokens(sum.audio_input_tokens() + sign * more.audio_input_tokens());
  sum.set_audio_output_tokens(sum.audio_output_tokens() + sign * more.audio_output_tokens());
  sum.set_images(sum.images() + sign * more.images());
}

void SetUsage(v1::Usage& usage, const TokenUsage& tokens) {
  usage.set_input_tokens(tokens.input);
  usage.set_output_tokens(tokens.output);
  usage.set_cached_input_tokens(tokens.cached_input);
  usage.set_reasoning_tokens(tokens.reasoning);
  usage.set_cache_write_5m_tokens(tokens.cache_write_5m);
  usage.set_cache_write_1h_tokens(tokens.cache_write_1h);
  usage.set_audio_input_tokens(tokens.audio_input);
  usage.set_audio_output_tokens(tokens.audio_output);
  usage.set_images(tokens.images);
}

}  // namespace spillway
