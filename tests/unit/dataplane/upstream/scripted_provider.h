#pragma once

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/exchange/loop.h"
#include "dataplane/upstream/resolver.h"

namespace spillway {

// A provider on a loopback port that does what a test tells it, byte by byte. It lives on the
// test's own loop: nothing happens but while the loop runs, so no test waits for a time to pass.
class ScriptedProvider {
 public:
  struct Step {
    enum class Kind {
      kSend,
      kRead,       // `count` bytes, which are dropped
      kHold,       // until Resume
      kPeerClose,  // until the gateway closes; counted in cuts()
      kClose,      // FIN
      kReset,      // RST
    };
    Kind kind = Kind::kSend;
    std::string bytes;
    size_t count = 0;
  };
  struct Script {
    std::vector<Step> steps;
    bool before_body = false;  // begin once the head is here, and read no body but by kRead
    bool on_accept = false;    // begin at once
  };
  struct Request {
    std::string head;  // with its empty line
    std::string body;
    int connection = 0;  // number of the connection, from 1
    std::string Header(const std::string& name) const;
  };

  explicit ScriptedProvider(Loop& loop);
  uint16_t port() const;
  // For the next request that has none; requests beyond the scripts are answered 500.
  void Next(std::vector<Step> steps) { scripts_.push_back({.steps = std::move(steps)}); }
  void Next(Script script) { scripts_.push_back(std::move(script)); }
  void Resume();
  // Closes every connection that waits for a request, as an idle timeout does.
  void CloseIdle();
  // Says something on every connection that waits for a request.
  void SpeakIdle(std::string_view bytes);
  // Refuses connections from now on.
  void StopListening();

  const std::vector<Request>& requests() const { return requests_; }
  int accepted() const { return accepted_; }
  int cuts() const { return cuts_; }
  int holding() const { return holding_; }
  int holds() const { return holds_; }  // begun so far

 private:
  using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, LoopExecutor>;
  using Acceptor = boost::asio::basic_socket_acceptor<boost::asio::ip::tcp, LoopExecutor>;
  struct Connection {
    explicit Connection(Socket accepted) : socket(std::move(accepted)) {}
    Socket socket;
    std::string buffer;
    int number = 0;
    bool idle = false;
  };

  Task<void> Accept();
  Task<void> Serve(std::shared_ptr<Connection> connection);
  Task<bool> ReadRequest(Connection& connection, bool head_only);
  Task<bool> Play(Connection& connection, const Script& script);

  Loop& loop_;
  Acceptor acceptor_;
  std::deque<Script> scripts_;
  std::vector<Request> requests_;
  std::vector<std::weak_ptr<Connection>> connections_;
  Wakeup wakeup_;
  uint16_t port_ = 0;
  int accepted_ = 0;
  int cuts_ = 0;
  int holding_ = 0;
  int holds_ = 0;
};

ScriptedProvider::Step Send(std::string bytes);
ScriptedProvider::Step ReadSome(size_t count);
ScriptedProvider::Step Hold();
ScriptedProvider::Step PeerClose();
ScriptedProvider::Step CloseIt();
ScriptedProvider::Step ResetIt();

// "HTTP/1.1 <status> ..." with a JSON body and its length, and further header lines.
std::string JsonAnswer(int status, const std::string& body, const std::string& headers = "");
// The head of a chunked event stream, and one chunk.
std::string StreamHead(const std::string& headers = "");
std::string Chunk(const std::string& payload);
inline constexpr const char* kLastChunk = "0\r\n\r\n";

// Runs the loop until `done` says so; false: five seconds were not enough.
bool RunUntil(Loop& loop, const std::function<bool()>& done);

}  // namespace spillway
