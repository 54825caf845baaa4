#include "controlplane/cli/completion.h"

#include <algorithm>
#include <format>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "controlplane/cli/table.h"

namespace spillway::cli {
namespace {

using Words = std::vector<std::string>;
// Every command with the words that lead to it: " keys create".
using Visit = std::function<void(const std::string& path, const Command& command)>;

void Walk(const Command& command, const std::string& path, const Visit& visit) {
  visit(path, command);
  for (const Command& verb : command.verbs) Walk(verb, path + " " + verb.name, visit);
}

// "-f,--file" -> "-f", "--file".
Words NamesOf(const Flag& flag) {
  Words names;
  for (std::string_view rest = flag.names; !rest.empty();) {
    const size_t comma = std::min(rest.find(','), rest.size());
    names.emplace_back(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return names;
}

bool WantsFile(const Flag& flag) { return flag.value.starts_with("PATH"); }

Words FlagNames(const Command& command, const Command& root) {
  Words names;
  for (const Flag& flag : command.flags) {
    for (std::string& name : NamesOf(flag)) names.push_back(std::move(name));
  }
  if (&command != &root) {
    for (std::string& name : FlagNames(root, root)) names.push_back(std::move(name));
  } else {
    names.emplace_back("--help");
  }
  return names;
}

Words WordsOf(const Command& command) {
  Words words;
  for (const Command& verb : command.verbs) words.push_back(verb.name);
  if (!command.arguments.empty()) {
    for (const std::string& choice : command.arguments.front().choices) words.push_back(choice);
  }
  return words;
}

// The arms of `case "$cmd $word"` that recognise a verb.
std::string PathArms(const Command& root) {
  std::string arms;
  Walk(root, "", [&](const std::string& path, const Command&) {
    if (!path.empty()) arms += std::format("{}\"{}\"", arms.empty() ? "" : "|", path);
  });
  return arms;
}

// How a shell offers words: what stands before and behind them.
struct Reply {
  std::string_view before;
  std::string_view after;
};

struct Answers {
  std::string files;    // for arms that complete to files
  std::string choices;  // whole arms
};

// The arms of `case "$cmd $previous"`: what a flag's value may be. A root flag works everywhere.
Answers FlagArms(const Command& root, const Reply& reply) {
  Answers answers;
  Walk(root, "", [&](const std::string& path, const Command& command) {
    for (const Flag& flag : command.flags) {
      for (const std::string& name : NamesOf(flag)) {
        const std::string pattern =
            path.empty() ? std::format("*\" {}\"", name) : std::format("\"{} {}\"", path, name);
        if (WantsFile(flag)) {
          answers.files += (answers.files.empty() ? "" : "|") + pattern;
        } else if (!flag.choices.empty()) {
          answers.choices += std::format("    {}) {}{}{}; return ;;\n", pattern, reply.before,
                                         Joined(flag.choices, " "), reply.after);
        }
      }
    }
  });
  return answers;
}

}  // namespace

std::string BashCompletion(const Command& root) {
  std::string script =
      "# bash completion of spillway; made by `spillway completion bash`\n"
      "_spillway() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
      "  local cmd=\"\" word words=\"\" flags=\"\" i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    word=${COMP_WORDS[i]}\n"
      "    case \"$cmd $word\" in\n"
      "      " +
      PathArms(root) +
      ") cmd=\"$cmd $word\" ;;\n"
      "    esac\n"
      "  done\n";
  const Answers arms =
      FlagArms(root, {.before = "COMPREPLY=($(compgen -W \"", .after = R"(" -- "$cur")))"});
  script += "  case \"$cmd $prev\" in\n";
  if (!arms.files.empty()) {
    script += std::format(
        "    {}) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$cur\")); return "
        ";;\n",
        arms.files);
  }
  script += arms.choices + "  esac\n  case \"$cmd\" in\n";
  Walk(root, "", [&](const std::string& path, const Command& command) {
    script += std::format("    \"{}\") words=\"{}\" flags=\"{}\" ;;\n", path,
                          Joined(WordsOf(command), " "), Joined(FlagNames(command, root), " "));
  });
  script +=
      "  esac\n"
      "  [[ $cur == -* ]] && words=$flags\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
      "}\n"
      "complete -F _spillway spillway\n";
  return script;
}

namespace {

// 'word:what it does' for _describe.
std::string Described(const Command& command) {
  std::string items;
  for (const Command& verb : command.verbs) {
    std::string summary;
    for (const char c : verb.summary) {
      if (c == '\'') {
        summary += "'\\''";
      } else {
        if (c == ':') summary += '\\';
        summary += c;
      }
    }
    items += std::format(" '{}:{}'", verb.name, summary);
  }
  if (command.verbs.empty()) {
    for (const std::string& word : WordsOf(command)) items += std::format(" '{}'", word);
  }
  return items;
}

}  // namespace

std::string ZshCompletion(const Command& root) {
  std::string script =
      "#compdef spillway\n"
      "# zsh completion of spillway; made by `spillway completion zsh`\n"
      "_spillway() {\n"
      "  local cmd=\"\" word prev=${words[CURRENT-1]} cur=${words[CURRENT]}\n"
      "  local -a items flags\n"
      "  local -i i\n"
      "  for ((i = 2; i < CURRENT; i++)); do\n"
      "    word=${words[i]}\n"
      "    case \"$cmd $word\" in\n"
      "      (" +
      PathArms(root) +
      ") cmd=\"$cmd $word\" ;;\n"
      "    esac\n"
      "  done\n";
  const Answers arms = FlagArms(root, {.before = "compadd -- ", .after = ""});
  script += "  case \"$cmd $prev\" in\n";
  if (!arms.files.empty()) script += std::format("    {}) _files; return ;;\n", arms.files);
  script += arms.choices + "  esac\n  case \"$cmd\" in\n";
  Walk(root, "", [&](const std::string& path, const Command& command) {
    script += std::format("    \"{}\") items=({}) flags=({}) ;;\n", path, Described(command),
                          Joined(FlagNames(command, root), " "));
  });
  script +=
      "  esac\n"
      "  if [[ $cur == -* ]]; then\n"
      "    compadd -- $flags\n"
      "  elif (( ${#items} )); then\n"
      "    _describe -t commands 'spillway' items\n"
      "  fi\n"
      "}\n"
      "# Autoloaded by its name the first time, or sourced.\n"
      "if [[ ${funcstack[1]} == _spillway ]]; then\n"
      "  _spillway \"$@\"\n"
      "else\n"
      "  compdef _spillway spillway\n"
      "fi\n";
  return script;
}

}  // namespace spillway::cli
