#ifndef EDGETUNE_TESTS_FUZZ_BEND_MESSAGE_H_
#define EDGETUNE_TESTS_FUZZ_BEND_MESSAGE_H_

#include <string>

#include "google/protobuf/message.h"
#include "tests/fuzz/choices.h"

namespace edgetune::fuzz {

// Changes one place of a message: a field set, cleared or changed, an element
// removed, repeated or moved. Also inside the payload of signed documents,
// whose signature stays as it was. The same choices change it the same way.
void BendMessage(Choices& choices, google::protobuf::Message& message);

// Changes a few bytes, the length or the end of a text.
void BendBytes(Choices& choices, std::string& bytes);

}  // namespace edgetune::fuzz

#endif  // EDGETUNE_TESTS_FUZZ_BEND_MESSAGE_H_
