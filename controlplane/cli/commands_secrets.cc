#include <termios.h>
#include <unistd.h>

#include <format>
#include <iterator>
#include <string>
#include <utility>

#include "common/config/load.h"
#include "common/secret.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/rollout.h"

namespace spillway::cli {
namespace {

constexpr size_t kSecretBytesMax = size_t{64} << 10;

struct SecretArguments {
  std::string place;  // PROVIDER[/CREDENTIAL]
  std::string from_env;
  std::string from_file;
  RolloutFlags rollout;
};

// Nothing that is typed appears while it lives.
class EchoOff {
 public:
  explicit EchoOff(bool wanted) : active_(wanted && ::tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (!active_) return;
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  }
  ~EchoOff() {
    if (active_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }
  EchoOff(const EchoOff&) = delete;
  EchoOff& operator=(const EchoOff&) = delete;

 private:
  termios before_{};
  bool active_;
};

Answer<Secret> FromTerminal(Session& session, const std::string& place) {
  session.err() << "value for " << place << ": " << std::flush;
  std::string line;
  {
    const EchoOff quiet(true);
    std::getline(session.in(), line);
  }
  session.err() << "\n";
  return Secret(std::move(line));
}

Answer<Secret> FromStream(std::istream& in) {
  std::string text(kSecretBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return Secret(std::move(text));
}

Answer<Secret> FromReference(std::string_view scheme, const std::string& name) {
  SW_TRY(std::string value, config::SystemReferences()(scheme, name));
  return Secret(std::move(value));
}

Answer<Secret> ReadValue(Session& session, const SecretArguments& arguments) {
  if (!arguments.from_env.empty() && !arguments.from_file.empty()) {
    return FailUsage("give --from-env or --from-file, not both");
  }
  if (!arguments.from_env.empty()) return FromReference("env", arguments.from_env);
  if (!arguments.from_file.empty()) return FromReference("file", arguments.from_file);
  if (session.in_is_terminal()) return FromTerminal(session, arguments.place);
  return FromStream(session.in());
}

Answer<int> SetSecret(Session& session, const SecretArguments& arguments) {
  SW_TRY(Client* const client, StartChange(session, arguments.rollout));
  SW_TRY(const Secret value, ReadValue(session, arguments));
  if (value.empty()) return FailUsage("the value is empty");
  // A provider's name may hold slashes itself; a credential's may not be told apart then.
  const size_t slash = arguments.place.rfind('/');
  v1::SetSecretRequest request;
  request.set_provider(arguments.place.substr(0, slash));
  if (slash != std::string::npos) request.set_credential(arguments.place.substr(slash + 1));
  request.set_value(std::string(value.Reveal()));
  SW_TRY(const v1::ApplyResponse response, client->SetSecret(request));
  return FinishChange(session, response, arguments.rollout);
}

}  // namespace

Command SecretsCommand() {
  auto arguments = std::make_shared<SecretArguments>();
  Command set{
      .name = "set",
      .summary = "Set a provider's credential; the value comes from standard input",
      .arguments = {{.name = "PROVIDER[/CREDENTIAL]",
                     .help = "the credential may be left out when there is one only",
                     .target = &arguments->place}},
      .flags = {{.names = "--from-env",
                 .value = "NAME",
                 .help = "take the value from an environment variable",
                 .target = &arguments->from_env},
                {.names = "--from-file",
                 .value = "PATH",
                 .help = "take the value from a file, without its last line feed",
                 .target = &arguments->from_file}},
      .examples = {{"secrets set openai/main", "asks for the value; nothing is shown"},
                   {"secrets set openai/main < key.txt", "from a pipe or a file"},
                   {"secrets set openai --from-env OPENAI_API_KEY", "from the environment"}},
      .run = [arguments](Session& s) { return SetSecret(s, *arguments); },
      .values = arguments};
  for (Flag& flag : FlagsOf(arguments->rollout)) set.flags.push_back(std::move(flag));
  return {.name = "secrets", .summary = "Credentials of providers", .verbs = {std::move(set)}};
}

}  // namespace spillway::cli
