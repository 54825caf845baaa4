#include "controlplane/api/roles.h"

#include <google/protobuf/descriptor.h>

#include <catch2/catch_all.hpp>
#include <map>
#include <string>

#include "spillway/v1/admin.pb.h"

namespace spillway::api {
namespace {

const google::protobuf::ServiceDescriptor& Service() {
  const auto* service = v1::ApplyRequest::descriptor()->file()->FindServiceByName("AdminService");
  REQUIRE(service != nullptr);
  return *service;
}

TEST_CASE("every RPC of the service has a role") {
  for (int i = 0; i < Service().method_count(); ++i) {
    const std::string& method = Service().method(i)->name();
    INFO(method);
    CHECK(RoleFor(method).has_value());
  }
}

// The matrix, written a second time: a change of the table must be meant.
TEST_CASE("who may call what") {
  const std::map<std::string, v1::Role> above_viewer{
      {"Apply", v1::ROLE_EDITOR},          {"Delete", v1::ROLE_EDITOR},
      {"SetSecret", v1::ROLE_EDITOR},      {"CreateKey", v1::ROLE_EDITOR},
      {"RotateKey", v1::ROLE_EDITOR},      {"RevokeKey", v1::ROLE_EDITOR},
      {"Rollback", v1::ROLE_EDITOR},       {"RetireInstance", v1::ROLE_ADMIN},
      {"CreateBackup", v1::ROLE_ADMIN},    {"CreateAdminToken", v1::ROLE_ADMIN},
      {"ListAdminTokens", v1::ROLE_ADMIN}, {"RevokeAdminToken", v1::ROLE_ADMIN},
      {"FreezeBudget", v1::ROLE_EDITOR},   {"RaiseBudget", v1::ROLE_EDITOR},
      {"LowerRaise", v1::ROLE_EDITOR},     {"OpenBudgetGate", v1::ROLE_ADMIN},
      {"TestAlertSink", v1::ROLE_EDITOR}};
  for (int i = 0; i < Service().method_count(); ++i) {
    const std::string& method = Service().method(i)->name();
    const auto row = above_viewer.find(method);
    const v1::Role needed = row == above_viewer.end() ? v1::ROLE_VIEWER : row->second;
    for (const v1::Role role :
         {v1::ROLE_UNSPECIFIED, v1::ROLE_VIEWER, v1::ROLE_EDITOR, v1::ROLE_ADMIN}) {
      INFO(method << " as " << NameOf(role));
      const auto allowed = Authorize({.name = "t", .role = role}, method);
      CHECK(allowed.has_value() == (role >= needed));
      if (allowed) continue;
      CHECK(allowed.error().kind == Refusal::Kind::kDenied);
      CHECK(allowed.error().message.contains(NameOf(needed)));
    }
  }
}

TEST_CASE("a method or role that is not known is denied") {
  CHECK_FALSE(Authorize({.name = "t", .role = v1::ROLE_ADMIN}, "DropEverything").has_value());
  CHECK_FALSE(Authorize({.name = "t", .role = static_cast<v1::Role>(99)}, "Get").has_value());
  CHECK(RoleNamed("editor") == v1::ROLE_EDITOR);
  CHECK_FALSE(RoleNamed("root").has_value());
}

}  // namespace
}  // namespace spillway::api
