#include "dataplane/snapshot/file_config.h"

#include <sys/stat.h>

#include <chrono>
#include <condition_variable>
#include <format>
#include <mutex>
#include <thread>
#include <tuple>
#include <utility>

#include "common/config/compile.h"
#include "common/config/validate.h"
#include "common/durable_file.h"
#include "common/log.h"
#include "dataplane/snapshot/build.h"

namespace spillway {
namespace {

constexpr std::string_view kClusterId = "standalone";

// What tells that a file changed: its identity, size and times. Symbolic links are followed: a
// mounted ConfigMap changes by swapping one.
std::string Fingerprint(const std::string& file) {
  struct stat info = {};
  if (::stat(file.c_str(), &info) != 0) return file + " -\n";
  return std::format("{} {} {} {} {}.{:09} {}.{:09}\n", file, info.st_dev, info.st_ino,
                     info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_ctim.tv_sec,
                     info.st_ctim.tv_nsec);
}

// Of files, and of folders with what is in them.
std::string Fingerprint(const std::vector<std::string>& paths) {
  std::string fingerprint;
  for (const std::string& path : paths) {
    fingerprint += Fingerprint(path);
    for (const std::string& name : durable::ListFolder(path))
      fingerprint += Fingerprint(std::format("{}/{}", path, name));
  }
  return fingerprint;
}

Error Violated(const std::vector<v1::Violation>& violations) {
  std::string message = config::Describe(violations);
  while (message.ends_with('\n')) message.pop_back();
  return {.code = ErrorCode::kInvalidConfig, .message = std::move(message)};
}

}  // namespace

struct FileConfig::Rep {
  FileConfigOptions options;
  OnSnapshot on_snapshot;
  const Clock* clock = nullptr;

  std::mutex load_mutex;                // one load at a time
  std::string fingerprint;              // of the files, as they were before the last load
  std::vector<std::string> referenced;  // files that "${file:PATH}" named then
  std::string referenced_fingerprint;   // each as it was before it was read
  std::string digest;                   // of what is in force

  mutable std::mutex mutex;  // status and stopping
  FeedStatus status;
  int64_t activated_ns = 0;
  int64_t checked_ns = 0;
  std::condition_variable wake;
  bool stopping = false;
  std::thread thread;

  // The files, and those they refer to: a mounted Secret may change by itself.
  bool Changed() const {
    return Fingerprint(options.paths) != fingerprint ||
           Fingerprint(referenced) != referenced_fingerprint;
  }

  Result<SnapshotPtr> Load(int64_t revision) {
    fingerprint = Fingerprint(options.paths);
    referenced.clear();
    referenced_fingerprint.clear();
    const auto read = [this](std::string_view scheme, std::string_view name) {
      if (scheme == "file")
        referenced_fingerprint += Fingerprint(std::vector{referenced.emplace_back(name)});
      return options.references(scheme, name);
    };
    const config::LoadOptions load{.references = read, .standalone = true};
    SW_TRY(config::LoadResult loaded, config::LoadPaths(options.paths, load));
    if (!loaded.violations.empty()) return std::unexpected(Violated(loaded.violations));
    const config::Validation validation = config::ValidateLoaded(std::move(loaded.config));
    if (!validation.ok()) return std::unexpected(Violated(validation.violations));
    const std::vector<v1::Entry> entries = config::ToEntries(validation.validated);
    std::vector<EntryView> views;
    views.reserve(entries.size());
    for (const v1::Entry& entry : entries)
      views.push_back({.kind = entry.kind(), .name = entry.name(), .bytes = entry.bytes()});
    v1::Position position;
    position.set_cluster_id(std::string(kClusterId));
    position.set_revision(revision);
    BuildOptions build;
    build.secrets.plaintext = true;
    build.compute_digest = true;
    return Build(views, position, build);
  }

  // load_mutex is held. True: something changed.
  Result<bool> LoadAndActivate() {
    const int64_t revision = CurrentRevision() + 1;
    auto loaded = Load(revision);
    const int64_t now = clock->MonotonicNs();
    if (!loaded) {
      const std::lock_guard lock(mutex);
      ++status.refused[static_cast<size_t>(ClassOf(loaded.error()))];
      status.refused_revision = revision;
      status.refused_reason = loaded.error().message;
      return std::unexpected(std::move(loaded).error());
    }
    const SnapshotPtr& snapshot = *loaded;
    const bool changed = snapshot->position().digest() != digest;
    if (changed) {
      digest = snapshot->position().digest();
      on_snapshot(snapshot);
    }
    const std::lock_guard lock(mutex);
    checked_ns = now;
    status.refused_revision = 0;
    status.refused_reason.clear();
    if (!changed) return false;
    activated_ns = now;
    status.ready = true;
    status.source = "file";
    status.position = snapshot->position();
    status.activated_at_ms = clock->WallMs();
    status.keys = snapshot->key_count();
    status.routes = static_cast<int64_t>(snapshot->routes().size());
    return true;
  }

  int64_t CurrentRevision() const {
    const std::lock_guard lock(mutex);
    return status.position.revision();
  }

  Result<bool> Reload(bool only_if_changed) {
    const std::lock_guard lock(load_mutex);
    if (only_if_changed && !Changed()) return false;
    auto loaded = LoadAndActivate();
    if (!loaded) {
      log::Fault("configuration refused; the last good one stays",
                 {{"reason", loaded.error().message}});
    } else if (*loaded) {
      log::Info("configuration reloaded", {{"revision", CurrentRevision()}});
    }
    return loaded;
  }

  void Run() {
    const auto interval = std::chrono::milliseconds(options.check_interval_ms);
    std::unique_lock lock(mutex);
    while (!wake.wait_for(lock, interval, [this] { return stopping; })) {
      lock.unlock();
      std::ignore = Reload(/*only_if_changed=*/true);
      lock.lock();
    }
  }
};

FileConfig::FileConfig(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}

FileConfig::~FileConfig() { Stop(); }

Result<std::unique_ptr<FileConfig>> FileConfig::Start(FileConfigOptions options,
                                                      OnSnapshot on_snapshot, const Clock& clock) {
  auto rep = std::make_unique<Rep>();
  rep->options = std::move(options);
  if (!rep->options.references) rep->options.references = config::SystemReferences();
  rep->on_snapshot = std::move(on_snapshot);
  rep->clock = &clock;
  {
    const std::lock_guard lock(rep->load_mutex);
    SW_CHECK(rep->LoadAndActivate());
  }
  if (rep->options.check_interval_ms > 0)
    rep->thread = std::thread([raw = rep.get()] { raw->Run(); });
  return std::unique_ptr<FileConfig>(new FileConfig(std::move(rep)));
}

Result<void> FileConfig::Reload() {
  SW_CHECK(rep_->Reload(/*only_if_changed=*/false));
  return {};
}

Result<bool> FileConfig::ReloadIfChanged() { return rep_->Reload(/*only_if_changed=*/true); }

FeedStatus FileConfig::status() const {
  const std::lock_guard lock(rep_->mutex);
  FeedStatus status = rep_->status;
  const int64_t now = rep_->clock->MonotonicNs();
  status.age_ms = (now - rep_->activated_ns) / 1'000'000;
  status.unconfirmed_ms = (now - rep_->checked_ns) / 1'000'000;
  status.bus_state = "none";
  return status;
}

void FileConfig::AppendMetrics(MetricsText& out) const { spillway::AppendMetrics(status(), out); }

void FileConfig::Stop() {
  {
    const std::lock_guard lock(rep_->mutex);
    rep_->stopping = true;
  }
  rep_->wake.notify_all();
  if (rep_->thread.joinable()) rep_->thread.join();
}

}  // namespace spillway
