// Answers as an engine does whose build id is not the program's.
extern "C" __attribute__((visibility("default"))) void* edgetune_engine(
    const char*) {
  return nullptr;
}
