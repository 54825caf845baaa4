#include "tests/unit/dataplane/server/scripted_pipeline.h"

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/deferred.hpp>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

namespace spillway {
namespace {

using Timer = boost::asio::basic_waitable_timer<
    std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, LoopExecutor>;

// The scripted pipeline uses none of its services.
template <typename T>
T& Unused() {
  alignas(64) static std::array<std::byte, 64> storage{};
  return reinterpret_cast<T&>(storage);
}

Task<void> Stream(ResponseWriter& out) {
  out.Begin({.status = 200, .content_type = "text/event-stream"});
  for (const std::string_view text : {"one", "two", "three"}) {
    const std::array<std::string_view, 2> pieces = {text, "\n"};
    if (!co_await out.Write(pieces)) co_return;
  }
  (void)co_await out.End();
}

Task<void> Watch(Exchange& x, ResponseWriter& out) {
  const std::array<std::string_view, 1> pieces = {"begun"};
  out.Begin({});
  if (!co_await out.Write(pieces)) co_return;
  Timer timer(x.loop.io, std::chrono::steady_clock::time_point::max());
  out.WatchClient([&timer] {
    ++Facts().gone;
    timer.cancel();
  });
  co_await timer.async_wait(boost::asio::as_tuple(boost::asio::deferred));
  out.Abort();
}

Task<void> Flood(ResponseWriter& out) {
  out.Begin({});
  const std::string block(64 * 1024, 'f');
  const std::array<std::string_view, 1> pieces = {block};
  for (int i = 0; i < 1'024; ++i) {
    if (co_await out.Write(pieces)) continue;
    ++Facts().broken_writes;
    co_return;
  }
  (void)co_await out.End();
}

}  // namespace

PipelineFacts& Facts() {
  static PipelineFacts facts;
  return facts;
}

std::unique_ptr<Pipeline> MakeScriptedPipeline(Loop& loop) {
  return std::make_unique<Pipeline>(loop, PipelineServices{.meter = Unused<Meter>(),
                                                           .telemetry = Unused<TelemetryShard>(),
                                                           .upstream = Unused<UpstreamPool>(),
                                                           .estimator = Unused<Estimator>()});
}

Pipeline::Pipeline(Loop& loop, PipelineServices services) : loop_(loop), services_(services) {}

Task<void> Pipeline::Handle(Exchange& x, ResponseWriter& out) {
  const std::string_view path = x.head.path;
  ++Facts().requests;
  if (path == "/echo" || path == "/release") {
    const Result<std::string_view> body = co_await x.body.ReadAll();
    if (!body) co_return co_await Refuse(x, out, body.error());
    if (path == "/echo") {
      (void)co_await out.Send(
          {.content_type = "text/plain", .headers = "x-request-id: " + x.request_id + "\r\n"},
          *body);
      co_return;
    }
    x.body.Release();
    co_await Stream(out);
  } else if (path == "/stream") {
    co_await Stream(out);
  } else if (path == "/early") {
    (void)co_await out.Send({.status = 401}, "early");
  } else if (path == "/abort" || path == "/throw") {
    const std::array<std::string_view, 1> pieces = {"partial"};
    out.Begin({});
    (void)co_await out.Write(pieces);
    if (path == "/throw") throw std::runtime_error("scripted");
    out.Abort();
  } else if (path == "/empty") {
    out.Begin({});
    (void)co_await out.End();
  } else if (path == "/both") {
    const std::array<std::string_view, 1> pieces = {"begun"};
    out.Begin({});
    if (co_await out.Write(pieces) && co_await x.body.ReadAll()) (void)co_await out.End();
  } else if (path == "/watch") {
    co_await Watch(x, out);
  } else if (path == "/flood") {
    co_await Flood(out);
  } else {
    (void)co_await out.Send({}, std::to_string(Facts().requests.load()));
  }
}

Task<void> Pipeline::Refuse(Exchange&, ResponseWriter& out, Error error) {
  if (error.HttpStatus() == 0) co_return;
  (void)co_await out.Send({.status = error.HttpStatus()}, InfoOf(error.code).name);
}

}  // namespace spillway
