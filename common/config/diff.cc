#include <format>
#include <map>

#include "common/config/form.h"
#include "common/config/form_builder.h"
#include "common/config/resource.h"

namespace spillway::config {
namespace {

struct FlatField {
  std::string path;
  std::string text;
};

void Flatten(const FormFields& fields, const std::string& prefix, std::vector<FlatField>& out);

struct FlattenValue {
  const std::string& path;
  std::vector<FlatField>& out;

  void operator()(const Plain& plain) const { out.push_back({path, plain.text}); }
  void operator()(const Quotable& text) const { out.push_back({path, text.text}); }
  void operator()(const PlainList& list) const { (*this)(list.texts); }
  void operator()(const std::vector<std::string>& texts) const {
    std::string joined;
    for (const std::string& text : texts) joined += (joined.empty() ? "" : ", ") + text;
    out.push_back({path, std::move(joined)});
  }
  void operator()(const FormFields& fields) const { Flatten(fields, path + ".", out); }
  void operator()(const std::vector<FormFields>& items) const {
    for (size_t i = 0; i < items.size(); ++i) {
      Flatten(items[i], std::format("{}[{}].", path, i), out);
    }
  }
};

void Flatten(const FormFields& fields, const std::string& prefix, std::vector<FlatField>& out) {
  for (const FormField& field : fields) {
    const std::string path = prefix + field.name;
    std::visit(FlattenValue{path, out}, field.value);
  }
}

// What a file does not write shows in no form: what follows from price books and the catalogue.
FormFields ResolvedForm(const v1::Resource& resource) {
  const v1::ResolvedPrice& resolved = resource.model().resolved_price();
  return FormBuilder()
      .Inner("resolved_price", FormBuilder()
                                   .Text("source", resolved.source())
                                   .Add(PriceForm(resolved.price()))
                                   .Flag("unpriced", resolved.unpriced())
                                   .Number("output_tokens_max", resolved.output_tokens_max())
                                   .Take())
      .Take();
}

std::vector<FlatField> FlatFormOf(const v1::Resource& resource) {
  std::vector<FlatField> fields;
  Flatten(FormOf(resource), "", fields);
  Flatten(ResolvedForm(resource), "", fields);
  return fields;
}

void AddChange(std::string field, std::string before, std::string after,
               std::vector<v1::FieldChange>& changes) {
  v1::FieldChange& change = changes.emplace_back();
  change.set_field(std::move(field));
  change.set_before(std::move(before));
  change.set_after(std::move(after));
}

bool SameValue(const v1::Secret& before, const v1::Secret& after) {
  return before.plaintext() == after.plaintext() &&
         before.sealed().SerializeAsString() == after.sealed().SerializeAsString();
}

// A secret that keeps its reference but has another value: the reference alone would hide it.
void DiffSecret(std::string field, const v1::Secret& before, const v1::Secret& after,
                std::vector<v1::FieldChange>& changes) {
  if (before.reference() != after.reference() || SameValue(before, after)) return;
  AddChange(std::move(field), after.reference(), after.reference() + " (new value)", changes);
}

void DiffCredentials(const v1::Provider& before, const v1::Provider& after,
                     std::vector<v1::FieldChange>& changes) {
  std::map<std::string_view, const v1::Secret*> old;
  for (const v1::Credential& credential : before.credentials())
    old[credential.name()] = &credential.api_key();
  for (const v1::Credential& credential : after.credentials()) {
    const auto found = old.find(credential.name());
    if (found == old.end()) continue;
    DiffSecret(std::format("credentials[{}].api_key", credential.name()), *found->second,
               credential.api_key(), changes);
  }
}

std::string PublicIds(const v1::Key& key) {
  std::string ids;
  for (const v1::KeySecret& secret : key.secrets()) {
    if (!ids.empty()) ids += ", ";
    ids += secret.public_id().empty() ? "(digest)" : secret.public_id();
  }
  return ids;
}

bool SameDigests(const v1::Key& before, const v1::Key& after) {
  if (before.secrets_size() != after.secrets_size()) return false;
  for (int i = 0; i < before.secrets_size(); ++i) {
    if (before.secrets(i).sha256() != after.secrets(i).sha256()) return false;
  }
  return true;
}

void DiffKeySecrets(const v1::Key& before, const v1::Key& after,
                    std::vector<v1::FieldChange>& changes) {
  const std::string old_ids = PublicIds(before);
  std::string new_ids = PublicIds(after);
  if (old_ids == new_ids) {
    if (SameDigests(before, after)) return;
    new_ids += " (new value)";
  }
  AddChange("secrets", old_ids, std::move(new_ids), changes);
}

}  // namespace

std::vector<v1::FieldChange> DiffFields(const v1::Resource& before, const v1::Resource& after) {
  std::vector<v1::FieldChange> changes;
  const std::vector<FlatField> old_fields = FlatFormOf(before);
  const std::vector<FlatField> new_fields = FlatFormOf(after);
  std::map<std::string_view, std::string_view> left;
  for (const FlatField& field : old_fields) left[field.path] = field.text;
  for (const FlatField& field : new_fields) {
    const auto found = left.find(field.path);
    if (found == left.end()) {
      AddChange(field.path, "", field.text, changes);
      continue;
    }
    if (found->second != field.text)
      AddChange(field.path, std::string(found->second), field.text, changes);
    left.erase(found);
  }
  for (const FlatField& field : old_fields) {
    if (left.contains(field.path)) AddChange(field.path, field.text, "", changes);
  }
  DiffCredentials(before.provider(), after.provider(), changes);
  DiffKeySecrets(before.key(), after.key(), changes);
  if (before.has_alert_sink() && after.has_alert_sink()) {
    DiffSecret("url", before.alert_sink().url(), after.alert_sink().url(), changes);
    DiffSecret("signing_secret", before.alert_sink().signing_secret(),
               after.alert_sink().signing_secret(), changes);
  }
  return changes;
}

}  // namespace spillway::config
