#include "controlplane/ops_http.h"

#include <httplib.h>
#include <sys/socket.h>

#include <thread>
#include <utility>

#include "common/json.h"
#include "common/settings.h"

namespace spillway {
namespace {

constexpr size_t kThreads = 4;
constexpr size_t kBodyBytesMax = 1'024;
constexpr int kIdleSeconds = 10;

std::string Render(const OpsHttp::Health& health) {
  std::string body;
  JsonWriter json(body);
  json.BeginObject().Field("ready", health.ready).Field("writable", health.writable);
  if (!health.why.empty()) json.Field("why", health.why);
  json.EndObject();
  return body + "\n";
}

}  // namespace

struct OpsHttp::Rep {
  Options options;
  httplib::Server server;
  int port = 0;
  std::thread thread;
};

OpsHttp::OpsHttp(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}

OpsHttp::~OpsHttp() {
  rep_->server.stop();
  if (rep_->thread.joinable()) rep_->thread.join();
}

int OpsHttp::port() const { return rep_->port; }

Result<std::unique_ptr<OpsHttp>> OpsHttp::Start(Options options) {
  SW_TRY(const HostPort address, ParseHostPort(options.listen));
  auto rep = std::make_unique<Rep>();
  rep->options = std::move(options);
  httplib::Server& server = rep->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_tcp_nodelay(true);
  server.set_keep_alive_max_count(1'000);
  server.set_payload_max_length(kBodyBytesMax);
  server.set_read_timeout(kIdleSeconds, 0);
  // The library's default is SO_REUSEPORT: a second process would share the port silently.
  server.set_socket_options([](socket_t socket) {
    const int on = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
  const Rep* const self = rep.get();
  server.Get("/livez", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  server.Get("/readyz", [self](const httplib::Request&, httplib::Response& response) {
    const Health health = self->options.health();
    response.status = health.ready ? 200 : 503;
    response.set_content(Render(health), "application/json");
  });
  server.Get("/metrics", [self](const httplib::Request&, httplib::Response& response) {
    response.set_content(self->options.metrics->Scrape(), "text/plain; version=0.0.4");
  });
  rep->port = address.port == 0 ? server.bind_to_any_port(address.host)
              : server.bind_to_port(address.host, address.port) ? address.port
                                                                : -1;
  if (rep->port <= 0) {
    return Fail(ErrorCode::kUnavailable,
                "--ops-listen: " + rep->options.listen + " cannot be bound (in use?)");
  }
  rep->thread = std::thread([&server] { server.listen_after_bind(); });
  server.wait_until_ready();
  return std::unique_ptr<OpsHttp>(new OpsHttp(std::move(rep)));
}

}  // namespace spillway
