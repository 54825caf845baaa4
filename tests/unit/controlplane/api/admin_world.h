#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "controlplane/api/admin_server.h"
#include "controlplane/ledger/ledger.h"
#include "controlplane/store/admin_tokens.h"
#include "tests/unit/controlplane/api/api_world.h"

namespace spillway::api {

// A fleet that says what a test told it. Thread-safe.
class FakeFleet {
 public:
  FleetView View();
  void Set(const v1::WaitActiveResponse& answer);
  int waits() const;

 private:
  mutable std::mutex mutex_;
  v1::WaitActiveResponse answer_;
  int waits_ = 0;
};

// The whole admin API behind a port of the loopback, with one token of each role.
class AdminWorld {
 public:
  // The options' address is replaced by a free port.
  explicit AdminWorld(AdminServerOptions options = {});
  ~AdminWorld();

  ApiWorld api;
  FakeFleet fleet;
  std::unique_ptr<AdminTokens> tokens;
  std::unique_ptr<Ledger> ledger;
  std::map<v1::Role, std::string> secrets;
  std::unique_ptr<AdminServer> server;

  AdminServices Services();
  std::string address() const { return "127.0.0.1:" + std::to_string(server->port()); }
};

// A certificate authority and what it signed, as PEM files in a folder.
struct TestCertificates {
  std::string ca;
  std::string server_cert;
  std::string server_key;
  std::string client_cert;
  std::string client_key;
};
// The server's certificate is for localhost and 127.0.0.1.
TestCertificates MakeCertificates(const TempFolder& folder);

}  // namespace spillway::api
