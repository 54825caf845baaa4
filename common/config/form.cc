#include "common/config/form.h"

#include "common/config/references.h"
#include "common/money.h"
#include "common/settings.h"
#include "common/utc.h"

namespace spillway::config {
namespace {

// Adds what is not at its default.
class FormBuilder {
 public:
  FormBuilder& Text(std::string name, const std::string& text) {
    if (!text.empty()) fields_.push_back({std::move(name), Quotable{text}});
    return *this;
  }
  FormBuilder& Word(std::string name, std::string text) {
    if (!text.empty()) fields_.push_back({std::move(name), Plain{std::move(text)}});
    return *this;
  }
  FormBuilder& Duration(std::string name, int64_t ms) {
    return Word(std::move(name), ms == 0 ? "" : FormatDurationMs(ms));
  }
  FormBuilder& Texts(std::string name,
                     const google::protobuf::RepeatedPtrField<std::string>& texts) {
    if (!texts.empty())
      fields_.push_back({std::move(name), std::vector<std::string>(texts.begin(), texts.end())});
    return *this;
  }
  FormBuilder& Inner(std::string name, FormFields fields) {
    if (!fields.empty()) fields_.push_back({std::move(name), std::move(fields)});
    return *this;
  }
  // Also when empty: `credentials: []` says something.
  FormBuilder& List(std::string name, std::vector<FormFields> items) {
    fields_.push_back({std::move(name), std::move(items)});
    return *this;
  }
  FormFields Take() { return std::move(fields_); }

 private:
  FormFields fields_;
};

std::string Date(int64_t unix_ms) {
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

FormFields CredentialForm(const v1::Credential& credential) {
  FormFields fields = FormBuilder().Text("name", credential.name()).Take();
  for (FormField& field : SecretForm("api_key", credential.api_key().reference()))
    fields.push_back(std::move(field));
  return fields;
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
  const v1::Price& price = model.price();
  const auto usd = [](bool present, int64_t nanos) { return present ? FormatUsd(nanos) : ""; };
  return FormBuilder()
      .Text("name", model.name())
      .Text("provider", model.provider())
      .Text("upstream_model", model.upstream_model())
      .Inner("price", FormBuilder()
                          .Word("input", usd(price.has_input(), price.input()))
                          .Word("output", usd(price.has_output(), price.output()))
                          .Word("cached_input", usd(price.has_cached_input(), price.cached_input()))
                          .Take())
      .Take();
}

FormFields Form(const v1::Route& route) {
  std::vector<FormFields> targets;
  for (const v1::Target& target : route.targets()) {
    targets.push_back(FormBuilder()
                          .Text("model", target.model())
                          .Duration("timeout", target.timeout_ms())
                          .Take());
  }
  const int32_t attempts = route.retry().attempts();
  return FormBuilder()
      .Text("name", route.name())
      .Word("strategy", route.strategy() == v1::Route::STRATEGY_PRIORITY ? "priority" : "")
      .List("targets", std::move(targets))
      .Texts("fallbacks", route.fallbacks())
      .Inner("retry",
             FormBuilder().Word("attempts", attempts == 0 ? "" : std::to_string(attempts)).Take())
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
  FormFields fields = FormBuilder()
                          .Text("name", key.name())
                          .Text("team", key.team())
                          .Text("user", key.user())
                          .Text("organization", key.organization())
                          .Texts("routes", key.routes())
                          .Texts("models", key.models())
                          .Word("expires", Date(key.expires_at_ms()))
                          .Word("revoked", key.revoked() ? "true" : "")
                          .Text("feature", key.feature())
                          .Take();
  if (!key.secret_reference().empty()) {
    for (FormField& field : SecretForm("secret", key.secret_reference()))
      fields.push_back(std::move(field));
  }
  return fields;
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
    case v1::Resource::KIND_NOT_SET:
      return {};
  }
  return {};
}

}  // namespace spillway::config
