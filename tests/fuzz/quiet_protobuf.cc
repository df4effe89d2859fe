// Most inputs of a fuzzer are no proper UTF-8 somewhere, and protobuf would log
// each: more bytes than are fuzzed.

#include "google/protobuf/stubs/logging.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}
