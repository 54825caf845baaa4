#include "common/config/form.h"

#include "common/config/form_builder.h"
#include "common/config/references.h"
#include "common/utc.h"

namespace spillway::config {

std::string DateText(int64_t unix_ms) {
  constexpr std::string_view kMidnight = "T00:00:00.000Z";
  if (unix_ms == 0) return {};
  std::string text = FormatUtc(unix_ms);
  if (text.ends_with(kMidnight)) text.resize(text.size() - kMidnight.size());
  return text;
}

FormFields SecretForm(std::string name, const std::string& reference) {
  FormBuilder form;
  if (ParseReference(reference)) return form.Text(std::move(name), reference).Take();
  // Any other text would be read back as the secret itself.
  return form.Inner(std::move(name), FormBuilder().Text("reference", reference).Take()).Take();
}

namespace {

FormFields CredentialForm(const v1::Credential& credential) {
  return FormBuilder()
      .Text("name", credential.name())
      .Add(SecretForm("api_key", credential.api_key().reference()))
      .Take();
}

FormFields Form(const v1::Provider& provider) {
  std::vector<FormFields> credentials;
  for (const v1::Credential& credential : provider.credentials())
    credentials.push_back(CredentialForm(credential));
  const v1::Timeouts& timeouts = provider.timeouts();
  return FormBuilder()
      .Text("name", provider.name())
      .Word("dialect", provider.dialect() == v1::DIALECT_OPENAI ? "openai" : "")
      .Text("base_url", provider.base_url())
      .List("credentials", std::move(credentials))
      .Inner("timeouts", FormBuilder()
                             .Duration("connect", timeouts.connect_ms())
                             .Duration("first_token", timeouts.first_token_ms())
                             .Duration("idle", timeouts.idle_ms())
                             .Duration("total", timeouts.total_ms())
                             .Take())
      .Inner("tls", FormBuilder()
                        .Text("ca_file", provider.tls().ca_file())
                        .Text("server_name", provider.tls().server_name())
                        .Take())
      .Take();
}

FormFields Form(const v1::Model& model) {
  // What came from a price book or the catalogue would be read back as written by hand.
  const bool filled_in = model.output_tokens_max() == model.resolved_price().output_tokens_max();
  return FormBuilder()
      .Text("name", model.name())
      .Text("provider", model.provider())
      .Text("upstream_model", model.upstream_model())
      .Inner("price", PriceForm(model.price()))
      .Number("output_tokens_max", filled_in ? 0 : model.output_tokens_max())
      .Take();
}

FormFields LimitActionForm(const v1::LimitAction& action) {
  switch (action.action()) {
    case v1::LimitAction::ACTION_REJECT:
      return FormBuilder().Word("limit_action", "reject").Take();
    case v1::LimitAction::ACTION_QUEUE:
      return FormBuilder()
          .Inner(
              "limit_action",
              FormBuilder()
                  .Inner("queue", FormBuilder().Duration("deadline", action.deadline_ms()).Take())
                  .Take())
          .Take();
    case v1::LimitAction::ACTION_DOWNGRADE:
      return FormBuilder()
          .Inner(
              "limit_action",
              FormBuilder().Inner("downgrade", FormBuilder().Text("to", action.to()).Take()).Take())
          .Take();
    default:
      return {};
  }
}

FormFields Form(const v1::Route& route) {
  std::vector<FormFields> targets;
  for (const v1::Target& target : route.targets()) {
    targets.push_back(FormBuilder()
                          .Text("model", target.model())
                          .Duration("timeout", target.timeout_ms())
                          .Take());
  }
  return FormBuilder()
      .Text("name", route.name())
      .Word("strategy", route.strategy() == v1::Route::STRATEGY_PRIORITY ? "priority" : "")
      .List("targets", std::move(targets))
      .Texts("fallbacks", route.fallbacks())
      .Inner("retry", FormBuilder().Number("attempts", route.retry().attempts()).Take())
      .Add(LimitActionForm(route.limit_action()))
      .Take();
}

FormFields Form(const v1::Organization& organization) {
  return FormBuilder().Text("name", organization.name()).Take();
}

FormFields Form(const v1::Team& team) {
  return FormBuilder().Text("name", team.name()).Text("organization", team.organization()).Take();
}

FormFields Form(const v1::User& user) {
  return FormBuilder().Text("name", user.name()).Text("team", user.team()).Take();
}

FormFields Form(const v1::Key& key) {
  FormBuilder form;
  form.Text("name", key.name())
      .Text("team", key.team())
      .Text("user", key.user())
      .Text("organization", key.organization())
      .Texts("routes", key.routes())
      .Texts("models", key.models())
      .Word("expires", DateText(key.expires_at_ms()))
      .Flag("revoked", key.revoked())
      .Text("feature", key.feature());
  if (!key.secret_reference().empty()) form.Add(SecretForm("secret", key.secret_reference()));
  return form.Take();
}

}  // namespace

FormFields FormOf(const v1::Resource& resource) {
  switch (resource.kind_case()) {
    case v1::Resource::kProvider:
      return Form(resource.provider());
    case v1::Resource::kModel:
      return Form(resource.model());
    case v1::Resource::kRoute:
      return Form(resource.route());
    case v1::Resource::kOrganization:
      return Form(resource.organization());
    case v1::Resource::kTeam:
      return Form(resource.team());
    case v1::Resource::kUser:
      return Form(resource.user());
    case v1::Resource::kKey:
      return Form(resource.key());
    case v1::Resource::kBudget:
      return Form(resource.budget());
    case v1::Resource::kRateLimit:
      return Form(resource.rate_limit());
    case v1::Resource::kAlertSink:
      return Form(resource.alert_sink());
    case v1::Resource::kPriceBook:
      return Form(resource.price_book());
    case v1::Resource::KIND_NOT_SET:
      return {};
  }
  return {};
}

}  // namespace spillway::config
