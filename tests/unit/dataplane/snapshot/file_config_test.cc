#include "dataplane/snapshot/file_config.h"

#include <catch2/catch_all.hpp>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "common/durable_file.h"
#include "tests/unit/dataplane/snapshot/control_plane.h"

namespace spillway {
namespace {

constexpr std::string_view kGood = R"(
providers:
  - name: mock
    dialect: openai
    base_url: http://127.0.0.1:9100/v1
    credentials: [{name: main, api_key: "${env:UPSTREAM}"}]
models:
  - {name: small, provider: mock, price: {input: 0.25, output: 2.0}}
routes:
  - {name: chat, targets: [{model: small}]}
teams: [{name: support, organization: acme}]
organizations: [{name: acme}]
keys:
  - {name: bot, team: support, routes: [chat], secret: "${env:BOT}"}
)";

Result<std::string> TestReferences(std::string_view scheme, std::string_view name) {
  if (scheme == "env" && name == "UPSTREAM") return "sk-upstream";
  if (scheme == "env" && name == "BOT") return "any-text-will-do";
  if (scheme == "file") return durable::ReadFile(std::string(name), 100);
  return Fail(ErrorCode::kInvalidConfig, "is not set");
}

struct Fixture {
  TempFolder folder;
  std::string path = folder.path() + "/gateway.yaml";
  ManualClock clock;
  std::vector<SnapshotPtr> seen;
  std::unique_ptr<FileConfig> config;
  config::ReadReference references = TestReferences;

  Fixture() { Write(std::string(kGood)); }
  void Write(const std::string& text) const { std::ofstream(path, std::ios::trunc) << text; }
  Result<void> Start(std::vector<std::string> paths = {}) {
    FileConfigOptions options{.paths = paths.empty() ? std::vector{path} : std::move(paths),
                              .references = references,
                              .check_interval_ms = 0};
    SW_TRY(config,
           FileConfig::Start(
               std::move(options), [this](SnapshotPtr s) { seen.push_back(std::move(s)); }, clock));
    return {};
  }
};

TEST_CASE("a file becomes a snapshot, secrets and all") {
  Fixture f;
  const auto started = f.Start();
  if (!started) FAIL(started.error().message);
  REQUIRE(f.seen.size() == 1);
  const Snapshot& snapshot = *f.seen[0];
  CHECK(snapshot.position().revision() == 1);
  CHECK(snapshot.FindRoute("chat")->targets[0].model->provider->credentials[0].api_key ==
        "sk-upstream");
  const KeyMatch* match = FindSecret(snapshot, "any-text-will-do");
  REQUIRE(match != nullptr);
  CHECK(match->key->organization == "acme");
  CHECK(match->key->routes == std::vector<std::string>{"chat"});
  CHECK(f.config->status().source == "file");
  CHECK(f.config->status().ready);
  MetricsText metrics;
  f.config->AppendMetrics(metrics);
  const std::string text = std::move(metrics).Take() + RenderJson(f.config->status());
  CHECK_THAT(text, !Catch::Matchers::ContainsSubstring("sk-upstream"));
}

TEST_CASE("a bad file at start is an error that says everything") {
  struct Row {
    std::string_view name;
    std::string text;
    std::vector<std::string> says;
  };
  const auto row = GENERATE(values<Row>({
      {"not YAML", "providers: [", {"gateway.yaml"}},
      {"two violations",
       "models: [{name: a, provider: none, price: {input: 1}}, {name: b, provider: none, price: "
       "{input: 2}}]",
       {"model/a", "model/b"}},
      {"a reference that is not set",
       "providers: [{name: p, dialect: openai, base_url: 'http://h/v1', credentials: [{name: c, "
       "api_key: "
       "'${env:NOT_SET}'}]}]",
       {"NOT_SET"}},
  }));
  INFO(row.name);
  Fixture f;
  f.Write(row.text);
  const auto started = f.Start();
  REQUIRE_FALSE(started);
  CHECK(started.error().code == ErrorCode::kInvalidConfig);
  for (const std::string& part : row.says)
    CHECK_THAT(started.error().message, Catch::Matchers::ContainsSubstring(part));
  CHECK(f.seen.empty());
}

TEST_CASE("a secret's file that changes while it is read is read again") {
  Fixture f;
  const std::string secret = f.folder.path() + "/upstream";
  std::string text(kGood);
  text.replace(text.find("${env:UPSTREAM}"), 15, "${file:" + secret + "}");
  f.Write(text);
  std::ofstream(secret) << "sk-before";
  bool rotated = false;
  f.references = [&](std::string_view scheme, std::string_view name) {
    auto value = TestReferences(scheme, name);
    if (scheme == "file" && !std::exchange(rotated, true))
      std::ofstream(secret, std::ios::trunc) << "sk-rotated";
    return value;
  };
  REQUIRE(f.Start());
  CHECK(f.config->ReloadIfChanged().value());
  REQUIRE(f.seen.size() == 2);
  CHECK(f.seen[1]->FindRoute("chat")->targets[0].model->provider->credentials[0].api_key ==
        "sk-rotated");
  CHECK_FALSE(f.config->ReloadIfChanged().value());
}

TEST_CASE("a file that is not there is an error") {
  Fixture f;
  CHECK_FALSE(f.Start({f.folder.path() + "/nothing.yaml"}));
}

TEST_CASE("changes are loaded, bad ones keep the last good configuration") {
  Fixture f;
  REQUIRE(f.Start());
  CHECK(f.config->ReloadIfChanged().value() == false);

  std::string more(kGood);
  more += "  - {name: second, team: support, secret_sha256: " + std::string(64, 'a') + "}\n";
  f.Write(more);
  CHECK(f.config->ReloadIfChanged().value() == true);
  REQUIRE(f.seen.size() == 2);
  CHECK(f.seen[1]->position().revision() == 2);
  CHECK(f.seen[1]->key_count() == 2);

  f.Write("models: [{name: a, provider: none}]");
  CHECK_FALSE(f.config->ReloadIfChanged());
  CHECK(f.seen.size() == 2);
  CHECK(f.config->status().ready);
  CHECK(f.config->status().position.revision() == 2);
  CHECK_THAT(f.config->status().refused_reason, Catch::Matchers::ContainsSubstring("model/a"));
  CHECK(f.config->ReloadIfChanged().value() == false);  // refused once, not every second
  CHECK_FALSE(f.config->Reload());                      // but SIGHUP tries again

  std::filesystem::remove(f.path);
  CHECK_FALSE(f.config->ReloadIfChanged());
  CHECK(f.config->status().ready);

  f.Write(std::string(kGood));
  CHECK(f.config->ReloadIfChanged().value() == true);
  CHECK(f.seen.back()->position().revision() == 3);
  CHECK(f.seen.back()->key_count() == 1);
  CHECK(f.config->status().refused_reason.empty());
}

TEST_CASE("SIGHUP with an unchanged file changes nothing") {
  Fixture f;
  REQUIRE(f.Start());
  CHECK(f.config->Reload());
  CHECK(f.seen.size() == 1);
  CHECK(f.config->status().position.revision() == 1);
}

TEST_CASE("a folder is watched as a whole") {
  Fixture f;
  const std::string folder = f.folder.path() + "/conf";
  std::filesystem::create_directory(folder);
  std::filesystem::rename(f.path, folder + "/a.yaml");
  REQUIRE(f.Start({folder}));
  std::ofstream(folder + "/b.yaml")
      << "keys: [{name: second, team: support, secret_sha256: " << std::string(64, 'b') << "}]";
  CHECK(f.config->ReloadIfChanged().value() == true);
  CHECK(f.seen.back()->key_count() == 2);
}

TEST_CASE("a file that a reference names is watched too") {
  Fixture f;
  const std::string secret = f.folder.path() + "/secret";
  std::ofstream(secret) << "first-secret";
  f.Write(std::string(kGood) + "  - {name: second, team: support, secret: '${file:" + secret +
          "}'}\n");
  REQUIRE(f.Start());
  CHECK(FindSecret(*f.seen.back(), "first-secret") != nullptr);
  std::ofstream(secret) << "another-secret";
  CHECK(f.config->ReloadIfChanged().value() == true);
  CHECK(FindSecret(*f.seen.back(), "first-secret") == nullptr);
  CHECK(FindSecret(*f.seen.back(), "another-secret") != nullptr);
}

TEST_CASE("the thread notices a change by itself") {
  Fixture f;
  std::mutex mutex;
  std::condition_variable changed;
  int64_t revision = 0;
  auto config = FileConfig::Start(
      {.paths = {f.path}, .references = TestReferences, .check_interval_ms = 5},
      [&](const SnapshotPtr& snapshot) {
        const std::lock_guard lock(mutex);
        revision = snapshot->position().revision();
        changed.notify_all();
      },
      SystemClock());
  REQUIRE(config);
  std::string more(kGood);
  more += "  - {name: second, team: support, secret_sha256: " + std::string(64, 'a') + "}\n";
  f.Write(more);
  std::unique_lock lock(mutex);
  CHECK(changed.wait_for(lock, std::chrono::seconds(20), [&] { return revision >= 2; }));
}

}  // namespace
}  // namespace spillway
