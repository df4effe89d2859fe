extern "C" __attribute__((visibility("default"))) int
edgetune_something_else() {
  return 1;
}
