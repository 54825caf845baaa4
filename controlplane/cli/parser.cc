#include "controlplane/cli/parser.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <utility>

#include "common/settings.h"

namespace spillway::cli {
namespace {

constexpr size_t kHelpColumn = 34;

std::string ExamplesText(const Command& command) {
  if (command.examples.empty()) return "";
  std::string text = "Examples:";
  for (const Example& example : command.examples) {
    text += "\n  # " + example.meaning + "\n  spillway " + example.line;
  }
  return text;
}

void AddFlag(CLI::App& app, const Flag& flag) {
  CLI::Option* option = std::visit(
      [&](auto* target) -> CLI::Option* {
        if constexpr (std::is_same_v<decltype(target), bool*>) {
          return app.add_flag(flag.names, *target, flag.help);
        } else {
          return app.add_option(flag.names, *target, flag.help);
        }
      },
      flag.target);
  if (flag.value.empty()) return;
  option->option_text(flag.value);
  // "PATH..." takes what a shell's pattern expands to; "NAME,..." is split at commas; both may be
  // repeated. Any other list takes one value at a time.
  if (flag.value.ends_with(",...")) option->delimiter(',');
  if (std::holds_alternative<std::vector<std::string>*>(flag.target)) {
    option->allow_extra_args(flag.value.starts_with("PATH"));
  }
  if (!flag.choices.empty() && !flag.other_values) option->check(CLI::IsMember(flag.choices));
}

void AddArgument(CLI::App& app, const Argument& argument) {
  CLI::Option* option = std::visit(
      [&](auto* target) { return app.add_option(argument.name, *target, argument.help); },
      argument.target);
  option->required(argument.required);
  option->option_text(argument.required ? " " : "(optional)");
  if (!argument.choices.empty()) option->check(CLI::IsMember(argument.choices));
}

class Tree {
 public:
  explicit Tree(const Command& root) : app_(root.summary, "spillway") {
    app_.get_formatter()->column_width(kHelpColumn);
    app_.set_version_flag("--version", "spillway " + std::string(Version()));
    Fill(app_, root);
  }

  Parsed Run(const std::vector<std::string>& words, std::ostream& out, std::ostream& err) {
    try {
      std::vector<std::string> reversed(words.rbegin(), words.rend());  // as CLI11 wants them
      app_.parse(std::move(reversed));
    } catch (const CLI::Success& help) {
      app_.exit(help, out, err);
      return {};
    } catch (const CLI::ParseError& error) {
      err << Path() << ": " << error.what() << "\nSee `" << Path() << " --help`.\n";
      return {.command = nullptr, .exit = kUsage};
    }
    const Command* selected = Selected().second;
    if (selected->run) return {.command = selected, .exit = kOk};
    err << app_.help();
    return {.command = nullptr, .exit = kUsage};
  }

 private:
  void Fill(CLI::App& app, const Command& command) {
    commands_.emplace_back(&app, &command);
    app.footer(ExamplesText(command));
    app.fallthrough();  // global flags may stand behind the verb
    for (const Argument& argument : command.arguments) AddArgument(app, argument);
    for (const Flag& flag : command.flags) AddFlag(app, flag);
    for (const Command& verb : command.verbs)
      Fill(*app.add_subcommand(verb.name, verb.summary), verb);
    app.require_subcommand(0, 1);
  }

  // The innermost word that was given.
  std::pair<const CLI::App*, const Command*> Selected() const {
    const CLI::App* app = &app_;
    while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
    return *std::ranges::find(commands_, app, [](const auto& row) { return row.first; });
  }

  std::string Path() const {
    std::string path = "spillway";
    const CLI::App* app = &app_;
    while (!app->get_subcommands().empty()) {
      app = app->get_subcommands().front();
      path += " " + app->get_name();
    }
    return path;
  }

  CLI::App app_;
  std::vector<std::pair<const CLI::App*, const Command*>> commands_;
};

}  // namespace

Parsed Parse(const Command& root, const std::vector<std::string>& words, std::ostream& out,
             std::ostream& err) {
  return Tree(root).Run(words, out, err);
}

}  // namespace spillway::cli
