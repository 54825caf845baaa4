#include "tests/fakes/nats_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <vector>

namespace spillway {
namespace {

constexpr const char* kPassword = "test-password";

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int FreePort() {
  const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (bind(probe, reinterpret_cast<sockaddr*>(&address), size) != 0)
    throw std::runtime_error("no port is free");
  getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size);
  close(probe);
  return ntohs(address.sin_port);
}

bool Accepts(int port) {
  const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  const bool accepted =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(probe);
  return accepted;
}

[[noreturn]] void RunServer(const std::string& program, const std::string& folder, int port) {
  setenv("SPILLWAY_NATS_CONTROLPLANE_PASSWORD", kPassword, 1);
  setenv("SPILLWAY_NATS_DATAPLANE_PASSWORD", kPassword, 1);
  setenv("SPILLWAY_NATS_STORE_DIR", (folder + "/store").c_str(), 1);
  const int log = open((folder + "/log").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  const std::string number = std::to_string(port);
  execl(program.c_str(), "nats-server", "-c", SPILLWAY_NATS_CONF, "-a", "127.0.0.1", "-p",
        number.c_str(), nullptr);
  _exit(127);
}

}  // namespace

std::optional<std::string> NatsServer::Program() {
  if (const char* named = std::getenv("SPILLWAY_NATS_SERVER"); named != nullptr) return named;
  const char* path = std::getenv("PATH");
  std::string folders = path == nullptr ? "" : path;
  folders += ":/usr/sbin";
  for (size_t at = 0; at < folders.size();) {
    const size_t end = std::min(folders.find(':', at), folders.size());
    std::string program = folders.substr(at, end - at) + "/nats-server";
    if (access(program.c_str(), X_OK) == 0) return program;
    at = end + 1;
  }
  return std::nullopt;
}

NatsServer::NatsServer() : port_(FreePort()) { Start(); }

NatsServer::~NatsServer() { Kill(); }

void NatsServer::Start() {
  const auto program = Program();
  if (!program) throw std::runtime_error("there is no nats-server");
  pid_ = fork();
  if (pid_ == 0) RunServer(*program, folder_.path(), port_);
  for (int i = 0; i < 1'000; ++i) {
    if (Accepts(port_)) return;
    poll(nullptr, 0, 10);  // another process: nothing to wait on but its port
  }
  throw std::runtime_error("nats-server does not answer");
}

void NatsServer::Kill() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void NatsServer::Pause() { kill(pid_, SIGSTOP); }
void NatsServer::Resume() { kill(pid_, SIGCONT); }
void NatsServer::WipeStore() { std::filesystem::remove_all(folder_.Path("store")); }
std::string NatsServer::url() const { return "nats://127.0.0.1:" + std::to_string(port_); }

NatsOptions NatsServer::ControlPlane() const {
  NatsOptions options;
  options.url = url();
  options.user = "controlplane";
  options.password = Secret(kPassword);
  options.inbox_prefix = std::string(kControlPlaneInbox);
  options.reconnect_delay_max_ms = 200;
  return options;
}

NatsOptions NatsServer::DataPlane() const {
  NatsOptions options = ControlPlane();
  options.user = "dataplane";
  options.inbox_prefix = std::string(kDataPlaneInbox);
  return options;
}

}  // namespace spillway
