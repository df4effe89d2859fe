#include "tools/local/chat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/atomic_file.h"
#include "base/status.h"
#include "base/utf8.h"
#include "tools/child_process.h"

namespace edgetune {
namespace {

constexpr size_t kMaxMessage = 1 << 20;
constexpr char kHelp[] =
    "/reset        forget what was said\n"
    "/system TEXT  another system message (none: the model's own); forgets "
    "too\n"
    "/save FILE    write the chat as a line of examples\n"
    "/quit         end, as Ctrl-D does; Ctrl-C ends an answer\n";

bool IsUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(at));
    if (c.code < 0) return false;
    at += c.length;
  }
  return true;
}

// Lines of stdin, without stdio: a signal must end the waiting.
class LineInput {
 public:
  enum class Event { kLine, kInterrupted, kEnd };

  Event Next(std::string* line) {
    while (true) {
      const size_t end = buffer_.find('\n');
      if (end != std::string::npos) {
        *line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return Event::kLine;
      }
      if (!WaitForInput(0)) {
        if (!TakeKeyboardInterrupt()) return Event::kEnd;
        buffer_.clear();
        return Event::kInterrupted;
      }
      std::array<char, 4096> block;
      const ssize_t got = read(0, block.data(), block.size());
      if (got > 0 && buffer_.size() <= kMaxMessage) {
        buffer_.append(block.data(), static_cast<size_t>(got));
      } else if (got <= 0) {
        *line = std::exchange(buffer_, "");
        return line->empty() ? Event::kEnd : Event::kLine;
      }
    }
  }

 private:
  std::string buffer_;
};

class Chat {
 public:
  Chat(ScoringModel& model, const std::string& system,
       const AnswerOptions& options, const Output& output)
      : model_(model),
        options_(options),
        output_(output),
        conversation_(*model.file, system) {}

  absl::Status Run() {
    output_.Note("/help lists the commands");
    std::string line;
    while (!done_) {
      if (IsTerminal(0)) WriteStderr("> ");
      const LineInput::Event event = input_.Next(&line);
      if (event == LineInput::Event::kEnd) break;
      if (event == LineInput::Event::kInterrupted) {
        WriteStderr("\n");
        continue;
      }
      EDGETUNE_RETURN_IF_ERROR(Take(line));
    }
    if (IsTerminal(0)) WriteStderr("\n");
    return absl::OkStatus();
  }

 private:
  absl::Status Take(std::string line) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) return absl::OkStatus();
    absl::Status status;
    if (line.size() > kMaxMessage || !IsUtf8(line)) {
      status = UsageError("the line is not UTF-8, or longer than 1 MiB");
    } else if (line[0] == '/') {
      status = Obey(line);
    } else {
      return Reply(line);
    }
    if (!status.ok()) output_.Error(status);  // and go on
    return absl::OkStatus();
  }

  absl::Status Obey(const std::string& line) {
    const size_t space = std::min(line.find(' '), line.size());
    const std::string command = line.substr(0, space);
    const std::string rest = line.substr(std::min(space + 1, line.size()));
    if (command == "/quit") {
      done_ = true;
    } else if (command == "/reset") {
      conversation_.Reset();
      output_.Note("what was said is forgotten");
    } else if (command == "/system") {
      conversation_.SetSystem(rest);
      output_.Note("a new system message; what was said is forgotten");
    } else if (command == "/save") {
      return Save(rest);
    } else if (command == "/help") {
      WriteStderr(kHelp);
    } else {
      return UsageError("no such command; /help lists them");
    }
    return absl::OkStatus();
  }

  absl::Status Save(const std::string& path) {
    if (path.empty()) return UsageError("/save wants a file");
    if (conversation_.turns() == 0) return UsageError("nothing was said yet");
    EDGETUNE_RETURN_IF_ERROR(CheckAbsent(path, "name another file"));
    EDGETUNE_RETURN_IF_ERROR(
        WriteFileAtomically(path, conversation_.ToJson() + "\n"));
    output_.Note("wrote " + path);
    return absl::OkStatus();
  }

  absl::Status Reply(const std::string& line) {
    const int64_t room = std::min(options_.generate.max_tokens,
                                  model_.file->config().context / 4);
    const auto prompt = conversation_.Say(line, room);
    if (KindOf(prompt.status()) == ErrorKind::kUsage && !prompt.ok()) {
      output_.Error(prompt.status());
      return absl::OkStatus();
    }
    EDGETUNE_RETURN_IF_ERROR(prompt);
    if (prompt->dropped > 0) {
      output_.Note(fmt::format(
          "the context of {} tokens is full: the oldest {} turns are forgotten",
          model_.file->config().context, prompt->dropped));
    }
    AnswerOptions options = options_;
    options.generate.seed += static_cast<uint64_t>(replies_++);
    absl::Status written;
    TakeKeyboardInterrupt();  // one that came while nothing was said
    EDGETUNE_ASSIGN_OR_RETURN(
        const ModelAnswer answer,
        MakeAnswer(*model_.model, model_.file->tokenizer(), prompt->tokens,
                   options, [&](const std::string& text) {
                     written.Update(WriteAnswer(text));
                   }));
    written.Update(WriteAnswer("\n"));
    EDGETUNE_RETURN_IF_ERROR(written);
    const bool stopped = TakeKeyboardInterrupt();
    const bool unheard = stopped && answer.text.empty();
    conversation_.Hear(unheard ? std::nullopt
                               : std::optional<std::string>(answer.text));
    done_ = Interrupted();
    output_.Note(answer.Figures() + (stopped ? " (stopped)" : ""));
    return absl::OkStatus();
  }

  ScoringModel& model_;
  const AnswerOptions& options_;
  const Output& output_;
  Conversation conversation_;
  LineInput input_;
  int64_t replies_ = 0;
  bool done_ = false;
};

}  // namespace

Conversation::Conversation(const ModelFile& model, std::string system)
    : model_(model), system_(std::move(system)) {}

void Conversation::Reset() { turns_.clear(); }

void Conversation::SetSystem(std::string system) {
  system_ = std::move(system);
  Reset();
}

absl::StatusOr<std::vector<int32_t>> Conversation::Encode(
    const std::vector<ChatMessage>& turns) const {
  std::vector<ChatMessage> messages;
  if (!system_.empty()) messages.push_back({"system", system_});
  messages.insert(messages.end(), turns.begin(), turns.end());
  EDGETUNE_ASSIGN_OR_RETURN(
      LabelledTokens encoded,
      model_.chat_template().Encode(model_.tokenizer(), messages,
                                    /*add_generation_prompt=*/true));
  return std::move(encoded.tokens);
}

absl::StatusOr<Conversation::Prompt> Conversation::Say(const std::string& user,
                                                       int64_t room) {
  std::vector<ChatMessage> turns = turns_;
  turns.push_back({"user", user});
  Prompt prompt;
  while (true) {
    EDGETUNE_ASSIGN_OR_RETURN(prompt.tokens, Encode(turns));
    const int64_t context = model_.config().context;
    const int64_t wanted = static_cast<int64_t>(prompt.tokens.size()) + room;
    if (wanted <= context) break;
    if (turns.size() == 1) {
      return UsageError(fmt::format(
          "the message is too long: {} tokens with the system message, and "
          "room for {} of the answer, where the context has {}",
          prompt.tokens.size(), room, context));
    }
    turns.erase(turns.begin(), turns.begin() + 2);
    ++prompt.dropped;
  }
  turns_ = std::move(turns);
  return prompt;
}

void Conversation::Hear(const std::optional<std::string>& answer) {
  EDGETUNE_CHECK(turns_.size() % 2 == 1);
  if (answer) {
    turns_.push_back({"assistant", *answer});
  } else {
    turns_.pop_back();
  }
}

std::string Conversation::ToJson() const {
  using Json = nlohmann::ordered_json;
  Json messages = Json::array();
  if (!system_.empty()) {
    messages.push_back({{"role", "system"}, {"content", system_}});
  }
  for (const ChatMessage& turn : turns_) {
    messages.push_back({{"role", turn.role}, {"content", turn.content}});
  }
  return Json{{"messages", messages}}.dump();
}

absl::Status RunChat(ScoringModel& model, const std::string& system,
                     const AnswerOptions& options, const Output& output) {
  if (!model.file->chat_template().present()) {
    return Annotate(
        absl::FailedPreconditionError("the model file has no chat template"),
        ErrorKind::kModel, "--prompt with --raw continues a text");
  }
  return Chat(model, system, options, output).Run();
}

absl::StatusOr<std::string> ReadStdin() {
  std::string text;
  std::array<char, 4096> block;
  while (text.size() <= kMaxMessage) {
    const ssize_t got = read(0, block.data(), block.size());
    if (got < 0) return ErrnoStatus(errno, "cannot read", "standard input");
    if (got == 0) break;
    text.append(block.data(), static_cast<size_t>(got));
  }
  if (text.size() > kMaxMessage || !IsUtf8(text)) {
    return UsageError("standard input is not UTF-8, or longer than 1 MiB");
  }
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

}  // namespace edgetune
