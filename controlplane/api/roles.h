#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "controlplane/api/refusal.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::api {

// Who calls, proven by a token.
struct Caller {
  std::string name;  // the token's: the author of what it changes
  v1::Role role = v1::ROLE_UNSPECIFIED;
};

// The least role that may call a method of AdminService ("Apply"); nullopt: no such method. An
// editor may do what a viewer may, an admin everything.
std::optional<v1::Role> RoleFor(std::string_view method);
std::string_view NameOf(v1::Role role);  // "viewer"
std::optional<v1::Role> RoleNamed(std::string_view name);

// kDenied, naming the role that is needed; a method without a role is denied to everybody.
Outcome<void> Authorize(const Caller& caller, std::string_view method);

}  // namespace spillway::api
