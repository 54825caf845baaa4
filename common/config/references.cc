#include "common/config/references.h"

#include <algorithm>
#include <format>

#include "common/crypto/key_file.h"
#include "common/settings.h"

namespace spillway::config {
namespace {

constexpr size_t kResolvedBytesMax = size_t{64} * 1024;

bool IsEnvironmentName(std::string_view name) {
  const auto word = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !name.empty() && name.size() <= 256 && !(name.front() >= '0' && name.front() <= '9') &&
         std::ranges::all_of(name, word);
}

bool IsPath(std::string_view path) {
  return !path.empty() && path.size() <= 4096 &&
         std::ranges::all_of(path, [](unsigned char c) { return c >= 0x20 && c != 0x7F; });
}

Result<std::string> ReadEnvironment(std::string_view name) {
  auto value = Environment(std::string(name).c_str());
  if (!value) {
    return Fail(ErrorCode::kUnavailable,
                std::format("the environment variable {} is not set", name));
  }
  return *std::move(value);
}

Result<std::string> ReadSecretFile(std::string_view path) {
  SW_TRY(const Secret content, ReadKeyFile(std::string(path)));
  std::string_view text = content.Reveal();
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  return std::string(text);
}

}  // namespace

ReadReference SystemReferences() {
  return [](std::string_view scheme, std::string_view name) -> Result<std::string> {
    return scheme == "env" ? ReadEnvironment(name) : ReadSecretFile(name);
  };
}

std::optional<Reference> ParseReference(std::string_view text) {
  if (!text.starts_with("${") || !text.ends_with('}')) return std::nullopt;
  const std::string_view inner = text.substr(2, text.size() - 3);
  const size_t colon = inner.find(':');
  if (colon == std::string_view::npos || inner.contains('}')) return std::nullopt;
  const Reference reference{.scheme = inner.substr(0, colon), .name = inner.substr(colon + 1)};
  if (reference.scheme == "env" && IsEnvironmentName(reference.name)) return reference;
  if (reference.scheme == "file" && IsPath(reference.name)) return reference;
  return std::nullopt;
}

Result<std::string> ResolveText(std::string_view text, const ReadReference& read) {
  std::string resolved;
  while (!text.empty()) {
    const size_t start = std::min(text.find("${"), text.size());
    resolved += text.substr(0, start);
    text.remove_prefix(start);
    if (text.empty()) break;
    const size_t end = text.find('}');
    const auto reference =
        end == std::string_view::npos ? std::nullopt : ParseReference(text.substr(0, end + 1));
    if (!reference)
      return Fail(ErrorCode::kInvalidConfig, "a reference must be ${env:NAME} or ${file:PATH}");
    SW_TRY(const std::string value, read(reference->scheme, reference->name));
    resolved += value;
    if (resolved.size() > kResolvedBytesMax)
      return Fail(ErrorCode::kInvalidConfig, "its references resolve to more than 64 KiB");
    text.remove_prefix(end + 1);
  }
  return resolved;
}

Result<void> CheckCredentialText(std::string_view text) {
  if (text.empty()) return Fail(ErrorCode::kInvalidConfig, "must not be empty");
  if (text.size() > 4096) return Fail(ErrorCode::kInvalidConfig, "must be at most 4096 characters");
  if (!std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7F; })) {
    return Fail(ErrorCode::kInvalidConfig,
                "must be printable ASCII characters without spaces or line feeds");
  }
  return {};
}

}  // namespace spillway::config
