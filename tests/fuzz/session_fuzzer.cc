// A whole session of four to six members in which the network, the coordinator
// and members lie, as often and wherever the input says. Whatever happens, I1
// to I4 hold: one result, never a wrong sum, one survivor set and one kind of
// share each, one contribution. Input: the session, then lies.

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "tests/fuzz/bend_message.h"
#include "tests/fuzz/choices.h"
#include "tests/fuzz/scene.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

using secagg::Harness;
using secagg::RingVector;
using secagg::Stage;

const secagg::Fleet& FleetOf(uint32_t n) {
  static const auto* fleets = new std::map<uint32_t, secagg::Fleet>([] {
    std::map<uint32_t, secagg::Fleet> made;
    for (uint32_t size = 4; size <= 6; ++size) {
      made.emplace(size, secagg::Fleet::Options{.size = size});
    }
    return made;
  }());
  return fleets->at(n);
}

Harness::Options OptionsFrom(Input& input) {
  Harness::Options options;
  options.n = 4 + input.Below(3);
  options.shape = secagg::ShapeWithLanes(secagg::kRings[input.Below(4)],
                                         options.n, input.Below(5));
  options.seed = 1 + input.Below(4);
  options.delay = absl::Seconds(input.Below(8));
  // One in four at most: what is said again because of a copy is copied too.
  options.duplicates = input.Byte() / 4;
  options.tell_lost = input.Below(2) == 0;
  options.death_batch = input.Below(64);
  options.death = static_cast<Harness::Death>(input.Below(3));
  return options;
}

// Beside the bodies of messages: the vector that a member uploads.
constexpr uint32_t kVector = 8;

// What is told to or by one member, of one kind, comes to this.
struct Lie {
  explicit Lie(Input& input)
      : down(input.Below(2) == 0),
        member(input.Below(6)),
        body(1 + input.Below(kVector)),
        deed(static_cast<Deed>(input.Below(kDeeds))),
        script(input.Text(1 + input.Below(24))) {}

  enum Deed { kBend, kDrop, kReplay, kSwap, kDeeds };
  bool down;
  uint32_t member;
  uint32_t body;
  Deed deed;
  std::string script;  // choices
};

// Everything that was said so far, by either side, before it was bent.
template <typename Message>
struct Tape {
  std::vector<Message> said;
  std::optional<Message> held;
};

class Liar {
 public:
  Liar(Harness& session, Input& input) : session_(session) {
    while (!input.empty() && lies_.size() < 16) lies_.emplace_back(input);
    session.to_client = [this](uint32_t index, v1::SecAggServerMessage& m) {
      return Tell(true, index, down_, m);
    };
    session.to_server = [this](uint32_t index, v1::SecAggClientMessage& m) {
      Redirect(index, m);
      return Tell(false, index, up_, m);
    };
    session.upload = [this](uint32_t index, std::string& masked) {
      Upload(index, masked);
    };
  }

 private:
  template <typename Message>
  bool Tell(bool down, uint32_t index, Tape<Message>& tape, Message& message) {
    if (lies_.empty()) return true;
    if (tape.said.size() == kMostSaid) return false;
    tape.said.push_back(message);
    for (const Lie& lie : lies_) {
      if (lie.down != down || lie.member % session_.options.n != index ||
          lie.body != static_cast<uint32_t>(message.body_case())) {
        continue;
      }
      if (!Act(lie, tape, message)) return false;
    }
    return true;
  }

  template <typename Message>
  bool Act(const Lie& lie, Tape<Message>& tape, Message& message) {
    Input script(reinterpret_cast<const uint8_t*>(lie.script.data()),
                 lie.script.size());
    switch (lie.deed) {
      case Lie::kBend:
        BendMessage(script, message);
        return true;
      case Lie::kReplay:
        message = tape.said[script.Byte() % tape.said.size()];
        return true;
      case Lie::kSwap: {
        // Each comes in the place of the one before.
        std::optional<Message> before = std::exchange(tape.held, message);
        if (before) message = *before;
        return before.has_value();
      }
      default:
        return false;
    }
  }

  // A member that lies about its vector: by less than makes a sum wrap, or in
  // a form that cannot be. What it sends is what counts as its input.
  void Upload(uint32_t index, std::string& masked) {
    for (const Lie& lie : lies_) {
      if (lie.down || lie.body != kVector ||
          lie.member % session_.options.n != index) {
        continue;
      }
      const MaskedShape& shape = session_.options.shape;
      const size_t used = shape.size() * shape.bits % 8;
      if (lie.deed == Lie::kBend && used != 0) {
        masked.back() = static_cast<char>(masked.back() | 0x80);
      } else if (lie.deed == Lie::kDrop) {
        masked.resize(masked.size() - 1);
      } else {
        masked =
            Shifted(index, lie, *secagg::UnpackLanes(shape, ByteSpan(masked)));
      }
      redirected_[index] = Sha256Bytes(masked);
      return;
    }
  }

  std::string Shifted(uint32_t index, const Lie& lie, RingVector lanes) {
    const size_t at = static_cast<uint8_t>(lie.script[0]) % lanes.size();
    lanes[at] += 1;
    if (shifted_.insert(index).second) {
      session_.member(index).input[at] += 1;
    }
    return secagg::PackLanes(session_.options.shape, lanes);
  }

  // A liar's message names what the liar sent.
  void Redirect(uint32_t index, v1::SecAggClientMessage& message) const {
    const auto found = redirected_.find(index);
    if (!message.has_input() || found == redirected_.end()) return;
    message.mutable_input()->set_digest(found->second);
  }

  // By one side. Lies can make the parties repeat themselves for ever without
  // any time going by; then only lost messages let the deadlines come.
  static constexpr size_t kMostSaid = 300;

  Harness& session_;
  std::vector<Lie> lies_;
  Tape<v1::SecAggServerMessage> down_;
  Tape<v1::SecAggClientMessage> up_;
  std::map<uint32_t, std::string> redirected_;
  std::set<uint32_t> shifted_;
};

}  // namespace
}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune::fuzz;  // NOLINT
  Input input(data, size);
  const Harness::Options options = OptionsFrom(input);
  Harness session(FleetOf(options.n), options);
  uint32_t quiet = 0;
  for (Harness::Client& client : session.clients) {
    // Most stay to the end.
    const uint32_t stop = input.Below(16);
    client.stop = stop < 8 ? Stage::kNever : static_cast<Stage>(stop - 8);
    quiet += client.stop == Stage::kNever ? 1 : 0;
  }
  const bool honest = input.empty() && quiet == options.n;
  Liar liar(session, input);
  session.Run();
  const std::string broken = session.BrokenInvariant();
  Require(broken.empty(), broken.c_str());
  Require(!session.server || session.Committed() || session.code() != 0,
          "an end with a reason");
  for (const Harness::Client& client : session.clients) {
    Require(client.aborted != edgetune::v1::INTERNAL, "no lie is our bug");
  }
  Require(!honest || session.Committed(), "honest sessions have a result");
  return 0;
}
