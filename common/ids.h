#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace spillway {

// 32 lower-case hex digits of 128 random bits. FreshId is for identities that are stored (instance,
// incarnation) and reads the kernel's generator; FastId is for requests and attempts: a
// thread-local generator seeded from the kernel, unpredictable enough to be unique, not a secret.
std::string FreshId();
std::string FastId();

// An API key of a client: "sk-sw-" + 12 public characters + "-" + 43 secret characters (256 bits),
// base62 alphabet. Admin tokens use "sk-admin-" in place of "sk-sw-".
struct NewSecret {
  std::string secret;     // shown once
  std::string public_id;  // the 12 public characters
};
NewSecret MintApiKey();
NewSecret MintAdminToken();
// The public characters of a secret of either form; nullopt: it has neither.
std::optional<std::string_view> PublicIdOf(std::string_view secret);

// True for names of resources: [a-zA-Z0-9][a-zA-Z0-9._:/-]{0,127}.
bool IsResourceName(std::string_view name);

}  // namespace spillway
