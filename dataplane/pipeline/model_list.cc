#include "dataplane/pipeline/model_list.h"

#include "dataplane/admission/admission.h"
#include "dataplane/dialect/openai.h"

namespace spillway {
namespace {

constexpr std::string_view kModels = "/v1/models";

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string PercentDecoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (low < 0) {
      out += text[i];
    } else {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

}  // namespace

bool IsModelsPath(std::string_view path) {
  return path.starts_with(kModels) &&
         (path.size() == kModels.size() || path[kModels.size()] == '/');
}

Result<std::string> AnswerModels(std::string_view path, const Caller& caller,
                                 const Snapshot& snapshot) {
  path.remove_prefix(kModels.size());
  if (path.size() <= 1) return openai::RenderModelList(Admission::Allowed(caller, snapshot));
  SW_TRY(const auto route, Admission::Admit(caller, snapshot, PercentDecoded(path.substr(1))));
  return openai::RenderModel(route->name);
}

}  // namespace spillway
