#include "common/settings.h"

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <format>
#include <ranges>
#include <tuple>

namespace spillway {
namespace {

std::string EnvironmentName(std::string_view flag) {
  std::string name = "SPILLWAY_";
  for (const char c : flag) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

std::string_view WithoutDashes(std::string_view flag) {
  while (flag.starts_with('-')) flag.remove_prefix(1);
  return flag;
}

// "--name,--other" is one flag of two names: the first is its own.
std::string_view OwnName(std::string_view flag) {
  return WithoutDashes(flag.substr(0, flag.find(',')));
}

// The variable of a flag: its own name's, unless only that of another name is set.
std::string VariableOf(std::string_view flag) {
  for (const auto name : std::views::split(flag, ',')) {
    std::string variable = EnvironmentName(WithoutDashes(std::string_view(name)));
    if (!Environment(variable.c_str()).value_or("").empty()) return variable;
  }
  return EnvironmentName(OwnName(flag));
}

// Messages are one line: some of the library's end with a list.
std::string OneLine(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  return text;
}

}  // namespace

struct Settings::Rep {
  using ParseText = Result<int64_t> (*)(std::string_view);

  CLI::App app;
  std::string program;

  CLI::Option* Name(CLI::Option* option, std::string_view flag) {
    return option->envname(VariableOf(flag));
  }
  static std::string Dashed(std::string_view flag) {
    return "--" + std::string(WithoutDashes(flag));
  }
  void AddText(std::string_view flag, int64_t& value, std::string_view help, ParseText parse,
               std::string shown, std::string type) {
    const auto store = [&value, parse, name = Dashed(flag)](const std::string& text) {
      auto parsed = parse(text);
      if (!parsed)
        throw CLI::ValidationError(name, std::format("\"{}\" {}", text, parsed.error().message));
      value = *parsed;
    };
    CLI::Option* option =
        app.add_option_function<std::string>(Dashed(flag), store, std::string(help));
    Name(option, flag)->default_str(std::move(shown))->type_name(std::move(type));
  }
};

Settings::Settings(std::string program, std::string description) : rep_(std::make_unique<Rep>()) {
  rep_->program = program;
  rep_->app.name(std::move(program));
  rep_->app.description(std::move(description));
  rep_->app.set_version_flag("--version", std::string(Version()), "print the version and exit");
  rep_->app.get_formatter()->column_width(40);
}

Settings::~Settings() = default;

void Settings::Add(std::string_view flag, std::string& value, std::string_view help) {
  CLI::Option* option = rep_->app.add_option(Rep::Dashed(flag), value, std::string(help));
  rep_->Name(option, flag)->capture_default_str();
}

void Settings::Add(std::string_view flag, int64_t& value, std::string_view help) {
  CLI::Option* option = rep_->app.add_option(Rep::Dashed(flag), value, std::string(help));
  rep_->Name(option, flag)->capture_default_str();
}

// The library shows no default of a flag: it stands in the help text.
void Settings::Add(std::string_view flag, bool& value, std::string_view help) {
  const std::string names = std::format("--{0},!--no-{0}", WithoutDashes(flag));
  rep_->Name(rep_->app.add_flag(names, value, std::format("{} [{}]", help, value)), flag);
}

void Settings::AddDuration(std::string_view flag, int64_t& value_ms, std::string_view help) {
  rep_->AddText(flag, value_ms, help, &ParseDurationMs, FormatDurationMs(value_ms), "DURATION");
}

void Settings::AddBytes(std::string_view flag, int64_t& value, std::string_view help) {
  rep_->AddText(flag, value, help, &ParseBytes, FormatBytes(value), "BYTES");
}

std::optional<Settings::Exit> Settings::Parse(int argc, const char* const* argv) {
  try {
    rep_->app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    return Exit{.code = 0, .text = rep_->app.help()};
  } catch (const CLI::CallForVersion&) {
    return Exit{.code = 0, .text = std::format("{} {}\n", rep_->program, Version())};
  } catch (const CLI::Error& error) {
    return Exit{.code = 2,
                .text = std::format("{}: {} (--help lists the flags)\n", rep_->program,
                                    OneLine(error.what()))};
  }
}

void Settings::ParseOrExit(int argc, char** argv) {
  const auto exit_now = Parse(argc, argv);
  if (!exit_now) return;
  std::fputs(exit_now->text.c_str(), exit_now->code == 0 ? stdout : stderr);
  std::exit(exit_now->code);
}

void ExitUsage(std::string_view program, std::string_view message) {
  std::fputs(std::format("{}: {}\n", program, OneLine(std::string(message))).c_str(), stderr);
  std::exit(2);
}

std::optional<std::string> Environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  // Refused only in odd sandboxes, where the soft limit then stands.
  std::ignore = setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace spillway
