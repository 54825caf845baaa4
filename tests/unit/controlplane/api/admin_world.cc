#include "tests/unit/controlplane/api/admin_world.h"

#include <algorithm>
#include <catch2/catch_all.hpp>

namespace spillway::api {

FleetView FakeFleet::View() {
  return {
      .list =
          [] {
            v1::ListFleetResponse response;
            v1::Instance& instance = *response.add_instances();
            instance.set_instance("dp-1");
            instance.set_connected(true);
            instance.set_ready(true);
            instance.set_revision(1);
            response.set_revision(1);
            return response;
          },
      .wait_active =
          [this](int64_t, int64_t timeout_ms, const std::function<bool()>& cancelled) {
            std::unique_lock lock(mutex_);
            ++waits_;
            const auto is_coming = [](const v1::Instance& one) { return one.nack_revision() == 0; };
            while (timeout_ms > 0 && std::ranges::any_of(answer_.behind(), is_coming)) {
              lock.unlock();
              const bool stop = cancelled();
              lock.lock();
              if (stop) break;
            }
            return answer_;
          },
      .retire = [](const v1::RetireInstanceRequest& request) -> Result<v1::RetireInstanceResponse> {
        const std::string& instance = request.instance();
        if (instance != "dp-1") return Fail(ErrorCode::kNotFound, "never heard of " + instance);
        v1::RetireInstanceResponse response;
        response.set_orphans_settled(2);
        response.set_estimated_nanos(1'500'000);
        return response;
      }};
}

void FakeFleet::Set(const v1::WaitActiveResponse& answer) {
  const std::lock_guard lock(mutex_);
  answer_ = answer;
}

int FakeFleet::waits() const {
  const std::lock_guard lock(mutex_);
  return waits_;
}

AdminWorld::AdminWorld(AdminServerOptions options) {
  auto opened = AdminTokens::Open(*api.database);
  REQUIRE(opened.has_value());
  tokens = std::move(*opened);
  auto book = Ledger::Open(*api.database, {});
  REQUIRE(book.has_value());
  ledger = std::move(*book);
  for (const v1::Role role : {v1::ROLE_VIEWER, v1::ROLE_EDITOR, v1::ROLE_ADMIN}) {
    auto created = tokens->Create("role-" + std::to_string(role), role, 0, api.clock.WallMs());
    REQUIRE(created.has_value());
    secrets[role] = created->secret;
  }
  options.listen = "127.0.0.1:0";
  auto started = AdminServer::Create(options, Services());
  if (!started) FAIL(started.error().message);
  server = std::move(*started);
}

AdminWorld::~AdminWorld() { server->Shutdown(0); }

AdminServices AdminWorld::Services() {
  return {.config = *api.store,
          .tokens = *tokens,
          .ledger = *ledger,
          .seal_key = *api.seal_key,
          .clock = api.clock,
          .epoch = [] { return int64_t{1}; },
          .may_write = [this]() -> Result<void> {
            if (api.closed) return Fail(ErrorCode::kUnavailable, *api.closed);
            return {};
          },
          .fleet = fleet.View(),
          .backups_path = api.folder.Path("backups")};
}

}  // namespace spillway::api
