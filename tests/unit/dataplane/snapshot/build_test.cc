#include "dataplane/snapshot/build.h"

#include <catch2/catch_all.hpp>
#include <map>
#include <random>

#include "common/config/resource.h"
#include "dataplane/snapshot/refusal.h"
#include "dataplane/snapshot/rep.h"
#include "tests/unit/dataplane/snapshot/control_plane.h"

namespace spillway {
namespace {

Result<SnapshotPtr> BuildOf(const FakeControlPlane& cp, const BuildOptions& options) {
  const std::vector<v1::Entry> entries = cp.Entries();
  return Build(ViewsOf(entries), cp.position, options);
}

SnapshotPtr GoodBuild(const FakeControlPlane& cp) {
  auto built = BuildOf(cp, OptionsOf(cp));
  if (!built) FAIL(built.error().message);
  return *built;
}

v1::Resource RouteResource(const std::string& name, const std::vector<std::string>& targets,
                           const std::vector<std::string>& fallbacks) {
  v1::Resource resource;
  resource.mutable_route()->set_name(name);
  resource.mutable_route()->set_strategy(v1::Route::STRATEGY_PRIORITY);
  for (const std::string& target : targets)
    resource.mutable_route()->add_targets()->set_model(target);
  for (const std::string& fallback : fallbacks) resource.mutable_route()->add_fallbacks(fallback);
  return resource;
}

std::vector<std::string> TargetNames(const RouteSpec& route) {
  std::vector<std::string> names;
  names.reserve(route.targets.size());
  for (const TargetSpec& target : route.targets) names.push_back(target.model->name);
  return names;
}

std::map<std::pair<int, std::string>, std::string> EntriesOf(const Snapshot& snapshot) {
  std::map<std::pair<int, std::string>, std::string> entries;
  ForEachEntry(snapshot, [&](const EntryView& entry) {
    entries.emplace(std::pair(static_cast<int>(entry.kind), std::string(entry.name)), entry.bytes);
  });
  return entries;
}

TEST_CASE("a full state becomes providers, models, routes and keys") {
  const FakeControlPlane cp;
  const SnapshotPtr snapshot = GoodBuild(cp);
  CHECK(snapshot->position().revision() == 11);
  CHECK(snapshot->key_count() == 1);

  const auto chat = snapshot->FindRoute("chat");
  REQUIRE(chat != nullptr);
  CHECK_FALSE(chat->is_model);
  CHECK(chat->attempts_max == 3);
  CHECK(TargetNames(*chat) == std::vector<std::string>{"small", "large"});
  const ProviderSpec& provider = *chat->targets[0].model->provider;
  CHECK(provider.host == "127.0.0.1");
  CHECK(provider.port == 9100);
  CHECK(provider.path_prefix == "/v1");
  CHECK_FALSE(provider.tls);
  REQUIRE(provider.credentials.size() == 1);
  CHECK(provider.credentials[0].api_key == "sk-upstream");
  CHECK(provider.connect_timeout_ms == 2'000);
  REQUIRE(chat->targets[0].model->price != nullptr);
  CHECK(chat->targets[0].model->price->standard.base.cached_input == 250'000'000);
  CHECK_FALSE(chat->targets[0].model->unpriced);

  const auto small = snapshot->FindRoute("small");
  REQUIRE(small != nullptr);
  CHECK(small->is_model);
  CHECK(snapshot->FindRoute("nothing") == nullptr);
  std::vector<std::string> names;
  for (const auto& route : snapshot->routes()) names.push_back(route->name);
  CHECK(names == std::vector<std::string>{"chat", "large", "small"});

  const KeyMatch* match = FindSecret(*snapshot, "sk-bot");
  REQUIRE(match != nullptr);
  CHECK(match->key->name == "bot");
  CHECK(match->key->organization == "acme");
  CHECK(FindSecret(*snapshot, "sk-other") == nullptr);
}

TEST_CASE("fallbacks are flattened, routes before models, each model once") {
  struct Row {
    std::string_view name;
    std::vector<v1::Resource> routes;
    std::vector<std::string> want;
  };
  const auto row = GENERATE(values<Row>({
      {"a model", {RouteResource("r", {"small"}, {"large"})}, {"small", "large"}},
      {"a route",
       {RouteResource("r", {"small"}, {"other"}), RouteResource("other", {"large"}, {})},
       {"small", "large"}},
      {"nothing twice",
       {RouteResource("r", {"small", "large"}, {"small", "chat"})},
       {"small", "large"}},
      {"depth first",
       {RouteResource("r", {"small"}, {"a", "large"}), RouteResource("a", {"small"}, {"b"}),
        RouteResource("b", {"third"}, {})},
       {"small", "third", "large"}},
      {"a route wins over a model of the same name",
       {RouteResource("r", {"small"}, {"third"}), RouteResource("third", {"large"}, {})},
       {"small", "large"}},
  }));
  INFO(row.name);
  FakeControlPlane cp;
  v1::Resource third;
  third.mutable_model()->set_name("third");
  third.mutable_model()->set_provider("mock");
  third.mutable_model()->mutable_price()->set_input(1);
  cp.Put(third);
  for (const v1::Resource& route : row.routes) cp.Put(route);
  cp.Commit();
  CHECK(TargetNames(*GoodBuild(cp)->FindRoute("r")) == row.want);
}

TEST_CASE("a chain of ten thousand fallbacks is cut, not followed into the ground") {
  FakeControlPlane cp;
  for (int i = 0; i < 10'000; ++i) {
    cp.Put(RouteResource("r" + std::to_string(i), {"small"},
                         i + 1 < 10'000 ? std::vector{"r" + std::to_string(i + 1)}
                                        : std::vector<std::string>{"large"}));
  }
  cp.Commit();
  const SnapshotPtr snapshot = GoodBuild(cp);
  CHECK(TargetNames(*snapshot->FindRoute("r0")) == std::vector<std::string>{"small"});
  CHECK(TargetNames(*snapshot->FindRoute("r9999")) == std::vector<std::string>{"small", "large"});
}

TEST_CASE("what does not hold together is refused, with the reason") {
  struct Row {
    std::string_view name;
    std::function<void(FakeControlPlane&)> change;
    RefusalClass want;
    std::string_view says;
  };
  const auto key_with = [](const std::function<void(v1::Key&)>& change) {
    return [change](FakeControlPlane& cp) {
      v1::Resource key = KeyResource("k", "sk-k");
      change(*key.mutable_key());
      cp.Put(key);
    };
  };
  const auto row = GENERATE_COPY(values<Row>({
      {"unknown provider", [](FakeControlPlane& cp) { cp.Remove(v1::KIND_PROVIDER, "mock"); },
       RefusalClass::kInvalid, "provider"},
      {"unknown team", key_with([](v1::Key& key) { key.set_team("nobody"); }),
       RefusalClass::kInvalid, "key/k team: unknown team nobody"},
      {"unknown user", key_with([](v1::Key& key) { key.set_user("nobody"); }),
       RefusalClass::kInvalid, "user"},
      {"unknown route", key_with([](v1::Key& key) { key.add_routes("none"); }),
       RefusalClass::kInvalid, "unknown route none"},
      {"unknown model", key_with([](v1::Key& key) { key.add_models("none"); }),
       RefusalClass::kInvalid, "unknown model none"},
      {"short digest", key_with([](v1::Key& key) { key.mutable_secrets(0)->set_sha256("abc"); }),
       RefusalClass::kInvalid, "32 bytes"},
      {"the same secret twice", [](FakeControlPlane& cp) { cp.PutKey("twin", "sk-bot"); },
       RefusalClass::kInvalid, "the same secret"},
      {"a key that is none", [](FakeControlPlane& cp) { cp.PutRaw(v1::KIND_KEY, "k", "\xff\xff"); },
       RefusalClass::kInvalid, "key/k cannot be read"},
      {"a key under another name",
       [](FakeControlPlane& cp) {
         cp.PutRaw(v1::KIND_KEY, "k", config::ToEntry(KeyResource("other", "sk-o")).bytes());
       },
       RefusalClass::kInvalid, "another name"},
      {"a model that is none",
       [](FakeControlPlane& cp) { cp.PutRaw(v1::KIND_MODEL, "m", "\x08\xff"); },
       RefusalClass::kInvalid, "model/m"},
      {"blank fields", [](FakeControlPlane& cp) { cp.PutRaw(v1::KIND_ROUTE, "r", ""); },
       RefusalClass::kInvalid, "route/r"},
      {"a bad name", [](FakeControlPlane& cp) { cp.PutRaw(v1::KIND_KEY, "a\nb", "x"); },
       RefusalClass::kInvalid, "0x610a62"},
      {"a kind of a later version",
       [](FakeControlPlane& cp) { cp.PutRaw(static_cast<v1::Kind>(10), "b", "x"); },
       RefusalClass::kInvalid, "kind 10"},
      {"no kind", [](FakeControlPlane& cp) { cp.PutRaw(v1::KIND_UNSPECIFIED, "b", "x"); },
       RefusalClass::kInvalid, "kind 0"},
      {"an entry too large",
       [](FakeControlPlane& cp) { cp.PutRaw(v1::KIND_KEY, "k", std::string((1 << 20) + 1, 'x')); },
       RefusalClass::kOversized, "key/k"},
      {"a budget of a time zone that is not known here",
       [](FakeControlPlane& cp) {
         v1::Resource budget;
         budget.mutable_budget()->set_name("b");
         budget.mutable_budget()->set_limit_nanos(1);
         budget.mutable_budget()->set_window(v1::WINDOW_DAY);
         budget.mutable_budget()->set_time_zone("Mars/Olympus_Mons");
         cp.Put(budget);
       },
       RefusalClass::kInvalid, "unknown time zone"},
      {"a cycle",
       [](FakeControlPlane& cp) {
         cp.Put(RouteResource("a", {"small"}, {"b"}));
         cp.Put(RouteResource("b", {"small"}, {"a"}));
       },
       RefusalClass::kInvalid, "a"},
  }));
  INFO(row.name);
  FakeControlPlane cp;
  const SnapshotPtr before = GoodBuild(cp);
  row.change(cp);
  const v1::Delta delta = cp.Commit();
  const auto full = BuildOf(cp, OptionsOf(cp));
  REQUIRE_FALSE(full);
  CHECK(NameOf(ClassOf(full.error())) == NameOf(row.want));
  CHECK_THAT(full.error().message, Catch::Matchers::ContainsSubstring(std::string(row.says)));
  const auto applied = Apply(*before, delta, OptionsOf(cp));
  REQUIRE_FALSE(applied);
  CHECK(NameOf(ClassOf(applied.error())) == NameOf(row.want));
  CHECK(EntriesOf(*before).size() == 7);
}

TEST_CASE("secrets of providers are unsealed or the snapshot is refused") {
  FakeControlPlane cp;
  const TempFolder folder;
  const SealKey other = SealKey::FromFile(folder.path() + "/other", true).value();
  BuildOptions options = OptionsOf(cp);

  SECTION("another seal key") { options.secrets.seal_key = &other; }
  SECTION("no seal key") { options.secrets.seal_key = nullptr; }
  SECTION("moved from another place") {
    v1::Resource provider;
    provider.mutable_provider()->set_name("mock");
    provider.mutable_provider()->set_dialect(v1::DIALECT_OPENAI);
    provider.mutable_provider()->set_base_url("http://h/v1");
    v1::Credential& credential = *provider.mutable_provider()->add_credentials();
    credential.set_name("main");
    *credential.mutable_api_key()->mutable_sealed() =
        cp.seal_key().Seal("sk-x", SealPlace("provider", "mock", "second"));
    cp.Put(provider);
    cp.Commit();
  }
  SECTION("in clear") {
    v1::Resource provider;
    provider.mutable_provider()->set_name("mock");
    provider.mutable_provider()->set_dialect(v1::DIALECT_OPENAI);
    provider.mutable_provider()->set_base_url("http://h/v1");
    v1::Credential& credential = *provider.mutable_provider()->add_credentials();
    credential.set_name("main");
    credential.mutable_api_key()->set_plaintext("sk-in-clear");
    cp.Put(provider);
    cp.Commit();
  }
  const auto built = BuildOf(cp, options);
  REQUIRE_FALSE(built);
  CHECK(ClassOf(built.error()) == RefusalClass::kInvalid);
  CHECK_THAT(built.error().message, Catch::Matchers::StartsWith("provider/mock credential main"));
  CHECK_THAT(built.error().message, !Catch::Matchers::ContainsSubstring("sk-"));
}

TEST_CASE("totals above the caps are refused") {
  FakeControlPlane cp;
  BuildOptions options = OptionsOf(cp);
  SECTION("entries") { options.limits.entries_max = 6; }
  SECTION("bytes") { options.limits.bytes_max = 100; }
  const auto built = BuildOf(cp, options);
  REQUIRE_FALSE(built);
  CHECK(ClassOf(built.error()) == RefusalClass::kOversized);
}

TEST_CASE("a digest that is not the signed one is refused") {
  FakeControlPlane cp;
  const SnapshotPtr before = GoodBuild(cp);
  cp.PutKey("new", "sk-new");
  v1::Delta delta = cp.Commit();
  SECTION("full") {
    cp.position.mutable_digest()->front() ^= 1;
    const auto built = BuildOf(cp, OptionsOf(cp));
    REQUIRE_FALSE(built);
    CHECK(ClassOf(built.error()) == RefusalClass::kCorrupt);
  }
  SECTION("delta") {
    delta.mutable_position()->mutable_digest()->front() ^= 1;
    const auto applied = Apply(*before, delta, OptionsOf(cp));
    REQUIRE_FALSE(applied);
    CHECK(ClassOf(applied.error()) == RefusalClass::kCorrupt);
  }
  SECTION("an altered upsert") {
    delta.mutable_upserts(0)->set_bytes(delta.upserts(0).bytes() + "\x40\x01");
    const auto applied = Apply(*before, delta, OptionsOf(cp));
    REQUIRE_FALSE(applied);
    CHECK(ClassOf(applied.error()) == RefusalClass::kCorrupt);
  }
  SECTION("another base") {
    delta.mutable_base()->set_revision(9);
    const auto applied = Apply(*before, delta, OptionsOf(cp));
    REQUIRE_FALSE(applied);
    CHECK(ClassOf(applied.error()) == RefusalClass::kMissing);
  }
  CHECK(FindSecret(*before, "sk-new") == nullptr);
}

TEST_CASE("a delta of keys shares every other shard") {
  FakeControlPlane cp;
  for (int i = 0; i < 5'000; ++i) cp.PutKey("key-" + std::to_string(i), "sk-" + std::to_string(i));
  cp.Commit();
  const SnapshotPtr before = GoodBuild(cp);
  cp.PutKey("key-77", "sk-77", /*revoked=*/true);
  const auto after = Apply(*before, cp.Commit(), OptionsOf(cp));
  REQUIRE(after);
  CHECK_FALSE(FindSecret(*before, "sk-77")->key->revoked);
  CHECK(FindSecret(**after, "sk-77")->key->revoked);
  int moved = 0;
  for (int i = 0; i < 5'000; ++i) {
    const std::string secret = "sk-" + std::to_string(i);
    if (FindSecret(*before, secret) != FindSecret(**after, secret)) ++moved;
  }
  CHECK(moved < 100);  // one digest shard of 256: about 20
  CHECK(before->rep().tables == (*after)->rep().tables);
}

TEST_CASE("keys follow the resources they refer to") {
  FakeControlPlane cp;
  const SnapshotPtr before = GoodBuild(cp);
  SECTION("a team that changes its organization takes its keys along") {
    v1::Resource organization;
    organization.mutable_organization()->set_name("globex");
    cp.Put(organization);
    v1::Resource team;
    team.mutable_team()->set_name("support");
    team.mutable_team()->set_organization("globex");
    cp.Put(team);
    const auto after = Apply(*before, cp.Commit(), OptionsOf(cp));
    REQUIRE(after);
    CHECK(FindSecret(**after, "sk-bot")->key->organization == "globex");
    CHECK(FindSecret(*before, "sk-bot")->key->organization == "acme");
  }
  SECTION("a key of a user belongs to the user's team, wherever the user goes") {
    v1::Resource user;
    user.mutable_user()->set_name("alice");
    user.mutable_user()->set_team("support");
    cp.Put(user);
    v1::Resource key = KeyResource("own", "sk-own");
    key.mutable_key()->clear_team();
    key.mutable_key()->set_user("alice");
    cp.Put(key);
    const auto joined = Apply(*before, cp.Commit(), OptionsOf(cp));
    REQUIRE(joined);
    CHECK(FindSecret(**joined, "sk-own")->key->team == "support");
    CHECK(FindSecret(**joined, "sk-own")->key->organization == "acme");
    v1::Resource team;
    team.mutable_team()->set_name("sales");
    cp.Put(team);
    user.mutable_user()->set_team("sales");
    cp.Put(user);
    const auto moved = Apply(**joined, cp.Commit(), OptionsOf(cp));
    REQUIRE(moved);
    CHECK(FindSecret(**moved, "sk-own")->key->team == "sales");
    CHECK(FindSecret(**moved, "sk-own")->key->organization.empty());
    CHECK(FindSecret(**moved, "sk-bot")->key->team == "support");
  }
  SECTION("a team with keys cannot go") {
    cp.Remove(v1::KIND_TEAM, "support");
    const auto after = Apply(*before, cp.Commit(), OptionsOf(cp));
    REQUIRE_FALSE(after);
    CHECK_THAT(after.error().message, Catch::Matchers::ContainsSubstring("unknown team support"));
  }
  SECTION("a secret may move from one key to another in one delta") {
    cp.PutKey("bot", "sk-bot-2");
    cp.PutKey("heir", "sk-bot");
    const auto after = Apply(*before, cp.Commit(), OptionsOf(cp));
    REQUIRE(after);
    CHECK(FindSecret(**after, "sk-bot")->key->name == "heir");
    CHECK(FindSecret(**after, "sk-bot-2")->key->name == "bot");
  }
}

TEST_CASE("1,000 random changes: deltas and full builds come to the same") {
  FakeControlPlane cp;
  SnapshotPtr current = GoodBuild(cp);
  std::mt19937 random(20261121);
  const auto roll = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int step = 0; step < 1'000; ++step) {
    const std::string name = "key-" + std::to_string(roll(60));
    switch (roll(8)) {
      case 0:
        cp.Remove(v1::KIND_KEY, name);
        break;
      case 1: {
        v1::Resource organization;
        organization.mutable_organization()->set_name("org-" + std::to_string(roll(4)));
        cp.Put(organization);
        v1::Resource team;
        team.mutable_team()->set_name("support");
        team.mutable_team()->set_organization(organization.organization().name());
        cp.Put(team);
        break;
      }
      case 2:
        cp.Put(RouteResource("route-" + std::to_string(roll(5)), {roll(2) == 0 ? "small" : "large"},
                             {"chat"}));
        break;
      default:
        cp.PutKey(name, "sk-" + name + "-" + std::to_string(step), roll(3) == 0);
    }
    auto next = Apply(*current, cp.Commit(), OptionsOf(cp));
    if (!next) FAIL("step " << step << ": " << next.error().message);
    current = *next;
    CHECK(current->rep().digest.Bytes() == cp.position.digest());
    if (step % 50 != 49) continue;
    const SnapshotPtr full = GoodBuild(cp);
    CHECK(EntriesOf(*full) == EntriesOf(*current));
    CHECK(full->rep().digest == current->rep().digest);
    CHECK(full->rep().bytes == current->rep().bytes);
    CHECK(full->key_count() == current->key_count());
    full->rep().keys.ForEach([&](const KeyRecordPtr& record) {
      for (const KeySecretSpec& secret : SecretsOf(record->bytes)) {
        const KeyMatch* match = current->FindKey(secret.sha256);
        REQUIRE(match != nullptr);
        CHECK(match->key->name == record->spec.name);
        CHECK(match->key->organization == record->spec.organization);
        CHECK(match->key->revoked == record->spec.revoked);
      }
    });
  }
}

TEST_CASE("restrictions only take away, and add up") {
  FakeControlPlane cp;
  cp.PutKey("gone", "sk-gone");
  cp.PutKey("rotated", "sk-old");
  cp.PutKey("untouched", "sk-same");
  cp.Commit();
  SnapshotPtr snapshot = GoodBuild(cp);
  const auto bytes = [](const v1::Resource& key) { return config::ToEntry(key).bytes(); };

  v1::Resource revoked = KeyResource("bot", "sk-bot");
  revoked.mutable_key()->set_revoked(true);
  v1::Resource rotated = KeyResource("rotated", "sk-new");
  snapshot = Restrict(*snapshot, {.keys = {{"bot", bytes(revoked)},
                                           {"gone", ""},
                                           {"rotated", bytes(rotated)},
                                           {"unknown", bytes(KeyResource("unknown", "sk-u"))}}});
  CHECK(FindSecret(*snapshot, "sk-bot")->key->revoked);
  CHECK(FindSecret(*snapshot, "sk-gone")->key->revoked);
  CHECK(FindSecret(*snapshot, "sk-old") == nullptr);
  CHECK(FindSecret(*snapshot, "sk-new") == nullptr);
  CHECK(FindSecret(*snapshot, "sk-u") == nullptr);
  CHECK_FALSE(FindSecret(*snapshot, "sk-same")->key->revoked);

  v1::Resource both = KeyResource("rotated", "sk-old");
  both.mutable_key()->set_expires_at_ms(123);
  snapshot = Restrict(
      *snapshot, {.keys = {{"bot", bytes(KeyResource("bot", "sk-bot"))}, {"rotated", bytes(both)}},
                  .whole = true});
  CHECK(FindSecret(*snapshot, "sk-bot")->key->revoked);
  CHECK(FindSecret(*snapshot, "sk-old") == nullptr);
  CHECK(FindSecret(*snapshot, "sk-same")->key->revoked);
  CHECK(snapshot->position().revision() == cp.position.revision());
  CHECK(snapshot->key_count() == 4);
}

}  // namespace
}  // namespace spillway
