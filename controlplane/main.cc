#include <absl/synchronization/mutex.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

#include "common/clock.h"
#include "common/log.h"
#include "common/settings.h"
#include "controlplane/control_plane.h"
#include "controlplane/options.h"

namespace spillway {
namespace {

constexpr int kFencedExit = 3;

sigset_t EndingSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

void Complain(const std::string& message) {
  std::fprintf(stderr, "%s: %s\n", kControlPlaneProgram, message.c_str());
}

// At once and without tidying up: two writers must not overlap, and all that counts is synced.
void EndFenced(const std::string& why) {
  Complain(why);
  _exit(kFencedExit);
}

int RestoreBackup(const ControlPlaneOptions& options) {
  const auto restored = Store::Restore(options.restore_backup, options.StorePath());
  if (!restored) {
    Complain(restored.error().message);
    return 1;
  }
  std::printf("restored %s; the store that was there is kept beside it (%s.before-restore-N)\n",
              options.restore_backup.c_str(), options.StorePath().c_str());
  return 0;
}

int NewAdminToken(const ControlPlaneOptions& options) {
  const auto created = [&]() -> Result<AdminTokens::Created> {
    SW_TRY(const auto store, Store::Open({.path = options.StorePath()}));
    SW_TRY(const auto tokens, AdminTokens::Open(*store));
    return MintOffline(*tokens, SystemClock().WallMs());
  }();
  if (!created) {
    Complain(created.error().message);
    return 1;
  }
  std::fprintf(stderr, "admin token \"%s\"; it is shown only here\n",
               created->token.name().c_str());
  std::printf("%s\n", created->secret.c_str());
  return 0;
}

int Serve(const ControlPlaneOptions& options) {
  // Before any thread starts, so that all of them leave these signals to sigwait below.
  const sigset_t signals = EndingSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  RaiseFileLimit();
  auto plane = ControlPlane::Start(options, EndFenced);
  if (!plane) {
    Complain(plane.error().message);
    return plane.error().code == ErrorCode::kInvalidConfig ? 2 : 1;
  }
  int signal = 0;
  sigwait(&signals, &signal);
  log::Info("draining", {{"signal", signal}});
  (*plane)->Drain();
  plane->reset();
  log::Info("stopped");
  return 0;
}

}  // namespace
}  // namespace spillway

int main(int argc, char** argv) {
#ifdef NDEBUG
  // The distribution builds Abseil with deadlock detection on: it costs 50 times a lock.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
  const auto options = spillway::ParseControlPlaneOptions(argc, argv);
  if (!options.restore_backup.empty()) return spillway::RestoreBackup(options);
  if (options.new_admin_token) return spillway::NewAdminToken(options);
  return spillway::Serve(options);
}
