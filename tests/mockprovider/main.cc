// spillway-mockprovider: a provider that speaks OpenAI's dialect, for tests, demonstrations and as
// the benchmarks' upstream. It answers any model with deterministic text ("token0 token1 ..."),
// states its token counts (prompt: bytes of the messages / 4; completion: 16, or what is asked
// for), misbehaves on demand, and keeps the books of what a real provider would bill.
//
//   POST /v1/chat/completions, /v1/completions, /v1/embeddings; GET /v1/models, /v1/models/{id}
//   PUT, GET, DELETE /mock/behaviour     how a model answers; see --help for the members
//   GET, DELETE /mock/ledger             one JSON line per call, under its x-spillway-attempt-id
//   GET /mock/stats                      totals by model and key
//
// The same behaviours by the model's name: "mock-error-429", "mock-tokens-64-gap-400",
// "mock-cut-5".
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <memory>
#include <print>
#include <string>
#include <thread>
#include <vector>

#include "common/settings.h"
#include "tests/mockprovider/loop.h"
#include "tests/mockprovider/session.h"

namespace spillway::mock {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr std::string_view kProgram = "spillway-mockprovider";

struct Options {
  std::string listen = "127.0.0.1:9100";
  int64_t threads = 1;
  std::string tls_cert;
  std::string tls_key;
  std::string port_file;
  std::string require_key;
  int64_t connections_max = 100'000;
  bool ledger = true;
};

Options ParseOptions(int argc, char** argv) {
  Options options;
  Settings settings(
      std::string(kProgram),
      "A provider for tests: OpenAI's dialect, faults on demand.\n" + DescribeBehaviours());
  settings.Add("listen", options.listen, "address and port; port 0: any free one");
  settings.Add("threads", options.threads, "threads, one event loop each");
  settings.Add("tls-cert", options.tls_cert, "PEM file; with --tls-key: speak TLS");
  settings.Add("tls-key", options.tls_key, "PEM file");
  settings.Add("port-file", options.port_file, "write \"mock PORT\" here once it listens");
  settings.Add("require-key", options.require_key, "answer 401 to any other API key");
  settings.Add("connections-max", options.connections_max, "close connections beyond");
  settings.Add("ledger", options.ledger, "keep a line per call, not only totals");
  settings.ParseOrExit(argc, argv);
  return options;
}

struct TlsDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using TlsContext = std::unique_ptr<SSL_CTX, TlsDeleter>;

TlsContext LoadTls(const Options& options) {
  if (options.tls_cert.empty()) return nullptr;
  TlsContext context(SSL_CTX_new(TLS_server_method()));
  if (SSL_CTX_use_certificate_chain_file(context.get(), options.tls_cert.c_str()) != 1) {
    ExitUsage(kProgram, "--tls-cert: no certificate in " + options.tls_cert);
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), options.tls_key.c_str(), SSL_FILETYPE_PEM) != 1) {
    ExitUsage(kProgram, "--tls-key: no matching key in " + options.tls_key);
  }
  return context;
}

// Accepts for all loops in turn, so that each has the same share of connections.
class Listener {
 public:
  Listener(std::vector<std::unique_ptr<Loop>>& loops, SSL_CTX* tls)
      : loops_(loops), acceptor_(loops[0]->io), tls_(tls) {}

  void Open(const HostPort& address) {
    boost::system::error_code error;
    const auto ip = asio::ip::make_address(address.host, error);
    const tcp::endpoint endpoint(ip, address.port);
    if (!error) acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
    if (error) {
      ExitUsage(kProgram, "cannot listen on " + address.host + ":" + std::to_string(address.port) +
                              ": " + error.message() + " (--listen)");
    }
    Accept();
  }
  uint16_t port() const { return acceptor_.local_endpoint().port(); }

 private:
  void Accept() {
    Loop& loop = *loops_[next_++ % loops_.size()];
    acceptor_.async_accept(
        loop.io, [this, &loop](const boost::system::error_code& error, tcp::socket socket) {
          World& world = loop.world;
          if (!error && world.connections.load() < world.connections_max) {
            auto session = std::make_shared<Session>(loop, std::move(socket), tls_);
            asio::post(loop.io, [session = std::move(session)] { session->Start(); });
          }
          if (!acceptor_.is_open()) return;
          if (!error) return Accept();
          // Too many open files, say: the backlog waits a moment for some to be closed.
          pause_.expires_after(std::chrono::milliseconds(50));
          pause_.async_wait([this](const boost::system::error_code& stopped) {
            if (!stopped) Accept();
          });
        });
  }

  std::vector<std::unique_ptr<Loop>>& loops_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_{acceptor_.get_executor()};
  SSL_CTX* tls_;
  size_t next_ = 0;
};

void Announce(const Options& options, const HostPort& address, uint16_t port) {
  const char* const scheme = options.tls_cert.empty() ? "http" : "https";
  std::println("listening on {}://{}:{}", scheme, address.host, port);
  std::fflush(stdout);
  if (options.port_file.empty()) return;
  // Renamed into place: a reader never sees half a line.
  const std::string draft = options.port_file + ".new";
  std::ofstream(draft) << "mock " << port << "\n";
  if (std::rename(draft.c_str(), options.port_file.c_str()) != 0) {
    ExitUsage(kProgram, "--port-file: cannot write " + options.port_file);
  }
}

int Run(const Options& options) {
  const Result<HostPort> address = ParseHostPort(options.listen);
  if (!address) ExitUsage(kProgram, "--listen: " + address.error().message);
  if (options.threads < 1 || options.threads > 256) ExitUsage(kProgram, "--threads: 1 to 256");
  const TlsContext tls = LoadTls(options);
  RaiseFileLimit();
  std::signal(SIGPIPE, SIG_IGN);

  World world(static_cast<int>(options.threads), options.ledger);
  world.required_key = options.require_key;
  world.connections_max = options.connections_max;
  std::vector<std::unique_ptr<Loop>> loops;
  loops.reserve(static_cast<size_t>(options.threads));
  for (int i = 0; i < options.threads; ++i) loops.push_back(std::make_unique<Loop>(world, i));
  Listener listener(loops, tls.get());
  listener.Open(*address);
  Announce(options, *address, listener.port());

  asio::signal_set signals(loops[0]->io, SIGINT, SIGTERM);
  signals.async_wait([&loops](const boost::system::error_code&, int) {
    for (const auto& loop : loops) loop->io.stop();
  });
  std::vector<std::jthread> threads;
  for (size_t i = 1; i < loops.size(); ++i) {
    threads.emplace_back([&loop = *loops[i]] {
      const auto guard = asio::make_work_guard(loop.io);
      loop.io.run();
    });
  }
  loops[0]->io.run();
  return 0;
}

}  // namespace
}  // namespace spillway::mock

int main(int argc, char** argv) {
  return spillway::mock::Run(spillway::mock::ParseOptions(argc, argv));
}
