# SPDX-License-Identifier: GPL-2.0-only
"""The help of the screen."""

HELP = (
    " Keys",
    "",
    "   1-6, Tab, left, right    another tab",
    "   up, down, k, j           move by a row; PgUp, PgDn, Home, End further",
    "   Enter                    open the row: a use or owner as runs, a run as a page",
    "   n, N                     the next page, the page before (where a page is shown)",
    "   Escape                   back; in a tab: all rows again",
    "",
    "   r                        read now",
    "   p                        pause, and go on",
    "   + -                      read half as often, twice as often",
    "   m                        mark: changes count from the last reading on",
    "",
    "   s                        sort by the next column",
    "   S                        sort the other way round; a click on a heading does both",
    "   /                        only rows with a text, in capital or small letters",
    "",
    "   Ctrl-Z                   suspend; nothing is read until fg",
    "   q, Ctrl-C                quit",
    "",
    " Only what is shown is read. If that takes more than 15 % of a processor, it is",
    " read less often, and the line under the tabs has the real interval.",
)
