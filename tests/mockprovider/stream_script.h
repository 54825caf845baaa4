#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/mockprovider/answer.h"

namespace spillway::mock {

// The events of one streamed answer in their order, in HTTP's chunked coding, one chunk an event.
// Does no I/O and knows no time: who drives it decides when a token is due.
class StreamScript {
 public:
  explicit StreamScript(const Answer& answer);

  enum class Step : uint8_t {
    kToken,  // the next tokens, one of each choice
    kOther,  // what needs no waiting: role, finish, usage, [DONE], the end of the body
    kStall,  // nothing more comes
    kCut,    // the connection ends as the behaviour says
    kEnd,    // all is said
  };
  Step Next() const;
  // Appends what Next named; not for kStall, kCut and kEnd.
  void Emit(std::string& out);
  // What the connection gets before it is cut: half an event, or nothing.
  void EmitCut(std::string& out);
  // Tokens produced so far, over all choices.
  int64_t tokens() const { return index_ * answer_.request.choices; }

 private:
  enum class Phase : uint8_t { kRole, kTokens, kFinish, kUsage, kDone, kTerminator, kEnd };
  std::string TokenDelta(int64_t index) const;
  void EmitRole(std::string& out);
  void EmitToken(std::string& out);
  void EmitFinish(std::string& out);
  void EmitUsage(std::string& out);
  void EmitChoice(std::string& out, int64_t choice, std::string_view delta, std::string_view finish,
                  bool usage);

  const Answer& answer_;
  std::string prefix_;  // of every chunk, up to its choices
  Phase phase_ = Phase::kRole;
  int64_t index_ = 0;  // tokens of each choice
};

}  // namespace spillway::mock
