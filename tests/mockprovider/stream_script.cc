#include "tests/mockprovider/stream_script.h"

#include <array>
#include <charconv>

#include "common/json.h"

namespace spillway::mock {
namespace {

void AppendChunk(std::string& out, std::string_view data) {
  std::array<char, 16> digits;
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), data.size(), 16);
  out.append(digits.data(), end);
  out += "\r\n";
  out += data;
  out += "\r\n";
}

}  // namespace

StreamScript::StreamScript(const Answer& answer) : answer_(answer) {
  const bool chat = answer.request.operation == Operation::kChat;
  prefix_ = chat ? R"(data: {"id":"chatcmpl-)" : R"(data: {"id":"cmpl-)";
  prefix_ += answer.id;
  prefix_ += chat ? R"(","object":"chat.completion.chunk","created":1760000000,"model":)"
                  : R"(","object":"text_completion","created":1760000000,"model":)";
  AppendJsonString(prefix_, answer.request.model);
  // The usual tier is left out: events stay as short as they were when figures were taken.
  const std::string tier = ServiceTier(answer.request, answer.behaviour);
  if (tier != "default") {
    prefix_ += R"(,"service_tier":)";
    AppendJsonString(prefix_, tier);
  }
  prefix_ += R"(,"system_fingerprint":"fp_mock","choices":[)";
  if (!chat) phase_ = Phase::kTokens;
}

StreamScript::Step StreamScript::Next() const {
  if (phase_ == Phase::kTokens || phase_ == Phase::kFinish) {
    if (answer_.behaviour.stall_after >= 0 && index_ >= answer_.behaviour.stall_after) {
      return Step::kStall;
    }
    if (answer_.behaviour.cut_after >= 0 && index_ >= answer_.behaviour.cut_after) {
      return Step::kCut;
    }
  }
  if (phase_ == Phase::kTokens && index_ < answer_.tokens) return Step::kToken;
  return phase_ == Phase::kEnd ? Step::kEnd : Step::kOther;
}

void StreamScript::Emit(std::string& out) {
  if (phase_ == Phase::kTokens && index_ >= answer_.tokens) phase_ = Phase::kFinish;
  switch (phase_) {
    case Phase::kRole:
      EmitRole(out);
      phase_ = Phase::kTokens;
      break;
    case Phase::kTokens:
      EmitToken(out);
      break;
    case Phase::kFinish:
      EmitFinish(out);
      phase_ = Phase::kUsage;
      break;
    case Phase::kUsage:
      EmitUsage(out);
      phase_ = Phase::kDone;
      break;
    case Phase::kDone:
      if (!answer_.behaviour.no_done) AppendChunk(out, "data: [DONE]\n\n");
      phase_ = Phase::kTerminator;
      break;
    case Phase::kTerminator:
      out += "0\r\n\r\n";
      phase_ = Phase::kEnd;
      break;
    case Phase::kEnd:
      break;
  }
}

void StreamScript::EmitChoice(std::string& out, int64_t choice, std::string_view delta,
                              std::string_view finish, bool usage) {
  std::string event = prefix_;
  event += R"({"index":)";
  event += std::to_string(choice);
  event += answer_.request.operation == Operation::kChat ? R"(,"delta":)" : R"(,"text":)";
  event += delta;
  event += R"(,"logprobs":null,"finish_reason":)";
  event += finish;
  event += "}]";
  if (usage) {
    event += R"(,"usage":)";
    AppendUsage(event, answer_);
  } else if (answer_.request.include_usage && !answer_.behaviour.no_usage) {
    event += R"(,"usage":null)";
  }
  event += "}\n\n";
  AppendChunk(out, event);
}

void StreamScript::EmitRole(std::string& out) {
  std::string delta = R"({"role":"assistant","content":"","refusal":null})";
  if (answer_.request.wants_tool_call) {
    delta = R"({"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_)";
    delta += answer_.id;
    delta += R"(","type":"function","function":{"name":)";
    AppendJsonString(delta, answer_.request.tool_name);
    delta += R"(,"arguments":""}}]})";
  }
  for (int64_t i = 0; i < answer_.request.choices; ++i) EmitChoice(out, i, delta, "null", false);
}

std::string StreamScript::TokenDelta(int64_t index) const {
  std::string delta;
  if (answer_.request.operation != Operation::kChat) {
    delta = "\"";
    AppendToken(delta, index, TokenWidth(answer_));
    delta += '"';
  } else if (answer_.request.wants_tool_call) {
    delta = R"({"tool_calls":[{"index":0,"function":{"arguments":")";
    AppendArguments(delta, answer_, index);
    delta += R"("}}]})";
  } else {
    delta = R"({"content":")";
    AppendToken(delta, index, TokenWidth(answer_));
    delta += "\"}";
  }
  return delta;
}

void StreamScript::EmitToken(std::string& out) {
  if (index_ == answer_.behaviour.error_event_at) {
    Behaviour failed = answer_.behaviour;
    if (failed.status < 400) failed.status = 500;
    AppendChunk(out, "data: " + ErrorBody(failed) + "\n\n");
    phase_ = Phase::kTerminator;
    return;
  }
  if (index_ == answer_.behaviour.malformed_event_at) {
    AppendChunk(out, prefix_ + R"({"index":0,"delta":{"content":"tok)" + "\n\n");
    ++index_;
    return;
  }
  const std::string delta = TokenDelta(index_);
  for (int64_t i = 0; i < answer_.request.choices; ++i) EmitChoice(out, i, delta, "null", false);
  ++index_;
}

void StreamScript::EmitFinish(std::string& out) {
  const std::string finish = '"' + std::string(FinishReason(answer_)) + '"';
  const bool chat = answer_.request.operation == Operation::kChat;
  for (int64_t i = 0; i < answer_.request.choices; ++i) {
    const bool last = i + 1 == answer_.request.choices;
    EmitChoice(out, i, chat ? "{}" : "\"\"", finish,
               last && answer_.behaviour.usage_in_last_content);
  }
}

void StreamScript::EmitUsage(std::string& out) {
  const Behaviour& behaviour = answer_.behaviour;
  if (!answer_.request.include_usage || behaviour.no_usage || behaviour.usage_in_last_content)
    return;
  std::string event = prefix_ + R"(],"usage":)";
  AppendUsage(event, answer_);
  event += "}\n\n";
  AppendChunk(out, event);
}

void StreamScript::EmitCut(std::string& out) {
  if (answer_.behaviour.cut_inside_event) {
    // The chunk is whole, the event is not.
    const std::string event = prefix_ + R"({"index":0,"delta":)" + TokenDelta(index_);
    AppendChunk(out, std::string_view(event).substr(0, event.size() - 4));
  }
  if (answer_.behaviour.cut_how == CutHow::kEnd) out += "0\r\n\r\n";
}

}  // namespace spillway::mock
