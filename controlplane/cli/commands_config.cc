#include <algorithm>
#include <format>
#include <iterator>
#include <utility>

#include "common/config/load.h"
#include "common/config/resource.h"
#include "common/config/validate.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/read_files.h"
#include "controlplane/cli/rollout.h"
#include "controlplane/cli/show_resource.h"

namespace spillway::cli {
namespace {

struct FileArguments {
  std::vector<std::string> paths;
  bool prune = false;
  bool server = false;
  RolloutFlags rollout;
};

Flag PathsFlag(FileArguments& arguments) {
  return {.names = "-f,--file",
          .value = "PATH...",
          .help = "YAML files, folders of them, or - for standard input",
          .target = &arguments.paths};
}

Flag PruneFlag(FileArguments& arguments) {
  return {.names = "--prune",
          .value = "",
          .help =
              "also delete what files declared before and these do not name (never keys that "
              "no file declares)",
          .target = &arguments.prune};
}

v1::ApplyRequest RequestOf(const config::LoadResult& loaded, bool prune) {
  v1::ApplyRequest request;
  for (const v1::Resource& resource : loaded.config.resources) {
    *request.add_resources() = resource;
  }
  request.set_prune(prune);
  return request;
}

// The server's violations, with the lines of the files they are about.
Failure Placed(Failure failure, const Places& places) {
  if (failure.violations.empty()) return failure;
  failure.message = "refused: " + Problems(failure.violations.size()) + "\n" +
                    ViolationsText(failure.violations, places);
  failure.message.pop_back();
  failure.violations.clear();
  return failure;
}

Answer<config::LoadResult> LoadOrRefuse(Session& session, const FileArguments& arguments,
                                        Secrets secrets) {
  SW_TRY(config::LoadResult loaded, ReadConfiguration(session, arguments.paths, secrets));
  if (loaded.violations.empty()) return loaded;
  Failure failure("");
  failure.violations = std::move(loaded.violations);
  return std::unexpected(Placed(std::move(failure), {}));
}

Answer<int> ReportValidity(Session& session, size_t resources,
                           const std::vector<v1::Violation>& violations, const Places& places) {
  if (session.for_people()) {
    session.out() << ViolationsText(violations, places);
    session.out() << (violations.empty() ? std::format("valid: {} resources\n", resources)
                                         : std::format("{}\n", Problems(violations.size())));
  } else {
    Value::List items;
    for (const v1::Violation& violation : violations) items.push_back(ValueOf(violation));
    Value value;
    value.Set("valid", violations.empty())
        .Set("resources", static_cast<int64_t>(resources))
        .Set("violations", std::move(items));
    session.Print(value);
  }
  return violations.empty() ? kOk : kFailed;
}

Answer<int> ValidateOnServer(Session& session, const FileArguments& arguments) {
  // The control plane never sees a reference in a base_url: those are replaced here where they can.
  SW_TRY(config::LoadResult loaded,
         ReadConfiguration(session, arguments.paths, Secrets::kResolved));
  if (!loaded.violations.empty()) {
    SW_TRY(loaded, ReadConfiguration(session, arguments.paths, Secrets::kReferences));
  }
  if (!loaded.violations.empty()) {
    return ReportValidity(session, loaded.config.resources.size(), loaded.violations, {});
  }
  SW_TRY(Client* const client, session.client());
  const auto response = client->Validate(RequestOf(loaded, arguments.prune));
  if (!response && response.error().violations.empty()) return std::unexpected(response.error());
  return ReportValidity(session, loaded.config.resources.size(),
                        response ? std::vector<v1::Violation>() : response.error().violations,
                        PlacesOf(loaded.config));
}

Answer<int> ValidateFiles(Session& session, const FileArguments& arguments) {
  if (arguments.server) return ValidateOnServer(session, arguments);
  SW_TRY(config::LoadResult loaded,
         ReadConfiguration(session, arguments.paths, Secrets::kReferences));
  const size_t resources = loaded.config.resources.size();
  const Places places = PlacesOf(loaded.config);
  std::vector<v1::Violation> violations = std::move(loaded.violations);
  config::Validation checked =
      config::ValidateLoaded(std::move(loaded.config), {.as_written = true});
  std::ranges::move(checked.violations, std::back_inserter(violations));
  return ReportValidity(session, resources, violations, places);
}

Answer<int> DiffFiles(Session& session, const FileArguments& arguments) {
  // Values tell a changed secret from an unchanged one; without them the references are compared.
  auto loaded = LoadOrRefuse(session, arguments, Secrets::kResolved);
  if (!loaded && loaded.error().exit != kUsage) {
    SW_TRY(loaded, LoadOrRefuse(session, arguments, Secrets::kReferences));
    session.err() << "some secrets cannot be resolved here: their values are not compared\n";
  }
  if (!loaded) return std::unexpected(loaded.error());
  SW_TRY(Client* const client, session.client());
  auto response = client->Diff(RequestOf(*loaded, arguments.prune));
  if (!response) return std::unexpected(Placed(response.error(), PlacesOf(loaded->config)));
  if (!session.for_people()) {
    session.Print(ValueOf(*response));
  } else if (response->changes().empty()) {
    session.out() << std::format("no changes against revision {}\n", response->revision());
  } else {
    session.out() << ChangesText(*response);
  }
  return kOk;
}

Answer<int> ApplyFiles(Session& session, const FileArguments& arguments) {
  SW_TRY(Client* const client, StartChange(session, arguments.rollout));
  SW_TRY(const config::LoadResult loaded, LoadOrRefuse(session, arguments, Secrets::kResolved));
  auto response = client->Apply(RequestOf(loaded, arguments.prune));
  if (!response) return std::unexpected(Placed(response.error(), PlacesOf(loaded.config)));
  return FinishChange(session, *response, arguments.rollout);
}

struct ResourceArguments {
  std::string kind;
  std::string name;
  RolloutFlags rollout;
};

// "rate-limit".
std::string KindWord(v1::Kind kind) {
  std::string word(config::NameOf(kind));
  std::ranges::replace(word, '_', '-');
  return word;
}

std::string KindsText() {
  std::vector<std::string> words;
  for (const v1::Kind kind : config::AllKinds()) words.push_back(KindWord(kind));
  const std::string last = std::move(words.back());
  words.pop_back();
  return Joined(words, ", ") + " or " + last;
}

Answer<v1::Kind> KindIn(const ResourceArguments& arguments) {
  if (const auto kind = config::KindNamed(arguments.kind)) return *kind;
  std::vector<std::string> names;
  for (const v1::Kind kind : config::AllKinds()) names.push_back(KindWord(kind));
  return FailUsage(std::format("\"{}\" is no kind of resource; the kinds are {}", arguments.kind,
                               Joined(names, ", ")));
}

std::vector<std::string> KindChoices() {
  std::vector<std::string> choices;
  for (const v1::Kind kind : config::AllKinds()) {
    for (const std::string& name : {KindWord(kind), KindWord(kind) + "s"}) {
      choices.push_back(name);
      if (!name.contains('-')) continue;
      // As a file writes it.
      choices.push_back(name);
      std::ranges::replace(choices.back(), '-', '_');
    }
  }
  return choices;
}

Answer<int> GetOne(Session& session, v1::Kind kind, const std::string& name) {
  SW_TRY(Client* const client, session.client());
  v1::GetRequest request;
  request.set_kind(kind);
  request.set_name(name);
  SW_TRY(const v1::GetResponse response, client->Get(request));
  if (session.format() == Format::kJson) {
    Value value = ResourceValue(response.resource(), session.now_ms());
    value.Set("revision", response.revision());
    session.Print(value);
  } else {
    session.out() << config::RenderYaml({response.resource()});
  }
  return kOk;
}

Answer<int> GetResources(Session& session, const ResourceArguments& arguments) {
  SW_TRY(const v1::Kind kind, KindIn(arguments));
  if (!arguments.name.empty()) return GetOne(session, kind, arguments.name);
  SW_TRY(const std::vector<v1::Resource> all, ListAll(session, kind));
  if (session.format() == Format::kYaml) {
    session.out() << config::RenderYaml(all);
    return kOk;
  }
  Value::List items;
  for (const v1::Resource& resource : all)
    items.push_back(ResourceValue(resource, session.now_ms()));
  session.PrintItems(std::move(items), TableOf(kind, all, session.now_ms()),
                     std::format("no {}s", KindWord(kind)));
  return kOk;
}

Answer<int> DeleteResource(Session& session, const ResourceArguments& arguments) {
  SW_TRY(const v1::Kind kind, KindIn(arguments));
  SW_TRY(Client* const client, StartChange(session, arguments.rollout));
  v1::DeleteRequest request;
  request.set_kind(kind);
  request.set_name(arguments.name);
  auto response = client->Delete(request);
  if (!response) return std::unexpected(Placed(response.error(), {}));
  return FinishChange(session, *response, arguments.rollout);
}

Command ValidateCommand() {
  auto arguments = std::make_shared<FileArguments>();
  return {.name = "validate",
          .summary = "Check configuration files without a control plane",
          .flags = {PathsFlag(*arguments),
                    {.names = "--server",
                     .value = "",
                     .help = "ask the control plane instead: together with what it holds",
                     .target = &arguments->server}},
          .examples = {{"validate -f gateway.yaml", "every problem of a file, with its line"},
                       {"validate --server -f team.yaml",
                        "a file that refers to what is already applied"}},
          .run = [arguments](Session& s) { return ValidateFiles(s, *arguments); },
          .values = arguments};
}

Command DiffCommand() {
  auto arguments = std::make_shared<FileArguments>();
  return {.name = "diff",
          .summary = "Show what `apply` would change",
          .flags = {PathsFlag(*arguments), PruneFlag(*arguments)},
          .examples = {{"diff -f gateway.yaml", "what differs from the current revision"},
                       {"diff -f config/ --prune", "what would be deleted, too"}},
          .run = [arguments](Session& s) { return DiffFiles(s, *arguments); },
          .values = arguments};
}

Command ApplyCommand() {
  auto arguments = std::make_shared<FileArguments>();
  Command command{
      .name = "apply",
      .summary = "Make the configuration as files say, in one revision",
      .flags = {PathsFlag(*arguments), PruneFlag(*arguments)},
      .examples = {{"apply -f gateway.yaml",
                    "apply a file and wait until every data plane runs it"},
                   {"apply -f config/ --prune", "a folder is all there is: delete the rest"}},
      .run = [arguments](Session& s) { return ApplyFiles(s, *arguments); },
      .values = arguments};
  for (Flag& flag : FlagsOf(arguments->rollout)) command.flags.push_back(std::move(flag));
  return command;
}

Command GetCommand() {
  auto arguments = std::make_shared<ResourceArguments>();
  return {.name = "get",
          .summary = "Show resources",
          .arguments = {{.name = "KIND",
                         .help = KindsText(),
                         .target = &arguments->kind,
                         .choices = KindChoices()},
                        {.name = "NAME",
                         .help = "one of them, in full",
                         .target = &arguments->name,
                         .required = false}},
          .examples = {{"get models", "a table of all models"},
                       {"get route support-tier", "one route, as a file would write it"},
                       {"get providers -o yaml", "a file that `apply` takes"}},
          .run = [arguments](Session& s) { return GetResources(s, *arguments); },
          .values = arguments};
}

Command ListCommand() {
  auto arguments = std::make_shared<ResourceArguments>();
  return {.name = "list",
          .summary = "Show all resources of a kind",
          .arguments = {{.name = "KIND",
                         .help = KindsText(),
                         .target = &arguments->kind,
                         .choices = KindChoices()}},
          .examples = {{"list budgets", "a table of all budgets, as configured"},
                       {"list rate-limits -o json", "for programs"}},
          .run = [arguments](Session& s) { return GetResources(s, *arguments); },
          .values = arguments};
}

Command DeleteCommand() {
  auto arguments = std::make_shared<ResourceArguments>();
  return {.name = "delete",
          .summary = "Delete one resource that nothing refers to any more",
          .arguments = {{.name = "KIND",
                         .help = KindsText(),
                         .target = &arguments->kind,
                         .choices = KindChoices()},
                        {.name = "NAME", .help = "its name", .target = &arguments->name}},
          .flags = FlagsOf(arguments->rollout),
          .examples = {{"delete model gpt-4", "take a model away"}},
          .run = [arguments](Session& s) { return DeleteResource(s, *arguments); },
          .values = arguments};
}

}  // namespace

Answer<std::vector<v1::Resource>> ListAll(Session& session, v1::Kind kind) {
  SW_TRY(Client* const client, session.client());
  std::vector<v1::Resource> all;
  v1::ListRequest request;
  request.set_kind(kind);
  do {
    SW_TRY(v1::ListResponse response, client->List(request));
    for (v1::Resource& resource : *response.mutable_resources()) all.push_back(std::move(resource));
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return all;
}

std::vector<Command> ConfigCommands() {
  std::vector<Command> commands;
  commands.push_back(ValidateCommand());
  commands.push_back(DiffCommand());
  commands.push_back(ApplyCommand());
  commands.push_back(GetCommand());
  commands.push_back(ListCommand());
  commands.push_back(DeleteCommand());
  commands.push_back(SecretsCommand());
  return commands;
}

}  // namespace spillway::cli
