# SPDX-License-Identifier: GPL-2.0-only
"""The help of the screen: it fits on one of 80x24."""

HELP = (
    "1-6, Tab, left, right   another tab",
    "up, down, k, j          move by a row; PgUp, PgDn, Home, End: further",
    "Enter                   open the row: the runs of an owner, the page of a run",
    "n, N                    of a page: the next one, the one before",
    "Esc                     back; in a tab: all rows again",
    "",
    "r                       read now",
    "p                       pause, and go on",
    "+, -                    read half as often, twice as often",
    "m                       mark: changes count from the last reading on",
    "",
    "s                       sort by the next column",
    "S                       the other way round (a click on a heading does both)",
    "/                       only rows with a text, in capital or small letters",
    "",
    "Ctrl-Z                  suspend: nothing is read until fg",
    "q, Ctrl-C               quit",
    "",
    "Only what is shown is read; the line below the tabs has how often.",
)
