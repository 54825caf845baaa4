#pragma once

#include <string>
#include <utility>
#include <vector>

#include "common/config/form.h"
#include "common/settings.h"
#include "spillway/v1/resources.pb.h"

namespace spillway::config {

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
  FormBuilder& Number(std::string name, int64_t number) {
    return Word(std::move(name), number == 0 ? "" : std::to_string(number));
  }
  FormBuilder& Flag(std::string name, bool flag) {
    return Word(std::move(name), flag ? "true" : "");
  }
  FormBuilder& Add(FormFields fields) {
    for (FormField& field : fields) fields_.push_back(std::move(field));
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

// A date, or a moment when it is not midnight; empty for 0.
std::string DateText(int64_t unix_ms);
// One field that reads back as this reference.
FormFields SecretForm(std::string name, const std::string& reference);
FormFields PriceForm(const v1::Price& price);

FormFields Form(const v1::Budget& budget);
FormFields Form(const v1::RateLimit& limit);
FormFields Form(const v1::AlertSink& sink);
FormFields Form(const v1::PriceBook& book);

}  // namespace spillway::config
