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
    price:
      input: 0.25
      output: 2.0
      cached_input: 0.025
      cache_write_5m: 0.3
      cache_write_1h: 0.4
      reasoning: 2.5
      audio_input: 10
      audio_output: 20
      image: 0.04
      request: 0.001
      long_context: [{above: 200000, input: 0.5, output: 4}, {above: 400000, input: 1}]
      tiers: {batch: {percent: 50}, priority: {input: 0.5, output: 4, long_context: [{above: 9, input: 2}]}}
    output_tokens_max: 128000
  - {name: llama, provider: local, price: {input: 0}}
routes:
  - name: support-tier
    strategy: priority
    targets: [{model: gpt-5-mini, timeout: 30s}, {model: llama}]
    fallbacks: [cheap, llama]
    retry: {attempts: 2}
    limit_action: {downgrade: {to: cheap}}
  - {name: cheap, targets: [{model: llama}], limit_action: {queue: {deadline: 5s}}}
  - {name: strict, targets: [{model: llama}], limit_action: reject}
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
budgets:
  - name: support-month
    scope: {organization: acme, team: support, tags: {"cost center": "0042", stage: prod}}
    limit_usd: 500
    window: month
    time_zone: Europe/Berlin
    alerts: [50, 80, 95]
    notify: [ops, chat]
    on_exhausted: {downgrade: cheap}
    on_partition: leased
    on_overrun: cap
    raise: {usd: 20, until: 2026-12-01}
    frozen: true
  - {name: user-day, scope: {each: user, model: llama, provider: local}, limit_usd: 0.05, window: 24h, on_exhausted: warn, on_partition: open, open_unheard: true, on_overrun: finish}
  - {name: key-week, scope: {key: old, route: cheap, user: bob, feature: "a b", each: "tag:project"}, limit_usd: 1, window: week, on_exhausted: reject, on_partition: closed}
  - {name: total, scope: {}, limit_usd: 9999.5, window: lifetime}
  - {name: plain, scope: {each: team}, limit_usd: 1, window: day}
rate_limits:
  - {name: user-hour, scope: {each: user}, requests: 1000, tokens: 100000, token_kind: output, concurrent: 10, per: hour}
  - {name: total-running, scope: {}, concurrent: 100}
  - {name: burst, scope: {team: support}, requests: 5, per: second}
alert_sinks:
  - {name: ops, kind: webhook, url: "${env:ALERT_URL}", signing_secret: literal-secret}
  - {name: chat, kind: slack, url: "https://hooks.example/T0/B0?x=1"}
price_books:
  - name: house
    dated: 2026-11-20
    unknown: {default: {input: 1, output: 2, tiers: {batch: {percent: 50}}}}
    models:
      gpt-x: {input: 0.25, output: 2, long_context: [{above: 272000, input: 1}], output_tokens_max: 16000}
      "vendor/model: free": {input: 0}
  - {name: empty}
)";

inline constexpr size_t kFullResources = 24;

inline Result<std::string> TestReferences(std::string_view scheme, std::string_view name) {
  if (scheme == "env" && name == "OPENAI_API_KEY") return "sk-from-env";
  if (scheme == "env" && name == "CLIENT_KEY")
    return "sk-sw-abcdefghijkl-0123456789012345678901234567890123456789012";
  if (scheme == "env" && name == "SHORT") return "x";
  if (scheme == "env" && name == "EMPTY") return "";
  if (scheme == "env" && name == "TWO_LINES") return "sk-a\nx-evil: 1";
  if (scheme == "env" && name == "HOST") return "gw.example";
  if (scheme == "env" && name == "ALERT_URL") return "https://alerts.example/in?token=t0ken";
  if (scheme == "env" && name == "FTP_URL") return "ftp://alerts.example/t0ken";
  return Fail(ErrorCode::kUnavailable, "the environment variable is not set");
}

inline LoadResult LoadText(std::string_view text, bool standalone = false) {
  return LoadYaml(text, "gateway.yaml", {.references = &TestReferences, .standalone = standalone});
}

}  // namespace spillway::config
