#include "controlplane/api/roles.h"

#include <algorithm>
#include <array>
#include <utility>

namespace spillway::api {
namespace {

constexpr std::pair<std::string_view, v1::Role> kRoles[] = {
    {"Apply", v1::ROLE_EDITOR},
    {"Validate", v1::ROLE_VIEWER},
    {"Diff", v1::ROLE_VIEWER},
    {"Get", v1::ROLE_VIEWER},
    {"List", v1::ROLE_VIEWER},
    {"Delete", v1::ROLE_EDITOR},
    {"SetSecret", v1::ROLE_EDITOR},
    {"CreateKey", v1::ROLE_EDITOR},
    {"RotateKey", v1::ROLE_EDITOR},
    {"RevokeKey", v1::ROLE_EDITOR},
    {"ListRevisions", v1::ROLE_VIEWER},
    {"DiffRevisions", v1::ROLE_VIEWER},
    {"Rollback", v1::ROLE_EDITOR},
    {"ListFleet", v1::ROLE_VIEWER},
    {"WaitActive", v1::ROLE_VIEWER},
    {"RetireInstance", v1::ROLE_ADMIN},
    {"QuerySpend", v1::ROLE_VIEWER},
    {"ListLedgerGaps", v1::ROLE_VIEWER},
    {"VerifyLedger", v1::ROLE_VIEWER},
    {"ListLedgerEvents", v1::ROLE_VIEWER},
    {"ListAlerts", v1::ROLE_VIEWER},
    {"TestAlertSink", v1::ROLE_EDITOR},
    {"ListBudgets", v1::ROLE_VIEWER},
    {"ShowBudget", v1::ROLE_VIEWER},
    {"FreezeBudget", v1::ROLE_EDITOR},
    {"RaiseBudget", v1::ROLE_EDITOR},
    {"LowerRaise", v1::ROLE_EDITOR},
    {"OpenBudgetGate", v1::ROLE_ADMIN},
    {"CreateBackup", v1::ROLE_ADMIN},
    {"ListBackups", v1::ROLE_VIEWER},
    {"CreateAdminToken", v1::ROLE_ADMIN},
    {"ListAdminTokens", v1::ROLE_ADMIN},
    {"RevokeAdminToken", v1::ROLE_ADMIN},
    {"GetServerInfo", v1::ROLE_VIEWER},
};

constexpr std::pair<std::string_view, v1::Role> kNames[] = {
    {"viewer", v1::ROLE_VIEWER}, {"editor", v1::ROLE_EDITOR}, {"admin", v1::ROLE_ADMIN}};

}  // namespace

std::optional<v1::Role> RoleFor(std::string_view method) {
  const auto* row = std::ranges::find(kRoles, method, [](const auto& r) { return r.first; });
  if (row == std::end(kRoles)) return std::nullopt;
  return row->second;
}

std::string_view NameOf(v1::Role role) {
  const auto* row = std::ranges::find(kNames, role, [](const auto& r) { return r.second; });
  return row == std::end(kNames) ? std::string_view("none") : row->first;
}

std::optional<v1::Role> RoleNamed(std::string_view name) {
  const auto* row = std::ranges::find(kNames, name, [](const auto& r) { return r.first; });
  if (row == std::end(kNames)) return std::nullopt;
  return row->second;
}

Outcome<void> Authorize(const Caller& caller, std::string_view method) {
  const std::optional<v1::Role> needed = RoleFor(method);
  if (!needed) return Refuse(Refusal::Kind::kDenied, "no role may call this method");
  if (v1::Role_IsValid(caller.role) && caller.role >= *needed) return {};
  return Refuse(Refusal::Kind::kDenied, "this needs the role " + std::string(NameOf(*needed)) +
                                            "; token \"" + caller.name + "\" has the role " +
                                            std::string(NameOf(caller.role)));
}

}  // namespace spillway::api
