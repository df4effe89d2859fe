#include "tests/fuzz/bend_message.h"

#include <array>
#include <limits>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "protos/edgetune/v1/federation.pb.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "protos/edgetune/v1/roster.pb.h"
#include "protos/edgetune/v1/secagg.pb.h"

namespace edgetune::fuzz {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// No input needs more elements to reach a limit of the code, but for those
// that count up to n_max, which tests reach.
constexpr int kMostElements = 64;

constexpr std::array<uint64_t, 12> kIntegers = {
    0,          1,          2,          3,       127,     255,
    0x7fffffff, 0x80000000, 0xffffffff, 1 << 24, 1 << 30, ~uint64_t{0}};
constexpr std::array<double, 10> kReals = {
    0,    1,
    -1,   0.25,
    0.5,  1e-9,
    1e30, std::numeric_limits<double>::infinity(),
    -0.0, std::numeric_limits<double>::quiet_NaN()};

// What the payload of an envelope is when it stands in this field.
std::unique_ptr<Message> PayloadOf(const FieldDescriptor* holder) {
  using Make = std::unique_ptr<Message> (*)();
  static const auto* kinds = new std::map<std::string, Make>{
      {"plan", [] { return std::unique_ptr<Message>(new v1::TaskPlan); }},
      {"manifest",
       [] { return std::unique_ptr<Message>(new v1::RoundManifest); }},
      {"roster", [] { return std::unique_ptr<Message>(new v1::RosterHead); }},
      {"head", [] { return std::unique_ptr<Message>(new v1::RosterHead); }},
      {"cards", [] { return std::unique_ptr<Message>(new v1::ModelCard); }},
      {"overrides",
       [] { return std::unique_ptr<Message>(new v1::SpentOverride); }}};
  // The documents that a target takes by themselves are receipts.
  if (holder == nullptr) return std::make_unique<v1::RoundReceipt>();
  const auto found = kinds->find(holder->name());
  return found == kinds->end() ? nullptr : found->second();
}

uint64_t BentInteger(Choices& choices, uint64_t value) {
  switch (choices.Below(4)) {
    case 0:
      return value ^ uint64_t { 1 } << choices.Below(64);
    case 1:
      return value + 1;
    case 2:
      return value - 1;
    default:
      return kIntegers[choices.Below(kIntegers.size())];
  }
}

// One field of one message.
class FieldBender {
 public:
  FieldBender(Choices& choices, Message& message, const FieldDescriptor* field)
      : choices_(choices),
        message_(message),
        reflection_(*message.GetReflection()),
        field_(field) {}

  void Bend() {
    if (field_->is_repeated()) return BendList();
    if (reflection_.HasField(message_, field_) && choices_.Below(6) == 0) {
      return reflection_.ClearField(&message_, field_);
    }
    BendSingle();
  }

 private:
  void BendList() {
    const int size = reflection_.FieldSize(message_, field_);
    const uint32_t how = choices_.Below(6);
    if (size == 0 || (how == 0 && size < kMostElements)) return AddElement();
    const int at = static_cast<int>(choices_.Below(256)) % size;
    if (how == 1 || how == 2) {
      // From somewhere to the end, or back.
      return reflection_.SwapElements(&message_, field_, at,
                                      how == 1 ? size - 1 : 0);
    }
    if (how == 3) {
      reflection_.SwapElements(&message_, field_, at, size - 1);
      return reflection_.RemoveLast(&message_, field_);
    }
    BendElement(at);
  }

  // A copy of the last element, so that it is not all zeros.
  void AddElement() {
    const int size = reflection_.FieldSize(message_, field_);
    if (field_->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      Message* added = reflection_.AddMessage(&message_, field_);
      if (size == 0) return;
      return added->CopyFrom(
          reflection_.GetRepeatedMessage(message_, field_, size - 1));
    }
    if (field_->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      return reflection_.AddString(&message_, field_,
                                   size == 0 ? std::string(32, 'x')
                                             : reflection_.GetRepeatedString(
                                                   message_, field_, size - 1));
    }
    if (field_->cpp_type() == FieldDescriptor::CPPTYPE_UINT32) {
      return reflection_.AddUInt32(&message_, field_, choices_.Byte());
    }
    if (field_->cpp_type() == FieldDescriptor::CPPTYPE_INT64) {
      reflection_.AddInt64(&message_, field_, choices_.Byte());
    }
  }

  void BendElement(int at) {
    switch (field_->cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string bytes = reflection_.GetRepeatedString(message_, field_, at);
        BendBytes(choices_, bytes);
        return reflection_.SetRepeatedString(&message_, field_, at, bytes);
      }
      case FieldDescriptor::CPPTYPE_UINT32:
        return reflection_.SetRepeatedUInt32(
            &message_, field_, at,
            static_cast<uint32_t>(BentInteger(
                choices_,
                reflection_.GetRepeatedUInt32(message_, field_, at))));
      case FieldDescriptor::CPPTYPE_INT64:
        return reflection_.SetRepeatedInt64(
            &message_, field_, at,
            static_cast<int64_t>(BentInteger(
                choices_, reflection_.GetRepeatedInt64(message_, field_, at))));
      default:
        return;
    }
  }

  void BendSingle() {
    switch (field_->cpp_type()) {
      case FieldDescriptor::CPPTYPE_MESSAGE:
        reflection_.MutableMessage(&message_, field_);
        return;
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string bytes = reflection_.GetString(message_, field_);
        BendBytes(choices_, bytes);
        return reflection_.SetString(&message_, field_, bytes);
      }
      case FieldDescriptor::CPPTYPE_BOOL:
        return reflection_.SetBool(&message_, field_,
                                   !reflection_.GetBool(message_, field_));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return reflection_.SetDouble(&message_, field_,
                                     kReals[choices_.Below(kReals.size())]);
      case FieldDescriptor::CPPTYPE_ENUM:
        return reflection_.SetEnumValue(&message_, field_,
                                        static_cast<int>(choices_.Byte()) - 2);
      default:
        BendInteger();
    }
  }

  void BendInteger() {
    const auto bent = [&](uint64_t value) {
      return BentInteger(choices_, value);
    };
    if (field_->cpp_type() == FieldDescriptor::CPPTYPE_UINT32) {
      reflection_.SetUInt32(
          &message_, field_,
          static_cast<uint32_t>(bent(reflection_.GetUInt32(message_, field_))));
    } else if (field_->cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
      reflection_.SetUInt64(&message_, field_,
                            bent(reflection_.GetUInt64(message_, field_)));
    } else if (field_->cpp_type() == FieldDescriptor::CPPTYPE_INT64) {
      reflection_.SetInt64(&message_, field_,
                           static_cast<int64_t>(bent(static_cast<uint64_t>(
                               reflection_.GetInt64(message_, field_)))));
    }
  }

  Choices& choices_;
  Message& message_;
  const Reflection& reflection_;
  const FieldDescriptor* const field_;
};

using Child = std::pair<Message*, const FieldDescriptor*>;

std::vector<Child> ChildrenOf(Message& message) {
  std::vector<Child> children;
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      children.emplace_back(reflection.MutableMessage(&message, field), field);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      children.emplace_back(
          reflection.MutableRepeatedMessage(&message, field, i), field);
    }
  }
  return children;
}

void BendInside(Choices& choices, Message& message,
                const FieldDescriptor* holder);

// False: this is no envelope, or its payload is no document.
bool BendPayload(Choices& choices, Message& message,
                 const FieldDescriptor* holder) {
  auto* envelope = dynamic_cast<v1::Envelope*>(&message);
  if (envelope == nullptr) return false;
  const std::unique_ptr<Message> payload = PayloadOf(holder);
  if (payload == nullptr || !payload->ParseFromString(envelope->payload())) {
    return false;
  }
  BendInside(choices, *payload, nullptr);
  envelope->set_payload(payload->SerializeAsString());
  return true;
}

// Goes down three times out of four, as deep as there is something.
void BendInside(Choices& choices, Message& message,
                const FieldDescriptor* holder) {
  if (choices.Below(4) != 0) {
    if (BendPayload(choices, message, holder)) return;
    const std::vector<Child> children = ChildrenOf(message);
    if (!children.empty()) {
      const auto& [child, field] =
          children[(choices.Byte() | choices.Byte() << 8) % children.size()];
      return BendInside(choices, *child, field);
    }
  }
  const auto* descriptor = message.GetDescriptor();
  if (descriptor->field_count() == 0) return;
  FieldBender(choices, message,
              descriptor->field(
                  static_cast<int>(choices.Below(descriptor->field_count()))))
      .Bend();
}

}  // namespace

void BendMessage(Choices& choices, Message& message) {
  BendInside(choices, message, nullptr);
}

void BendBytes(Choices& choices, std::string& bytes) {
  const size_t at =
      bytes.empty() ? 0 : (choices.Byte() | choices.Byte() << 8) % bytes.size();
  switch (choices.Below(6)) {
    case 0:
      bytes.insert(at, 1 + choices.Below(40),
                   static_cast<char>(choices.Byte()));
      return;
    case 1:
      bytes.erase(at, 1 + choices.Below(40));
      return;
    case 2:
      bytes.resize(choices.Below(128), static_cast<char>(choices.Byte()));
      return;
    case 3:
      // To a length that the protocol knows.
      bytes.resize(size_t{16} << choices.Below(3));
      return;
    default:
      if (bytes.empty()) return;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 + choices.Below(255)));
  }
}

}  // namespace edgetune::fuzz
