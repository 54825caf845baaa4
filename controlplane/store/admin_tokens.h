#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/ids.h"
#include "controlplane/store/store.h"
#include "spillway/v1/admin.pb.h"

namespace spillway {

// The operators' bearer tokens. Only SHA-256 digests are kept (table kAdminTokens: name -> digest +
// serialised v1::AdminToken); a token's secret is shown when it is made and nowhere again.
// Thread-safe; all tokens stay in memory.
class AdminTokens {
 public:
  static Result<std::unique_ptr<AdminTokens>> Open(Store& store);

  struct Created {
    v1::AdminToken token;
    std::string secret;
  };
  // kConflict: the name is taken; kInvalidRequest: a bad name, role or expiry, or too many tokens.
  Result<Created> Create(const std::string& name, v1::Role role, int64_t expires_at_ms,
                         int64_t now_ms);

  struct Identity {
    std::string name;
    v1::Role role = v1::ROLE_UNSPECIFIED;
  };
  // kInvalidApiKey for anything unknown, kKeyExpired behind its date. Takes the same time for every
  // unknown token.
  Result<Identity> Verify(std::string_view token, int64_t now_ms) const;

  std::vector<v1::AdminToken> List() const;
  // kNotFound; kConflict for the last admin token that does not expire, which would lock everybody
  // out.
  Result<void> Revoke(const std::string& name);
  bool empty() const;

  // At first start, when there is no token yet: the admin token "bootstrap". Its secret is taken
  // from `path` when the file exists (an operator's choice: "sk-admin-" and at least 32
  // characters), else made and written there with mode 0600. Returns whether it did.
  Result<bool> Bootstrap(const std::string& path, int64_t now_ms);

 private:
  struct Record {
    std::string sha256;
    v1::AdminToken token;
  };
  explicit AdminTokens(Store& store) : store_(store) {}
  Result<Created> Add(NewSecret secret, v1::AdminToken token);
  Store& store_;
  mutable std::mutex mutex_;
  std::map<std::string, Record> records_;
};

// Offline, for --new-admin-token: makes an admin token with a fresh name and returns its secret.
Result<AdminTokens::Created> MintOffline(AdminTokens& tokens, int64_t now_ms);

}  // namespace spillway
