#include "base/terminal_text.h"

#include <gtest/gtest.h>

#include <string>

namespace edgetune {
namespace {

using std::string_literals::operator""s;

TEST(TerminalTextTest, PlainTextLinesAndTabsStay) {
  const std::string text = "caf\u00e9 \u4e2d\U0001f600 \\x1b\n\tnext";
  EXPECT_EQ(TerminalText(text), text);
}

TEST(TerminalTextTest, ControlCharactersAreShown) {
  EXPECT_EQ(TerminalText("\x1b[2J\x1b]0;t\a\r\b\0\x7f"s),
            "\\x1b[2J\\x1b]0;t\\x07\\x0d\\x08\\x00\\x7f");
}

TEST(TerminalTextTest, ControlCharactersAboveAsciiAreShown) {
  EXPECT_EQ(TerminalText("\u0080\u009b2J\u009f\u00a0"),
            "\\u0080\\u009b2J\\u009f\u00a0");
}

TEST(TerminalTextTest, OrderOfWritingIsNotOverridden) {
  EXPECT_EQ(TerminalText("\u2029\u202a\u202e\u202f"),
            "\u2029\\u202a\\u202e\u202f");
  EXPECT_EQ(TerminalText("\u2065\u2066\u2069\u206a"),
            "\u2065\\u2066\\u2069\u206a");
}

TEST(TerminalTextTest, BytesThatAreNoUtf8AreShown) {
  EXPECT_EQ(TerminalText("\x9b"
                         "2J \xff \xe2\x82 \xc0\x9b"),
            "\\x9b2J \\xff \\xe2\\x82 \\xc0\\x9b");
  EXPECT_EQ(TerminalText("\xc2"), "\\xc2");
}

TEST(TerminalTextTest, WhatIsSafeStaysAsItIs) {
  const std::string safe = TerminalText("\x1b[31m\u202e\xff\n");
  EXPECT_EQ(TerminalText(safe), safe);
}

TEST(TerminalTextTest, ALineStaysOne) {
  EXPECT_EQ(TerminalLine("a\n\tb\x1b"), "a\\x0a\\x09b\\x1b");
}

}  // namespace
}  // namespace edgetune
