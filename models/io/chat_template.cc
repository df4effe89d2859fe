#include "models/io/chat_template.h"

#include <fmt/format.h>

#include <optional>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr std::string_view kStart = "<|im_start|>";
constexpr std::string_view kEnd = "<|im_end|>";
constexpr std::string_view kSystemHead = "<|im_start|>system\n";
constexpr std::string_view kGeneration = "<|im_start|>assistant\n";
constexpr std::string_view kBlanks = " \t\r\n";

// What a template consists of, spelling differences removed.
struct Part {
  enum Kind { kLiteral, kValue, kStatement } kind;
  std::string text;
  bool operator==(const Part&) const = default;
};

// Without white space and parentheses, quotes as ', members in brackets.
std::string Canonical(std::string_view code) {
  std::string out;
  for (char c : code) {
    if (kBlanks.find(c) != kBlanks.npos || c == '(' || c == ')') continue;
    out += c == '"' ? '\'' : c;
  }
  for (std::string_view member : {"role", "content"}) {
    const std::string dotted = fmt::format(".{}", member);
    for (size_t at; (at = out.find(dotted)) != out.npos;) {
      out.replace(at, dotted.size(), fmt::format("['{}']", member));
    }
  }
  return out;
}

// Cuts a template into parts, with the block trimming that transformers asks
// of Jinja (trim_blocks, lstrip_blocks). nullopt: not a template at all.
class TemplateLexer {
 public:
  explicit TemplateLexer(std::string_view source) : rest_(source) {}

  std::optional<std::vector<Part>> Run() {
    if (rest_.ends_with('\n')) rest_.remove_suffix(1);
    while (!rest_.empty()) {
      const size_t open = FindOpening();
      AddText(open);
      if (open == rest_.npos) break;
      rest_.remove_prefix(open);
      if (!AddTag()) return std::nullopt;
    }
    return parts_;
  }

 private:
  size_t FindOpening() const {
    for (size_t at = 0; at + 1 < rest_.size(); ++at) {
      if (rest_[at] == '{' && (rest_[at + 1] == '{' || rest_[at + 1] == '%' ||
                               rest_[at + 1] == '#')) {
        return at;
      }
    }
    return rest_.npos;
  }

  void AddLiteral(std::string_view text) {
    if (text.empty()) return;
    if (!parts_.empty() && parts_.back().kind == Part::kLiteral) {
      parts_.back().text += text;
    } else {
      parts_.push_back({Part::kLiteral, std::string(text)});
    }
  }

  void AddText(size_t open) {
    std::string_view text = rest_.substr(0, open);
    if (open == rest_.npos) return AddLiteral(text);
    const bool dash = rest_.substr(open + 2).starts_with('-');
    if (dash) {
      text = text.substr(0, text.find_last_not_of(kBlanks) + 1);
    } else if (rest_[open + 1] != '{') {
      const size_t keep = text.find_last_not_of(" \t") + 1;
      if (keep == 0 || text[keep - 1] == '\n') text = text.substr(0, keep);
    }
    AddLiteral(text);
  }

  // rest_ begins with an opening mark.
  bool AddTag() {
    const char mark = rest_[1];
    const char closing[] = {mark == '{' ? '}' : mark, '}', 0};
    const size_t close = FindClosing(closing, mark != '#');
    if (close == rest_.npos) return false;
    std::string_view code = rest_.substr(2, close - 2);
    rest_.remove_prefix(close + 2);
    if (code.starts_with('-')) code.remove_prefix(1);
    if (code.ends_with('-')) {
      code.remove_suffix(1);
      rest_.remove_prefix(
          std::min(rest_.find_first_not_of(kBlanks), rest_.size()));
    } else if (mark != '{' && rest_.starts_with('\n')) {
      rest_.remove_prefix(1);
    }
    if (mark == '%') parts_.push_back({Part::kStatement, Canonical(code)});
    return mark != '{' || AddSum(code);
  }

  // Outside quoted strings, unless the tag is a comment.
  size_t FindClosing(std::string_view closing, bool quotes) const {
    char quote = 0;
    for (size_t at = 2; at + 1 < rest_.size(); ++at) {
      const char c = rest_[at];
      if (quote != 0) {
        if (c == '\\') ++at;
        if (c == quote) quote = 0;
      } else if (quotes && (c == '\'' || c == '"')) {
        quote = c;
      } else if (rest_.substr(at, 2) == closing) {
        return at;
      }
    }
    return rest_.npos;
  }

  // 'text' + value + ...
  bool AddSum(std::string_view code) {
    std::string value;
    for (size_t at = 0; at <= code.size(); ++at) {
      const char c = at < code.size() ? code[at] : '+';
      const bool string = (c == '\'' || c == '"') && Canonical(value).empty();
      if (string) {
        std::string text;
        if (!Unquote(code, &at, &text)) return false;
        AddLiteral(text);
        value.clear();
      } else if (c == '+') {
        if (!Canonical(value).empty()) {
          parts_.push_back({Part::kValue, Canonical(value)});
        }
        value.clear();
      } else {
        value += c;
      }
    }
    return true;
  }

  // *at: the opening quote; left on the closing one.
  static bool Unquote(std::string_view code, size_t* at, std::string* text) {
    const char quote = code[*at];
    for (++*at; *at < code.size() && code[*at] != quote; ++*at) {
      char c = code[*at];
      if (c == '\\' && *at + 1 < code.size()) {
        c = code[++*at];
        if (c == 'n') c = '\n';
        if (c == 't') c = '\t';
      }
      *text += c;
    }
    return *at < code.size();
  }

  std::string_view rest_;
  std::vector<Part> parts_;
};

// Compares parts with the one shape that is ChatML.
class ChatMlMatcher {
 public:
  explicit ChatMlMatcher(std::vector<Part> parts) : parts_(std::move(parts)) {}

  // The default system text ("" for none); nullopt: not ChatML.
  std::optional<std::string> Match() {
    if (Statement("ifnotadd_generation_promptisdefined") &&
        !(Statement("setadd_generation_prompt=false") && Statement("endif"))) {
      return std::nullopt;
    }
    std::string system;
    const bool before = Statement("ifmessages[0]['role']!='system'");
    if (before && !DefaultSystem(&system)) return std::nullopt;
    if (!Statement("formessageinmessages")) return std::nullopt;
    const bool inside =
        !before && Statement("ifloop.firstandmessages[0]['role']!='system'");
    if (inside && !DefaultSystem(&system)) return std::nullopt;
    const bool rest =
        Literal(kStart) && Value("message['role']") && Literal("\n") &&
        Value("message['content']") && Literal("<|im_end|>\n") &&
        Statement("endfor") && Statement("ifadd_generation_prompt") &&
        Literal(kGeneration) && Statement("endif") && at_ == parts_.size();
    if (!rest) return std::nullopt;
    return system;
  }

 private:
  bool Take(const Part& part) {
    if (at_ == parts_.size() || !(parts_[at_] == part)) return false;
    ++at_;
    return true;
  }
  bool Statement(std::string_view text) {
    return Take({Part::kStatement, std::string(text)});
  }
  bool Value(std::string_view text) {
    return Take({Part::kValue, std::string(text)});
  }
  bool Literal(std::string_view text) {
    return Take({Part::kLiteral, std::string(text)});
  }

  bool DefaultSystem(std::string* system) {
    if (at_ == parts_.size() || parts_[at_].kind != Part::kLiteral) {
      return false;
    }
    std::string_view text = parts_[at_++].text;
    const bool framed = text.starts_with(kSystemHead) &&
                        text.ends_with("<|im_end|>\n") &&
                        text.size() > kSystemHead.size() + kEnd.size() + 1;
    if (!framed) return false;
    text.remove_prefix(kSystemHead.size());
    text.remove_suffix(kEnd.size() + 1);
    *system = text;
    return text.find("<|im_") == text.npos && Statement("endif");
  }

  const std::vector<Part> parts_;
  size_t at_ = 0;
};

// Puts tokens behind one another.
class Labeller {
 public:
  explicit Labeller(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  absl::Status Prepare() {
    for (std::string_view token : {kStart, kEnd}) {
      if (tokenizer_.IsControl(tokenizer_.IdOf(token))) continue;
      return Annotate(absl::InvalidArgumentError(fmt::format(
                          "the tokenizer has no control token {}", token)),
                      ErrorKind::kModel);
    }
    return absl::OkStatus();
  }
  void AddSpecial(std::string_view token, bool labelled) {
    Add(tokenizer_.IdOf(token), labelled);
  }
  // Bytes from `label_from` on are labelled.
  void AddText(std::string_view text, size_t label_from) {
    for (const Tokenizer::Piece& piece :
         tokenizer_.EncodeWithOffsets(text, false)) {
      Add(piece.id, piece.end > label_from);
    }
  }
  LabelledTokens Take() { return std::move(out_); }

 private:
  void Add(int32_t id, bool labelled) {
    out_.tokens.push_back(id);
    out_.labelled.push_back(labelled ? 1 : 0);
  }

  const Tokenizer& tokenizer_;
  LabelledTokens out_;
};

}  // namespace

ChatTemplate ChatTemplate::Recognise(std::string_view source) {
  ChatTemplate out;
  out.source_ = source;
  if (source.empty()) return out;
  std::optional<std::string> system;
  if (auto parts = TemplateLexer(source).Run()) {
    system = ChatMlMatcher(std::move(*parts)).Match();
  }
  out.present_ = system.has_value();
  if (out.present_) out.default_system_ = std::move(*system);
  return out;
}

absl::Status ChatTemplate::Check(std::span<const ChatMessage> messages) const {
  if (!present_) {
    return Annotate(
        absl::FailedPreconditionError(
            source_.empty()
                ? std::string("the model has no chat template")
                : fmt::format("the model's chat template ({} bytes) is not "
                              "plain ChatML, the only one that is rendered",
                              source_.size())),
        ErrorKind::kModel,
        "use a model whose template is ChatML, as SmolLM2's, or data of the "
        "{\"text\"} form");
  }
  if (messages.empty()) {
    return absl::InvalidArgumentError("a chat needs at least one message");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ChatTemplate::Render(
    std::span<const ChatMessage> messages, bool add_generation_prompt) const {
  EDGETUNE_RETURN_IF_ERROR(Check(messages));
  std::string out;
  if (messages[0].role != "system" && !default_system_.empty()) {
    out += fmt::format("{}{}{}\n", kSystemHead, default_system_, kEnd);
  }
  for (const ChatMessage& message : messages) {
    out += fmt::format("{}{}\n{}{}\n", kStart, message.role, message.content,
                       kEnd);
  }
  if (add_generation_prompt) out += kGeneration;
  return out;
}

absl::StatusOr<LabelledTokens> ChatTemplate::Encode(
    const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
    bool add_generation_prompt) const {
  EDGETUNE_RETURN_IF_ERROR(Check(messages));
  Labeller labeller(tokenizer);
  EDGETUNE_RETURN_IF_ERROR(labeller.Prepare());
  auto add = [&](const std::string& role, const std::string& content) {
    const std::string text = fmt::format("{}\n{}", role, content);
    const bool loss = role == "assistant";
    labeller.AddSpecial(kStart, false);
    labeller.AddText(text, loss ? role.size() + 1 : text.size());
    labeller.AddSpecial(kEnd, loss);
    labeller.AddText("\n", 1);
  };
  if (messages[0].role != "system" && !default_system_.empty()) {
    add("system", default_system_);
  }
  for (const ChatMessage& message : messages) {
    add(message.role, message.content);
  }
  if (add_generation_prompt) {
    labeller.AddSpecial(kStart, false);
    labeller.AddText("assistant\n", std::string_view::npos);
  }
  return labeller.Take();
}

}  // namespace edgetune
