#pragma once

#include <string_view>

#include "common/config/load.h"

namespace spillway::config {

// Every kind and every field.
inline constexpr std::string_view kFullSample = R"(
providers:
  - name: openai
    dialect: openai
    base_url: https://api.openai.com/v1
    credentials:
      - {name: main, api_key: "${env:OPENAI_API_KEY}"}
      - {name: spare, api_key: sk-literal}
    timeouts: {connect: 2s, first_token: 20s, idle: 1500ms, total: 10m}
    tls: {ca_file: /etc/ssl/ca.pem, server_name: api.openai.com}
  - {name: local, dialect: openai, base_url: "http://127.0.0.1:11434/v1", credentials: []}
models:
  - name: gpt-5-mini
    provider: openai
    upstream_model: gpt-5-mini-2026
    price: {input: 0.25, output: 2.0, cached_input: 0.025}
  - {name: llama, provider: local, price: {input: 0}}
routes:
  - name: support-tier
    strategy: priority
    targets: [{model: gpt-5-mini, timeout: 30s}, {model: llama}]
    fallbacks: [cheap, llama]
    retry: {attempts: 2}
  - {name: cheap, targets: [{model: llama}]}
organizations: [{name: acme}]
teams: [{name: support, organization: acme}]
users: [{name: alice, team: support}]
keys:
  - name: support-bot
    team: support
    user: alice
    organization: acme
    routes: [support-tier]
    models: [llama]
    expires: 2027-01-01
    feature: "triage: \"beta\""
  - {name: old, revoked: true, expires: "2026-06-30T12:00:00+02:00"}
)";

inline Result<std::string> TestReferences(std::string_view scheme, std::string_view name) {
  if (scheme == "env" && name == "OPENAI_API_KEY") return "sk-from-env";
  if (scheme == "env" && name == "CLIENT_KEY")
    return "sk-sw-abcdefghijkl-0123456789012345678901234567890123456789012";
  if (scheme == "env" && name == "SHORT") return "x";
  if (scheme == "env" && name == "EMPTY") return "";
  if (scheme == "env" && name == "TWO_LINES") return "sk-a\nx-evil: 1";
  if (scheme == "env" && name == "HOST") return "gw.example";
  return Fail(ErrorCode::kUnavailable, "the environment variable is not set");
}

inline LoadResult LoadText(std::string_view text, bool standalone = false) {
  return LoadYaml(text, "gateway.yaml", {.references = &TestReferences, .standalone = standalone});
}

}  // namespace spillway::config
