// Providers, models and routes.
#include "common/config/base_url.h"
#include "common/config/read_kinds.h"
#include "common/config/references.h"
#include "common/settings.h"

namespace spillway::config {
namespace {

constexpr int64_t kInt32Max = 0x7FFFFFFF;
constexpr std::string_view kLimitActions =
    "must be reject, {queue: {deadline: 5s}} or {downgrade: {to: NAME}}";

void ReadCredential(Section& section, v1::Credential& credential) {
  if (auto name = section.Text("name")) credential.set_name(*std::move(name));
  if (!section.Has("api_key")) section.Refuse("api_key", "", "is required");
  ReadSecretInto(section, "api_key", *credential.mutable_api_key());
}

void ReadBaseUrl(Section& section, v1::Provider& provider) {
  auto text = section.Text("base_url");
  if (!text) return;
  const ReadReference& read = section.reading().options.references;
  if (!read || !text->contains("${")) {
    provider.set_base_url(*std::move(text));
    return;
  }
  // Judged here, where the text as written is at hand: what a reference stands for may be a secret.
  auto url = ResolveText(*text, read);
  const auto good =
      url.and_then([](const std::string& resolved) { return ParseBaseUrl(resolved); });
  if (good) {
    provider.set_base_url(*std::move(url));
  } else {
    section.Refuse("base_url", ShownUrl(*text), good.error().message);
  }
}

void ReadTimeouts(Section& section, v1::Timeouts& timeouts) {
  if (auto ms = ReadTimeout(section, "connect")) timeouts.set_connect_ms(*ms);
  if (auto ms = ReadTimeout(section, "first_token")) timeouts.set_first_token_ms(*ms);
  if (auto ms = ReadTimeout(section, "idle")) timeouts.set_idle_ms(*ms);
  if (auto ms = ReadTimeout(section, "total")) timeouts.set_total_ms(*ms);
}

void ReadAttempts(Section& section, v1::Retry& retry) {
  const auto attempts = section.Integer("attempts");
  if (!attempts) return;
  if (*attempts < 1 || *attempts > kInt32Max) {
    section.Refuse("attempts", std::to_string(*attempts), "must be from 1 to 10");
  } else {
    retry.set_attempts(static_cast<int32_t>(*attempts));
  }
}

// One of the maps that a limit action may be; both would leave open which one holds.
void ReadLimitActionMap(Section& section, v1::LimitAction& action) {
  if (section.Has("queue") == section.Has("downgrade")) section.Refuse("", "", kLimitActions);
  section.Inner("queue", [&](Section& queue) {
    action.set_action(v1::LimitAction::ACTION_QUEUE);
    if (!queue.Has("deadline")) queue.Refuse("deadline", "", "is required, such as 5s");
    if (auto ms = ReadTimeout(queue, "deadline")) action.set_deadline_ms(*ms);
  });
  section.Inner("downgrade", [&](Section& downgrade) {
    action.set_action(v1::LimitAction::ACTION_DOWNGRADE);
    if (!downgrade.Has("to")) downgrade.Refuse("to", "", "is required: a model or route");
    if (auto name = downgrade.Text("to")) action.set_to(*std::move(name));
  });
}

void ReadLimitAction(Section& section, v1::Route& route) {
  constexpr std::string_view kField = "limit_action";
  const YamlNode* node = section.Find(kField);
  if (node == nullptr) return;
  v1::LimitAction& action = *route.mutable_limit_action();
  if (node->type == YamlNode::Type::kMap) {
    section.Inner(kField, [&](Section& inner) { ReadLimitActionMap(inner, action); });
  } else if (node->type == YamlNode::Type::kScalar && node->text == "reject") {
    action.set_action(v1::LimitAction::ACTION_REJECT);
  } else {
    section.Refuse(kField, node->text, kLimitActions);
  }
}

}  // namespace

std::optional<int64_t> ReadTimeout(Section& section, std::string_view field) {
  const auto ms = section.Parsed(field, &ParseDurationMs);
  if (ms != 0) return ms;
  section.Refuse(field, "0", "must be at least 1ms");
  return std::nullopt;
}

void Read(Section& section, v1::Provider& provider) {
  if (auto dialect = section.Text("dialect")) {
    if (*dialect == "openai") {
      provider.set_dialect(v1::DIALECT_OPENAI);
    } else {
      section.Refuse("dialect", *dialect, "this version knows openai");
    }
  }
  ReadBaseUrl(section, provider);
  if (!section.Has("credentials"))
    section.Refuse("credentials", "", "is required; [] for a provider that asks for none");
  section.Each("credentials", [&](Section& s) { ReadCredential(s, *provider.add_credentials()); });
  section.Inner("timeouts", [&](Section& s) { ReadTimeouts(s, *provider.mutable_timeouts()); });
  section.Inner("tls", [&](Section& s) {
    v1::TlsOptions& tls = *provider.mutable_tls();
    if (auto path = s.Text("ca_file")) tls.set_ca_file(*std::move(path));
    if (auto name = s.Text("server_name")) tls.set_server_name(*std::move(name));
  });
}

void Read(Section& section, v1::Model& model) {
  if (auto name = section.Text("provider")) model.set_provider(*std::move(name));
  if (auto name = section.Text("upstream_model")) model.set_upstream_model(*std::move(name));
  section.Inner("price", [&](Section& s) { ReadPrice(s, *model.mutable_price()); });
  if (auto tokens = ReadCount(section, "output_tokens_max")) model.set_output_tokens_max(*tokens);
}

void Read(Section& section, v1::Route& route) {
  const auto strategy = section.Text("strategy");
  if (strategy && *strategy != "priority")
    section.Refuse("strategy", *strategy, "this version knows priority");
  route.set_strategy(v1::Route::STRATEGY_PRIORITY);
  section.Each("targets", [&](Section& s) {
    v1::Target& target = *route.add_targets();
    if (auto model = s.Text("model")) target.set_model(*std::move(model));
    if (auto ms = ReadTimeout(s, "timeout")) target.set_timeout_ms(*ms);
  });
  if (auto names = section.Texts("fallbacks"))
    route.mutable_fallbacks()->Assign(names->begin(), names->end());
  section.Inner("retry", [&](Section& s) { ReadAttempts(s, *route.mutable_retry()); });
  ReadLimitAction(section, route);
}

}  // namespace spillway::config
