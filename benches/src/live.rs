//! The run as it goes: a terminal view, or plain lines where there is no terminal.
