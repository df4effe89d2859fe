#ifndef EDGETUNE_BASE_TERMINAL_TEXT_H_
#define EDGETUNE_BASE_TERMINAL_TEXT_H_

#include <string>
#include <string_view>

namespace edgetune {

// Text of others (a model's answer, an example, a name from a file or the
// network) that people read on a terminal, which would obey some of it: move
// the cursor, recolour or overwrite what stands there, turn the order of words.
// Shown as an escape instead: control characters (ECMA-48: C0, DEL, C1) but
// for line feed and tab, characters that override the order of writing
// (Unicode UAX 9: U+202A to U+202E, U+2066 to U+2069), and bytes that are no
// UTF-8. As \x1b below U+0080 and for such bytes, else as \u202e. A backslash
// stays itself: this is for eyes, not to be read back. Whole characters in,
// whole characters out, each by itself: pieces of a stream give the same as the
// whole, and what is safe stays as it is.
std::string TerminalText(std::string_view text);

// The same, with line feed and tab shown too: for what must stay on its line.
std::string TerminalLine(std::string_view text);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_TERMINAL_TEXT_H_
