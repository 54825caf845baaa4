#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/config/load.h"
#include "common/error.h"
#include "common/metrics.h"
#include "dataplane/snapshot/snapshot.h"
#include "dataplane/snapshot/status.h"

namespace spillway {

struct FileConfigOptions {
  std::vector<std::string> paths;         // --config: files and folders
  config::ReadReference references = {};  // empty: config::SystemReferences()
  int64_t check_interval_ms = 1'000;      // how often the files are looked at; 0: never by itself
};

// Standalone configuration: the same YAML, validated and compiled by the same code as the control
// plane's, without NATS and without sealed secrets. Looks for changed files every second and loads
// them again; a bad file keeps the last good configuration and logs every violation. The revision
// counts the loads that changed something, from 1.
// Owned by main; a thread of its own. Public methods: any thread, never a signal handler.
class FileConfig {
 public:
  using OnSnapshot = std::function<void(std::shared_ptr<const Snapshot>)>;

  // The first load happens before this returns and must succeed: kInvalidConfig says what is wrong,
  // one violation a line. `on_snapshot` is called for it too, on the caller's thread.
  static Result<std::unique_ptr<FileConfig>> Start(FileConfigOptions options,
                                                   OnSnapshot on_snapshot, const Clock& clock);
  ~FileConfig();

  // SIGHUP: loads again now, changed or not. The error has been logged; the last good one stays.
  Result<void> Reload();
  // Loads again when a file changed since the last look; false: nothing changed.
  Result<bool> ReloadIfChanged();

  FeedStatus status() const;
  void AppendMetrics(MetricsText& out) const;
  void Stop();

 private:
  struct Rep;
  explicit FileConfig(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace spillway
