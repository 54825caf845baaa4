// Hidden: run with [.benchmark]. Figures are kept in strict_json.cc and stream_scanner.cc.
#include <simdjson.h>

#include <catch2/catch_all.hpp>
#include <string>

#include "dataplane/dialect/openai.h"
#include "dataplane/dialect/strict_json.h"
#include "tests/unit/dataplane/dialect/padded.h"

namespace spillway::openai {
namespace {

// A chat of about `bytes` bytes as an agent sends it: prose with line ends and quotes in messages
// of 400 bytes, a tool, the usual parameters.
std::string ChatBody(size_t bytes, size_t message_bytes) {
  std::string body =
      R"({"model":"support-tier","temperature":0.7,"stream":true,"max_tokens":256,"user":"u-1",)"
      R"("tools":[{"type":"function","function":{"name":"look_up","description":"Looks up an order.",)"
      R"("parameters":{"type":"object","properties":{"order":{"type":"string"}},"required":["order"]}}}],)"
      R"("messages":[{"role":"system","content":"You are a helpful assistant."})";
  while (body.size() + 40 < bytes) {
    std::string text;
    while (text.size() < message_bytes && body.size() + text.size() < bytes) {
      text += R"(The customer wrote that \"nothing works\" since the update of last week.\n)";
    }
    body += R"(,{"role":"user","content":")" + text + R"("})";
  }
  return body + "]}";
}

bool OnDemandWalk(simdjson::ondemand::value value) {
  simdjson::ondemand::json_type type{};
  if (value.type().get(type) != simdjson::SUCCESS) return false;
  switch (type) {
    case simdjson::ondemand::json_type::object:
      for (auto member : value.get_object()) {
        std::string_view key;
        simdjson::ondemand::value inner;
        if (member.unescaped_key().get(key) || member.value().get(inner)) return false;
        if (!OnDemandWalk(inner)) return false;
      }
      return true;
    case simdjson::ondemand::json_type::array:
      for (auto element : value.get_array()) {
        simdjson::ondemand::value inner;
        if (element.get(inner) || !OnDemandWalk(inner)) return false;
      }
      return true;
    case simdjson::ondemand::json_type::string: {
      std::string_view text;
      return !value.get_string().get(text);
    }
    case simdjson::ondemand::json_type::number: {
      simdjson::ondemand::number number;
      return !value.get_number().get(number);
    }
    case simdjson::ondemand::json_type::boolean: {
      bool flag = false;
      return !value.get_bool().get(flag);
    }
    default: {
      bool null = false;
      return !value.is_null().get(null) && null;
    }
  }
}

bool OnDemandFull(simdjson::ondemand::parser& parser, std::string_view body) {
  simdjson::ondemand::document document;
  simdjson::ondemand::value root;
  const simdjson::padded_string_view padded(body.data(), body.size(), body.size() + kBodyPadding);
  return !parser.iterate(padded).get(document) && !document.get_value().get(root) &&
         OnDemandWalk(root);
}

TEST_CASE("strict pass", "[.benchmark]") {
  simdjson::ondemand::parser ondemand;
  simdjson::dom::parser dom;
  struct Size {
    const char* name;
    size_t bytes, message;
  };
  for (const Size& size : {Size{"2 KB", 2048, 400}, Size{"100 KB", 102'400, 400},
                           Size{"100 KB, long messages", 102'400, 20'000}}) {
    const Padded body(ChatBody(size.bytes, size.message));
    REQUIRE(DecodeRequest(Operation::kChat, body.view()).has_value());
    REQUIRE(OnDemandFull(ondemand, body.view()));
    const std::string name(size.name);
    BENCHMARK(name + ": decode (own strict pass, duplicates, fields)") {
      return DecodeRequest(Operation::kChat, body.view())->choices;
    };
    BENCHMARK(name + ": On-Demand, all values visited, no duplicates") {
      return OnDemandFull(ondemand, body.view());
    };
    BENCHMARK(name + ": DOM parse, no duplicates") {
      return dom.parse(body.view().data(), body.view().size(), false).error();
    };
    const auto request = DecodeRequest(Operation::kChat, body.view());
    BENCHMARK(name + ": splice") {
      return SplicedBody(*request, body.view(), "gpt-5-mini").size();
    };
  }
}

TEST_CASE("stream scanner", "[.benchmark]") {
  std::string read;
  for (int i = 0; i < 64; ++i) {
    read +=
        R"(data: {"id":"chatcmpl-Dk2hS8dWq3","object":"chat.completion.chunk","created":1790000000,)"
        R"("model":"gpt-5.1-2025-11-13","service_tier":"default","system_fingerprint":"fp_1",)"
        R"("choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}],"usage":null})"
        "\n\n";
  }
  std::vector<std::string_view> out;
  BENCHMARK("64 events in one read") {
    StreamScanner scanner(Operation::kChat, true);
    out.clear();
    return scanner.Feed(read, out);
  };
  const size_t event = read.size() / 64;
  StreamScanner scanner(Operation::kChat, true);
  BENCHMARK("64 events, one each read") {
    for (size_t at = 0; at < read.size(); at += event) {
      out.clear();
      scanner.Feed(std::string_view(read).substr(at, event), out);
    }
    return out.size();
  };
  BENCHMARK("64 events, cut in their middle") {
    for (size_t at = event / 2; at + event < read.size(); at += event) {
      out.clear();
      scanner.Feed(std::string_view(read).substr(at, event), out);
    }
    return out.size();
  };
}

}  // namespace
}  // namespace spillway::openai
