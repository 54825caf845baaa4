#include "controlplane/cli/connection.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <sstream>

#include "common/settings.h"

namespace spillway::cli {
namespace {

constexpr std::string_view kDefaultAddress = "127.0.0.1:7070";
constexpr size_t kFileBytesMax = 1 << 20;
constexpr std::array<std::string_view, 6> kNames{
    "SPILLWAY_ADMIN",         "SPILLWAY_ADMIN_TOKEN", "SPILLWAY_ADMIN_TOKEN_FILE",
    "SPILLWAY_ADMIN_CA_FILE", "SPILLWAY_ADMIN_CERT",  "SPILLWAY_ADMIN_KEY"};

using Settings = std::map<std::string, std::string, std::less<>>;

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

Answer<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kFileBytesMax + 1, '\0');
  if (!file || (file.read(text.data(), static_cast<std::streamsize>(text.size())), file.bad())) {
    return FailUsage("cannot read " + path);
  }
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kFileBytesMax) return FailUsage(path + " is larger than 1 MiB");
  return text;
}

Answer<void> AddLine(std::string_view line, const std::string& place, Settings& settings) {
  line = Trimmed(line);
  if (line.empty() || line.starts_with('#')) return {};
  const size_t equals = line.find('=');
  const std::string_view name = Trimmed(line.substr(0, std::min(equals, line.size())));
  if (equals == std::string_view::npos || std::ranges::find(kNames, name) == kNames.end()) {
    return FailUsage(place +
                     ": must be NAME=VALUE with a NAME of: SPILLWAY_ADMIN, "
                     "SPILLWAY_ADMIN_TOKEN, SPILLWAY_ADMIN_TOKEN_FILE, "
                     "SPILLWAY_ADMIN_CA_FILE, SPILLWAY_ADMIN_CERT, SPILLWAY_ADMIN_KEY");
  }
  std::string_view value = Trimmed(line.substr(equals + 1));
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    value = value.substr(1, value.size() - 2);
  }
  settings.insert_or_assign(std::string(name), std::string(value));
  return {};
}

std::string ConfigPath(const ReadEnvironment& environment) {
  if (const auto base = environment("XDG_CONFIG_HOME"); base && !base->empty()) {
    return *base + "/spillway/config";
  }
  const auto home = environment("HOME");
  return home && !home->empty() ? *home + "/.config/spillway/config" : "";
}

Answer<Settings> FromFile(const std::string& path) {
  Settings settings;
  struct stat status{};
  if (path.empty() || ::stat(path.c_str(), &status) != 0) return settings;
  SW_TRY(const std::string text, ReadFile(path));
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    SW_CHECK(AddLine(line, path + ":" + std::to_string(++number), settings));
  }
  constexpr mode_t kOthers = S_IRWXG | S_IRWXO;
  if (settings.contains("SPILLWAY_ADMIN_TOKEN") && (status.st_mode & kOthers) != 0) {
    return FailUsage(path + " holds a token and others may read it: chmod 600 " + path);
  }
  return settings;
}

// First the flag, then the environment, then the file.
class Source {
 public:
  Source(const ReadEnvironment& environment, Settings file)
      : environment_(environment), file_(std::move(file)) {}

  std::string Get(const std::string& flag, const char* name) const {
    if (!flag.empty()) return flag;
    if (auto value = environment_(name); value && !value->empty()) return *value;
    const auto it = file_.find(std::string_view(name));
    return it == file_.end() ? "" : it->second;
  }
  // A token file that was named nearer (flag, environment) wins over a token that was named
  // farther.
  Answer<Secret> Token(const ConnectionFlags& flags) const {
    if (!flags.token.empty()) return Checked(flags.token);
    if (!flags.token_file.empty()) return FromTokenFile(flags.token_file);
    if (auto token = environment_("SPILLWAY_ADMIN_TOKEN"); token && !token->empty()) {
      return Checked(*token);
    }
    const std::string path = Get("", "SPILLWAY_ADMIN_TOKEN_FILE");
    if (!path.empty()) return FromTokenFile(path);
    return Checked(Get("", "SPILLWAY_ADMIN_TOKEN"));
  }

 private:
  static Answer<Secret> FromTokenFile(const std::string& path) {
    SW_TRY(const std::string text, ReadFile(path));
    if (Trimmed(text).empty()) return FailUsage(path + " is empty: it should hold an admin token");
    return Checked(text);
  }
  static Answer<Secret> Checked(std::string_view text) {
    const std::string_view token = Trimmed(text);
    const bool clean = std::ranges::all_of(token, [](char c) { return c > ' ' && c < 0x7F; });
    if (!clean) return FailUsage("the admin token holds characters that no token has");
    return Secret(std::string(token));
  }

  const ReadEnvironment& environment_;
  Settings file_;
};

Answer<void> SetAddress(std::string_view text, Connection& connection) {
  connection.tls = text.starts_with("https://");
  if (connection.tls) {
    text.remove_prefix(8);
  } else if (text.starts_with("http://")) {
    text.remove_prefix(7);
  }
  if (text.ends_with('/')) text.remove_suffix(1);
  if (const auto parsed = ParseHostPort(text); !parsed || parsed->port == 0) {
    return FailUsage("the control plane's address must be HOST:PORT or https://HOST:PORT, not \"" +
                     std::string(text) + "\" (--admin, SPILLWAY_ADMIN)");
  }
  connection.address = text;
  return {};
}

Answer<void> CheckTransport(const Connection& connection, bool insecure_allowed) {
  if (connection.cert_file.empty() != connection.key_file.empty()) {
    return FailUsage("--cert and --key go together");
  }
  const auto host = ParseHostPort(connection.address);
  if (connection.tls || insecure_allowed || connection.token.empty() || IsLoopback(host->host)) {
    return {};
  }
  return FailUsage("the admin token would travel in clear to " + connection.address +
                   ": use https://" + connection.address +
                   " (--ca-file for a private CA), or --insecure-transport if you must");
}

}  // namespace

bool IsLoopback(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  // Only a dotted quad: "127.example.org" is a name.
  return host.starts_with("127.") && std::ranges::count(host, '.') == 3 &&
         host.find_first_not_of("0123456789.") == std::string_view::npos;
}

Answer<Connection> ResolveConnection(const ConnectionFlags& flags,
                                     const ReadEnvironment& environment) {
  SW_TRY(Settings file, FromFile(ConfigPath(environment)));
  const Source source(environment, std::move(file));
  Connection connection;
  std::string address = source.Get(flags.admin, "SPILLWAY_ADMIN");
  if (address.empty()) address = kDefaultAddress;
  SW_CHECK(SetAddress(address, connection));
  connection.ca_file = source.Get(flags.ca_file, "SPILLWAY_ADMIN_CA_FILE");
  connection.cert_file = source.Get(flags.cert, "SPILLWAY_ADMIN_CERT");
  connection.key_file = source.Get(flags.key, "SPILLWAY_ADMIN_KEY");
  // Either says that TLS is meant; a plain connection would ignore them in silence.
  connection.tls |= !connection.ca_file.empty() || !connection.cert_file.empty();
  SW_TRY(connection.token, source.Token(flags));
  SW_CHECK(CheckTransport(connection, flags.insecure_transport));
  return connection;
}

}  // namespace spillway::cli
