#pragma once

#include <memory>

#include "dataplane/snapshot/snapshot.h"

namespace spillway {

// Who calls: proof that a key was accepted. Only authn makes one.
class Caller {
 public:
  const KeySpec& key() const { return *key_; }
  const std::shared_ptr<const KeySpec>& shared_key() const { return key_; }

 private:
  friend class Authenticator;
  explicit Caller(std::shared_ptr<const KeySpec> key) : key_(std::move(key)) {}
  std::shared_ptr<const KeySpec> key_;
};

}  // namespace spillway
