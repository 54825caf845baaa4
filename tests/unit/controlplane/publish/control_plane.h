#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "common/bus.h"
#include "common/clock.h"
#include "common/crypto/signing.h"
#include "controlplane/publish/epoch.h"
#include "controlplane/publish/publisher.h"
#include "controlplane/store/config_store.h"
#include "controlplane/store/store.h"
#include "controlplane/store/write_gate.h"
#include "tests/fakes/nats_server.h"

namespace spillway {

// The part of a control plane that publishes, on a folder of the test's; restarted at will.
class ControlPlane {
 public:
  ControlPlane(Bus& bus, std::string folder);
  ~ControlPlane();

  void Start(RestoreChoice restore = RestoreChoice::kAsk);
  void Stop();
  // Sets a key's bytes (nullopt: removes it) as one revision; returns its number.
  int64_t Set(const std::string& name, std::optional<std::string> bytes);
  // Keys PREFIX-0 to PREFIX-(n-1) in one revision, each of `size` bytes that do not compress.
  int64_t SetMany(const std::string& prefix, int n, size_t size);
  bool Published(int64_t revision, int64_t timeout_ms = 10'000);

  Publisher::Options options;  // change before Start
  std::atomic<int64_t> fleet{3};
  std::atomic<bool> fenced{false};
  std::unique_ptr<Store> store;
  std::unique_ptr<ConfigStore> config;
  std::unique_ptr<WriteGate> gate;
  std::optional<Signer> signer;
  std::optional<Verifier> verifier;
  std::unique_ptr<Epoch> epoch;
  std::unique_ptr<Publisher> publisher;

 private:
  Bus& bus_;
  const std::string folder_;
};

// What a data plane that boots now would run: the state behind Latest, each part verified, as
// "revision R epoch E fleet F: a=1 b=2". "nothing" without a Latest; the error's text when broken.
std::string BootedState(Bus& bus, const Verifier& verifier, const std::string& cluster_id);
// The same of the store, under the epoch held.
std::string WantedState(const ControlPlane& plane);

}  // namespace spillway
