#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstring>
#include <memory>
#include <string_view>

#include "tests/bench/loadgen.h"

namespace spillway::bench {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using Executor = asio::io_context::executor_type;
template <typename T>
using Task = asio::awaitable<T, Executor>;
using Socket = asio::basic_stream_socket<asio::ip::tcp, Executor>;
using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Executor>;
constexpr asio::use_awaitable_t<Executor> kAwait{};

uint32_t MicrosSince(Clock::time_point from) {
  return static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - from).count());
}

struct LoadRun {
  asio::io_context io{1};
  const Plan& plan;
  Tally tally;
  std::string request;
  std::string expected;  // the content of the first whole stream: every other must equal it
  Clock::time_point measure_from, stop_at;
  int64_t streams_open = 0;

  void Failed(std::string_view what) {
    ++tally.errors;
    if (tally.first_error.empty()) tally.first_error = what;
  }
};

// Reads one answer from a kept connection. Streams: counts `data:` events and collects content.
class AnswerReader {
 public:
  AnswerReader(Socket& socket, std::string& buffer) : socket_(socket), buffer_(buffer) {}

  Task<bool> Read(LoadRun& run, Clock::time_point sent) {
    size_t head_end;
    while ((head_end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!co_await Fill()) co_return false;
    }
    const std::string_view head(buffer_.data(), head_end);
    const bool ok = head.starts_with("HTTP/1.1 200");
    if (!ok) run.Failed(head.substr(0, head.find('\r')));
    const size_t length_at = head.find("ontent-Length: ");
    const size_t lower_at = head.find("ontent-length: ");
    const size_t at = length_at != std::string_view::npos ? length_at : lower_at;
    if (at != std::string_view::npos) {
      const size_t length = std::strtoull(head.data() + at + 15, nullptr, 10);
      buffer_.erase(0, head_end + 4);
      while (buffer_.size() < length) {
        if (!co_await Fill()) co_return false;
      }
      buffer_.erase(0, length);
      co_return ok;
    }
    buffer_.erase(0, head_end + 4);
    co_return co_await ReadChunks(run, sent) && ok;
  }

 private:
  Task<bool> Fill() {
    char block[16384];
    auto [error, n] = co_await socket_.async_read_some(asio::buffer(block), asio::as_tuple(kAwait));
    if (error || n == 0) co_return false;
    buffer_.append(block, n);
    co_return true;
  }

  Task<bool> ReadChunks(LoadRun& run, Clock::time_point sent) {
    std::string text, content;
    bool first = true;
    while (true) {
      size_t line_end;
      while ((line_end = buffer_.find("\r\n")) == std::string::npos) {
        if (!co_await Fill()) co_return false;
      }
      const size_t size = std::strtoull(buffer_.c_str(), nullptr, 16);
      while (buffer_.size() < line_end + 2 + size + 2) {
        if (!co_await Fill()) co_return false;
      }
      if (first && size > 0) {
        run.tally.first_event_us.push_back(MicrosSince(sent));
        first = false;
      }
      text.append(buffer_, line_end + 2, size);
      buffer_.erase(0, line_end + 2 + size + 2);
      Consume(run, text, content);
      if (size == 0) break;
    }
    if (!done_) {
      run.Failed("stream without [DONE]");
      co_return true;
    }
    if (run.expected.empty()) run.expected = content;
    if (content != run.expected) ++run.tally.out_of_order;
    co_return true;
  }

  void Consume(LoadRun& run, std::string& text, std::string& content) {
    size_t begin = 0, end;
    while ((end = text.find("\n\n", begin)) != std::string::npos) {
      const std::string_view event(text.data() + begin, end - begin);
      begin = end + 2;
      if (!event.starts_with("data:")) continue;
      ++run.tally.events;
      if (event.find("[DONE]") != std::string_view::npos) done_ = true;
      const size_t at = event.find(R"("content":")");
      if (at == std::string_view::npos) continue;
      const std::string_view rest = event.substr(at + 11);
      content.append(rest.substr(0, rest.find('"')));
    }
    text.erase(0, begin);
  }

  Socket& socket_;
  std::string& buffer_;
  bool done_ = false;
};

Task<void> Client(LoadRun& run, int index) {
  const Plan& plan = run.plan;
  Timer timer(run.io.get_executor());
  if (plan.ramp_seconds > 0) {
    timer.expires_after(std::chrono::microseconds(
        static_cast<int64_t>(plan.ramp_seconds * 1e6 * index / plan.connections)));
    co_await timer.async_wait(asio::as_tuple(kAwait));
  }
  const auto gap = std::chrono::nanoseconds(
      plan.rate > 0 ? static_cast<int64_t>(1e9 * plan.connections / plan.rate) : 0);
  auto due = Clock::now() + gap * index / std::max(1, plan.connections);
  std::unique_ptr<Socket> socket;
  std::string buffer;
  const asio::ip::tcp::endpoint endpoint(asio::ip::make_address(plan.host), plan.port);
  for (int64_t sent = 0; plan.requests_per_connection == 0 || sent < plan.requests_per_connection;
       ++sent) {
    if (plan.rate > 0) {
      timer.expires_at(due);
      co_await timer.async_wait(asio::as_tuple(kAwait));
    }
    if (plan.requests_per_connection == 0 && Clock::now() >= run.stop_at) break;
    const auto began = plan.rate > 0 ? due : Clock::now();
    due += gap;
    if (!socket) {
      socket = std::make_unique<Socket>(run.io.get_executor());
      auto [error] = co_await socket->async_connect(endpoint, asio::as_tuple(kAwait));
      if (error) {
        run.Failed("connect: " + error.message());
        co_return;
      }
      socket->set_option(asio::ip::tcp::no_delay(true));
      buffer.clear();
    }
    run.tally.streams_open_max = std::max(run.tally.streams_open_max, ++run.streams_open);
    auto [error, n] =
        co_await asio::async_write(*socket, asio::buffer(run.request), asio::as_tuple(kAwait));
    AnswerReader reader(*socket, buffer);
    const bool whole = !error && co_await reader.Read(run, Clock::now());
    --run.streams_open;
    if (!whole) {
      run.Failed("connection ended inside an answer");
      socket.reset();
      continue;
    }
    if (began < run.measure_from) continue;
    ++run.tally.answers;
    run.tally.latency_us.push_back(MicrosSince(began));
  }
}

}  // namespace

Tally Run(const Plan& plan) {
  LoadRun run{.plan = plan};
  run.request =
      "POST " + plan.path + " HTTP/1.1\r\nHost: " + plan.host + "\r\nAuthorization: Bearer " +
      plan.key +
      "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(plan.body.size()) +
      "\r\n\r\n" + plan.body;
  const auto now = Clock::now();
  const auto micros = [](double s) {
    return std::chrono::microseconds(static_cast<int64_t>(s * 1e6));
  };
  run.measure_from = now + micros(plan.warmup_seconds);
  run.stop_at = run.measure_from + micros(plan.seconds);
  for (int i = 0; i < plan.connections; ++i) asio::co_spawn(run.io, Client(run, i), asio::detached);
  run.io.run();
  return std::move(run.tally);
}

}  // namespace spillway::bench
