#pragma once

#include <array>
#include <string>
#include <vector>

#include "dataplane/exchange/exchange.h"
#include "dataplane/server/connection.h"
#include "dataplane/server/loop_state.h"
#include "dataplane/server/request_body.h"
#include "dataplane/server/response_head.h"

namespace spillway {

// The answer to the request that a session serves: head, framing, writes. Lives as long as its
// session; Reset starts the next one. Loop thread only.
class Answer final : public ResponseWriter {
 public:
  Answer(LoopState& loop, Connection& connection, const RequestBody& body)
      : loop_(loop), connection_(connection), body_(body) {}
  ~Answer() override { Reset(RequestHead{}, true); }

  // `must_close`: whatever the request says, the connection ends with this answer.
  void Reset(const RequestHead& head, bool must_close);

  Task<Result<void>> Send(const ResponseHead& head, std::string_view body) override;
  void Begin(const ResponseHead& head) override;
  Task<Result<void>> Write(std::span<const std::string_view> pieces) override;
  Task<Result<void>> End() override;
  Task<Result<void>> WriteLast(std::span<const std::string_view> pieces) override;
  void Abort() override;
  bool committed() const override { return committed_; }
  void WatchClient(std::function<void()> gone) override { connection_.Watch(std::move(gone)); }

  bool complete() const { return state_ == State::kComplete; }
  // The client was told, or is to be shown, that the connection ends.
  bool closing() const { return close_; }
  // A plain close would look like a proper end.
  bool needs_reset() const {
    return committed_ && !complete() && framing_.kind == Framing::Kind::kUntilClose;
  }

 private:
  enum class State { kNone, kStreaming, kComplete, kBroken };
  void StartHead(const ResponseHead& head, Framing::Kind kind, size_t length);
  void Add(std::string_view bytes);
  // Lines up the next chunk; with `last` also the end.
  void Frame(std::span<const std::string_view> pieces, bool last);
  // Writes what was added; true: all of it went out at once.
  Connection::WriteEnd Flush();
  Task<Result<void>> Finish(Connection::WriteEnd end);
  void SetStreaming(bool streaming);

  LoopState& loop_;
  Connection& connection_;
  const RequestBody& body_;
  State state_ = State::kNone;
  bool committed_ = false;
  bool http11_ = true;
  bool head_only_ = false;  // HEAD
  bool close_ = false;
  bool counted_ = false;  // as an open stream
  Framing framing_;
  std::string head_text_;              // not sent yet
  std::array<char, 20> chunk_line_{};  // of the chunk that is being written
  std::vector<iovec> pieces_;
  std::span<iovec> left_;
};

}  // namespace spillway
