#include "tests/unit/dataplane/upstream/scripted_provider.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <chrono>

namespace spillway {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
constexpr auto kTuple = asio::as_tuple(asio::deferred);

size_t LengthOf(const std::string& head) {
  const size_t at = head.find("Content-Length: ");
  return at == std::string::npos ? 0 : std::stoul(head.substr(at + 16));
}

}  // namespace

std::string ScriptedProvider::Request::Header(const std::string& name) const {
  const std::string line = "\r\n" + name + ": ";
  const size_t at = head.find(line);
  if (at == std::string::npos) return "";
  const size_t begin = at + line.size();
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

ScriptedProvider::ScriptedProvider(Loop& loop)
    : loop_(loop),
      acceptor_(loop.io.get_executor(), tcp::endpoint(asio::ip::address_v4::loopback(), 0)),
      wakeup_(loop),
      port_(acceptor_.local_endpoint().port()) {
  asio::co_spawn(loop.io.get_executor(), Accept(), asio::detached);
}

uint16_t ScriptedProvider::port() const { return port_; }

void ScriptedProvider::StopListening() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
}

void ScriptedProvider::Resume() { wakeup_.Wake(); }

void ScriptedProvider::CloseIdle() {
  for (const auto& weak : connections_) {
    const auto connection = weak.lock();
    boost::system::error_code ignored;
    if (connection && connection->idle) connection->socket.close(ignored);
  }
}

void ScriptedProvider::SpeakIdle(std::string_view bytes) {
  for (const auto& weak : connections_) {
    const auto connection = weak.lock();
    boost::system::error_code ignored;
    if (connection && connection->idle) {
      connection->socket.send(boost::asio::buffer(bytes), 0, ignored);
    }
  }
}

Task<void> ScriptedProvider::Accept() {
  for (;;) {
    auto [failed, socket] = co_await acceptor_.async_accept(kTuple);
    if (failed) co_return;
    auto connection = std::make_shared<Connection>(std::move(socket));
    connection->number = ++accepted_;
    connections_.push_back(connection);
    asio::co_spawn(loop_.io.get_executor(), Serve(std::move(connection)), asio::detached);
  }
}

Task<void> ScriptedProvider::Serve(std::shared_ptr<Connection> connection) {
  for (;;) {
    const bool early =
        !scripts_.empty() && (scripts_.front().before_body || scripts_.front().on_accept);
    const bool at_once = early && scripts_.front().on_accept;
    if (!at_once && !co_await ReadRequest(*connection, early)) co_return;
    Script script{.steps = {Send("HTTP/1.1 500 Unscripted\r\nContent-Length: 0\r\n\r\n")}};
    if (!scripts_.empty()) {
      script = std::move(scripts_.front());
      scripts_.pop_front();
    }
    if (!co_await Play(*connection, script)) co_return;
  }
}

Task<bool> ScriptedProvider::ReadRequest(Connection& connection, bool head_only) {
  std::string& buffer = connection.buffer;
  for (;;) {
    const size_t end = buffer.find("\r\n\r\n");
    if (end != std::string::npos) {
      const size_t head_bytes = end + 4;
      const std::string head = buffer.substr(0, head_bytes);
      const size_t length = LengthOf(head);
      if (head_only || buffer.size() >= head_bytes + length) {
        requests_.push_back({.head = head,
                             .body = head_only ? "" : buffer.substr(head_bytes, length),
                             .connection = connection.number});
        buffer.erase(0, head_only ? buffer.size() : head_bytes + length);
        co_return true;
      }
    }
    char bytes[4096];
    connection.idle = buffer.empty();
    const auto [failed, n] =
        co_await connection.socket.async_read_some(asio::buffer(bytes), kTuple);
    connection.idle = false;
    if (failed) co_return false;
    buffer.append(bytes, n);
  }
}

Task<bool> ScriptedProvider::Play(Connection& connection, const Script& script) {
  boost::system::error_code ignored;
  for (const Step& step : script.steps) {
    switch (step.kind) {
      case Step::Kind::kSend: {
        const auto [failed, n] =
            co_await asio::async_write(connection.socket, asio::buffer(step.bytes), kTuple);
        if (failed) co_return false;
        break;
      }
      case Step::Kind::kRead: {
        std::string dropped(step.count, '\0');
        const auto [failed, n] =
            co_await asio::async_read(connection.socket, asio::buffer(dropped), kTuple);
        if (failed) co_return false;
        break;
      }
      case Step::Kind::kHold:
        ++holding_;
        ++holds_;
        co_await wakeup_.Sleep();
        --holding_;
        break;
      case Step::Kind::kPeerClose: {
        char byte;
        const auto [failed, n] =
            co_await connection.socket.async_read_some(asio::buffer(&byte, 1), kTuple);
        if (failed) ++cuts_;
        co_return false;
      }
      case Step::Kind::kClose:
        connection.socket.shutdown(tcp::socket::shutdown_both, ignored);
        connection.socket.close(ignored);
        co_return false;
      case Step::Kind::kReset:
        connection.socket.set_option(asio::socket_base::linger(true, 0), ignored);
        connection.socket.close(ignored);
        co_return false;
    }
  }
  co_return true;
}

ScriptedProvider::Step Send(std::string bytes) {
  return {.kind = ScriptedProvider::Step::Kind::kSend, .bytes = std::move(bytes)};
}
ScriptedProvider::Step ReadSome(size_t count) {
  return {.kind = ScriptedProvider::Step::Kind::kRead, .bytes = {}, .count = count};
}
ScriptedProvider::Step Hold() { return {.kind = ScriptedProvider::Step::Kind::kHold, .bytes = {}}; }
ScriptedProvider::Step PeerClose() {
  return {.kind = ScriptedProvider::Step::Kind::kPeerClose, .bytes = {}};
}
ScriptedProvider::Step CloseIt() {
  return {.kind = ScriptedProvider::Step::Kind::kClose, .bytes = {}};
}
ScriptedProvider::Step ResetIt() {
  return {.kind = ScriptedProvider::Step::Kind::kReset, .bytes = {}};
}

std::string JsonAnswer(int status, const std::string& body, const std::string& headers) {
  return "HTTP/1.1 " + std::to_string(status) + " Status\r\nContent-Type: application/json\r\n" +
         headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string StreamHead(const std::string& headers) {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + headers +
         "Transfer-Encoding: chunked\r\n\r\n";
}

std::string Chunk(const std::string& payload) {
  char size[20];
  std::snprintf(size, sizeof(size), "%zx\r\n", payload.size());
  return size + payload + "\r\n";
}

bool RunUntil(Loop& loop, const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  loop.io.restart();
  while (!done()) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= std::chrono::seconds(0)) return false;
    loop.io.run_one_for(left);
    if (loop.io.stopped()) loop.io.restart();
  }
  return true;
}

}  // namespace spillway
