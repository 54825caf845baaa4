#pragma once

#include <string>
#include <vector>

#include "tests/unit/dataplane/pipeline/bench.h"

// What the fault tests ask for, and what providers say to it.
namespace spillway {

using Steps = std::vector<ScriptedProvider::Step>;

inline const std::string kEvents =
    "data: "
    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ok\"},\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\n"
    "data: [DONE]\n\n";

inline std::string Request(const std::string& model, bool stream) {
  return R"({"model":")" + model + R"(","messages":[{"role":"user","content":"hi"}])" +
         (stream ? R"(,"stream":true)" : "") + "}";
}
inline Steps Good(bool stream) {
  if (!stream) return {Send(JsonAnswer(200, kAnswer))};
  return {Send(StreamHead() + Chunk(kEvents) + kLastChunk)};
}
inline const std::string kRate =
    JsonAnswer(429, R"({"error":{"message":"slow","type":"rate_limit"}})", "Retry-After: 7\r\n");

}  // namespace spillway
