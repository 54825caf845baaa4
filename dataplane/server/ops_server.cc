#include "dataplane/server/ops_server.h"

#include <httplib.h>
#include <netinet/tcp.h>

#include <thread>
#include <utility>

namespace spillway {
namespace {

constexpr int kThreads = 4;
constexpr const char* kText = "text/plain; charset=utf-8";

}  // namespace

struct OpsServer::Rep {
  explicit Rep(OpsHooks the_hooks) : hooks(std::move(the_hooks)) {}

  OpsHooks hooks;
  httplib::Server http;
  int port = 0;
  std::thread thread;

  void Configure() {
    http.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    http.set_tcp_nodelay(true);
    http.set_keep_alive_max_count(1'000);
    http.set_keep_alive_timeout(5);
    http.set_read_timeout(5);
    http.set_write_timeout(10);
    http.set_payload_max_length(size_t{16} * 1024);
    // The library's default is SO_REUSEPORT, under which a second process binds the port silently.
    http.set_socket_options([](socket_t socket) {
      const int on = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    });
    http.Get("/livez", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("ok\n", kText);
    });
    http.Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
      const std::string reason = hooks.not_ready_reason();
      response.status = reason.empty() ? 200 : 503;
      response.set_content(reason.empty() ? "ready\n" : "not ready: " + reason + "\n", kText);
    });
    http.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(hooks.metrics->Scrape(), "text/plain; version=0.0.4; charset=utf-8");
    });
    http.Get("/debug/snapshot", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(hooks.snapshot_json() + "\n", "application/json");
    });
  }
};

OpsServer::OpsServer(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}

Result<std::unique_ptr<OpsServer>> OpsServer::Start(const HostPort& listen, OpsHooks hooks) {
  auto rep = std::make_unique<Rep>(std::move(hooks));
  rep->Configure();
  if (listen.port == 0) {
    rep->port = rep->http.bind_to_any_port(listen.host);
  } else if (rep->http.bind_to_port(listen.host, listen.port)) {
    rep->port = listen.port;
  }
  if (rep->port <= 0) {
    return Fail(ErrorCode::kInvalidConfig, "cannot listen on " + listen.host + ":" +
                                               std::to_string(listen.port) + " (operators)");
  }
  rep->thread = std::thread([raw = rep.get()] { raw->http.listen_after_bind(); });
  rep->http.wait_until_ready();
  return std::unique_ptr<OpsServer>(new OpsServer(std::move(rep)));
}

OpsServer::~OpsServer() {
  rep_->http.stop();
  rep_->thread.join();
}

uint16_t OpsServer::port() const { return static_cast<uint16_t>(rep_->port); }

}  // namespace spillway
