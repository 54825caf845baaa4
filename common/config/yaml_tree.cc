#include "common/config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <format>
#include <sstream>

#include "common/utf8.h"

namespace spillway::config {
namespace {

constexpr size_t kYamlTextBytesMax = size_t{16} << 20;
constexpr int kYamlDepthMax = 32;
constexpr size_t kYamlNodesMax = 2'000'000;
constexpr uint64_t kRepeatedMax = 100'000;

// Leaves the library's parser at once; caught in ParseYaml.
struct Refusal {
  int line;
  std::string message;
};

// Builds the tree from the parser's events. The library's own document form would follow aliases
// silently; here each alias is weighed before it is used.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(YamlTree& tree) : tree_(tree) {}

  // At some texts that are no YAML the library stands still and finds empty documents for ever.
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (mark.pos == document_at_) throw Refusal{mark.line + 1, "this is no YAML"};
    document_at_ = mark.pos;
    anchors_.clear();
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Leaf(YamlNode::Type::kNull, mark, anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    CheckTag(mark, tag);
    Leaf(YamlNode::Type::kScalar, mark, anchor)->text = value;
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    CheckTag(mark, tag);
    Open(YamlNode::Type::kSequence, mark, anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    CheckTag(mark, tag);
    Open(YamlNode::Type::kMap, mark, anchor);
  }
  void OnMapEnd() override { Close(); }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (anchor >= anchors_.size() || anchors_[anchor].node == nullptr)
      throw Refusal{mark.line + 1, "an alias must come after its anchor's end"};
    const Measured& target = anchors_[anchor];
    if (open_.size() + static_cast<size_t>(target.height) > kYamlDepthMax)
      RefuseDepth(mark.line + 1);
    repeated_ += target.size;
    if (repeated_ > kRepeatedMax) {
      throw Refusal{mark.line + 1,
                    std::format("aliases must not repeat more than {} values", kRepeatedMax)};
    }
    Attach(target);
  }

 private:
  // A finished node with what stands below it, aliases counted at every use.
  struct Measured {
    const YamlNode* node = nullptr;
    uint64_t size = 1;
    int height = 1;
  };
  struct Opened {
    YamlNode* node;
    YAML::anchor_t anchor;
    uint64_t size = 1;
    int height = 1;
  };

  [[noreturn]] static void RefuseDepth(int line) {
    throw Refusal{line, std::format("at most {} levels are allowed", kYamlDepthMax)};
  }

  static void CheckTag(const YAML::Mark& mark, const std::string& tag) {
    constexpr std::string_view kCore = "tag:yaml.org,2002:";
    if (tag.empty() || tag == "?" || tag == "!") return;
    for (const std::string_view known :
         {"str", "int", "float", "bool", "timestamp", "map", "seq"}) {
      if (tag.starts_with(kCore) && std::string_view(tag).substr(kCore.size()) == known) return;
    }
    throw Refusal{mark.line + 1, "tags of applications are not understood"};
  }

  YamlNode* NewNode(YamlNode::Type type, const YAML::Mark& mark) {
    if (tree_.nodes.size() >= kYamlNodesMax)
      throw Refusal{mark.line + 1, std::format("at most {} values are allowed", kYamlNodesMax)};
    return &tree_.nodes.emplace_back(YamlNode{.type = type, .line = mark.line + 1});
  }

  YamlNode* Leaf(YamlNode::Type type, const YAML::Mark& mark, YAML::anchor_t anchor) {
    YamlNode* node = NewNode(type, mark);
    Finish({.node = node}, anchor);
    return node;
  }

  void Open(YamlNode::Type type, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (open_.size() >= kYamlDepthMax) RefuseDepth(mark.line + 1);
    open_.push_back({.node = NewNode(type, mark), .anchor = anchor});
  }

  void Close() {
    const Opened done = open_.back();
    open_.pop_back();
    Finish({.node = done.node, .size = done.size, .height = done.height}, done.anchor);
  }

  void Finish(const Measured& done, YAML::anchor_t anchor) {
    if (anchor != 0) {
      if (anchors_.size() <= anchor) anchors_.resize(anchor + 1);
      anchors_[anchor] = done;
    }
    Attach(done);
  }

  void Attach(const Measured& child) {
    if (open_.empty()) {
      tree_.roots.push_back(child.node);
      return;
    }
    Opened& parent = open_.back();
    parent.node->items.push_back(child.node);
    parent.size += child.size;
    parent.height = std::max(parent.height, child.height + 1);
  }

  YamlTree& tree_;
  std::vector<Opened> open_;
  std::vector<Measured> anchors_;
  uint64_t repeated_ = 0;
  int document_at_ = -1;  // where the last document began
};

Result<void> CheckText(std::string_view text) {
  if (text.size() > kYamlTextBytesMax)
    return Fail(ErrorCode::kInvalidConfig, "at most 16 MiB are allowed in one file");
  if (!IsUtf8(text)) return Fail(ErrorCode::kInvalidConfig, "the text must be UTF-8");
  const bool control = std::ranges::any_of(
      text, [](unsigned char c) { return c < 0x20 && c != '\t' && c != '\n' && c != '\r'; });
  if (control) return Fail(ErrorCode::kInvalidConfig, "control characters are not allowed");
  return {};
}

std::unexpected<Error> FailAt(int line, const std::string& message) {
  return Fail(ErrorCode::kInvalidConfig, std::format("line {}: {}", line, message));
}

}  // namespace

Result<YamlTree> ParseYaml(std::string_view text) {
  SW_CHECK(CheckText(text));
  YamlTree tree;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder(tree);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refusal& refusal) {
    return FailAt(refusal.line, refusal.message);
  } catch (const YAML::Exception& error) {
    return FailAt(error.mark.line + 1, "this is no YAML: " + error.msg);
  } catch (const std::exception& error) {
    return Fail(ErrorCode::kInvalidConfig, std::string("this is no YAML: ") + error.what());
  }
  return tree;
}

}  // namespace spillway::config
