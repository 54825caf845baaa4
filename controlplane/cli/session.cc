#include "controlplane/cli/session.h"

#include <utility>

namespace spillway::cli {

Answer<Client*> Session::client() {
  if (client_ == nullptr) {
    SW_TRY(Connection connection, ResolveConnection(flags_.connection, io_.environment));
    SW_TRY(client_, Client::Create(std::move(connection)));
  }
  return client_.get();
}

Format Session::format() const {
  if (flags_.format == "json") return Format::kJson;
  if (flags_.format == "csv") return Format::kCsv;
  return flags_.format == "yaml" ? Format::kYaml : Format::kTable;
}

void Session::Print(const Value& value) {
  io_.out << (format() == Format::kYaml ? value.ToYaml() : value.ToJson());
}

void Session::Print(const Table& table, std::string_view when_empty) {
  if (table.empty()) {
    io_.err << when_empty << "\n";
  } else {
    io_.out << table.Text();
  }
}

void Session::PrintItems(Value::List items, const Table& table, std::string_view when_empty) {
  if (for_people()) {
    Print(table, when_empty);
  } else {
    Print(Value::Items(std::move(items)));
  }
}

}  // namespace spillway::cli
