#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/sealing.h"
#include "common/error.h"
#include "common/secret.h"
#include "controlplane/store/config_store.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::alerts {

// A sink as it is needed for one delivery: secrets in memory only, wiped with it.
struct SinkTarget {
  std::string name;
  v1::AlertSink::Kind kind = v1::AlertSink::KIND_WEBHOOK;
  Secret url;
  Secret signing_secret;  // empty: not signed
};

// Where sinks are known. Thread-safe.
class SinkDirectory {
 public:
  virtual ~SinkDirectory() = default;
  virtual std::vector<std::string> Names() const = 0;
  // kNotFound: no such sink; kCorrupt: its secrets cannot be unsealed. Messages name the sink only.
  virtual Result<SinkTarget> Find(const std::string& name) const = 0;
};

// Those of the current configuration. Both must outlive it.
class ConfiguredSinks final : public SinkDirectory {
 public:
  ConfiguredSinks(const ConfigStore& config, const SealKey& seal_key)
      : config_(config), seal_key_(seal_key) {}
  std::vector<std::string> Names() const override;
  Result<SinkTarget> Find(const std::string& name) const override;

 private:
  const ConfigStore& config_;
  const SealKey& seal_key_;
};

}  // namespace spillway::alerts
