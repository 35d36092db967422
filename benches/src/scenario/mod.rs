//! Scenarios: a load, faults at their times, and the lines that must hold, in one readable file.
