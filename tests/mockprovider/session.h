#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tests/mockprovider/answer.h"
#include "tests/mockprovider/http_parse.h"
#include "tests/mockprovider/loop.h"
#include "tests/mockprovider/stream_script.h"
#include "tests/mockprovider/transport.h"

namespace spillway::mock {

// A call from its complete request to the last byte of its answer.
struct OpenCall {
  std::shared_ptr<Call> line;
  Answer answer;
  std::optional<StreamScript> script;  // points into `answer`
  std::string prelude;                 // the head of a stream, until it is sent
  int64_t begun_ms = 0;
  int64_t due_ms = 0;     // of the next token
  bool answered = false;  // something was sent
  bool cut_sent = false;  // what goes out before a cut
};

// One connection of a caller: keep-alive, one call at a time, whatever the caller pipelines.
// Callbacks hold it by shared_ptr; it dies when nothing waits for it any more. An idle stream costs
// this object, its OpenCall and an entry in the wheel. Loop thread only.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Loop& loop, boost::asio::ip::tcp::socket socket, SSL_CTX* tls);
  ~Session();

  void Start();
  void OnWake();

 private:
  enum class After : uint8_t { kNext, kWait, kStay, kFin, kRst };

  void ArmRead();
  void ArmWrite();
  void OnReadable();
  void OnWritable();
  void OnCallerLeft();
  void Close(bool reset);

  // Handles complete requests at the beginning of `bytes`; returns how many bytes are done with.
  size_t Handle(std::string_view bytes);
  void HandleInput();
  void RefuseConnection(const HttpRequest& request);
  void Dispatch(const HttpRequest& request);
  void DispatchOther(const HttpRequest& request, std::string_view path);
  void Respond(int64_t status, std::string_view type, std::string_view body, After after);
  void Refuse(int status, std::string_view message, std::string_view param);

  // session_calls.cc: one call and its answer.
  void BeginCall(Operation operation, const HttpRequest& request);
  bool Admit(const HttpRequest& request, Result<ApiRequest>& parsed);
  void RunCall();
  int64_t HeaderDelayMs() const;
  void SendError();
  void SendUnary();
  void BeginStream();
  void Pump();
  StreamScript::Step Fill(std::string& out);
  void FinishCall(bool finished);

  // Writes what it can at once, keeps the rest. `after` happens once all is written.
  void Write(std::string_view bytes, After after);
  // True: all is written. False: the rest waits, or the session is closed.
  bool TryWrite(std::string_view bytes);
  void Drained();

  Loop& loop_;
  boost::asio::ip::tcp::socket socket_;
  Transport transport_;
  std::string input_;   // what came and is not handled yet
  std::string output_;  // what the socket did not take
  size_t output_at_ = 0;
  std::unique_ptr<OpenCall> call_;
  After after_ = After::kNext;
  bool busy_ = false;  // a request is being answered
  bool keep_alive_ = true;
  bool continue_sent_ = false;
  bool handling_ = false;  // Handle is on the stack: it goes on with the input itself
  bool read_armed_ = false;
  bool write_armed_ = false;
  bool closed_ = false;
};

}  // namespace spillway::mock
