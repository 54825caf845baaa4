// `spillway prices`, offline and against a real control plane's API.
#include <catch2/catch_all.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "controlplane/cli/program.h"
#include "tests/fakes/temp_folder.h"
#include "tests/unit/controlplane/api/admin_world.h"

namespace spillway::cli {
namespace {

using api::AdminWorld;
using Environment = std::map<std::string, std::string>;

struct Run {
  int exit = 0;
  std::string out;
  std::string err;
};

Run RunWith(const std::vector<std::string>& words, const std::string& input, const Clock& clock,
            const Environment& environment) {
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  Surroundings surroundings{.in = in,
                            .out = out,
                            .err = err,
                            .in_is_terminal = false,
                            .environment = [&](const char* name) -> std::optional<std::string> {
                              const auto found = environment.find(name);
                              if (found == environment.end()) return std::nullopt;
                              return found->second;
                            },
                            .clock = clock};
  const int exit = RunProgram(words, surroundings);
  return {exit, out.str(), err.str()};
}

Run Offline(const std::vector<std::string>& words, const std::string& input = "") {
  const ManualClock clock;
  return RunWith(words, input, clock, {});
}

constexpr const char* kList = R"({
  "groq/llama": {"input_cost_per_token": 5e-08, "output_cost_per_token": 8e-08,
    "litellm_provider": "groq", "max_output_tokens": 32768},
  "gpt-5-mini": {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06,
    "input_cost_per_token_flex": 1.25e-07, "litellm_provider": "openai",
    "input_cost_per_second": 1},
  "odd": {"input_cost_per_token": 3.3333333333333335e-08, "litellm_provider": "openai"}})";

TEST_CASE("a price list becomes a price book that apply takes") {
  const Run run = Offline({"prices", "import", "-", "--name", "list", "--provider", "groq"}, kList);
  INFO(run.err);
  CHECK(run.exit == kOk);
  CHECK(run.out.starts_with("price_books:\n  - name: list\n"));
  CHECK(run.out.contains("llama:"));
  CHECK(run.out.contains("input: 0.05\n"));
  CHECK(run.out.contains("output_tokens_max: 32768\n"));
  CHECK_FALSE(run.out.contains("gpt-5-mini"));
  CHECK(run.err == "1 model imported, 0 skipped\n");
  const Run valid = Offline({"validate", "-f", "-"}, run.out);
  CHECK(valid.out == "valid: 1 resources\n");
}

TEST_CASE("what an import skips or leaves out is named") {
  const Run run = Offline({"prices", "import", "-"}, kList);
  CHECK(run.exit == kOk);
  CHECK(run.err ==
        "2 models imported, 1 skipped\n"
        "  skipped odd: input_cost_per_token is too fine to be exact\n"
        "  left out: input_cost_per_second of 1 model\n");
}

TEST_CASE("an import writes a file, and reports on it as JSON") {
  const TempFolder folder;
  const std::string path = folder.Path("prices.yaml");
  const Run run = Offline({"prices", "import", "-", "--to", path, "-o", "json"}, kList);
  INFO(run.err);
  CHECK(run.exit == kOk);
  CHECK(run.out.contains("\"models\": 2"));
  CHECK(run.out.contains("\"why\": \"input_cost_per_token is too fine to be exact\""));
  CHECK(folder.Read("prices.yaml").starts_with("price_books:"));
}

TEST_CASE("imports that make no sense fail with one clear line") {
  struct Row {
    std::vector<std::string> words;
    std::string input;
    int exit;
    std::string want;
  };
  const auto row = GENERATE(values<Row>({
      {{"prices", "import"}, "", kUsage, "FILE"},
      {{"prices", "import", "-", "--name", "a b"}, kList, kUsage, "--name must be"},
      {{"prices", "import", "-", "-o", "json"}, kList, kUsage, "--to FILE"},
      {{"prices", "import", "/nowhere/list.json"}, "", kFailed, "/nowhere/list.json: cannot"},
      {{"prices", "import", "-"}, "{", kFailed, "-: line 1: expected a key"},
      {{"prices", "import", "-", "--provider", "nobody"},
       kList,
       kFailed,
       "no priced model of provider nobody"},
      {{"prices", "import", "-", "--to", "/nowhere/x.yaml"}, kList, kFailed, "cannot be written"},
      {{"prices", "import", "-"}, std::string((16 << 20) + 1, ' '), kFailed, "larger than 16 MiB"},
      {{"prices", "show"}, "", kUsage, "MODEL"},
      {{"prices", "show", "nobody", "--catalogue"}, "", kFailed, "there is no model nobody"},
  }));
  CAPTURE(row.words);
  const Run run = Offline(row.words, row.input);
  INFO(run.err);
  CHECK(run.exit == row.exit);
  CHECK(run.err.contains(row.want));
  CHECK(run.out.empty());
}

TEST_CASE("the catalogue is shown without asking anybody") {
  const Run list = Offline({"prices", "list", "--catalogue", "--model", "gpt-5-mini"});
  INFO(list.out);
  CHECK(list.exit == kOk);
  CHECK(list.out.contains("gpt-5-mini"));
  CHECK(list.out.contains("0.025"));
  CHECK(list.out.contains("catalogue 2026-11-20"));
  CHECK_FALSE(list.out.contains("gpt-5-nano"));
  const Run show = Offline({"prices", "show", "claude-sonnet-4-5", "--catalogue"});
  CHECK(show.out.contains("from catalogue 2026-11-20; at most 64,000 output tokens a call\n"));
  CHECK(show.out.contains("200,000"));
  CHECK(show.out.contains("batch"));
  CHECK(show.out.contains("22.5"));
  const Run json = Offline({"prices", "show", "gpt-5-mini", "--catalogue", "-o", "json"});
  CHECK(json.out.contains("\"cached_input_nanos\": 25000000"));
  CHECK(json.out.contains("\"cached_input_usd\": \"0.025\""));
}

TEST_CASE("the prices that apply are shown with where they come from") {
  AdminWorld world;
  const auto run = [&](const std::vector<std::string>& words, const std::string& input = "") {
    return RunWith(words, input, world.api.clock,
                   {{"SPILLWAY_ADMIN", world.address()},
                    {"SPILLWAY_ADMIN_TOKEN", world.secrets[v1::ROLE_ADMIN]}});
  };
  const Run applied =
      run({"apply", "-f", "-", "--no-wait"},
          "providers:\n"
          "  - {name: p, dialect: openai, base_url: 'http://127.0.0.1:9100/v1', credentials: []}\n"
          "price_books: [{name: house, unknown: allow, models: {bought: {input: 3, output: 4}}}]\n"
          "models:\n"
          "  - {name: own, provider: p, price: {input: 1, output: 2}}\n"
          "  - {name: book, provider: p, upstream_model: bought}\n"
          "  - {name: small, provider: p, upstream_model: gpt-5-mini}\n"
          "  - {name: odd, provider: p, upstream_model: nobody-knows}\n");
  INFO(applied.err);
  REQUIRE(applied.exit == kOk);
  const Run list = run({"prices", "list"});
  INFO(list.out);
  CHECK(list.exit == kOk);
  CHECK(list.out.contains("price_book/house\n"));
  CHECK(list.out.contains("catalogue 2026-11-20\n"));
  CHECK(list.out.contains("price_book/house allow\n"));
  CHECK(run({"prices", "show", "own"})
            .out.starts_with("own (p, own): USD per million tokens, from the model itself\n"));
  CHECK(run({"prices", "show", "odd"}).out ==
        "odd (p, nobody-knows): no price is known; calls cost 0 and are listed as unpriced, from "
        "price_book/house allow\n");
  CHECK(run({"prices", "show", "small", "-o", "json"})
            .out.contains("\"source\": \"catalogue 2026-11-20\""));
  CHECK(run({"prices", "show", "gpt-5-mini"}).err.contains("--catalogue shows it"));
  CHECK(run({"prices", "list", "--model", "bought", "-o", "json"})
            .out.contains("\"input_nanos\": 3000000000"));
}

}  // namespace
}  // namespace spillway::cli
