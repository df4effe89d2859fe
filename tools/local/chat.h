#ifndef EDGETUNE_TOOLS_LOCAL_CHAT_H_
#define EDGETUNE_TOOLS_LOCAL_CHAT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "tools/local/answer.h"
#include "tools/local/scoring.h"
#include "tools/output.h"

namespace edgetune {

// What was said so far, and how much of it a model can still see. One thread;
// the model must outlive it.
class Conversation {
 public:
  Conversation(const ModelFile& model, std::string system);

  // Forgets the turns; a system message stays.
  void Reset();
  // Another system message (empty: the model's own), and Reset.
  void SetSystem(std::string system);

  struct Prompt {
    std::vector<int32_t> tokens;
    int64_t dropped = 0;  // turns that were forgotten to make room
  };
  // The chat with this message at its end, the oldest turns forgotten until
  // `room` more tokens fit into the context. InvalidArgument (kUsage): the
  // message alone does not fit; nothing is changed then.
  absl::StatusOr<Prompt> Say(const std::string& user, int64_t room);
  // The answer to what was said last; nullopt takes that back.
  void Hear(const std::optional<std::string>& answer);

  // One JSON line, {"messages":[...]}, that `edgetune train` reads.
  std::string ToJson() const;
  int64_t turns() const { return static_cast<int64_t>(turns_.size()) / 2; }

 private:
  absl::StatusOr<std::vector<int32_t>> Encode(
      const std::vector<ChatMessage>& turns) const;

  const ModelFile& model_;
  std::string system_;
  std::vector<ChatMessage> turns_;  // user, assistant, user, ...
};

// A chat on stdin and stdout until /quit or the end of stdin: answers are
// printed as they come; Ctrl-C ends an answer, or drops a half-typed line. A
// line that begins with / is a command (/help lists them). Everything else goes
// to stderr. Fails only when the model does.
absl::Status RunChat(ScoringModel& model, const std::string& system,
                     const AnswerOptions& options, const Output& output);

// All of stdin as one text without its last line end; at most 1 MiB of UTF-8.
// kUsage otherwise.
absl::StatusOr<std::string> ReadStdin();

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_LOCAL_CHAT_H_
