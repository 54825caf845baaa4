#pragma once

#include <catch2/catch_all.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/pipeline/pipeline.h"
#include "dataplane/server/server.h"
#include "tests/unit/dataplane/server/scripted_pipeline.h"
#include "tests/unit/dataplane/server/test_client.h"

namespace spillway {

// A server on a free port with the scripted pipeline; ends with the test.
class RunningServer {
 public:
  explicit RunningServer(ServerOptions options = {}) {
    options.listen = {.host = "127.0.0.1", .port = 0};
    if (options.threads == 0) options.threads = 1;
    auto created = Server::Create(options, SystemClock());
    REQUIRE(created);
    server_ = *std::move(created);
    std::vector<Pipeline*> pipelines;
    for (Loop* loop : server_->loops()) {
      pipelines_.push_back(MakeScriptedPipeline(*loop));
      pipelines.push_back(pipelines_.back().get());
    }
    Facts().requests = Facts().gone = Facts().broken_writes = 0;
    server_->Start(pipelines);
  }
  ~RunningServer() { server_->Stop(); }

  Server& operator*() { return *server_; }
  Server* operator->() { return server_.get(); }
  uint16_t port() const { return server_->port(); }
  int64_t Metric(const std::string& name) const {
    MetricsText text;
    server_->Append(text);
    const std::string rendered = std::move(text).Take();
    const size_t at = rendered.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stoll(rendered.substr(at + name.size() + 2));
  }

 private:
  std::unique_ptr<Server> server_;
  std::vector<std::unique_ptr<Pipeline>> pipelines_;
};

// Waits, at most ten seconds, for something that another thread does.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace spillway
