#pragma once

#include <string>
#include <variant>
#include <vector>

#include "spillway/v1/resources.pb.h"

namespace spillway::config {

// The form that a resource has in a file: what RenderYaml prints and DiffFields compares. Secrets
// appear as their references; fields at their defaults are absent.
struct FormField;
using FormFields = std::vector<FormField>;

struct Plain {  // a number, duration, date or keyword: never in quotes
  std::string text;
};
struct Quotable {  // any text
  std::string text;
};
struct PlainList {
  std::vector<std::string> texts;
};
struct FormField {
  std::string name;  // of a map whose names the file chooses: any text
  std::variant<Plain, Quotable, PlainList, std::vector<std::string>, FormFields,
               std::vector<FormFields>>
      value;
};

FormFields FormOf(const v1::Resource& resource);

}  // namespace spillway::config
