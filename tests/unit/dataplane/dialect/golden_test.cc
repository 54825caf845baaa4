// Reads tests/golden/openai: see the README there for the files.
#include <catch2/catch_all.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "dataplane/dialect/openai.h"
#include "tests/unit/dataplane/dialect/padded.h"

namespace spillway::openai {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kGoldenCap = 100;  // of the files *.capped.json

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<fs::path> Files(std::string_view ending) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(SPILLWAY_GOLDEN_DIR "/openai")) {
    if (entry.path().string().ends_with(ending)) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

Operation OperationByName(const std::string& name) {
  if (name.starts_with("completions")) return Operation::kCompletions;
  if (name.starts_with("embeddings")) return Operation::kEmbeddings;
  return Operation::kChat;
}

TEST_CASE("golden requests") {
  const auto files = Files(".request.json");
  REQUIRE(files.size() >= 8);
  for (const fs::path& path : files) {
    const std::string name = path.stem().stem().string();
    INFO(name);
    const Padded body(ReadAll(path));
    const auto request = DecodeRequest(OperationByName(name), body.view());
    const fs::path upstream = path.parent_path() / (name + ".upstream.json");
    const fs::path refused = path.parent_path() / (name + ".refused.json");
    if (request) {
      CHECK(Join(SplicedBody(*request, body.view(), "upstream-model").pieces()) ==
            ReadAll(upstream));
      const fs::path capped = path.parent_path() / (name + ".capped.json");
      if (!fs::exists(capped)) continue;
      CHECK(Join(SplicedBody(*request, body.view(), "upstream-model", kGoldenCap).pieces()) ==
            ReadAll(capped));
    } else {
      CHECK(RenderError(request.error()) + "\n" == ReadAll(refused));
    }
  }
}

std::string Summary(const StreamScanner& scanner, bool good) {
  std::ostringstream out;
  out << "good " << good << "\ndone " << scanner.done() << "\nfinish " << (scanner.finishes() > 0)
      << "\nerror " << scanner.error_seen() << "\nmid_event " << scanner.mid_event() << "\nusage";
  if (const auto& usage = scanner.usage()) {
    out << " input " << usage->input << " output " << usage->output << " cached "
        << usage->cached_input << " reasoning " << usage->reasoning;
    const auto part = [&](std::string_view name, int64_t tokens) {
      if (tokens > 0) out << " " << name << " " << tokens;
    };
    part("cache_write", usage->cache_write_5m);
    part("audio_input", usage->audio_input);
    part("audio_output", usage->audio_output);
  } else {
    out << " none";
  }
  if (!scanner.service_tier().empty()) out << "\ntier " << scanner.service_tier();
  out << "\nestimate " << scanner.OutputTokensEstimate() << "\n";
  return out.str();
}

// Two reads that meet at `cut`.
std::string ClientView(StreamScanner& scanner, std::string_view stream, size_t cut, bool& good) {
  std::string seen;
  std::vector<std::string_view> out;
  good = true;
  for (const std::string_view part : {stream.substr(0, cut), stream.substr(cut)}) {
    const std::string read(part);
    out.clear();
    good = good && scanner.Feed(read, out);
    seen += Join(out);
  }
  out.clear();
  if (good) scanner.Finish(out);
  return seen + Join(out);
}

TEST_CASE("golden streams, cut at every byte") {
  const auto files = Files(".upstream.sse");
  REQUIRE(files.size() >= 6);
  for (const fs::path& path : files) {
    const std::string name = path.stem().stem().string();
    const std::string stream = ReadAll(path);
    const std::string client = ReadAll(path.parent_path() / (name + ".client.sse"));
    const std::string summary = ReadAll(path.parent_path() / (name + ".summary"));
    for (size_t cut = 0; cut <= stream.size(); ++cut) {
      StreamScanner scanner(OperationByName(name), true);
      bool good = false;
      const std::string seen = ClientView(scanner, stream, cut, good);
      INFO(name << " cut at " << cut);
      REQUIRE(seen == client);
      REQUIRE(Summary(scanner, good) == summary);
    }
  }
}

}  // namespace
}  // namespace spillway::openai
